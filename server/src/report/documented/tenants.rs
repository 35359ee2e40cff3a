//! `GET /api/admin/usage`: what organizations used of every metric, in all or by day or month.

use std::str::FromStr;

use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationKey, OrganizationRef};
use metergate_rules::meter::Meter;
use metergate_rules::period::{self, Grid, Zone, date_of, start_of_date};
use metergate_rules::time::{Span, Time};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::super::usage::{Granularity, MOST_ROWS, UsageQuery, UsageRow};
use super::super::{Report, Timestamp, refuse};
use super::number;
use super::tenant::Bound;
use crate::http::number::Number;
use crate::store::Scope;
use crate::store::reader::ReadError;
use crate::store::rollup::QUARTER;

/// Which time, and whether it is told by day or month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// The billing period of one organization; of several the calendar month in UTC.
    #[default]
    Current,
    /// The one before it.
    Previous,
    /// The current one until today, by day.
    Daily,
    /// Twelve months with this one, by month.
    Monthly,
}

/// The text is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Send current, previous, daily or monthly")]
pub struct InvalidPeriod;

impl FromStr for Told {
    type Err = InvalidPeriod;

    fn from_str(name: &str) -> Result<Self, InvalidPeriod> {
        match name {
            "current" => Ok(Self::Current),
            "previous" => Ok(Self::Previous),
            "daily" => Ok(Self::Daily),
            "monthly" => Ok(Self::Monthly),
            _ => Err(InvalidPeriod),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct TenantsQuery {
    /// These organizations; none: all, by key, in pages.
    pub tenants: Vec<OrganizationRef>,
    /// Which time, unless bounds say so.
    pub told: Told,
    /// The metrics, as meters' keys or in camel case; none: all.
    pub metrics: Vec<String>,
    /// Where it begins.
    pub from: Option<Bound>,
    /// Where it ends; a day is in it.
    pub to: Option<Bound>,
    /// Organizations in a page at most.
    pub limit: usize,
    /// Where that page goes on.
    pub after: Option<Vec<u8>>,
}

/// Values by metric, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics(Vec<(String, Number)>);

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

/// The values of a day or a month.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Step {
    /// The day, such as `2026-11-22`, or the month, such as `2026-11`.
    pub date: String,
    /// The values by metric.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub values: Metrics,
}

/// What one organization used.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantTotals {
    /// The organization's key.
    pub tenant_id: String,
    /// By metric.
    #[schema(value_type = Object)]
    pub totals: Metrics,
    /// What its tokens cost, in US dollars.
    pub cost: Number,
    /// Its errors.
    pub errors: Number,
    /// By day or month, where that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<Step>>,
}

/// The time that is reported.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Bounds {
    /// The first instant in it.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
}

/// What organizations used.
#[derive(Clone, Debug)]
pub struct TenantsUsage {
    /// When.
    pub period: Bounds,
    /// Each organization, by key.
    pub tenants: Vec<TenantTotals>,
    /// All of these together.
    pub totals: Metrics,
    /// Where the next page goes on.
    pub next: Option<Vec<u8>>,
}

/// A meter and its metric.
struct Metric<'a> {
    meter: &'a Meter,
    name: String,
    asked: bool,
}

impl Report<'_> {
    /// `GET /api/admin/usage`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where an organization does not exist for this caller, or where what is asked makes no sense
    /// or is too much.
    pub fn tenants_usage(&self, query: &TenantsQuery) -> Result<TenantsUsage, ReadError> {
        let (span, zone) = self.span(query)?;
        let metrics = self.metrics(&query.metrics)?;
        let of_all = UsageQuery {
            organizations: (!query.tenants.is_empty()).then(|| query.tenants.clone()),
            meters: Some(metrics.iter().map(|metric| metric.meter.key.clone()).collect()),
            from: Some(span.start),
            to: Some(span.end),
            zone: Some(zone),
            dense: true,
            limit: query.limit,
            after: query.after.clone(),
            ..UsageQuery::default()
        };
        let found = self.usage(&of_all)?;
        let mut tenants: Vec<TenantTotals> = Vec::new();
        for rows in found.data.chunk_by(|a, b| a.organization == b.organization) {
            let Some(first) = rows.first() else { continue };
            let mut tenant = totals(&first.organization, rows, &metrics);
            tenant.series = self.series(query.told, &of_all, &first.organization, &metrics)?;
            tenants.push(tenant);
            let steps = tenants.iter().filter_map(|tenant| tenant.series.as_ref()).map(Vec::len).sum::<usize>();
            if steps * metrics.len() > MOST_ROWS {
                return refuse("period: this is too much; ask for a shorter time, fewer tenants or fewer metrics");
            }
        }
        let period = Bounds { from: Timestamp(span.start), to: Timestamp(span.end) };
        Ok(TenantsUsage { period, totals: together(&tenants, &metrics), tenants, next: found.next })
    }

    /// The metrics that are asked for, and those of which cost and errors are told.
    fn metrics(&self, asked: &[String]) -> Result<Vec<Metric<'_>>, ReadError> {
        let living = |meter: &&Meter| self.catalogue.meter(meter.key.as_str()).is_some_and(|m| m.id == meter.id);
        let meters = self.catalogue.rules.meters().into_iter().map(|meter| &**meter).filter(living);
        let named = |meter: &Meter, name: &str| asked.iter().any(|one| one == meter.key.as_str() || one == name);
        let all: Vec<_> = meters
            .map(|meter| {
                let name = camel(meter.key.as_str());
                Metric { meter, asked: asked.is_empty() || named(meter, &name), name }
            })
            .collect();
        let known = |one: &String| all.iter().any(|metric| one == metric.meter.key.as_str() || *one == metric.name);
        if let Some(unknown) = asked.iter().find(|one| !known(one)) {
            let names: Vec<_> = all.iter().map(|metric| metric.name.as_str()).collect();
            return refuse(format!("metrics: there is no {unknown}; known: {}", names.join(", ")));
        }
        let told = |metric: &Metric<'_>| metric.asked || ["llm_cost", "errors"].contains(&metric.meter.key.as_str());
        Ok(all.into_iter().filter(told).collect())
    }

    fn span(&self, query: &TenantsQuery) -> Result<(Span, Zone), ReadError> {
        let own = match self.scope {
            Scope::Organization(own) => Some(OrganizationRef::Id(own)),
            Scope::Team => None,
        };
        let one = match (&*query.tenants, own) {
            ([one], _) => Some(self.current(one)?.account),
            ([], Some(own)) => Some(self.current(&own)?.account),
            _ => None,
        };
        let zone = one.as_ref().map(|account| account.profile.zone.clone()).unwrap_or_default();
        let usual = match &one {
            Some(account) => usual(query.told, self.now, &zone, |before| period_of(account, before)),
            None => usual(query.told, self.now, &zone, |before| month_of(self.now, &zone, before)),
        };
        let start = query.from.map_or(usual.start, |bound| bound.start(&zone));
        let end = query.to.map_or(usual.end, |bound| bound.end(&zone));
        Ok((Span { start, end }, zone))
    }

    /// Day by day or month by month, where that is asked for.
    fn series(
        &self,
        told: Told,
        query: &UsageQuery,
        tenant: &OrganizationKey,
        metrics: &[Metric<'_>],
    ) -> Result<Option<Vec<Step>>, ReadError> {
        let granularity = match told {
            Told::Current | Told::Previous => return Ok(None),
            Told::Daily => Granularity::Day,
            Told::Monthly => Granularity::Month,
        };
        let organizations = Some(vec![OrganizationRef::Key(tenant.clone())]);
        let mut rows = self.usage(&UsageQuery { organizations, granularity, ..query.clone() })?.data;
        rows.sort_by_key(|row| row.start);
        let zone = query.zone.clone().unwrap_or_default();
        let form = if told == Told::Daily { "%Y-%m-%d" } else { "%Y-%m" };
        let step = |rows: &[UsageRow]| Step {
            date: date_of(rows[0].start.0, &zone).strftime(form).to_string(),
            values: values(rows, metrics),
        };
        Ok(Some(rows.chunk_by(|a, b| a.start == b.start).map(step).collect()))
    }
}

/// The time that is meant without bounds; `current` is the present one, or the one before it.
fn usual(told: Told, now: Time, zone: &Zone, current: impl Fn(bool) -> Span) -> Span {
    match told {
        Told::Current => current(false),
        Told::Previous => current(true),
        Told::Daily => {
            let began = period::day(current(false).start, zone).start;
            Span { start: began, end: period::day(now, zone).end }
        }
        Told::Monthly => {
            let this = date_of(now, zone).first_of_month();
            let first = this.checked_sub(jiff::Span::new().months(11)).unwrap_or(this);
            Span { start: start_of_date(first, zone), end: period::month(now, zone).end }
        }
    }
}

/// The open billing period or the one before it, in the quarter hours that reports are made of.
fn period_of(account: &Account, before: bool) -> Span {
    let open = account.windows.period;
    let grid = Grid { anchor: account.anchor, zone: &account.profile.zone };
    let span = if before { Span { start: grid.containing(open.start.plus(-1)).start, end: open.start } } else { open };
    Span { start: span.start.floor(QUARTER), end: span.end.floor(QUARTER) }
}

fn month_of(now: Time, zone: &Zone, before: bool) -> Span {
    let this = period::month(now, zone);
    if before { period::month(this.start.plus(-1), zone) } else { this }
}

/// `api_calls` as `apiCalls`.
fn camel(key: &str) -> String {
    let mut parts = key.split('_').filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or(key).to_owned();
    parts.fold(first, |name, part| {
        let (initial, rest) = part.split_at(part.chars().next().map_or(0, char::len_utf8));
        name + &initial.to_ascii_uppercase() + rest
    })
}

fn values(rows: &[UsageRow], metrics: &[Metric<'_>]) -> Metrics {
    let value = |metric: &Metric<'_>| {
        let row = rows.iter().find(|row| row.meter == metric.meter.key);
        (metric.name.clone(), row.map_or(number(0, metric.meter.decimals), |row| row.value))
    };
    Metrics(metrics.iter().filter(|metric| metric.asked).map(value).collect())
}

fn totals(tenant: &OrganizationKey, rows: &[UsageRow], metrics: &[Metric<'_>]) -> TenantTotals {
    let of = |key: &str| rows.iter().find(|row| row.meter.as_str() == key).map_or(number(0, 0), |row| row.value);
    TenantTotals {
        tenant_id: tenant.to_string(),
        totals: values(rows, metrics),
        cost: of("llm_cost"),
        errors: of("errors"),
        series: None,
    }
}

/// What tenants used, added up.
fn together(tenants: &[TenantTotals], metrics: &[Metric<'_>]) -> Metrics {
    let mut sum = values(&[], metrics);
    for tenant in tenants {
        for (total, (_, value)) in sum.0.iter_mut().zip(&tenant.totals.0) {
            total.1.units += value.units;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::camel;

    #[test]
    fn metrics_are_named_in_camel_case() {
        for (key, name) in [("api_calls", "apiCalls"), ("tokens", "tokens"), ("_a__b_", "aB"), ("my-meter", "my-meter")]
        {
            assert_eq!(camel(key), name);
        }
    }
}
