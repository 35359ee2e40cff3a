//! Who may still say what becomes of a call: its caller, until something of it was sent; the writer, from then on.

use std::sync::atomic::{AtomicU8, Ordering};

/// Nothing of it has happened, and either may be first.
const OPEN: u8 = 0;
/// The writer has begun with it.
const BEGUN: u8 = 1;
/// The writer has begun with it again, and nobody can say what came of it before.
const DOUBTFUL: u8 = 2;
/// Its caller has given it up: nothing of it has happened, nor will.
const GIVEN_UP: u8 = 3;

/// Shared by a caller and the writer.
#[derive(Default)]
pub(super) struct Claim(AtomicU8);

impl Claim {
    /// The writer begins. Whether it may.
    pub(super) fn begin(&self) -> bool {
        let next = |now| match now {
            OPEN => Some(BEGUN),
            BEGUN => Some(DOUBTFUL),
            _ => None,
        };
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(_) => true,
            Err(now) => now == DOUBTFUL,
        }
    }

    /// What the writer began has surely not happened.
    pub(super) fn leave(&self) {
        self.swap(BEGUN, OPEN);
    }

    /// The caller gives up. Whether nothing of it has happened, nor will.
    pub(super) fn give_up(&self) -> bool {
        self.swap(OPEN, GIVEN_UP) == GIVEN_UP
    }

    /// Makes one state another, if it is that one. The state afterwards.
    fn swap(&self, from: u8, to: u8) -> u8 {
        match self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => to,
            Err(now) => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_gives_up_only_what_has_surely_not_happened() {
        type Step = fn(&Claim) -> bool;
        let (begin, give_up): (Step, Step) = (Claim::begin, Claim::give_up);
        let leave: Step = |claim| {
            claim.leave();
            true
        };
        #[rustfmt::skip]
        let rows: [(&[Step], Step, bool); 8] = [ // before, then, whether
            (&[],                            give_up, true),
            (&[give_up],                     give_up, true),
            (&[give_up],                     begin,   false),
            (&[give_up, leave],              begin,   false),
            (&[begin],                       give_up, false),
            (&[begin, leave],                give_up, true),
            (&[begin, begin, leave],         give_up, false),
            (&[begin, leave, begin],         begin,   true),
        ];
        for (row, (before, then, expected)) in rows.into_iter().enumerate() {
            let claim = Claim::default();
            before.iter().for_each(|step| _ = step(&claim));
            assert_eq!(then(&claim), expected, "row {row}");
        }
    }
}
