//! What uses cost in a replay: what was charged, with the markup of these terms, or by other prices; and what was corrected.

use crate::apply::apply;
use crate::command::{Adjustment, Command};
use crate::decide::{Problem, decide};
use crate::id::PlanId;
use crate::meter::Measure;
use crate::outcome::{Asked, Change, Correction, Entry, Use, What};
use crate::price::LlmUse;
use crate::quantity::Quantity;

use super::{Finding, Replay};

/// What was charged for language models' tokens, and what would have been, with what was corrected since; in the smallest unit of
/// the meter of costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charged {
    /// What was.
    pub was: i128,
    /// What would have been.
    pub is: i128,
}

impl Replay<'_> {
    /// What was charged since this was asked last, and what would have been.
    pub fn take_charged(&mut self) -> Charged {
        std::mem::take(&mut self.charged)
    }

    /// What these uses add to what is charged, or take off.
    pub(super) fn cost_of(&self, uses: &[Use]) -> i128 {
        let Some(meter) = self.terms.catalogue.cost_meter() else { return 0 };
        let units = |used: &Use| match used.measure {
            Measure::Add(quantity) => i128::from(quantity.units()),
            Measure::Void(quantity) => -i128::from(quantity.units()),
            Measure::Adjust(units) => i128::from(units),
            Measure::Peak(_) | Measure::Level(_) | Measure::Value(_) | Measure::VoidValue(_) => 0,
        };
        uses.iter().filter(|used| used.meter == meter.id).map(units).sum()
    }

    /// The same where other prices are among these terms: of what a use has `said` of a language model's tokens the cost is made
    /// anew, and what was priced again since is left out.
    ///
    /// # Errors
    /// As [`Self::take`], and where the cost is out of range.
    pub fn take_priced(
        &mut self,
        place: (u64, u32),
        entry: &Entry,
        said: Option<Box<LlmUse>>,
    ) -> Result<Option<Finding>, Problem> {
        if let (Some(said), Some(used)) = (&said, entry.what.uses().first())
            && self.becomes_void(place)
        {
            let markup = self.terms.catalogue.plan(self.account.plan).map(|plan| plan.llm_markup);
            let cost = self.terms.catalogue.prices().cost(said, used.time, markup.unwrap_or_default())?;
            self.costs.insert(place, cost.charged());
        }
        (self.said, self.prices_anew) = (said, true);
        let taken = self.take(place, entry);
        self.said = None;
        taken
    }

    /// What was charged beside it: the same price, with the markup of these terms in place of the one of then.
    pub(super) fn charged(&self, asked: &[Asked]) -> Result<Option<Box<LlmUse>>, Problem> {
        if self.said.is_some() {
            return Ok(self.said.clone());
        }
        let follows = asked.iter().find_map(|one| match (one.follows, one.item.measure) {
            (Some(meter), Measure::Add(charged)) => Some((meter, charged, one.item.dimensions.clone())),
            _ => None,
        });
        let Some((meter, charged, dimensions)) = follows else { return Ok(None) };
        let charged = Some(self.marked_up(charged)?);
        let (model, provider) = (String::new(), String::new());
        Ok(Some(Box::new(LlmUse { meter, model, provider, tokens: None, dimensions, charged })))
    }

    fn marked_up(&self, charged: Quantity) -> Result<Quantity, Problem> {
        let markup = |plan: PlanId| self.terms.catalogue.plan(plan).map(|plan| plan.llm_markup);
        match (markup(self.was_on), markup(self.account.plan)) {
            (Some(was), Some(is)) if was != is => Ok(was.replaced(is, charged)?),
            _ => Ok(charged),
        }
    }

    fn marked_up_units(&self, units: i64) -> Result<i64, Problem> {
        let size = i64::try_from(units.unsigned_abs()).unwrap_or(i64::MAX);
        Ok(self.marked_up(Quantity::new(size)?)?.units() * units.signum())
    }

    /// What was added is added again, since other limits may lie in its way; what was taken off is taken off as it was, but of
    /// an event that would not have happened.
    pub(super) fn corrected(&mut self, entry: &Entry, correction: &Correction) -> Result<(), Problem> {
        if correction.voided.is_some_and(|event| self.undone.contains(&(event.sequence, event.offset))) {
            return Ok(());
        }
        if let ([only], false) = (&correction.uses[..], correction.repriced)
            && let Measure::Adjust(units @ 1..) = only.measure
        {
            let asked = Adjustment { meter: only.meter, units, time: Some(only.time), room: Vec::new() };
            let outcome = decide(&self.account, &Command::Adjust(asked), &[], false, self.terms.catalogue, entry.at)?;
            self.fold(&outcome.entries);
            return Ok(());
        }
        let mut correction = correction.clone();
        let (repriced, since) = (correction.repriced, self.since);
        if repriced && self.prices_anew {
            // It is in the new prices already, but what was used before.
            correction.uses.retain(|used| used.time < since);
        }
        self.return_to_grants(&mut correction, entry.at)?;
        let anew = correction.voided.and_then(|event| self.costs.get(&(event.sequence, event.offset)).copied());
        if let Some(cost) = anew {
            given_back(&mut correction.uses, cost);
        }
        for used in &mut correction.uses {
            self.values.take_off(used);
            if repriced || (used.follows.is_some() && anew.is_none()) {
                used.measure = match used.measure {
                    Measure::Void(cost) => Measure::Void(self.marked_up(cost)?),
                    Measure::Adjust(units) => Measure::Adjust(self.marked_up_units(units)?),
                    other => other,
                };
            }
        }
        self.charged.is += self.cost_of(&correction.uses);
        let what = What::Changed(Box::new(Change::Corrected(correction)));
        apply(&mut self.account, &Entry { at: entry.at, what });
        Ok(())
    }
}

/// What a void gives back of a cost that is made anew: all of it with the first part; what was charged since is in the new prices.
fn given_back(uses: &mut Vec<Use>, cost: Quantity) {
    let mut is_first = true;
    uses.retain_mut(|used| {
        if used.follows.is_none() {
            return true;
        }
        used.measure = match used.measure {
            Measure::Adjust(_) => Measure::Adjust(-cost.units()),
            _ => Measure::Void(cost),
        };
        std::mem::take(&mut is_first)
    });
}
