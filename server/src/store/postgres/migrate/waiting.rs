//! Waiting for others: for a node that migrates, however long that takes, and for whoever uses a table that a migration changes.
//!
//! A migration may take as long as it needs once it has its locks, but it waits for one only for a moment: whoever waits for a
//! table keeps out all who come to it afterwards, and nodes of the release before are at work. So it gives way, and tries
//! again a little later; somebody who uses a table for long is named in the log.

use std::time::Duration;

use metergate_rules::time::{MINUTE, SECOND};
use tokio_postgres::error::SqlState;

use super::super::{Of, Postgres, at};
use crate::clock::boot;
use crate::store::error::EngineError;

/// One node at a time migrates: the key of the lock.
const LOCK: i64 = 0x6d65_7465_7267_6174;
/// How long it is waited for a lock on a table, in milliseconds: nodes at work wait longer.
const MOMENT: u32 = 100;
/// How long is rested between two tries.
const PAUSE: Duration = Duration::from_millis(300);
/// How long others are waited for who do nothing for it, in microseconds, and how often the log hears of it.
const PATIENCE: i64 = 10 * MINUTE;
const TOLD: i64 = 10 * SECOND;

/// PostgreSQL looks whether the machine of the node that migrates is still there, also while a statement of it runs: one that
/// has gone without a word keeps nobody waiting. Not every system can do each of them.
const LOOKED_AFTER: [&str; 4] = [
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
    "SET client_connection_check_interval = '10s'",
];

/// Which session migrates, and since when it has done nothing, in microseconds: 0 where it is at work, or where that is not
/// shown. A migration is always at work, but for moments.
const MIGRATES: &str = "
    SELECT format('process %s (%s)', a.pid, coalesce(nullif(a.application_name, ''), 'without a name')),
           coalesce(CASE WHEN a.state LIKE 'idle%'
                    THEN (extract(epoch FROM clock_timestamp() - a.state_change) * 1000000)::bigint END, 0)
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32 | l.objid::bigint) = $1 LIMIT 1";

/// Who has used one of the tables for longest.
const HOLDS: &str = "
    SELECT format('process %s (%s) has used the table %s%s', a.pid, coalesce(nullif(a.application_name, ''), 'without a name'),
                  c.relname, ' for ' || extract(epoch FROM clock_timestamp() - a.xact_start)::bigint || ' s')
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.granted AND a.pid <> pg_backend_pid() AND c.relkind IN ('r', 'p')
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND c.relnamespace = 'metergate'::regnamespace
    ORDER BY a.xact_start NULLS LAST LIMIT 1";

/// Somebody who is waited for.
struct Waiting {
    began: i64,
    told: i64,
}

impl Waiting {
    fn begin() -> Self {
        let now = boot();
        Self { began: now, told: now - TOLD + SECOND }
    }

    /// Rests. What is waited for is told to the log in the first second, and then now and then.
    ///
    /// # Errors
    /// [`EngineError::Unusable`] where that has taken too long.
    fn rest(&mut self, what: (&str, &str), who: impl FnOnce() -> String) -> Result<(), EngineError> {
        self.rest_unless(boot() - self.began > patience(), what, who)
    }

    /// The same, where it has taken too long by the word of the caller.
    fn rest_unless(
        &mut self,
        is_over: bool,
        (what, advice): (&str, &str),
        who: impl FnOnce() -> String,
    ) -> Result<(), EngineError> {
        let now = boot();
        if is_over {
            let who = who();
            return Err(EngineError::Unusable(format!("{what} has waited for too long: {who}. {advice}")));
        }
        if now - self.told > TOLD {
            self.told = now;
            tracing::warn!("{what} waits: {}", who());
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

fn patience() -> i64 {
    fail::fail_point!("migration-in-a-hurry", |_| 2 * SECOND);
    PATIENCE
}

/// Takes the turn to migrate, once nobody else has it. It is kept until the connection ends. Whoever is at work is waited for,
/// however long it takes.
///
/// # Errors
/// [`EngineError::Unusable`] where somebody has it and does nothing for too long.
pub(in crate::store::postgres) fn take_turn(owner: &Postgres) -> Result<(), EngineError> {
    let mut waiting = Waiting::begin();
    for setting in LOOKED_AFTER {
        if let Err(error) = owner.run(setting) {
            tracing::debug!(%error, setting, "PostgreSQL does not look after the node");
        }
    }
    loop {
        let row = owner.row(Of::Team, "SELECT pg_try_advisory_lock($1)", &[&LOCK])?;
        if row.map(|row| at::<bool>(&row, 0)).transpose()? == Some(true) {
            return Ok(());
        }
        let (who, idle) = migrates(owner)?;
        let advice = "It does nothing: end it, and try again";
        waiting.rest_unless(idle > patience(), ("the start", advice), || {
            format!("the database is being migrated by {who}")
        })?;
    }
}

/// Who migrates, and since when that has done nothing, in microseconds.
fn migrates(owner: &Postgres) -> Result<(String, i64), EngineError> {
    let row = owner.row(Of::Team, MIGRATES, &[&LOCK])?;
    row.map_or_else(|| Ok(("another node".to_owned(), 0)), |row| Ok((at(&row, 0)?, at(&row, 1)?)))
}

/// Applies a migration in one transaction.
///
/// # Errors
/// [`EngineError::Unusable`] where somebody is in the way for too long; else as PostgreSQL says.
pub(super) fn apply(owner: &Postgres, version: u32, sql: &str) -> Result<(), EngineError> {
    let (mut waiting, what) = (Waiting::begin(), format!("the migration of the database to version {version}"));
    let sql = format!("BEGIN; SET LOCAL lock_timeout = {MOMENT}; {sql}; COMMIT");
    loop {
        match owner.answered(owner.client.batch_execute(&sql))? {
            Ok(()) => return Ok(()),
            Err(error) if is_in_the_way(&error) => owner.run("ROLLBACK")?,
            Err(error) => return Err(error.into()),
        }
        waiting.rest((&what, "End that, or try again later"), || {
            holder(owner).unwrap_or_else(|| "somebody uses a table that it changes".to_owned())
        })?;
    }
}

fn is_in_the_way(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED)
}

fn holder(owner: &Postgres) -> Option<String> {
    let row = owner.row(Of::Team, HOLDS, &[]).ok().flatten()?;
    at(&row, 0).ok()
}
