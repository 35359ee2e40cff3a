//! The places at which a port's callers wait for their answers.

use std::sync::Arc;
use std::task::Waker;

use super::claim::Claim;
use crate::store::Answers;

/// The answer that a caller waits for.
pub(super) enum Slot {
    Free,
    /// Until when, in microseconds since boot; who may say what becomes of it; whom an answer wakes.
    Waiting(i64, Option<Arc<Claim>>, Option<Waker>),
    Answered(Answers),
    /// Its caller's patience has ended, which that has not seen yet. Whether nothing has happened, nor will.
    Late(bool),
    /// Its caller went away; the answer is dropped when it comes.
    Abandoned,
}

#[derive(Default)]
pub(super) struct Slots {
    pub(super) slots: Vec<Slot>,
    pub(super) free: Vec<usize>,
}

impl Slots {
    pub(super) fn reserve(&mut self, until: i64, claim: Option<Arc<Claim>>) -> usize {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(Slot::Free);
        }
        self.slots[slot] = Slot::Waiting(until, claim, None);
        slot
    }

    pub(super) fn release(&mut self, slot: usize) {
        self.slots[slot] = Slot::Free;
        self.free.push(slot);
    }

    pub(super) fn answer(&mut self, slot: usize, answers: Answers) -> Option<Waker> {
        match std::mem::replace(&mut self.slots[slot], Slot::Answered(answers)) {
            Slot::Waiting(.., waker) => waker,
            // It was woken, and finds the answer after all.
            Slot::Late(_) => None,
            _ => {
                self.release(slot);
                None
            }
        }
    }

    /// Whoever has waited for long enough by now, in microseconds since boot, is late. Whom to wake.
    pub(super) fn end_patience(&mut self, now: i64) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for slot in &mut self.slots {
            if let Slot::Waiting(until, claim, waker) = slot
                && *until <= now
            {
                wakers.extend(waker.take());
                *slot = Slot::Late(claim.as_ref().is_some_and(|claim| claim.give_up()));
            }
        }
        wakers
    }
}
