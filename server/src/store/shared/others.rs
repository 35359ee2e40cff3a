//! Whether others come to the accounts on which a loop decides. As long as nobody does, locks keep nobody out, and to take them
//! costs PostgreSQL a quarter of a decision: then it is enough that each account proves to be as it was when the commit is
//! written. Where it is not, nothing has happened, and the same is decided again under locks.

use metergate_rules::time::SECOND;

use crate::clock::boot;
use crate::store::postgres::lock::Locking;

/// For so long after somebody else was met all accounts are locked, in microseconds.
const QUIET: i64 = 10 * SECOND;

/// Other loops, mostly of other nodes.
#[derive(Default)]
pub(super) struct Others {
    /// When one was met last, since boot.
    met: Option<i64>,
}

impl Others {
    /// Somebody else holds an account, or has changed one that was known.
    pub(super) fn met(&mut self) {
        self.met = Some(boot());
    }

    /// How accounts are claimed for which nobody is waited for.
    pub(super) fn locking(&self) -> Locking {
        if self.met.is_none_or(|met| boot() - met >= quiet()) { Locking::Trusts } else { Locking::Skips }
    }
}

fn quiet() -> i64 {
    // So that many nodes come to it all the time.
    fail::fail_point!("trusts-soon", |_| SECOND / 200);
    QUIET
}
