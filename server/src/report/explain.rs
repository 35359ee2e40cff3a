//! How a figure came about (D11).

use metergate_rules::due::status_name;
use metergate_rules::id::{MeterKey, OrganizationRef};
use metergate_rules::meter::{Aggregation, Meter};
use metergate_rules::plan::Enforcement;
use metergate_rules::time::Time;
use metergate_rules::window::Window;
use serde::Serialize;
use utoipa::ToSchema;

use super::audit::AuditEntryBody;
use super::figures::Figures;
use super::grants::GrantBody;
use super::organization::{LockBody, plan_of};
use super::quota::{Source, source_of};
use super::{Current, Period, Report, Timestamp};
use crate::http::number::Number;
use crate::store::StoreError;
use crate::store::reader::ReadError;

mod entries;
mod past;

/// Everything that an organization's figures are made of, at one time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The organization's key.
    pub organization: String,
    /// The time that the figures are of.
    pub at: Timestamp,
    /// The key of its plan.
    pub plan: String,
    /// The plan's name for people; its key where it has none.
    pub plan_name: String,
    /// The version of the plan.
    pub plan_version: u32,
    /// `trial`, `active`, `past_due` or `canceled`.
    pub status: &'static str,
    /// When its trial ends, or ended.
    pub trial_ends_at: Option<Timestamp>,
    /// Whether a lock stops consumption.
    pub locked: bool,
    /// The locks that hold.
    pub locks: Vec<LockBody>,
    /// The zone of its days, months and billing periods.
    pub time_zone: String,
    /// The billing period that is open.
    pub current_period: Period,
    /// When the next one begins.
    pub next_reset_date: Timestamp,
    /// The meters, by key.
    pub meters: Vec<MeterExplanation>,
    /// What was changed about plan, limits, credit, trial, locks and counters: the last 50 entries, newest first.
    pub audit: Vec<AuditEntryBody>,
}

/// One meter's limits and use.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeterExplanation {
    /// The meter's key.
    pub meter: String,
    /// `sum`, `count`, `max`, `last` or `uniqueCount`.
    #[schema(value_type = String, example = "sum")]
    pub aggregation: Aggregation,
    /// Whether the plan lets the organization use it at all.
    pub entitled: bool,
    /// The extra quota that is set.
    pub extra: Number,
    /// All credit on it, oldest first, also what is used up, expired or voided.
    pub grants: Vec<GrantBody>,
    /// Every window in which it counts, shortest first, with limit or without.
    pub windows: Vec<WindowExplanation>,
}

/// One window's use, and how what remains follows from it.
///
/// Where the window has a limit, with *credit* the sum of `remaining` over the meter's grants whose `state` is
/// `active` if the window is `lifted`, else 0 (D6):
///
/// - `remaining` = max(0, `max` + `extra` − (`used` − `fromGrants`) − (`held` − `heldFromGrants`)) + *credit*
/// - `limit` = `max` + `extra` + `fromGrants` + `heldFromGrants` + *credit*
/// - `overage` = max(0, `used` − `fromGrants` − `max` − `extra`)
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowExplanation {
    /// The window.
    #[schema(value_type = String, example = "billingPeriod")]
    pub window: Window,
    /// Where it begins; of `minute` and `hour` their length before now; `null` for the lifetime.
    pub start: Option<Timestamp>,
    /// Where it ends; `null` for the lifetime.
    pub end: Option<Timestamp>,
    /// Its last reset: what was used before it does not count.
    pub reset_at: Option<Timestamp>,
    /// Where its limit comes from; `null` without limit.
    pub source: Option<Source>,
    /// When the override ends, if it does.
    pub until: Option<Timestamp>,
    /// `hard` refuses, `soft` allows and counts overage; `null` without limit.
    #[schema(value_type = Option<String>)]
    pub enforcement: Option<Enforcement>,
    /// Whether its limit says that there is none.
    pub unlimited: bool,
    /// What override or plan allow; `null` without limit.
    pub max: Option<Number>,
    /// Whether extra quota and credit lift its limit: it is the meter's period limit.
    pub lifted: bool,
    /// The extra quota that counts here.
    pub extra: Number,
    /// All use since the window or the last reset began.
    pub used: Number,
    /// The part of it that came from grants.
    pub from_grants: Number,
    /// What reservations hold.
    pub held: Number,
    /// The part of it that grants hold.
    pub held_from_grants: Number,
    /// The limit to show; `null` without limit.
    pub limit: Option<Number>,
    /// What may still be used; `null` without limit.
    pub remaining: Option<Number>,
    /// What was used beyond the limit.
    pub overage: Number,
    /// When more becomes free, if time frees any.
    pub resets_at: Option<Timestamp>,
}

impl Report<'_> {
    /// `GET /v1/organizations/{org}/explain`: one meter or all that concern the organization, as they are now, or were.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller or no such meter, or where that time
    /// cannot be explained.
    pub fn explain(
        &self,
        organization: &OrganizationRef,
        meter: Option<&MeterKey>,
        at: Option<Time>,
    ) -> Result<Explanation, ReadError> {
        let current = match at {
            Some(at) => self.current_at(organization, at)?,
            None => self.current(organization)?,
        };
        let live = self.view.account(self.scope, organization)?;
        at.map_or(Ok(()), |at| entries::are_kept(self.view, &live, at))?;
        let meters = match meter {
            Some(key) => vec![self.meter(key)?],
            None => self.meters_of(&current),
        };
        let (account, (plan, plan_version)) = (&current.account, plan_of(&current.account, self.catalogue));
        Ok(Explanation {
            organization: account.profile.key.to_string(),
            at: Timestamp(current.now),
            plan,
            plan_name: self.catalogue.plan_by_id(account.plan).map_or_else(String::new, |plan| plan.title().to_owned()),
            plan_version,
            status: status_name(account.status),
            trial_ends_at: account.trial.map(|trial| Timestamp(trial.ends_at)),
            locked: !account.locks.is_empty(),
            locks: LockBody::all(&account.locks),
            time_zone: account.profile.zone.name().to_owned(),
            current_period: account.shown_period().into(),
            next_reset_date: Timestamp(account.windows.period.end),
            meters: meters.into_iter().map(|meter| self.meter_explanation(&current, meter)).collect(),
            audit: entries::behind(
                (self.view, self.catalogue),
                &live,
                meter.map(MeterKey::as_str),
                current.now,
                self.now,
            )?,
        })
    }

    /// # Errors
    /// [`metergate_rules::decide::Problem::UnknownMeter`] where the catalogue has no such meter.
    pub(super) fn meter(&self, key: &MeterKey) -> Result<&Meter, ReadError> {
        let unknown = StoreError::Problem(metergate_rules::decide::Problem::UnknownMeter);
        Ok(self.catalogue.meter(key.as_str()).ok_or(unknown)?)
    }

    fn meter_explanation(&self, current: &Current<'_>, meter: &Meter) -> MeterExplanation {
        let account = &current.account;
        let of_meter = account.grants.iter().filter(|grant| grant.meter == meter.id);
        let counts = |window: &Window| window.sliding_length().is_none() || meter.aggregation.is_rate();
        let windows = Window::ALL.into_iter().filter(counts);
        MeterExplanation {
            meter: meter.key.to_string(),
            aggregation: meter.aggregation,
            entitled: Self::is_entitled(current, meter),
            extra: self.number(meter.id, account.extra_of(meter.id)),
            grants: of_meter.map(|grant| GrantBody::of(grant, self.catalogue, current.now, self.text)).collect(),
            windows: windows.map(|window| self.window_explanation(current, meter, window)).collect(),
        }
    }

    fn window_explanation(&self, current: &Current<'_>, meter: &Meter, window: Window) -> WindowExplanation {
        let figures = Figures::of(current, meter, window);
        let number = |quantity| self.number(meter.id, quantity);
        let (source, found) = source_of(current, meter, window);
        let bounded = (window != Window::Lifetime).then_some(figures.span);
        WindowExplanation {
            window,
            start: bounded.map(|span| Timestamp(span.start)),
            end: bounded.map(|span| Timestamp(span.end)),
            reset_at: figures.reset_at.map(Timestamp),
            source: figures.in_force.map(|_| source),
            until: found.and_then(|it| it.until).map(Timestamp),
            enforcement: figures.in_force.map(|in_force| in_force.enforcement),
            unlimited: figures.is_unlimited(),
            max: figures.max().map(number),
            lifted: figures.lifted,
            extra: number(figures.extra),
            used: number(figures.used),
            from_grants: number(figures.drawn),
            held: number(figures.held),
            held_from_grants: number(figures.held_drawn),
            limit: figures.limit().map(number),
            remaining: figures.remaining().map(number),
            overage: number(figures.overage()),
            resets_at: figures.resets_at.map(Timestamp),
        }
    }
}
