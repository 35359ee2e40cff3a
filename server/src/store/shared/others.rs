//! Whether others come to the accounts on which a loop decides. As long as nobody does, locks keep nobody out, and to take them
//! costs PostgreSQL a quarter of a decision: then it is enough that each account proves to be as it was when the commit is
//! written. Where it is not, nothing has happened, and the same is decided again under locks.

use metergate_rules::time::{MINUTE, SECOND};

use crate::clock::boot;
use crate::store::postgres::lock::Locking;

/// For so long after somebody else was met all accounts are locked, in microseconds: twice as long each time that it was too
/// short, and this long at most.
const QUIET: i64 = 10 * SECOND;
const LONGEST: i64 = 10 * MINUTE;

/// Other loops, mostly of other nodes.
pub(super) struct Others {
    /// When one was met last, since boot.
    met: Option<i64>,
    quiet: i64,
}

impl Default for Others {
    fn default() -> Self {
        Self { met: None, quiet: QUIET }
    }
}

impl Others {
    /// Somebody else holds an account, or has changed one that was known; maybe while it was trusted.
    pub(super) fn met(&mut self, is_trusted: bool) {
        self.met_at(boot(), is_trusted);
    }

    fn met_at(&mut self, now: i64, is_trusted: bool) {
        if is_trusted {
            let trusted_for = self.met.map_or(i64::MAX, |met| now - met - self.quiet);
            self.quiet = if trusted_for < self.quiet { (2 * self.quiet).min(LONGEST) } else { QUIET };
        }
        self.met = Some(now);
    }

    /// How a turn comes to accounts for which it waits for nobody.
    pub(super) fn locking(&self) -> Locking {
        self.locking_at(boot())
    }

    fn locking_at(&self, now: i64) -> Locking {
        let is_quiet = self.met.is_none_or(|met| now - met >= shortened(self.quiet));
        if is_quiet { Locking::Trusts } else { Locking::Skips }
    }
}

fn shortened(quiet: i64) -> i64 {
    // So that many nodes come to it all the time.
    fail::fail_point!("trusts-soon", |_| SECOND / 200);
    quiet
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many microseconds accounts are trusted again.
    fn trusted_after(others: &Others) -> i64 {
        let met = others.met.unwrap();
        let after = (0..).map(|tried| tried * SECOND).find(|after| others.locking_at(met + after) == Locking::Trusts);
        after.unwrap()
    }

    #[test]
    fn whoever_meets_nobody_trusts_and_who_trusted_in_vain_waits_longer_each_time() {
        let mut others = Others::default();
        assert_eq!(others.locking_at(0), Locking::Trusts);
        others.met_at(0, true);
        assert_eq!(trusted_after(&others), QUIET);
        others.met_at(5 * SECOND, false);
        assert_eq!((others.met, trusted_after(&others)), (Some(5 * SECOND), QUIET), "as long as somebody is met");
        let mut waits = Vec::new();
        for _ in 0..8 {
            others.met_at(others.met.unwrap() + trusted_after(&others), true);
            waits.push(trusted_after(&others) / SECOND);
        }
        assert_eq!(waits, [20, 40, 80, 160, 320, 600, 600, 600]);
        others.met_at(others.met.unwrap() + 2 * LONGEST, true);
        assert_eq!(trusted_after(&others), QUIET, "it went well for as long as it had waited");
    }
}
