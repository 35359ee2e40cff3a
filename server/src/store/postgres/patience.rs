//! How long is waited for PostgreSQL: for a connection, an answer, a lock, a whole turn of the loop. All of it together is less
//! than the time in which callers are answered, however PostgreSQL behaves.

use std::future::Future;
use std::time::Duration;

use metergate_rules::time::SECOND;

use super::error::has_failed;
use super::{Address, BEGIN, Postgres, durable, migrate};
use crate::clock::boot;
use crate::store::error::EngineError;

/// How long a connection may take to come about, and what goes out first on one; in microseconds too.
pub(super) const CONNECT: Duration = Duration::from_micros(SOON.unsigned_abs());
const SOON: i64 = 2 * SECOND;
/// How long whoever asks waits for an answer; PostgreSQL gives up before.
pub(super) const ANSWER: Duration = Duration::from_millis(4_500);
/// How long a statement, and a wait for a lock, may take there, in milliseconds.
const STATEMENT: u32 = 4_000;
const LOCK: u32 = 1_000;
/// The loop waits for locks for less, since it holds up everybody. And PostgreSQL takes its own locks away from it when it
/// has heard nothing for so long, so that others go on when a node is cut off. In milliseconds. What it asks for it asks by
/// key, and the planner knows nothing of lists: without this it would read small tables whole. Of lists of fewer than eight it expects
/// so much less work that it would plan each statement anew each time, which takes longer than the work. Whatever is the server's
/// default, each statement sees what is committed when it begins.
const DECIDING: &str = "
    SET lock_timeout = 200; SET idle_in_transaction_session_timeout = 3000; SET enable_seqscan = off; SET jit = off;
    SET plan_cache_mode = force_generic_plan;
    SET default_transaction_isolation = 'read committed'";
/// A standby reads, and nothing else. Whoever has come to one (the name of the host leads to another server now, or still) must
/// come again.
const NO_STANDBY: &str = "
    DO $$ BEGIN
        IF pg_is_in_recovery() THEN
            RAISE cannot_connect_now USING MESSAGE = 'this server is a standby, which only reads';
        END IF;
    END $$";
/// How long a transaction of the loop may take, in microseconds, and what is left for its commit in any case.
pub(super) const TURN: i64 = 3 * SECOND;
const COMMIT: i64 = SECOND;

/// When a transaction that begins so must be over, in microseconds since boot. Whoever reads may take longer.
pub(super) fn end_of(begin: &str) -> i64 {
    if begin == BEGIN { boot() + TURN } else { i64::MAX }
}

impl Postgres {
    /// Connects as the application's role. Commits on this connection are durable, whatever the server's default is, or more
    /// than that where this says so.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`] where nobody answers, or a standby does; else as PostgreSQL says.
    pub(in crate::store) fn connect(address: &Address) -> Result<Self, EngineError> {
        Self::connect_with(address, "")
    }

    /// The same for the loop.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub(in crate::store) fn connect_to_decide(address: &Address) -> Result<Self, EngineError> {
        Self::connect_with(address, DECIDING)
    }

    fn connect_with(address: &Address, more: &str) -> Result<Self, EngineError> {
        let session = Self::connect_as_owner(address)?;
        let settings = format!(
            "{NO_STANDBY}; SET search_path = {0}; SET statement_timeout = {STATEMENT}; SET lock_timeout = {LOCK};
             SET idle_in_transaction_session_timeout = 30000; {1}; {2}; SET ROLE {3}; {more}",
            migrate::NAMESPACE,
            durable::COMMITS,
            session.marking(),
            migrate::ROLE
        );
        session.soon(|session| session.run(&settings))?;
        Ok(session)
    }

    /// What it does from now on may take a day, by its clock and by this one.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub(super) fn take_a_day(&self) -> Result<(), EngineError> {
        self.patience.set(Duration::from_secs(24 * 60 * 60));
        // Not every version has all of them.
        self.run(
            "SELECT set_config(name, '0', false) FROM pg_settings
             WHERE name IN ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')",
        )
    }

    /// Whether it was asked and did not answer.
    pub(in crate::store) const fn is_silent(&self) -> bool {
        self.silent.get()
    }

    /// Waits for what PostgreSQL does, for a bounded time.
    pub(in crate::store) fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, EngineError> {
        Ok(self.answered(work)??)
    }

    /// The same with what it answered, where it has.
    pub(super) fn answered<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<Result<T, tokio_postgres::Error>, EngineError> {
        let Some(runtime) = &self.runtime else {
            return Err(EngineError::Unreachable("the connection has ended".to_owned()));
        };
        let left = u64::try_from(self.until.get().saturating_sub(boot())).unwrap_or(0);
        let patience = self.patience.get().min(Duration::from_micros(left));
        match runtime.block_on(async { tokio::time::timeout(patience, work).await }) {
            Ok(done) => Ok(done),
            Err(_) => {
                self.broken.set(true);
                self.silent.set(true);
                Err(EngineError::Unreachable("PostgreSQL does not answer in time".to_owned()))
            }
        }
    }

    /// What came of a commit. Unless PostgreSQL itself says that it failed, and goes on, nobody knows.
    pub(super) fn end_of<T>(
        &self,
        answered: Result<Result<T, tokio_postgres::Error>, EngineError>,
    ) -> Result<T, EngineError> {
        let error = match answered {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) if has_failed(&error) => return Err(error.into()),
            Ok(Err(error)) => EngineError::from(error),
            Err(error) => error,
        };
        self.broken.set(true);
        Err(EngineError::Unknown(match error {
            EngineError::Unreachable(why) => why,
            other => other.to_string(),
        }))
    }

    /// Whether the connection has ended by now, as far as the system knows.
    pub(super) fn has_ended(&self) -> bool {
        // What has come in is seen by the task of the connection, which runs only meanwhile.
        if let Some(runtime) = &self.runtime {
            runtime.block_on(async {
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            });
        }
        self.is_broken()
    }

    /// Waits until the transaction has begun.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`] where nobody answers; else as PostgreSQL says.
    pub(super) fn begun(&self) -> Result<(), EngineError> {
        self.soon(|session| session.together(&[]).map(drop))
    }

    /// Does what may take no longer than a connection to come about.
    pub(super) fn soon<T>(&self, ask: impl FnOnce(&Self) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let until = self.until.replace(boot() + SOON);
        let asked = ask(self);
        self.until.set(until);
        asked
    }

    /// A commit that is cut short would leave it unknown what has happened.
    pub(super) fn leave_time_to_commit(&self) {
        self.until.set(self.until.get().max(boot() + COMMIT));
    }
}
