//! Bringing the schema up to date. Released files never change; `user_version` says how many have been run.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{EngineError, unreadable};

/// These are filled from rows that there are.
const FLEET: &str = include_str!("../../../migrations/sqlite/0005_fleet.sql");
const VALUE_CHECKSUMS: &str = include_str!("../../../migrations/sqlite/0009_value_checksums.sql");
/// After it kept answers say which organization they name.
const RETENTION: &str = include_str!("../../../migrations/sqlite/0010_retention.sql");
const DAY_TOTALS: &str = include_str!("../../../migrations/sqlite/0012_day_totals.sql");
const PRICE_CHECKSUMS: &str = include_str!("../../../migrations/sqlite/0018_price_checksums.sql");

const MIGRATIONS: [&str; 21] = [
    include_str!("../../../migrations/sqlite/0001_start.sql"),
    include_str!("../../../migrations/sqlite/0002_slices.sql"),
    include_str!("../../../migrations/sqlite/0003_audit_resolutions.sql"),
    include_str!("../../../migrations/sqlite/0004_people.sql"),
    FLEET,
    include_str!("../../../migrations/sqlite/0006_deletions.sql"),
    include_str!("../../../migrations/sqlite/0007_access.sql"),
    include_str!("../../../migrations/sqlite/0008_identities.sql"),
    VALUE_CHECKSUMS,
    RETENTION,
    include_str!("../../../migrations/sqlite/0011_rotation.sql"),
    DAY_TOTALS,
    include_str!("../../../migrations/sqlite/0013_letters.sql"),
    include_str!("../../../migrations/sqlite/0014_notifications.sql"),
    include_str!("../../../migrations/sqlite/0015_stripe.sql"),
    include_str!("../../../migrations/sqlite/0016_prices.sql"),
    include_str!("../../../migrations/sqlite/0017_rests.sql"),
    PRICE_CHECKSUMS,
    include_str!("../../../migrations/sqlite/0019_hints.sql"),
    include_str!("../../../migrations/sqlite/0020_mail_choices.sql"),
    include_str!("../../../migrations/sqlite/0021_invitations.sql"),
];

/// The version of the schema that this program makes and reads.
pub const VERSION: u32 = MIGRATIONS.len() as u32;

/// Runs the migrations that have not been run, each in a transaction of its own. A database that holds something is
/// copied first.
///
/// # Errors
/// [`EngineError::Unusable`] if a later program wrote the database.
pub(super) fn migrate(connection: &mut Connection, folder: &Path) -> Result<(), EngineError> {
    let done: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = done as usize;
    if done > MIGRATIONS.len() {
        let known = MIGRATIONS.len();
        return Err(EngineError::Unusable(format!(
            "the database has schema version {done}, this program knows versions up to {known}: use a newer metergate"
        )));
    }
    if done > 0 && done < MIGRATIONS.len() {
        copy_once(connection, folder)?;
    }
    for (version, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        transaction.execute_batch(sql)?;
        match *sql {
            FLEET => super::totals::fill(&transaction)?,
            VALUE_CHECKSUMS => {
                super::values::fill(&transaction)?;
                super::deletion::count(&transaction)?;
            }
            RETENTION => super::deletion::fill(&transaction)?,
            DAY_TOTALS => super::day_totals::fill(&transaction)?,
            PRICE_CHECKSUMS => super::prices::fill(&transaction)?,
            _ => {}
        }
        if done == 0 && version + 1 == MIGRATIONS.len() {
            // Every row of none is there.
            super::settings::set(&transaction, "folded_to", "0")?;
        }
        transaction.pragma_update(None, "user_version", version as u32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Copies the database as it is before the first migration. A start that ends in between leaves half a copy, which the next
/// one makes anew, or a whole one, which stays: what is copied later may have been migrated in part.
fn copy_once(connection: &Connection, folder: &Path) -> Result<(), EngineError> {
    let whole = folder.join(format!("{}.before-{}", super::FILE, MIGRATIONS.len()));
    let part = whole.with_extension(format!("before-{}.part", MIGRATIONS.len()));
    if whole.exists() {
        return Ok(());
    }
    let failed = |error: std::io::Error| unreadable(part.display().to_string(), error);
    if part.exists() {
        std::fs::remove_file(&part).map_err(failed)?;
    }
    connection.execute("VACUUM INTO ?", [part.to_string_lossy()])?;
    std::fs::rename(&part, &whole).map_err(failed)
}
