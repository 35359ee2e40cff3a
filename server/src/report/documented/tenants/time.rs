//! Which time `GET /api/admin/usage` tells of.

use std::str::FromStr;

use metergate_rules::account::Account;
use metergate_rules::id::OrganizationRef;
use metergate_rules::period::{self, Grid, Zone, date_of, start_of_date};
use metergate_rules::time::{Span, Time};

use super::super::super::Report;
use super::super::tenant::check_length;
use super::TenantsQuery;
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

impl Report<'_> {
    /// The time that is asked for, in the zone of the one organization, else in UTC.
    pub(super) fn span(&self, query: &TenantsQuery) -> Result<(Span, Zone), ReadError> {
        let own = match self.scope {
            Scope::Organization(own) | Scope::Portal { organization: own, .. } => Some(OrganizationRef::Id(own)),
            Scope::Team | Scope::Member { .. } => None,
        };
        let one = match (&*query.tenants, own) {
            ([one], _) => Some(self.current(one)?),
            ([], Some(own)) => Some(self.current(&own)?),
            _ => None,
        };
        let zone = one.as_ref().map(|one| one.account.profile.zone.clone()).unwrap_or_default();
        let usual = match &one {
            Some(one) => usual(query.told, one.now, &zone, |before| period_of(&one.account, before)),
            None => usual(query.told, self.now, &zone, |before| month_of(self.now, &zone, before)),
        };
        let start = query.from.map_or(usual.start, |bound| bound.start(&zone));
        let end = query.to.map_or(usual.end, |bound| bound.end(&zone));
        check_length(Span { start, end })?;
        Ok((Span { start, end }, zone))
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
    let open = account.shown_period();
    let grid = Grid { anchor: account.anchor, zone: &account.profile.zone };
    let span = if before { Span { start: grid.containing(open.start.plus(-1)).start, end: open.start } } else { open };
    Span { start: span.start.floor(QUARTER), end: span.end.floor(QUARTER) }
}

fn month_of(now: Time, zone: &Zone, before: bool) -> Span {
    let this = period::month(now, zone);
    if before { period::month(this.start.plus(-1), zone) } else { this }
}
