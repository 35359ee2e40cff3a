//! `GET /api/admin/usage/{tenant}`: three figures by day.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use metergate_rules::id::{MeterKey, OrganizationRef};
use metergate_rules::period::{Date, Zone, date_of, start_of_date};
use metergate_rules::time::{DAY, Span, Time};
use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::super::usage::{Granularity, UsageQuery, UsageRow};
use super::super::{Report, refuse};
use super::{key_of, number};
use crate::http::number::Number;
use crate::store::reader::ReadError;

/// Days in an answer at most.
const MOST_DAYS: i64 = 3_660;
const METERS: [&str; 3] = ["api_calls", "storage_bytes", "active_users"];

/// A day or an instant: where a report begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A whole day of the report's zone.
    Day(Date),
    /// An instant.
    At(Time),
}

/// The text is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Send a date such as 2026-11-22, or a time such as 2026-11-22T11:00:00Z")]
pub struct InvalidBound;

impl FromStr for Bound {
    type Err = InvalidBound;

    fn from_str(text: &str) -> Result<Self, InvalidBound> {
        let day =
            |text: &str| text.parse().ok().filter(|date: &Date| (1900..2200).contains(&date.year())).map(Self::Day);
        let found = if text.len() == 10 { day(text) } else { text.parse().ok().map(Self::At) };
        found.ok_or(InvalidBound)
    }
}

impl Bound {
    fn day(self, zone: &Zone) -> Date {
        match self {
            Self::Day(date) => date,
            Self::At(time) => date_of(time, zone),
        }
    }

    /// Its day of UTC, since 1970-01-01.
    pub fn utc_day(self) -> i32 {
        i32::try_from(self.start(&Zone::utc()).micros().div_euclid(DAY)).unwrap_or(i32::MAX)
    }

    /// The first instant in what begins here.
    pub(super) fn start(self, zone: &Zone) -> Time {
        match self {
            Self::Day(date) => start_of_date(date, zone),
            Self::At(time) => time,
        }
    }

    /// The first instant after what ends here; a day is in it.
    pub(super) fn end(self, zone: &Zone) -> Time {
        match self {
            Self::Day(date) => start_of_date(date.tomorrow().unwrap_or(date), zone),
            Self::At(time) => time,
        }
    }
}

/// A date on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateBody(pub Date);

impl fmt::Display for DateBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for DateBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl ToSchema for DateBody {}
impl PartialSchema for DateBody {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Date);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

/// The days of a report.
#[derive(Debug, Serialize, ToSchema)]
pub struct Days {
    /// The first.
    pub from: DateBody,
    /// The last.
    pub to: DateBody,
}

/// The figures of a day, or of all of them.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantFigures {
    /// Calls.
    pub api_calls: Number,
    /// The last known level at the end.
    pub storage_bytes: Number,
    /// How many different users.
    pub active_users: Number,
}

/// A day's figures.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantDay {
    /// The day, in the organization's zone.
    pub date: DateBody,
    /// Its figures.
    #[serde(flatten)]
    pub figures: TenantFigures,
}

/// What an organization used, by day.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantUsage {
    /// The organization's key.
    pub tenant_id: String,
    /// The days, both ends included.
    pub period: Days,
    /// Over all days; users who came on several are counted once.
    pub totals: TenantFigures,
    /// Every day.
    pub daily: Vec<TenantDay>,
}

impl TenantFigures {
    const NONE: Self = Self { api_calls: number(0, 0), storage_bytes: number(0, 0), active_users: number(0, 0) };

    fn take(&mut self, row: &UsageRow) {
        match row.meter.as_str() {
            "api_calls" => self.api_calls = row.value,
            "storage_bytes" => self.storage_bytes = row.value,
            _ => self.active_users = row.value,
        }
    }
}

impl Report<'_> {
    /// `GET /api/admin/usage/{tenant}`: without bounds the billing period until today.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller, or where the days make no sense.
    pub fn tenant_usage(
        &self,
        organization: &OrganizationRef,
        from: Option<Bound>,
        to: Option<Bound>,
    ) -> Result<TenantUsage, ReadError> {
        let current = self.current(organization)?;
        let zone = &current.account.profile.zone;
        let last = to.map_or_else(|| date_of(current.now, zone), |bound| bound.day(zone));
        let first =
            from.map_or_else(|| date_of(current.account.shown_period().start, zone).min(last), |bound| bound.day(zone));
        let span = Span { start: start_of_date(first, zone), end: Bound::Day(last).end(zone) };
        check_length(span)?;
        let query = self.tenant_query(organization, span);
        let mut totals = TenantFigures::NONE;
        self.usage(&query)?.data.iter().for_each(|row| totals.take(row));
        let mut days: BTreeMap<Date, TenantFigures> =
            dates(first, last).into_iter().map(|date| (date, TenantFigures::NONE)).collect();
        for row in self.usage(&UsageQuery { granularity: Granularity::Day, ..query })?.data {
            if let Some(day) = days.get_mut(&date_of(row.start.0, zone)) {
                day.take(&row);
            }
        }
        Ok(TenantUsage {
            tenant_id: key_of(&current),
            period: Days { from: DateBody(first), to: DateBody(last) },
            totals,
            daily: days.into_iter().map(|(date, figures)| TenantDay { date: DateBody(date), figures }).collect(),
        })
    }

    fn tenant_query(&self, organization: &OrganizationRef, span: Span) -> UsageQuery {
        let known = METERS.into_iter().filter(|key| self.catalogue.meter(key).is_some());
        UsageQuery {
            organizations: Some(vec![organization.clone()]),
            meters: Some(known.filter_map(|key| MeterKey::new(key).ok()).collect()),
            from: Some(span.start),
            to: Some(span.end),
            dense: true,
            ..UsageQuery::default()
        }
    }
}

fn dates(first: Date, last: Date) -> Vec<Date> {
    first.series(jiff::Span::new().days(1)).take_while(|date| *date <= last).collect()
}

/// Refuses a time that does not go forward, or is too long to be told by day.
pub(super) fn check_length(span: Span) -> Result<(), ReadError> {
    if span.end <= span.start {
        return refuse("to: must not be before from");
    } else if span.end.since(span.start) > MOST_DAYS * DAY {
        return refuse(format!("to: ask for at most {MOST_DAYS} days at once"));
    }
    Ok(())
}
