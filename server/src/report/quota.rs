//! The limits in force on an organization, and where each comes from.

use metergate_rules::account::Override;
use metergate_rules::id::OrganizationRef;
use metergate_rules::meter::Meter;
use metergate_rules::plan::{Enforcement, RefusalStatus};
use metergate_rules::window::Window;
use serde::Serialize;
use utoipa::ToSchema;

use super::figures::Figures;
use super::organization::plan_of;
use super::{Current, Report, Timestamp};
use crate::http::number::Number;
use crate::store::reader::ReadError;

/// All limits in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// The organization's key.
    pub organization: String,
    /// The key of its plan.
    pub plan: String,
    /// The version of the plan.
    pub plan_version: u32,
    /// When the next billing period begins.
    pub next_reset_date: Timestamp,
    /// The limits by meter, shortest window first.
    pub limits: Vec<QuotaLimit>,
    /// The extra quota that is set, also where no period limit is there to be lifted.
    pub extra: Vec<ExtraBody>,
}

/// Where a limit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The plan's version.
    Plan,
    /// An override for this organization.
    Override,
}

/// A limit in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaLimit {
    /// The meter's key.
    pub meter: String,
    /// The window.
    #[schema(value_type = String, example = "billingPeriod")]
    pub window: Window,
    /// Where it comes from.
    pub source: Source,
    /// Whether it never refuses.
    pub unlimited: bool,
    /// What override or plan allow; `null` if unlimited.
    pub base: Option<Number>,
    /// The standing addition to it; zero on all but the period limit.
    pub extra: Number,
    /// What grants gave since the counter began and can still give; zero on all but the period limit.
    pub granted: Number,
    /// `base` + `extra` + `granted`; `null` if unlimited.
    pub limit: Option<Number>,
    /// All use in the window.
    pub used: Number,
    /// What reservations hold.
    pub held: Number,
    /// What may still be used; `null` if unlimited.
    pub remaining: Option<Number>,
    /// `hard` refuses, `soft` allows and counts overage.
    #[schema(value_type = String, example = "hard")]
    pub enforcement: Enforcement,
    /// The status that gateways give a refusal by it.
    pub status: u16,
    /// When the override ends, if it does.
    pub until: Option<Timestamp>,
    /// When more becomes free, if time frees any.
    pub resets_at: Option<Timestamp>,
}

/// A standing addition to a meter's period limit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExtraBody {
    /// The meter's key.
    pub meter: String,
    /// The whole addition.
    pub quantity: Number,
}

/// Where a limit comes from, and when an override ends.
pub(super) fn source_of<'c>(current: &'c Current<'_>, meter: &Meter, window: Window) -> (Source, Option<&'c Override>) {
    let found = current.account.override_of(meter.id, window);
    (found.map_or(Source::Plan, |_| Source::Override), found)
}

impl Report<'_> {
    /// `GET /v1/organizations/{org}/quota`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller.
    pub fn quota(&self, organization: &OrganizationRef) -> Result<Quota, ReadError> {
        let current = self.current(organization)?;
        let (plan, plan_version) = plan_of(&current.account, self.catalogue);
        let meters = self.meters_of(&current);
        let limits_of = |meter: &&Meter| self.quota_limits(&current, meter);
        Ok(Quota {
            organization: current.account.profile.key.to_string(),
            plan,
            plan_version,
            next_reset_date: Timestamp(current.account.windows.period.end),
            limits: meters.iter().flat_map(limits_of).collect(),
            extra: meters.iter().filter_map(|meter| self.extra_body(&current, meter)).collect(),
        })
    }

    fn quota_limits(&self, current: &Current<'_>, meter: &Meter) -> Vec<QuotaLimit> {
        Figures::limited(current, meter)
            .iter()
            .filter_map(|figures| self.quota_limit(current, meter, figures))
            .collect()
    }

    fn quota_limit(&self, current: &Current<'_>, meter: &Meter, figures: &Figures) -> Option<QuotaLimit> {
        let in_force = figures.in_force?;
        let number = |quantity| self.number(meter.id, quantity);
        let (source, found) = source_of(current, meter, figures.window);
        Some(QuotaLimit {
            meter: meter.key.to_string(),
            window: figures.window,
            source,
            unlimited: figures.is_unlimited(),
            base: figures.max().map(number),
            extra: number(figures.extra),
            granted: number(figures.granted()),
            limit: figures.limit().map(number),
            used: number(figures.used),
            held: number(figures.held),
            remaining: figures.remaining().map(number),
            enforcement: in_force.enforcement,
            status: match in_force.status {
                RefusalStatus::TooManyRequests => 429,
                RefusalStatus::PaymentRequired => 402,
            },
            until: found.and_then(|it| it.until).map(Timestamp),
            resets_at: figures.resets_at.map(Timestamp),
        })
    }

    fn extra_body(&self, current: &Current<'_>, meter: &Meter) -> Option<ExtraBody> {
        let quantity = current.account.extra_of(meter.id);
        let body = || ExtraBody { meter: meter.key.to_string(), quantity: self.number(meter.id, quantity) };
        (!quantity.is_zero()).then(body)
    }
}
