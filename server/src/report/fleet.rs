//! The fleet view as operators see it (O9).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use metergate_rules::account::LockCause;
use metergate_rules::id::{MeterId, OrganizationId, OrganizationRef};
use metergate_rules::meter::Aggregation;
use metergate_rules::period::{Zone, date_of};
use metergate_rules::time::{DAY, Time};
use metergate_rules::window::Window;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Report, Timestamp};
use crate::fleet::{Overview, Tight, Top};
use crate::http::number::Number;
use crate::store::reader::ReadError;
use crate::store::rollup::day_of;
use crate::store::totals::Totals;
use crate::store::{Scope, StoreError};

/// Days of usage over all, today among them.
const DAYS: i32 = 31;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct FleetQuery {
    /// Organizations in a list at most.
    pub limit: usize,
    /// Use of this meter alone; of every one without it.
    pub meter: Option<MeterId>,
}

/// All organizations at one time. Those for tests are counted in `organizations` alone.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetBody {
    /// Everything that was acknowledged by then is in it: at most 5 s ago, but after a storm of changes.
    pub as_of: Timestamp,
    /// Whether all organizations have been gone through. The first question begins it; until its end `organizations` says how
    /// far it has come.
    pub complete: bool,
    /// How many organizations are in it.
    pub organizations: u64,
    /// Those of them that are for tests.
    pub test_organizations: u64,
    /// Organizations that are not in it, since what is stored of them is damaged; the log names them.
    pub unreadable: u64,
    /// How many have each status.
    pub by_status: BTreeMap<&'static str, u64>,
    /// How many are on each plan, in whatever version.
    pub by_plan: BTreeMap<String, u64>,
    /// How many are locked by each cause: `operator`, `trial`, `billing`.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub by_lock_cause: BTreeMap<LockCause, u64>,
    /// Those that have used or hold at least 80 % of a hard limit of a day, month, billing period or lifetime, the nearest
    /// first.
    pub close_to_limit: Leading<CloseToLimit>,
    /// The last locked first.
    pub locked: Leading<LockedOne>,
    /// The next end first.
    pub in_trial: Leading<InTrial>,
    /// Those whose decisions were refused most often.
    pub refused_most: RefusedMost,
    /// Of each meter: who used most in the open billing period, and what all used together.
    pub meters: Vec<MeterOverAll>,
}

/// The first of an order. Of equals the one with the smaller id comes first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Leading<T> {
    /// How many there are in all.
    pub total: u64,
    /// The first `limit` of them.
    pub data: Vec<T>,
}

/// An organization in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Named {
    /// Its key.
    pub organization: String,
    /// Its name.
    pub name: String,
}

/// One that is close to a limit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloseToLimit {
    #[serde(flatten)]
    named: Named,
    /// The meter.
    pub meter: String,
    /// The limit's window.
    #[schema(value_type = String, example = "billingPeriod")]
    pub window: Window,
    /// The limit with extra quota and credit.
    pub limit: Number,
    /// What of it may still be used.
    pub remaining: Number,
    /// What of it is used or held, in percent.
    pub percent: Number,
}

/// One that is locked.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LockedOne {
    #[serde(flatten)]
    named: Named,
    /// Since when its first lock holds.
    pub since: Timestamp,
}

/// One in its trial.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InTrial {
    #[serde(flatten)]
    named: Named,
    /// When the trial ends.
    pub ends_at: Timestamp,
}

/// Refused decisions, each call once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RefusedMost {
    /// Since when they are counted: at most 24 hours ago, at the earliest the start of the server.
    pub since: Timestamp,
    #[serde(flatten)]
    leading: Leading<Refused>,
}

/// One of which decisions were refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Refused {
    #[serde(flatten)]
    named: Named,
    /// How many.
    pub refused: u64,
}

/// One that used something.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct User {
    #[serde(flatten)]
    named: Named,
    /// What, in its open billing period.
    pub used: Number,
}

/// One meter over all organizations.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeterOverAll {
    /// Its key.
    pub meter: String,
    /// Who used most.
    pub organizations: Leading<User>,
    /// The last 31 days on which something happened, oldest first.
    pub days: Vec<DayOverAll>,
}

/// One UTC day of one meter.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DayOverAll {
    /// The day, such as `2026-11-22`.
    pub date: String,
    /// Events and decisions, less those that are void.
    pub count: i64,
    /// The sum of a meter that adds up, the highest peak of one that has peaks; `null` where neither can be said of all.
    pub value: Option<Number>,
}

impl Report<'_> {
    /// `GET /v1/fleet`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where what all used together cannot be read.
    pub fn fleet(&self, overview: &Overview, query: FleetQuery) -> Result<FleetBody, ReadError> {
        let mut by_plan: BTreeMap<String, u64> = BTreeMap::new();
        for (plan, count) in &overview.by_plan {
            let key = self.catalogue.plan_by_id(*plan).map_or("unknown", |plan| plan.key.as_str());
            *by_plan.entry(key.to_owned()).or_default() += count;
        }
        let limit = query.limit;
        let close = |named, _, id| self.close_to_limit(named, overview.limits.get(&id)?);
        let locked = |named, Reverse(since), _| Some(LockedOne { named, since: Timestamp(since) });
        let in_trial = |named, ends, _| Some(InTrial { named, ends_at: Timestamp(ends) });
        let refused = |named, Reverse(refused), _| Some(Refused { named, refused });
        Ok(FleetBody {
            as_of: Timestamp(overview.as_of),
            complete: overview.complete,
            organizations: overview.organizations,
            test_organizations: overview.tests,
            unreadable: overview.unreadable,
            by_status: overview.by_status.clone(),
            by_plan,
            by_lock_cause: overview.by_cause.clone(),
            close_to_limit: self.leading(&overview.close, limit, close),
            locked: self.leading(&overview.locked, limit, locked),
            in_trial: self.leading(&overview.in_trial, limit, in_trial),
            refused_most: RefusedMost {
                since: Timestamp(overview.refused_since),
                leading: self.leading(&overview.refused, limit, refused),
            },
            meters: self.meters_over_all(overview, query)?,
        })
    }

    fn close_to_limit(&self, named: Named, tight: &Tight) -> Option<CloseToLimit> {
        let percent = Number { units: tight.share().into(), decimals: 2, text: self.text };
        Some(CloseToLimit {
            named,
            meter: self.catalogue.meter_key(tight.meter).to_owned(),
            window: tight.window,
            limit: self.number(tight.meter, tight.limit),
            remaining: self.number(tight.meter, tight.remaining),
            percent,
        })
    }

    /// The first of a list by name. One that cannot be read has no name, and is left out.
    fn leading<K: Ord + Copy, T>(
        &self,
        top: &Top<K>,
        limit: usize,
        make: impl Fn(Named, K, OrganizationId) -> Option<T>,
    ) -> Leading<T> {
        let named = |id| {
            let account = self.view.account(Scope::Team, &OrganizationRef::Id(id)).ok()?;
            Some(Named { organization: account.profile.key.to_string(), name: account.profile.name.clone() })
        };
        let data = top.iter().take(limit).filter_map(|(key, id)| make(named(id)?, key, id)).collect();
        Leading { total: top.total, data }
    }

    fn meters_over_all(&self, overview: &Overview, query: FleetQuery) -> Result<Vec<MeterOverAll>, ReadError> {
        let usage = overview.usage.as_ref().ok_or(StoreError::Damaged)?;
        let asked = |meter: &MeterId| query.meter.is_none_or(|asked| asked == *meter);
        let all = self.catalogue.rules.meters().into_iter().map(|meter| meter.id);
        let living = |id: &MeterId| self.catalogue.meter(self.catalogue.meter_key(*id)).is_some_and(|m| m.id == *id);
        let nobody = Top::default();
        let over_all = |id: MeterId| MeterOverAll {
            meter: self.catalogue.meter_key(id).to_owned(),
            organizations: self.leading(overview.by_use.get(&id).unwrap_or(&nobody), query.limit, |named, used, _| {
                Some(User { named, used: self.number(id, used.0) })
            }),
            days: self.days_over_all(usage, id, overview.as_of),
        };
        Ok(all.filter(asked).filter(living).map(over_all).collect())
    }

    fn days_over_all(&self, usage: &Totals, meter: MeterId, now: Time) -> Vec<DayOverAll> {
        let today = day_of(now);
        let aggregation = self.catalogue.rules.meter(meter).map(|meter| meter.aggregation);
        let number =
            |units: i64| Number { units: units.into(), decimals: self.catalogue.decimals(meter), text: self.text };
        let days = usage.of(meter, today - DAYS + 1, today).map(|(day, slot)| DayOverAll {
            date: date_of(Time::from_micros(i64::from(day) * DAY), &Zone::utc()).to_string(),
            count: slot.count,
            value: match aggregation {
                Some(Aggregation::Sum | Aggregation::Count) => Some(number(slot.sum)),
                Some(Aggregation::Max) => Some(number(slot.max)),
                _ => None,
            },
        });
        days.collect()
    }
}
