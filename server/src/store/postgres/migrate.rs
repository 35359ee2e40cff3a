//! What a start makes sure of: that commits are on disk when PostgreSQL says so, that the schema is this program's, and that
//! the role is there as which it works. Any number of nodes may start at once.

use super::durable::{self, Weakness};
use super::{Address, Postgres, at, session};
use crate::store::error::{EngineError, unreadable};

mod waiting;

pub(super) use waiting::take_turn;

const MIGRATIONS: [&str; 12] = [
    include_str!("../../../migrations/postgres/0001_start.sql"),
    include_str!("../../../migrations/postgres/0002_notifications.sql"),
    include_str!("../../../migrations/postgres/0003_stripe.sql"),
    include_str!("../../../migrations/postgres/0004_prices.sql"),
    include_str!("../../../migrations/postgres/0005_rests.sql"),
    include_str!("../../../migrations/postgres/0006_walls.sql"),
    include_str!("../../../migrations/postgres/0007_refusals.sql"),
    include_str!("../../../migrations/postgres/0008_hints.sql"),
    include_str!("../../../migrations/postgres/0009_invitations.sql"),
    include_str!("../../../migrations/postgres/0010_hours.sql"),
    include_str!("../../../migrations/postgres/0011_resets.sql"),
    include_str!("../../../migrations/postgres/0012_turns.sql"),
];

/// The version of the schema that this program makes.
pub const VERSION: u32 = MIGRATIONS.len() as u32;
/// The oldest program, by the version of its schema, that may go on beside the newest one. Those before it read neither
/// accounts nor journals nor links as they are written now, or make rollups again without a new version of the account.
const OLDEST: u32 = 11;
/// The oldest PostgreSQL.
const SERVER: i64 = 140_000;

/// Where everything is.
pub(super) const NAMESPACE: &str = "metergate";
/// As which role the program works.
pub(super) const ROLE: &str = "metergate_app";

/// Whether there is a schema, and the role as which the program works has its rights in it and may be taken.
const IS_MADE: &str = "
    SELECT CASE WHEN to_regclass('metergate.schema_version') IS NULL THEN 0 ELSE
        (SELECT count(*) FROM pg_roles r WHERE r.rolname = 'metergate_app'
         AND pg_has_role(current_user::name, r.oid, 'USAGE') AND has_schema_privilege(r.oid, 'metergate', 'USAGE')
         AND has_table_privilege(r.oid, to_regclass('metergate.schema_version')::oid, 'SELECT')) END";

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

/// Brings the database to where this program can use it. What is wrong with the server although it may be used.
///
/// # Errors
/// [`EngineError::Unusable`] where it would lose what it has acknowledged, a later program made it, or somebody stands in the
/// way.
pub(in crate::store) fn prepare(address: &Address) -> Result<Vec<Weakness>, EngineError> {
    let owner = Postgres::connect_as_owner(address)?;
    session::check(&owner, address)?;
    check_version(&owner)?;
    let weak = durable::check(&owner)?;
    // Whoever has nothing to do does not wait for a node that migrates, which may take long.
    if !is_done(&owner)? {
        take_turn(&owner)?;
        migrate(&owner)?;
    }
    Ok(weak)
    // The connection ends, and with it the lock.
}

fn check_version(owner: &Postgres) -> Result<(), EngineError> {
    let version = number(owner, "SELECT current_setting('server_version_num')::bigint")?;
    if version < SERVER {
        let why = format!("PostgreSQL {}.{} is too old: 14 or later is needed", version / 10_000, version % 10_000);
        return Err(EngineError::Unusable(why));
    }
    Ok(())
}

fn number(owner: &Postgres, sql: &'static str) -> Result<i64, EngineError> {
    let row = owner.together(&[(sql, Vec::new())])?.pop().and_then(|mut rows| rows.pop());
    row.map_or_else(|| Err(unreadable("a figure of the server", "no row")), |row| at(&row, 0))
}

/// Whether the schema is this program's or a newer one that it may use, and the role may be taken.
fn is_done(owner: &Postgres) -> Result<bool, EngineError> {
    if number(owner, IS_MADE)? == 0 {
        return Ok(false);
    }
    let Some((version, oldest)) = found(owner, "SELECT version, oldest FROM metergate.schema_version")? else {
        return Ok(false);
    };
    admit(oldest)?;
    Ok(version >= VERSION)
}

/// The version of the schema, and the oldest program that may use it.
fn found(owner: &Postgres, sql: &'static str) -> Result<Option<(u32, u32)>, EngineError> {
    let row = owner.together(&[(sql, Vec::new())])?.pop().and_then(|mut rows| rows.pop());
    row.map(|row| Ok((at::<i32>(&row, 0)?.unsigned_abs(), at::<i32>(&row, 1)?.unsigned_abs()))).transpose()
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
    owner.take_a_day()?;
    let (done, oldest) = found(owner, "SELECT version, oldest FROM schema_version")?.unwrap_or_default();
    admit(oldest)?;
    for (version, sql) in (1..).zip(MIGRATIONS).skip(done as usize) {
        let noted = format!(
            "DELETE FROM schema_version; INSERT INTO schema_version (version, oldest) VALUES ({version}, {OLDEST})"
        );
        let more = if version == VERSION { of_a_test() } else { String::new() };
        waiting::apply(owner, version, &format!("{sql}; {more}; {noted}; {GRANT}"))?;
    }
    Ok(())
}

/// What a test has the last migration do beside its own.
fn of_a_test() -> String {
    fail::fail_point!("last-migration", |sql| sql.unwrap_or_default());
    String::new()
}

#[cfg(test)]
mod tests {
    use super::OLDEST;
    use crate::store::{block, seal};

    #[test]
    fn who_raises_the_version_of_a_format_raises_the_oldest_program_that_may_go_on() {
        assert_eq!((seal::VERSION, block::VERSION, OLDEST), (5, 14, 11));
    }
}
