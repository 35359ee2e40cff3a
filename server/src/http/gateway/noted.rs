//! What gateways asked for wrongly, so that the log has of each kind one line a second at most.

use metergate_rules::time::SECOND;

/// What was wrong: of which kind, when that was logged last, and how often it was not since. There are as many kinds as codes.
pub(super) struct Noted(Vec<(&'static str, i64, u64)>);

impl Noted {
    /// Nothing was wrong yet.
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many were not logged before this one that is; nothing where this one is not either.
    pub(super) fn others(&mut self, code: &'static str, now: i64) -> Option<u64> {
        let Some((_, last, others)) = self.0.iter_mut().find(|(known, ..)| *known == code) else {
            self.0.push((code, now, 0));
            return Some(0);
        };
        if now - *last < SECOND {
            *others += 1;
            return None;
        }
        *last = now;
        Some(std::mem::take(others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_of_mistake_one_a_second_is_logged_with_how_many_there_were() {
        let mut noted = Noted::new();
        let told =
            [("a", 0), ("a", 1), ("b", 2), ("a", SECOND - 1), ("a", SECOND), ("b", SECOND + 2), ("a", 3 * SECOND)];
        let others: Vec<_> = told.into_iter().map(|(code, now)| noted.others(code, now)).collect();
        assert_eq!(others, [Some(0), None, Some(0), None, Some(2), Some(0), Some(0)]);
    }
}
