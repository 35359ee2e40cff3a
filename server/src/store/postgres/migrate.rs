//! What a start makes sure of: that commits are on disk when PostgreSQL says so, that the schema is this program's, and that
//! the role is there as which it works. Any number of nodes may start at once.

use std::time::Duration;

use super::{Address, Of, Postgres, at};
use crate::store::error::{EngineError, unreadable};

const MIGRATIONS: [&str; 8] = [
    include_str!("../../../migrations/postgres/0001_start.sql"),
    include_str!("../../../migrations/postgres/0002_notifications.sql"),
    include_str!("../../../migrations/postgres/0003_stripe.sql"),
    include_str!("../../../migrations/postgres/0004_prices.sql"),
    include_str!("../../../migrations/postgres/0005_rests.sql"),
    include_str!("../../../migrations/postgres/0006_walls.sql"),
    include_str!("../../../migrations/postgres/0007_refusals.sql"),
    include_str!("../../../migrations/postgres/0008_hints.sql"),
];

/// The version of the schema that this program makes.
pub const VERSION: u32 = MIGRATIONS.len() as u32;
/// The oldest program, by the version of its schema, that may go on beside the newest one. Those before it read neither
/// accounts nor journals as they are written now, or make rollups again without a new version of the account.
const OLDEST: u32 = 8;
/// The oldest PostgreSQL.
const SERVER: i32 = 140_000;

/// Where everything is.
pub(super) const NAMESPACE: &str = "metergate";
/// As which role the program works.
pub(super) const ROLE: &str = "metergate_app";

/// One node at a time migrates: the key of the lock, and how often it is tried, every so long.
const LOCK: i64 = 0x6d65_7465_7267_6174;
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// Roles belong to all databases of a server, so that others may make it at the same time.
const MAKE_ROLE: &str = "
    DO $$ BEGIN
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'metergate_app') THEN
            CREATE ROLE metergate_app NOLOGIN;
        END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END $$;
    DO $$ BEGIN
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
           AND NOT pg_has_role(current_user, 'metergate_app', 'USAGE') THEN
            EXECUTE format('GRANT metergate_app TO %I', current_user);
        END IF;
    END $$";

const MAKE_NAMESPACE: &str = "
    CREATE SCHEMA IF NOT EXISTS metergate;
    CREATE TABLE IF NOT EXISTS metergate.schema_version (
        version integer NOT NULL,   -- how many migrations have been run
        oldest  integer NOT NULL    -- a program that knows fewer than so many must not use it
    );
    GRANT USAGE ON SCHEMA metergate TO metergate_app;
    GRANT SELECT ON metergate.schema_version TO metergate_app";

/// Partitions are left out: they are reached through their table alone, whose policies hold.
const GRANT: &str = "
    DO $$ DECLARE of_ours record; BEGIN
        FOR of_ours IN SELECT relname FROM pg_class
            WHERE relnamespace = 'metergate'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
              AND relname <> 'schema_version' LOOP
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON metergate.%I TO metergate_app', of_ours.relname);
        END LOOP;
    END $$";

/// Brings the database to where this program can use it.
///
/// # Errors
/// [`EngineError::Unusable`] where it would lose what it has acknowledged, or a later program made it.
pub(in crate::store) fn prepare(address: &Address) -> Result<(), EngineError> {
    let owner = Postgres::connect_as_owner(address)?;
    check_server(&owner)?;
    take_turn(&owner)?;
    migrate(&owner)
    // The connection ends, and with it the lock.
}

fn check_server(owner: &Postgres) -> Result<(), EngineError> {
    let sql = "SELECT current_setting('server_version_num')::integer, current_setting('fsync'),
               current_setting('full_page_writes'), current_setting('synchronous_commit')";
    let row = owner.rows(Of::Team, sql, &[])?.pop().ok_or_else(|| unreadable("the server's settings", "no row"))?;
    let version: i32 = at(&row, 0)?;
    if version < SERVER {
        let why = format!("PostgreSQL {}.{} is too old: 14 or later is needed", version / 10_000, version % 10_000);
        return Err(EngineError::Unusable(why));
    }
    for (column, name) in [(1, "fsync"), (2, "full_page_writes")] {
        if at::<&str>(&row, column)? == "off" {
            return Err(EngineError::Unusable(format!(
                "PostgreSQL runs with {name} = off: a power cut would lose or tear what it has acknowledged. Set {name} = on \
                 in postgresql.conf and reload it"
            )));
        }
    }
    if at::<&str>(&row, 3)? == "off" {
        tracing::warn!(
            "PostgreSQL runs with synchronous_commit = off: Metergate sets it to on for its own transactions, since others \
             would be lost in a crash"
        );
    }
    Ok(())
}

pub(super) fn take_turn(owner: &Postgres) -> Result<(), EngineError> {
    for _ in 0..TRIES {
        let row = owner.row(Of::Team, "SELECT pg_try_advisory_lock($1)", &[&LOCK])?;
        if row.map(|row| at::<bool>(&row, 0)).transpose()? == Some(true) {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(EngineError::Unusable("another node has been migrating the database for a minute: try again later".to_owned()))
}

/// Whether this program may use a schema of which this is the oldest that may.
///
/// # Errors
/// [`EngineError::Unusable`] where it may not.
pub(in crate::store) fn admit(oldest: u32) -> Result<(), EngineError> {
    if oldest <= VERSION {
        return Ok(());
    }
    Err(EngineError::Unusable(format!(
        "the database has a schema that only programs that know version {oldest} or later may use; this one knows version \
         {VERSION}: use a newer metergate"
    )))
}

fn migrate(owner: &Postgres) -> Result<(), EngineError> {
    owner.run(MAKE_ROLE).map_err(|error| {
        EngineError::Unusable(format!(
            "the role {ROLE} cannot be made or taken ({error}): let an administrator run CREATE ROLE {ROLE} NOLOGIN, and \
             GRANT {ROLE} to the user of the database URL"
        ))
    })?;
    owner.run(MAKE_NAMESPACE)?;
    owner.run(&format!("SET search_path = {NAMESPACE}"))?;
    let row = owner.row(Of::Team, "SELECT version, oldest FROM schema_version", &[])?;
    let found = row.map(|row| Ok::<_, EngineError>((at::<i32>(&row, 0)?, at::<i32>(&row, 1)?))).transpose()?;
    let (done, oldest) = found.map_or((0, 0), |(version, oldest)| (version.unsigned_abs(), oldest.unsigned_abs()));
    admit(oldest)?;
    for (version, sql) in MIGRATIONS.iter().enumerate().skip(done as usize) {
        let noted = format!(
            "DELETE FROM schema_version; INSERT INTO schema_version (version, oldest) VALUES ({}, {OLDEST})",
            version + 1
        );
        owner.run(&format!("BEGIN; {sql}; {noted}; {GRANT}; COMMIT"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::OLDEST;
    use crate::store::{block, seal};

    #[test]
    fn who_raises_the_version_of_a_format_raises_the_oldest_program_that_may_go_on() {
        assert_eq!((seal::VERSION, block::VERSION, OLDEST), (4, 10, 8));
    }
}
