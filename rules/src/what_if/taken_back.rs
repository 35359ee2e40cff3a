//! What is taken back in a replay, and what of it returns to grants.

use crate::decide::{Problem, adjust, correct};
use crate::grant::Draw;
use crate::meter::Measure;
use crate::outcome::{Correction, Entry, Use};
use crate::time::Time;
use crate::window::{Window, WindowSet};

use super::Replay;

impl Replay<'_> {
    pub(super) fn becomes_void(&self, place: (u64, u32)) -> bool {
        self.voids.contains(&place)
    }

    pub(super) fn undo(&mut self, place: (u64, u32)) {
        if self.becomes_void(place) {
            self.undone.insert(place);
        }
    }

    /// Keeps what an event did that becomes void, so that it is taken back as it would have been.
    pub(super) fn keep(&mut self, place: (u64, u32), entries: &[Entry]) {
        if self.becomes_void(place) {
            self.done.insert(place, entries.iter().flat_map(|entry| entry.what.uses()).cloned().collect());
        }
    }

    /// What is taken off returns to grants as it would have: under other limits they gave other parts of it. What tokens cost, and what
    /// was priced again, is taken off as it was.
    pub(super) fn return_to_grants(&self, correction: &mut Correction, at: Time) -> Result<(), Problem> {
        let plan = self.terms.of(self.account.plan).ok_or(Problem::UnknownPlan)?;
        let Some(event) = correction.voided else {
            let is_less =
                |used: &Use| matches!(used.measure, Measure::Adjust(units) if units < 0) && used.follows.is_none();
            if let Some(first) = correction.uses.first().filter(|_| correction.uses.iter().all(is_less))
                && !correction.repriced
            {
                let meter = self.terms.catalogue.meter(first.meter).ok_or(Problem::UnknownMeter)?;
                correction.uses.iter_mut().for_each(|used| used.draws.clear());
                correction.stays = adjust::give_back(&self.account, plan, meter, &mut correction.uses, at);
            }
            return Ok(());
        };
        let Some(done) = self.done.get(&(event.sequence, event.offset)) else { return Ok(()) };
        let catalogue = self.terms.catalogue;
        for used in correction.uses.iter_mut().filter(|used| used.follows.is_none()) {
            let of_meter = |one: &&Use| one.meter == used.meter && one.follows.is_none();
            let Some(first) = done.iter().find(of_meter) else { continue };
            let (again, stays) = match used.measure {
                Measure::Void(quantity) => correct::amount(&self.account, plan, first, quantity, catalogue, at)?,
                Measure::VoidValue(_) => {
                    self.values.take_off(used);
                    let counted: WindowSet = Window::COUNTED.into_iter().collect();
                    let stays_in = counted.without(used.windows).without(used.ahead);
                    correct::value(&self.account, plan, first, stays_in, catalogue, at)?
                }
                _ => continue,
            };
            let grants = &self.account.grants;
            let is_of_meter =
                |draw: &Draw| grants.iter().any(|grant| grant.id == draw.grant && grant.meter == again.meter);
            correction.stays.retain(|draw| !is_of_meter(draw));
            correction.stays.extend(stays);
            *used = again;
        }
        Ok(())
    }
}
