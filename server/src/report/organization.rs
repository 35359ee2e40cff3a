//! An organization as a resource.

use metergate_rules::account::{Account, Lock, LockCause, Scheduled};
use metergate_rules::due::status_name;
use metergate_rules::id::OrganizationRef;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Period, Report, Timestamp, stored_object};
use crate::catalogue::Snapshot;
use crate::store::reader::ReadError;

/// A tenant whose usage is metered.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationBody {
    /// The UUID that Metergate gave it.
    pub id: String,
    /// The key that the team gave it.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// The key of its plan.
    pub plan: String,
    /// The plan's name for people; its key where it has none.
    pub plan_name: String,
    /// The version of the plan that it is on.
    pub plan_version: u32,
    /// `trial`, `active`, `past_due` or `canceled`.
    pub status: &'static str,
    /// When its trial ends, or ended; `null` if it never had one.
    pub trial_ends_at: Option<Timestamp>,
    /// The IANA name of the zone of its days, months and billing periods.
    pub time_zone: String,
    /// Whether a lock stops its consumption.
    pub locked: bool,
    /// The locks that hold.
    pub locks: Vec<LockBody>,
    /// The billing period that is open.
    pub current_period: Period,
    /// The change of plan that waits for it; `null` without one.
    pub scheduled_plan: Option<ScheduledPlan>,
    /// When the next billing period begins.
    pub next_reset_date: Timestamp,
    /// When it was created.
    pub created_at: Timestamp,
    /// What the team keeps with it.
    #[schema(value_type = Object)]
    pub metadata: Box<RawValue>,
    /// Whether it is a test organization.
    pub test: bool,
    /// What the own clock of a test organization shows; `null` without one.
    pub clock: Option<Timestamp>,
}

/// A change of plan that is yet to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledPlan {
    /// The plan's key.
    pub plan: String,
    /// Its name for people; its key where it has none.
    pub plan_name: String,
    /// Its version.
    pub version: u32,
    /// When.
    pub at: Timestamp,
}

impl ScheduledPlan {
    fn of(scheduled: Scheduled, catalogue: &Snapshot) -> Self {
        let named = catalogue.plan_by_id(scheduled.plan);
        let (plan, version) = named.map_or_else(Default::default, |plan| (plan.key.to_string(), plan.version));
        let plan_name = named.map_or_else(String::new, |plan| plan.title().to_owned());
        Self { plan, plan_name, version, at: Timestamp(scheduled.at) }
    }
}

/// A stop on an organization's consumption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LockBody {
    /// `operator`, `billing` or `trial`.
    #[schema(value_type = String, example = "operator")]
    pub cause: LockCause,
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl LockBody {
    /// The locks of an organization.
    pub fn all(locks: &[Lock]) -> Vec<Self> {
        let body = |lock: &Lock| Self { cause: lock.cause, reason: lock.reason.clone(), since: Timestamp(lock.since) };
        locks.iter().map(body).collect()
    }
}

/// The key and the version of an organization's plan.
pub(super) fn plan_of(account: &Account, catalogue: &Snapshot) -> (String, u32) {
    catalogue.plan_by_id(account.plan).map_or_else(Default::default, |plan| (plan.key.to_string(), plan.version))
}

impl OrganizationBody {
    /// The organization of an account on which everything has been applied that has fallen due.
    pub fn of(account: &Account, catalogue: &Snapshot) -> Self {
        let (profile, (plan, plan_version)) = (&*account.profile, plan_of(account, catalogue));
        let plan_name = catalogue.plan_by_id(account.plan).map_or_else(String::new, |plan| plan.title().to_owned());
        Self {
            id: account.id.to_string(),
            key: profile.key.to_string(),
            name: profile.name.clone(),
            plan,
            plan_name,
            plan_version,
            status: status_name(account.status),
            trial_ends_at: account.trial.map(|trial| Timestamp(trial.ends_at)),
            time_zone: profile.zone.name().to_owned(),
            locked: !account.locks.is_empty(),
            locks: LockBody::all(&account.locks),
            current_period: account.shown_period().into(),
            scheduled_plan: account.scheduled.map(|scheduled| ScheduledPlan::of(scheduled, catalogue)),
            next_reset_date: Timestamp(account.windows.period.end),
            created_at: Timestamp(profile.created_at),
            metadata: stored_object(&profile.metadata),
            test: profile.test,
            clock: account.clock.map(Timestamp),
        }
    }
}

impl Report<'_> {
    /// Whether a lock holds now.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is none for this caller.
    pub fn is_locked(&self, organization: &OrganizationRef) -> Result<bool, ReadError> {
        Ok(!self.current(organization)?.account.locks.is_empty())
    }

    /// `GET /v1/organizations/{org}`: the organization, and the number for its entity tag `"v<n>"`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is none for this caller.
    pub fn organization(&self, organization: &OrganizationRef) -> Result<(OrganizationBody, u64), ReadError> {
        let current = self.current(organization)?;
        Ok((OrganizationBody::of(&current.account, self.catalogue), current.account.changes))
    }
}
