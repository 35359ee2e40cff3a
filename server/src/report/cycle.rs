//! An organization's billing cycle, and a preview of its resets (P3, P9).

use metergate_rules::account::Account;
use metergate_rules::command::CycleStart;
use metergate_rules::decide::cycle::{Moved, moved};
use metergate_rules::id::OrganizationRef;
use metergate_rules::period::{Anchor, Grid};
use metergate_rules::time::Time;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Period, Report, Timestamp};
use crate::store::StoreError;
use crate::store::reader::ReadError;

/// Resets in a preview.
const RESETS: usize = 12;

/// From where an organization's billing periods are counted, and what follows from it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BillingCycle {
    /// The organization's key.
    pub organization: String,
    /// The civil date and time that periods are counted from, in the organization's zone.
    pub billing_cycle_start_date: String,
    /// The IANA name of that zone.
    pub time_zone: String,
    /// The open billing period as it is shown: after a move to the past it begins where the new grid's does.
    pub current_period: Period,
    /// Where it begins.
    pub last_reset: Timestamp,
    /// When the next one begins.
    pub next_reset_date: Timestamp,
    /// The next twelve resets, the next one first.
    pub resets: Vec<Timestamp>,
}

impl BillingCycle {
    /// The cycle of an account on which everything has been applied that has fallen due.
    pub fn of(account: &Account) -> Self {
        let shown_start = account.shown_period().start;
        let moved = Moved { period: account.windows.period, shown_start: Some(shown_start) };
        Self::with(account, account.anchor, moved, account.resets())
    }

    fn with(account: &Account, anchor: Anchor, moved: Moved, resets: impl Iterator<Item = Time>) -> Self {
        let profile = &account.profile;
        let end = moved.period.end;
        let start = moved.shown_start.unwrap_or(moved.period.start);
        let resets = resets.take(RESETS).map(Timestamp).collect();
        Self {
            organization: profile.key.to_string(),
            billing_cycle_start_date: anchor.to_string(),
            time_zone: profile.zone.name().to_owned(),
            current_period: Period { start: Timestamp(start), end: Timestamp(end) },
            last_reset: Timestamp(start),
            next_reset_date: Timestamp(end),
            resets,
        }
    }

    /// The same as a move would make it.
    ///
    /// # Errors
    /// As [`moved`].
    pub fn preview(account: &Account, start: CycleStart, now: Time) -> Result<Self, StoreError> {
        let anchor = start.anchor(&account.profile.zone);
        let moved = moved(account, anchor, now)?;
        let end = moved.period.end;
        let following = Grid { anchor, zone: &account.profile.zone }.resets_after(end);
        Ok(Self::with(account, anchor, moved, std::iter::once(end).chain(following)))
    }
}

impl Report<'_> {
    /// `GET /v1/organizations/{org}/billing-cycle`; with a start as a move to it would make it.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller, or the cycle cannot begin then.
    pub fn billing_cycle(
        &self,
        organization: &OrganizationRef,
        start: Option<CycleStart>,
    ) -> Result<BillingCycle, ReadError> {
        let current = self.current(organization)?;
        Ok(match start {
            Some(start) => BillingCycle::preview(&current.account, start, current.now)?,
            None => BillingCycle::of(&current.account),
        })
    }
}
