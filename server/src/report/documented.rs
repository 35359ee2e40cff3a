//! The figures in the forms of the documented paths (§7), where "month" means the billing period. Organizations are named
//! by their keys, and `null` is unlimited.

use metergate_rules::id::OrganizationRef;
use metergate_rules::period;
use metergate_rules::quantity::Quantity;
use serde::Serialize;
use utoipa::ToSchema;

use super::figures::Figures;
use super::organization::plan_of;
use super::{Current, Period, Report, Timestamp};
use crate::catalogue::Snapshot;
use crate::http::number::Number;
use crate::store::reader::ReadError;
use metergate_rules::due::status_name;

pub mod audit;
pub mod clients;
pub mod tenant;
pub mod tenants;

/// Use in the billing period.
#[derive(Debug, Serialize, ToSchema)]
pub struct MonthCounts {
    /// Conversations.
    pub conversations: Number,
    /// Messages.
    pub messages: Number,
}

/// Limits, with the extra quota and credit in them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonthLimits {
    /// Of conversations; `null` is unlimited.
    pub max_conversations: Option<Number>,
    /// Of messages; `null` is unlimited.
    pub max_messages: Option<Number>,
}

/// The standing additions to the limits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonthExtra {
    /// Of conversations.
    pub extra_conversation_quota: Number,
    /// Of messages.
    pub extra_message_quota: Number,
}

/// The limits together with what is extra in them.
#[derive(Debug, Serialize, ToSchema)]
pub struct MonthLimitsAndExtra {
    /// The limits.
    #[serde(flatten)]
    pub limits: MonthLimits,
    /// What of them is extra.
    #[serde(flatten)]
    pub extra: MonthExtra,
}

/// What an organization used in its billing period, and what it may.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonthUsage {
    /// The organization's key.
    pub org_id: String,
    /// The month in which the billing period began, in the organization's zone.
    #[schema(example = "2026-11")]
    pub month: String,
    /// What was used.
    pub usage: MonthCounts,
    /// What may be used.
    pub limits: MonthLimitsAndExtra,
    /// When the next billing period begins.
    pub next_reset_date: Timestamp,
    /// Whether a lock stops consumption.
    pub locked: bool,
}

/// An organization's lock.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockState {
    /// The organization's key.
    pub org_id: String,
    /// Whether a lock stops consumption.
    pub locked: bool,
}

/// What an organization's members see of its plan and period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BillingStatus {
    /// The organization's key.
    pub org_id: String,
    /// Its plan's key.
    pub plan: String,
    /// `trial`, `active`, `past_due` or `canceled`.
    pub status: &'static str,
    /// Whether a lock stops consumption.
    pub locked: bool,
    /// The billing period that is open.
    pub current_period: Period,
    /// What was used in it.
    pub usage: MonthCounts,
    /// What may be used in it.
    pub limits: MonthLimits,
    /// When the next one begins.
    pub next_reset_date: Timestamp,
    /// What of the limits is extra.
    #[serde(flatten)]
    pub extra: MonthExtra,
    /// When its trial ends, or ended; `null` if it never had one.
    pub trial_ends_at: Option<Timestamp>,
}

/// One meter against its period limit. Of a meter that the plan does not allow, or that is gone, all is zero.
struct Figure {
    used: Number,
    base: Option<Number>,
    extra: Number,
    granted: Number,
    limit: Option<Number>,
    remaining: Option<Number>,
}

impl Figure {
    fn of(current: &Current<'_>, catalogue: &Snapshot, key: &str) -> Self {
        let Some(meter) = catalogue.meter(key) else { return Self::nothing(0) };
        let figures = Figures::of_period(current, meter);
        let number = |quantity: Quantity| number(quantity.units(), meter.decimals);
        let used = number(figures.used);
        if figures.in_force.is_none() && !Report::is_entitled(current, meter) {
            return Self { used, ..Self::nothing(meter.decimals) };
        }
        Self {
            used,
            base: figures.max().map(number),
            extra: number(figures.extra),
            granted: number(figures.granted()),
            limit: figures.limit().map(number),
            remaining: figures.remaining().map(number),
        }
    }

    fn nothing(decimals: u8) -> Self {
        let zero = number(0, decimals);
        Self { used: zero, base: Some(zero), extra: zero, granted: zero, limit: Some(zero), remaining: Some(zero) }
    }
}

const fn number(units: i64, decimals: u8) -> Number {
    Number { units: units as i128, decimals, text: false }
}

/// Conversations and messages as the documented paths split them.
fn month(current: &Current<'_>, catalogue: &Snapshot) -> (MonthCounts, MonthLimits, MonthExtra) {
    let figure = |key| Figure::of(current, catalogue, key);
    let (conversations, messages) = (figure("conversations"), figure("messages"));
    let counts = MonthCounts { conversations: conversations.used, messages: messages.used };
    let limits = MonthLimits { max_conversations: conversations.limit, max_messages: messages.limit };
    let extra = MonthExtra { extra_conversation_quota: conversations.extra, extra_message_quota: messages.extra };
    (counts, limits, extra)
}

fn key_of(current: &Current<'_>) -> String {
    current.account.profile.key.to_string()
}

impl MonthUsage {
    /// Of an organization as it is now.
    pub(crate) fn of(current: &Current<'_>, catalogue: &Snapshot) -> Self {
        let (usage, limits, extra) = month(current, catalogue);
        let account = &current.account;
        let began = period::date_of(account.shown_period().start, &account.profile.zone);
        Self {
            org_id: key_of(current),
            month: began.strftime("%Y-%m").to_string(),
            usage,
            limits: MonthLimitsAndExtra { limits, extra },
            next_reset_date: Timestamp(account.windows.period.end),
            locked: !account.locks.is_empty(),
        }
    }
}

impl LockState {
    /// Of an organization as it is now.
    pub(crate) fn of(current: &Current<'_>, _: &Snapshot) -> Self {
        Self { org_id: key_of(current), locked: !current.account.locks.is_empty() }
    }
}

impl BillingStatus {
    /// Of an organization as it is now.
    pub(crate) fn of(current: &Current<'_>, catalogue: &Snapshot) -> Self {
        let (usage, limits, extra) = month(current, catalogue);
        let account = &current.account;
        Self {
            org_id: key_of(current),
            plan: plan_of(account, catalogue).0,
            status: status_name(account.status),
            locked: !account.locks.is_empty(),
            current_period: account.shown_period().into(),
            usage,
            limits,
            next_reset_date: Timestamp(account.windows.period.end),
            extra,
            trial_ends_at: account.trial.map(|trial| Timestamp(trial.ends_at)),
        }
    }
}

impl Report<'_> {
    /// `GET /internal/org/{key}/usage`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller.
    pub fn month_usage(&self, organization: &OrganizationRef) -> Result<MonthUsage, ReadError> {
        Ok(MonthUsage::of(&self.current(organization)?, self.catalogue))
    }

    /// `GET /portal/billing/status`.
    ///
    /// # Errors
    /// As [`Report::month_usage`].
    pub fn billing_status(&self, organization: &OrganizationRef) -> Result<BillingStatus, ReadError> {
        Ok(BillingStatus::of(&self.current(organization)?, self.catalogue))
    }
}
