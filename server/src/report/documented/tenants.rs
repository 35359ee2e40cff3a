//! `GET /api/admin/usage`: what organizations used of every metric, in all or by day or month.

use metergate_rules::id::{OrganizationKey, OrganizationRef};
use metergate_rules::period::{Zone, date_of};
use metergate_rules::time::Span;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::usage::{Granularity, MOST_ROWS, UsageQuery, UsageRow};
use super::super::{Report, Timestamp, refuse};
use super::number;
use super::tenant::Bound;
use crate::http::number::Number;
use crate::store::reader::ReadError;

mod metrics;
mod time;

use metrics::Metric;
pub use metrics::Metrics;
pub use time::{InvalidPeriod, Told};

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

impl Report<'_> {
    /// `GET /api/admin/usage`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where an organization does not exist for this caller, or where what is asked makes no sense
    /// or is too much.
    pub fn tenants_usage(&self, query: &TenantsQuery) -> Result<TenantsUsage, ReadError> {
        let (span, zone) = self.span(query)?;
        let metrics = self.metrics(&query.metrics)?;
        let of_all = usage_query(query, span, zone, &metrics);
        let found = self.usage(&of_all)?;
        let (mut tenants, mut told) = (Vec::new(), 0);
        for rows in found.data.chunk_by(|a, b| a.organization == b.organization) {
            let Some(tenant) = rows.first().map(|row| &row.organization) else { continue };
            let series = self.series(query.told, &of_all, tenant, &metrics)?;
            told += series.as_ref().map_or(0, Vec::len) * metrics.len();
            if told > MOST_ROWS {
                return refuse("period: this is too much; ask for a shorter time, fewer tenants or fewer metrics");
            }
            tenants.push(totals(tenant, rows, &metrics, series));
        }
        let period = Bounds { from: Timestamp(span.start), to: Timestamp(span.end) };
        let totals = Metrics::sum(tenants.iter().map(|tenant| &tenant.totals), &metrics);
        Ok(TenantsUsage { period, tenants, totals, next: found.next })
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
        rows.sort_by_key(|row| row.start.0);
        let zone = query.zone.clone().unwrap_or_default();
        let form = if told == Told::Daily { "%Y-%m-%d" } else { "%Y-%m" };
        let step = |rows: &[UsageRow]| Step {
            date: date_of(rows[0].start.0, &zone).strftime(form).to_string(),
            values: Metrics::of(rows, metrics),
        };
        Ok(Some(rows.chunk_by(|a, b| a.start.0 == b.start.0).map(step).collect()))
    }
}

/// The query of everything in one bucket; with every organization, also where nothing happened.
fn usage_query(query: &TenantsQuery, span: Span, zone: Zone, metrics: &[Metric<'_>]) -> UsageQuery {
    UsageQuery {
        organizations: (!query.tenants.is_empty()).then(|| query.tenants.clone()),
        meters: Some(metrics.iter().map(|metric| metric.meter.key.clone()).collect()),
        from: Some(span.start),
        to: Some(span.end),
        zone: Some(zone),
        dense: true,
        limit: query.limit,
        after: query.after.clone(),
        ..UsageQuery::default()
    }
}

fn totals(
    tenant: &OrganizationKey,
    rows: &[UsageRow],
    metrics: &[Metric<'_>],
    series: Option<Vec<Step>>,
) -> TenantTotals {
    let of = |key: &str| rows.iter().find(|row| row.meter.as_str() == key).map_or(number(0, 0), |row| row.value);
    let (tenant_id, totals) = (tenant.to_string(), Metrics::of(rows, metrics));
    TenantTotals { tenant_id, totals, cost: of("llm_cost"), errors: of("errors"), series }
}
