//! Decisions that cannot be made, since what was used cannot be known: what can be said of them all the same (D13).

use crate::account::Account;
use crate::catalogue::Catalogue;
use crate::command::Consume;
use crate::id::MeterId;
use crate::limits::Limits;
use crate::outcome::{Reason, Verdict};
use crate::plan::Degraded;

use super::consume::lock_reason;
use super::{Problem, refuse_meter_twice};

/// A decision that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// The meter of each item, and what callers get of it.
    pub policies: Vec<(MeterId, Degraded)>,
    /// The answers about the items: that they may pass, unless they are refused whatever was used.
    pub verdicts: Vec<Verdict>,
}

impl Undecided {
    /// What an account says of it that was settled as far as it is known.
    ///
    /// # Errors
    /// [`Problem::UnknownMeter`], [`Problem::UnknownPlan`], [`Problem::MeterTwice`].
    pub fn of(account: &Account, asked: &Consume, catalogue: &Catalogue) -> Result<Self, Problem> {
        let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
        refuse_meter_twice(&asked.items)?;
        let (mut policies, mut verdicts) = (Vec::new(), Vec::new());
        for item in &asked.items {
            let meter = catalogue.meter(item.meter).ok_or(Problem::UnknownMeter)?;
            let entitled = plan.other_meters || Limits::new(account, plan, meter).is_named();
            let reason = lock_reason(account).or((!entitled).then_some(Reason::NotEntitled));
            policies.push((meter.id, plan.degraded(meter.id)));
            verdicts.push(Verdict { reason, ..Verdict::undecided(meter.id) });
        }
        Ok(Self { policies, verdicts })
    }

    /// Whether it is refused whatever was used.
    pub fn is_refused(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.reason.is_some())
    }
}
