//! What was told only after windows in which it had happened were closed: what is imported, or filled in later.
//!
//! Such a fact takes nothing from the limits of these windows, however low they are, so a replay in the order in which things were
//! told finds nothing of it. How much it was is said apart, with what of it would have gone beyond these limits in its time.

use crate::account::{Account, OpenWindows};
use crate::id::MeterId;
use crate::limits::Limits;
use crate::meter::Measure;
use crate::outcome::{Change, Entry, Use, What};
use crate::plan::Max;
use crate::time::Time;
use crate::window::{Window, WindowSet};

use super::Terms;

/// The windows that close, and in which events count as long as they are open.
const CLOSING: [Window; 3] = [Window::Day, Window::Month, Window::BillingPeriod];

/// One meter of a fact that was told late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// The meter.
    pub meter: MeterId,
    /// What was told.
    pub measure: Measure,
    /// When it had happened.
    pub time: Time,
    /// The windows with a limit in which it had happened, and that were closed by then.
    pub closed: WindowSet,
}

impl Terms<'_> {
    /// What an entry tells late, of meters that have a limit in a window that was closed. The limits are those of the organization
    /// as it `stands`; `open` are the windows that were open when it was told. Nothing of a commit: what it held was asked for in time.
    pub fn late(&self, entry: &Entry, stands: &Account, open: &OpenWindows) -> Vec<Late> {
        let uses: &[Use] = match &entry.what {
            What::Recorded(recorded) => &recorded.uses,
            What::Changed(change) => match &**change {
                Change::Corrected(correction) if correction.voided.is_none() && !correction.repriced => {
                    &correction.uses
                }
                _ => &[],
            },
            _ => &[],
        };
        let late = |used: &Use| {
            let is_more = match used.measure {
                Measure::Adjust(units) => units > 0,
                Measure::Void(_) | Measure::VoidValue(_) => false,
                Measure::Add(_) | Measure::Peak(_) | Measure::Level(_) | Measure::Value(_) => true,
            };
            let closed = if is_more { self.closed(used, stands, open) } else { WindowSet::NONE };
            (!closed.is_empty()).then_some(Late { meter: used.meter, measure: used.measure, time: used.time, closed })
        };
        uses.iter().filter_map(late).collect()
    }

    fn closed(&self, used: &Use, stands: &Account, open: &OpenWindows) -> WindowSet {
        let past = |window: &Window| used.time < open.get(*window).start;
        if !CLOSING.iter().any(past) {
            return WindowSet::NONE;
        }
        let (Some(plan), Some(meter)) = (self.of(self.plan(stands.plan)), self.catalogue.meter(used.meter)) else {
            return WindowSet::NONE;
        };
        let limits = Limits::new(stands, plan, meter);
        let is_limited =
            |window: &Window| limits.in_force(*window).is_some_and(|in_force| matches!(in_force.max, Max::Units(_)));
        CLOSING.into_iter().filter(|window| past(window) && is_limited(window)).collect()
    }
}
