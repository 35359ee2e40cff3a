//! Values that count once, where what was seen of them would have been another.

use std::collections::HashMap;

use crate::account::Account;
use crate::command::Command;
use crate::decide::{Question, questions};
use crate::id::MeterId;
use crate::meter::{Measure, ValueHash};
use crate::outcome::{Asked, Use};
use crate::time::Time;
use crate::window::{Window, WindowSet};

/// Values that are kept apart at most. Beyond it the answer is that of then.
const MOST: usize = 1_000_000;

/// Which values are seen where they were not, or not seen where they were, in the span of a window that begins then. Empty as
/// long as nothing is refused that was not, or allowed that was not.
#[derive(Debug, Default)]
pub(super) struct Values {
    known: HashMap<(MeterId, ValueHash, Window), (Time, bool)>,
    /// Whether billing periods are not those that were, so that nothing is known of them but what has been seen here.
    has_other_periods: bool,
}

impl Values {
    /// Sees for itself what is new in a billing period.
    pub(super) const fn follow_periods(&mut self, has_other_periods: bool) {
        self.has_other_periods = has_other_periods;
    }

    fn follows(&self, window: Window) -> bool {
        self.has_other_periods && window == Window::BillingPeriod
    }

    /// In which windows each item's value would have been seen, given in which it was; and where that was looked for.
    pub(super) fn of(&self, account: &Account, command: &Command, asked: &[Asked]) -> (Vec<WindowSet>, Vec<Question>) {
        let questions = questions(account, command);
        let mut seen: Vec<WindowSet> = asked.iter().map(|one| one.seen).collect();
        for Question { item, meter, value, spans, .. } in &questions {
            let was = seen[*item];
            let is = |(window, span): &(Window, crate::time::Span)| match self.known.get(&(*meter, *value, *window)) {
                Some((start, is_seen)) if *start == span.start => *is_seen,
                _ if self.follows(*window) => false,
                _ => was.has(*window),
            };
            seen[*item] = spans.iter().filter(|one| is(one)).map(|(window, _)| *window).collect();
        }
        (seen, questions)
    }

    /// Notes what came of it: whether it was allowed, and whether it would have been.
    pub(super) fn note(
        &mut self,
        questions: &[Question],
        asked: &[Asked],
        seen: &[WindowSet],
        time: Time,
        (was_allowed, is_allowed): (bool, bool),
    ) {
        for Question { item, meter, value, spans, .. } in questions {
            let (was_seen, is_seen) = (asked[*item].seen, seen[*item]);
            // A late one is in no window that has begun since.
            for (window, span) in spans.iter().filter(|(_, span)| span.contains(time)) {
                let key = (*meter, *value, *window);
                let was = !self.follows(*window) && (was_allowed || was_seen.has(*window));
                match (was, is_allowed || is_seen.has(*window)) {
                    (before, after) if before == after => self.agree(key, span.start),
                    (_, after) if self.known.len() < MOST => drop(self.known.insert(key, (span.start, after))),
                    _ => {}
                }
            }
        }
    }

    fn agree(&mut self, key: (MeterId, ValueHash, Window), start: Time) {
        if !self.known.is_empty() && self.known.get(&key).is_some_and(|(known, _)| *known == start) {
            self.known.remove(&key);
        }
    }

    /// A void takes a value from the windows in which it would have been seen.
    pub(super) fn take_off(&self, used: &mut Use) {
        let Measure::VoidValue(value) = used.measure else { return };
        let is_missing = |window: &Window| self.known.get(&(used.meter, value, *window)).is_some_and(|(_, seen)| !seen);
        let missing: WindowSet = Window::COUNTED.into_iter().filter(is_missing).collect();
        used.windows = used.windows.without(missing);
    }

    /// Of windows that have ended nothing is asked any more.
    pub(super) fn forget_before(&mut self, account: &Account) {
        if !self.known.is_empty() {
            self.known.retain(|(_, _, window), (start, _)| account.windows.get(*window).start <= *start);
        }
    }
}
