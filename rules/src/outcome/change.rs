//! What operators and members change.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::account::{ExtraQuota, Lock, OpenWindows, Override, Profile, Scheduled, Status, TrialState};
use crate::grant::{Draw, Grant};
use crate::id::{GrantId, MeterId, PlanId};
use crate::outcome::Use;
use crate::period::Anchor;
use crate::price::{Markup, Pattern};
use crate::quantity::Quantity;
use crate::subscription::Subscribed;
use crate::time::{Span, Time};
use crate::timing::{Calls, Timed};
use crate::window::{Window, WindowSet};

/// A plan, and what comes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanState {
    /// The version.
    pub plan: PlanId,
    /// The status after it.
    pub status: Status,
    /// The trial after it.
    pub trial: Option<TrialState>,
    /// The locks that stay.
    pub locks: Vec<Lock>,
    /// The overrides that stay.
    pub overrides: Vec<Override>,
}

/// A test organization as if it had been created at another time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebased {
    /// With that time.
    pub profile: Arc<Profile>,
    /// In its trial or active.
    pub status: Status,
    /// The trial that it begins with.
    pub trial: Option<TrialState>,
    /// The locks that stay.
    pub locks: Vec<Lock>,
    /// From where its periods are counted.
    pub anchor: Anchor,
    /// The first open windows.
    pub windows: OpenWindows,
    /// Where the open period is shown to begin, if not at its start.
    pub shown_start: Option<Time>,
}

/// What was counted, corrected: by an amount, or since an event never was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// What each part of it does; the draws of one that takes something off return to their grants.
    pub uses: Vec<Use>,
    /// What came from grants that have ended: it leaves the counters, and returns to none.
    pub stays: Vec<Draw>,
    /// The event that is void; `None` of an amount.
    pub voided: Option<VoidedEvent>,
    /// The duration that goes with it.
    pub untimed: Option<Timed>,
    /// The calls that go with it, where the event stood for several.
    pub calls: Option<Box<Calls>>,
    /// Whether it is what tokens cost by other prices than before: what was corrected so is not corrected twice.
    pub repriced: bool,
    /// By which prices all of a time is charged after it; none where more of it is to come.
    pub priced: Option<Box<PricedAgain>>,
}

impl Correction {
    /// Of amounts alone.
    pub(crate) const fn of(uses: Vec<Use>, stays: Vec<Draw>) -> Self {
        Self { uses, stays, voided: None, untimed: None, calls: None, repriced: false, priced: None }
    }
}

/// By which prices tokens of a time were priced again, the last of several times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedAgain {
    /// When: what was recorded later was not among it.
    pub at: Time,
    /// What was used in this time.
    pub span: Span,
    /// With which models: all without any.
    pub models: Option<Vec<Pattern>>,
    /// The version of the table of prices.
    pub table: u64,
    /// The markup before the first of the next.
    pub markup: Markup,
    /// From which place in the journal on, block and offset, which markup: in order of place.
    pub markups: Vec<((u64, u32), Markup)>,
}

impl PricedAgain {
    /// Whether a use was among it: at this time, of this model, recorded then.
    pub fn has(&self, time: Time, model: &str, recorded_at: Time) -> bool {
        let is_wanted = self.models.as_ref().is_none_or(|models| models.iter().any(|pattern| pattern.matches(model)));
        is_wanted && self.span.contains(time) && recorded_at <= self.at
    }

    /// The markup of what stands at a place in the journal.
    pub fn markup(&self, place: (u64, u32)) -> Markup {
        let since = self.markups.iter().rfind(|(from, _)| *from <= place);
        since.map_or(self.markup, |(_, markup)| *markup)
    }

    /// Whether nothing of an earlier one counts any more.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        let is_within = self.span.start <= earlier.span.start && earlier.span.end <= self.span.end;
        is_within && (self.models.is_none() || self.models == earlier.models)
    }
}

/// An event that is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoidedEvent {
    /// The block of the journal in which it stands.
    pub sequence: u64,
    /// Its place in the block.
    pub offset: u32,
    /// Of a decision: on which of its meters.
    pub meter: Option<MeterId>,
    /// When it was recorded.
    pub recorded_at: Time,
}

/// What an operator or a member changed. Each holds the whole new value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The organization was created.
    Created {
        /// Who it is.
        profile: Arc<Profile>,
        /// Its plan.
        plan: PlanId,
        /// In its trial or active.
        status: Status,
        /// The trial that it begins with.
        trial: Option<TrialState>,
        /// From where its periods are counted.
        anchor: Anchor,
        /// The first open windows.
        windows: OpenWindows,
    },
    /// Who it is changed; with the zone its open windows do.
    Profile {
        /// Who it is now.
        profile: Arc<Profile>,
        /// Its open windows now.
        windows: OpenWindows,
    },
    /// The plan changed.
    Plan(PlanState),
    /// The plan will change at the end of the billing period.
    Scheduled(Scheduled),
    /// Billing periods are counted from elsewhere.
    Cycle {
        /// From where.
        anchor: Anchor,
        /// The open period.
        period: Span,
        /// Where it is shown to begin, if not at its start.
        shown_start: Option<Time>,
        /// When a member last brought the next reset forward.
        brought_forward: Option<Time>,
    },
    /// The trial ends at another time.
    Trial {
        /// The status after it.
        status: Status,
        /// The trial after it.
        trial: TrialState,
        /// The locks that stay.
        locks: Vec<Lock>,
    },
    /// The own clock of a test organization was set.
    Clock {
        /// To this time.
        to: Time,
        /// What it is as if it had been created then, where nothing had been recorded.
        rebased: Option<Box<Rebased>>,
    },
    /// An override was set.
    Override(Override),
    /// An override was taken away.
    OverrideCleared {
        /// The meter.
        meter: MeterId,
        /// The window.
        window: Window,
    },
    /// Extra quota was set.
    Extra {
        /// The meter.
        meter: MeterId,
        /// The whole addition.
        quantity: Quantity,
    },
    /// Credit was given.
    Granted(Grant),
    /// What was left of a grant was taken back.
    GrantVoided(GrantId),
    /// Extra quota of several meters was set.
    Extras(Vec<ExtraQuota>),
    /// Overrides were set: these are all that there are now.
    Overrides(Vec<Override>),
    /// What was counted was corrected.
    Corrected(Correction),
    /// A lock was put.
    Locked(Lock),
    /// All locks were lifted.
    Unlocked,
    /// Counters were set to zero: of those that were asked for, all that had counted something by then. What was asked for says it
    /// of an organization under other terms, too.
    Reset {
        /// These meters, or all.
        meters: Option<Vec<MeterId>>,
        /// These windows.
        windows: WindowSet,
    },
    /// The organization was deleted: its last entry.
    Deleted,
    /// Something was told of its subscription, or it was linked with one.
    Subscribed(Box<Subscribed>),
}
