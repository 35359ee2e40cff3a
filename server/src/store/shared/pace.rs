//! How many requests are decided together: half as many after a batch for which the time of a turn was too short, since the same
//! again would fail again. Where what takes long is the turn itself, and not what is in it, fewer would only make it worse: so
//! more are tried again, at once where there is room, else now and then.

use metergate_rules::time::SECOND;

use crate::store::writer::MOST_REQUESTS;

/// Twice as much as in a full batch that took less than this, in microseconds, fits into a turn of three seconds with room to spare.
const QUICK: i64 = 3 * SECOND / 4;
/// And half as much again as in one that took less than this.
const ROOMY: i64 = 3 * SECOND / 2;
/// A batch of fewer is not what takes so long.
const FEW: usize = 8;
/// After so many full batches that fit, however long they took, twice as many are tried; where that fails after twice as many,
/// and at most after so many.
const TRIED_AFTER: u32 = 3;
const TRIED_AT_LAST: u32 = 48;

/// The pace of a loop.
pub(super) struct Pace {
    most: usize,
    /// Requests of the turn that is under way; none of work that stands alone.
    under_way: usize,
    /// Full batches that have fit since it changed, and after how many more are tried.
    fit: u32,
    tried_after: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { most: MOST_REQUESTS, under_way: 0, fit: 0, tried_after: TRIED_AFTER }
    }
}

impl Pace {
    /// Requests in the next batch at most. A call is never divided.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// A turn begins with so many requests.
    pub(super) const fn begin(&mut self, requests: usize) {
        self.under_way = requests;
    }

    /// The turn came to its end after so many microseconds, in which so many of its requests were decided: not those that are
    /// put off, which say nothing of what would fit.
    pub(super) fn done(&mut self, requests: usize, took: i64) {
        self.under_way = 0;
        // Of a small batch nobody knows how long a larger one would have taken.
        if requests < self.most / 2 || self.most == MOST_REQUESTS {
            return;
        }
        self.fit += 1;
        let more = if took < QUICK {
            self.tried_after = TRIED_AFTER;
            self.most
        } else if took < ROOMY {
            self.most / 2
        } else if self.fit >= self.tried_after {
            self.most
        } else {
            return;
        };
        self.fit = 0;
        self.most = (self.most + more.max(1)).min(MOST_REQUESTS);
    }

    /// The turn has failed; whether because its time was over.
    pub(super) fn failed(&mut self, was_too_long: bool) {
        let requests = std::mem::take(&mut self.under_way);
        if was_too_long && requests >= FEW {
            self.most = requests.min(self.most) / 2;
            self.fit = 0;
            self.tried_after = (self.tried_after * 2).min(TRIED_AT_LAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_long(pace: &mut Pace, requests: usize) -> usize {
        pace.begin(requests);
        pace.failed(true);
        pace.most()
    }

    fn done(pace: &mut Pace, requests: usize, took: i64) -> usize {
        pace.begin(requests);
        pace.done(requests, took);
        pace.most()
    }

    /// Turns of as many as may be, of so many that wait: how many took too long.
    fn turns(pace: &mut Pace, count: usize, waiting: usize, cost: impl Fn(usize) -> i64) -> usize {
        let turn = |pace: &mut Pace| {
            let requests = waiting.min(pace.most());
            let took = cost(requests);
            if took < 3 * SECOND {
                done(pace, requests, took)
            } else {
                too_long(pace, requests)
            };
            took >= 3 * SECOND
        };
        (0..count).filter(|_| turn(pace)).count()
    }

    #[test]
    fn a_batch_that_does_not_fit_is_halved_and_one_that_is_quick_doubles_it_again() {
        let mut pace = Pace::default();
        assert_eq!(too_long(&mut pace, 400), 200);
        assert_eq!(too_long(&mut pace, 200), 100);
        assert_eq!(done(&mut pace, 100, ROOMY), 100, "half as many again would hardly fit");
        assert_eq!(done(&mut pace, 100, QUICK), 150);
        assert_eq!(done(&mut pace, 10, 1), 150, "few say nothing about many");
        assert_eq!(done(&mut pace, 150, 1), 300);
        pace.begin(300);
        pace.done(0, 1);
        assert_eq!(pace.most(), 300, "all were put off");
        pace.begin(300);
        pace.failed(false);
        assert_eq!(pace.most(), 300, "somebody was in the way, or it was away");
        pace.failed(true);
        assert_eq!(pace.most(), 300, "it was no batch");
        assert_eq!(turns(&mut pace, 20, usize::MAX, |_| 1), 0);
        assert_eq!(pace.most(), MOST_REQUESTS);
    }

    #[test]
    fn a_few_that_take_too_long_are_not_too_many() {
        let mut pace = Pace::default();
        assert_eq!(too_long(&mut pace, 1), MOST_REQUESTS);
        assert_eq!(too_long(&mut pace, FEW - 1), MOST_REQUESTS);
        assert_eq!(too_long(&mut pace, FEW), FEW / 2);
        assert_eq!(too_long(&mut pace, FEW / 2), FEW / 2);
    }

    #[test]
    fn where_each_request_takes_long_few_turns_are_lost() {
        let mut pace = Pace::default();
        let lost = turns(&mut pace, 100, 400, |requests| i64::try_from(requests).unwrap() * 30_000);
        assert!(lost <= 7, "{lost} of 100 turns took too long");
        assert!((25..100).contains(&pace.most()), "{}", pace.most());
    }

    #[test]
    fn where_the_turn_itself_takes_long_all_who_wait_are_soon_decided_together_again() {
        for (cost, count) in [(SECOND, 12), (2 * SECOND, 40)] {
            let mut pace = Pace::default();
            too_long(&mut pace, 20);
            turns(&mut pace, count, 200, |_| cost);
            assert!(pace.most() >= 200, "{cost} µs: {} after {count} turns", pace.most());
        }
    }
}
