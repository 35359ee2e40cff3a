//! Use over time, by organization, meter, bucket of time and dimensions (M4).
//!
//! Rollups hold quarter hours of UTC, and every zone's hours, days and months begin at one, so that buckets of any zone
//! are exact. One range of rows is read for each organization and meter, whatever the number of buckets.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::{MeterKey, OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::meter::{Aggregation, Meter};
use metergate_rules::period::Zone;
use metergate_rules::time::{Span, Time};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Listed, Report, bad_cursor, refuse, text_of};
use crate::http::number::Number;
use crate::store::Scope;
use crate::store::reader::ReadError;
use crate::store::rollup::QUARTER;

mod buckets;
mod csv;
mod durations;
mod group;
mod series;

use buckets::Buckets;
pub use buckets::Edge;
pub use csv::csv;
pub use durations::DurationsBody;
pub use group::GroupBody;
use group::Grouping;
use series::Whole;

/// Rows in an answer at most, and buckets of one organization and meter.
pub const MOST_ROWS: usize = 100_000;
/// Organizations that can be named in one query.
pub const MOST_ORGANIZATIONS: usize = 100;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct UsageQuery {
    /// These organizations; `None`: all, by key, in pages.
    pub organizations: Option<Vec<OrganizationRef>>,
    /// These meters; `None`: all.
    pub meters: Option<Vec<MeterKey>>,
    /// The first instant; of one organization its billing period's start, cut to a quarter hour, without one.
    pub from: Option<Time>,
    /// The first instant after; of one organization the end of the quarter hour that contains now, without one.
    pub to: Option<Time>,
    /// The length of the buckets.
    pub granularity: Granularity,
    /// The dimensions to group by; every meter must have them.
    pub group_by: Vec<String>,
    /// The zone of hours, days and months; of one organization its own without one, else UTC.
    pub zone: Option<Zone>,
    /// Whether buckets in which nothing happened are there too; does nothing where use is grouped.
    pub dense: bool,
    /// Whether how long things took is told, too; not where use is grouped.
    pub durations: bool,
    /// Organizations in a page at most, where all are asked for.
    pub limit: usize,
    /// Where that page goes on.
    pub after: Option<Vec<u8>>,
}

/// The length of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Granularity {
    /// A clock hour.
    Hour,
    /// A calendar day.
    Day,
    /// A calendar month.
    Month,
    /// All of the time asked for.
    #[default]
    Total,
}

/// The text is not a granularity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be hour, day, month or total")]
pub struct InvalidGranularity;

impl FromStr for Granularity {
    type Err = InvalidGranularity;

    fn from_str(name: &str) -> Result<Self, InvalidGranularity> {
        match name {
            "hour" => Ok(Self::Hour),
            "day" => Ok(Self::Day),
            "month" => Ok(Self::Month),
            "total" => Ok(Self::Total),
            _ => Err(InvalidGranularity),
        }
    }
}

/// What one meter of one organization did in one bucket, of one group where use is grouped.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UsageRow {
    /// The organization's key.
    #[schema(value_type = String)]
    pub organization: OrganizationKey,
    /// The meter's key.
    #[schema(value_type = String)]
    pub meter: MeterKey,
    /// The first instant of the bucket.
    #[schema(value_type = String, format = DateTime)]
    pub start: Edge,
    /// The first instant after it.
    #[schema(value_type = String, format = DateTime)]
    pub end: Edge,
    /// By the meter's aggregation: the sum, the number of events, the peak, the level at the bucket's end, or how many
    /// distinct values there were.
    pub value: Number,
    /// How many events and decisions.
    pub count: u64,
    /// The values of the dimensions that were asked for; `null` where an event did not have one. `{}` without grouping.
    #[schema(value_type = Object)]
    pub group: Arc<GroupBody>,
    /// Whether this is what went beyond the 1,000 dimension sets that are kept of a day: its `group` says `other`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// How long it took, where that is asked for and anything says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durations: Option<DurationsBody>,
}

/// An organization whose use is reported.
struct Subject {
    id: OrganizationId,
    key: OrganizationKey,
    /// By its own clock.
    now: Time,
}

impl Report<'_> {
    /// `GET /v1/usage`: by organization, meter, start and group.
    ///
    /// Without `dense` the buckets in which nothing happened are left out. A level is there without anything happening,
    /// so that `last` meters have a row in every bucket from their first event on, until now.
    ///
    /// # Errors
    /// [`ReadError::Store`] where an organization or a meter does not exist for this caller, or where what is asked makes
    /// no sense or is more than [`MOST_ROWS`].
    pub fn usage(&self, query: &UsageQuery) -> Result<Listed<UsageRow>, ReadError> {
        let meters = self.usage_meters(query)?;
        let grouping = Grouping::new(&query.group_by, &meters)?;
        if query.durations && !grouping.is_none() {
            return refuse("durations: they are kept by meter alone; ask for them without groupBy");
        }
        match (&query.organizations, self.scope) {
            (Some(named), _) => self.usage_of_named(query, named, &meters, &grouping),
            (None, Scope::Organization(own) | Scope::Portal { organization: own, .. }) => {
                self.usage_of_named(query, &[OrganizationRef::Id(own)], &meters, &grouping)
            }
            (None, Scope::Member { user, .. }) => {
                let mine = self.view.people().memberships(user).filter(|member| member.is_active);
                // One that is being deleted may still have members, and is not there.
                let there = mine.filter_map(|member| self.view.account_if_there(member.organization).transpose());
                let there = there.map(|account| Ok(OrganizationRef::Id(account?.id)));
                let mine = there.collect::<Result<Vec<_>, ReadError>>()?;
                self.usage_of_named(query, &mine, &meters, &grouping)
            }
            (None, Scope::Team) => self.usage_of_all(query, &meters, &grouping),
        }
    }

    fn usage_meters(&self, query: &UsageQuery) -> Result<Vec<&Meter>, ReadError> {
        let mut meters = match &query.meters {
            Some(keys) => keys.iter().map(|key| self.meter(key)).collect::<Result<Vec<_>, _>>()?,
            None => {
                let living =
                    |meter: &&Meter| self.catalogue.meter(meter.key.as_str()).is_some_and(|m| m.id == meter.id);
                self.catalogue.rules.meters().into_iter().map(|meter| &**meter).filter(living).collect()
            }
        };
        meters.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        meters.dedup_by_key(|meter| meter.id);
        Ok(meters)
    }

    fn usage_of_named(
        &self,
        query: &UsageQuery,
        named: &[OrganizationRef],
        meters: &[&Meter],
        grouping: &Grouping,
    ) -> Result<Listed<UsageRow>, ReadError> {
        if named.is_empty() || named.len() > MOST_ORGANIZATIONS {
            return refuse(format!("organization: name 1 to {MOST_ORGANIZATIONS}, or leave it out for all"));
        }
        let mut accounts =
            named.iter().map(|one| Ok(self.current(one)?.account)).collect::<Result<Vec<_>, ReadError>>()?;
        accounts.sort_unstable_by(|a, b| a.profile.key.cmp(&b.profile.key));
        accounts.dedup_by_key(|account| account.id);
        let buckets = self.buckets(query, if let [one] = &*accounts { Some(one) } else { None })?;
        check_size(accounts.len() * meters.len() * buckets.len())?;
        let mut rows = Vec::new();
        for account in &accounts {
            let now = account.own_time(self.now);
            let subject = Subject { id: account.id, key: account.profile.key.clone(), now };
            rows.append(&mut self.usage_rows(&subject, query, meters, grouping, &buckets)?);
            check_size(rows.len())?;
        }
        Ok(Listed { data: rows, next: None })
    }

    /// A page ends before the organization that would pass [`MOST_ROWS`].
    fn usage_of_all(
        &self,
        query: &UsageQuery,
        meters: &[&Meter],
        grouping: &Grouping,
    ) -> Result<Listed<UsageRow>, ReadError> {
        let buckets = self.buckets(query, None)?;
        check_size(meters.len() * buckets.len())?;
        let until_now = !query.dense && meters.iter().any(|meter| meter.aggregation == Aggregation::Last);
        let Some(after) = text_of(query.after.as_deref().unwrap_or_default()) else { return bad_cursor() };
        let found = self.keys_after(after, query.limit.saturating_add(1))?;
        let (mut rows, mut last) = (Vec::new(), None);
        for (done, (id, key)) in found.into_iter().enumerate() {
            if done >= query.limit.max(1) {
                return Ok(Listed { data: rows, next: last });
            }
            let cursor = key.as_str().as_bytes().to_vec();
            let account = if until_now { self.view.account_if_there(id)? } else { None };
            let now = account.map_or(self.now, |account| account.own_time(self.now));
            let mut own = self.usage_rows(&Subject { id, key, now }, query, meters, grouping, &buckets)?;
            if done > 0 && rows.len() + own.len() > MOST_ROWS {
                return Ok(Listed { data: rows, next: last });
            }
            rows.append(&mut own);
            last = Some(cursor);
        }
        Ok(Listed { data: rows, next: None })
    }

    fn buckets(&self, query: &UsageQuery, one: Option<&Account>) -> Result<Buckets, ReadError> {
        let start = |account: &Account| account.windows.period.start.floor(QUARTER);
        let (Some(from), Some(to)) = (
            query.from.or_else(|| one.map(start)),
            query.to.or_else(|| one.map(|account| account.own_time(self.now).floor(QUARTER).plus(QUARTER))),
        ) else {
            return refuse("from, to: both are needed unless exactly one organization is named");
        };
        for (name, time) in [("from", from), ("to", to)] {
            if time.floor(QUARTER) != time {
                return refuse(format!("{name}: must be at a quarter hour, such as {}", time.floor(QUARTER)));
            }
        }
        if to <= from {
            return refuse("to: must be after from");
        }
        let zone = query.zone.clone().or_else(|| one.map(|account| account.profile.zone.clone()));
        Buckets::new(Span { start: from, end: to }, query.granularity, &zone.unwrap_or_default())
    }

    fn usage_rows(
        &self,
        subject: &Subject,
        query: &UsageQuery,
        meters: &[&Meter],
        grouping: &Grouping,
        buckets: &Buckets,
    ) -> Result<Vec<UsageRow>, ReadError> {
        let mut rows = Vec::new();
        let whole = Whole::read(self.view, subject.id, meters, (grouping, buckets))?;
        for meter in meters {
            let series = series::read(self.view, subject.id, meter, (grouping, buckets), whole.as_ref())?;
            let durations = match query.durations {
                true => durations::read(self.view, subject.id, meter.id, buckets)?,
                false => BTreeMap::new(),
            };
            let points = series.points(meter, grouping, buckets, query.dense, subject.now)?;
            check_size(rows.len() + points.len())?;
            for (bucket, group, point) in points {
                let [start, end] = buckets.edges(bucket);
                rows.push(UsageRow {
                    organization: subject.key.clone(),
                    meter: meter.key.clone(),
                    start,
                    end,
                    value: Number { units: point.value(meter.aggregation), decimals: meter.decimals, text: self.text },
                    count: u64::try_from(point.count).unwrap_or(0),
                    group: group.body(grouping),
                    other: group.is_other(),
                    durations: durations.get(&bucket).and_then(|durations| durations.body(self.text)),
                });
            }
        }
        Ok(rows)
    }
}

fn check_size(rows: usize) -> Result<(), ReadError> {
    if rows > MOST_ROWS { too_many(&rows.to_string()) } else { Ok(()) }
}

fn too_many<T>(rows: &str) -> Result<T, ReadError> {
    refuse(format!(
        "granularity: this would be {rows} rows, at most {MOST_ROWS} are given; ask for a shorter time, longer buckets, \
         fewer meters or organizations, or no groups"
    ))
}

/// Whether a meter's distinct values can be told apart by dimension: they are kept without.
const fn can_be_grouped(meter: &Meter) -> bool {
    !matches!(meter.aggregation, Aggregation::UniqueCount)
}
