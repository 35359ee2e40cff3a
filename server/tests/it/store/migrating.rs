//! A migration may take long, and stands in nobody's way for long: it waits for those who use a table, and says for whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use metergate::clock::{Clock, boot};
use metergate::store::error::EngineError;
use metergate::store::postgres::SCHEMA;
use metergate::store::{Settings, Store};
use metergate_rules::time::SECOND;

use super::engine::{Database, Stranger};
use super::kit::{Kit, start};
use super::told::FailPoint;

/// A table of the schema that the last migration needs for itself alone.
const TABLE: &str = "CREATE SCHEMA metergate; CREATE TABLE metergate.held (one integer)";
const NEEDS_IT: &str = "return(LOCK TABLE metergate.held IN ACCESS EXCLUSIVE MODE)";
/// What a dump does.
const READS: &str = "SET application_name = 'dump'; BEGIN; LOCK TABLE metergate.held IN ACCESS SHARE MODE";
/// Whoever uses the table meanwhile waits for less, in microseconds.
const IN_THE_WAY: i64 = SECOND;

/// A program that starts on a database.
fn opened(database: &Database) -> Result<Arc<Store>, EngineError> {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { database: Some(database.secret()), ..Settings::in_folder(folder.path()) };
    Store::open(settings, Clock::starting_at(start())).map(Arc::new)
}

fn version(database: &Database) -> i64 {
    database.number("SELECT version::bigint FROM metergate.schema_version")
}

/// Callers stop when this goes, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_migration_takes_as_long_as_it_needs_whatever_the_database_says() {
    let _alone = Kit::alone();
    let database = Database::new();
    let name = database.url().rsplit('/').next().unwrap();
    database.run(&format!("ALTER DATABASE {name} SET statement_timeout = '2s'"));
    let _long = FailPoint::set("last-migration", "return(SELECT pg_sleep(6))");
    let began = boot();
    let store = opened(&database).expect("it is not cut short");
    assert!(boot() - began >= 6 * SECOND);
    assert_eq!(version(&database), i64::from(SCHEMA));
    store.close();
}

#[test]
fn a_migration_gives_way_to_those_who_use_its_table_and_is_applied_once_it_can() {
    let _alone = Kit::alone();
    let database = Database::new();
    database.run(TABLE);
    let _needs = FailPoint::set("last-migration", NEEDS_IT);
    let dump = Stranger::come(database.url());
    dump.does(READS);
    let (over, is_open) = (AtomicBool::new(false), AtomicBool::new(false));
    let (was_open, longest, uses) = thread::scope(|scope| {
        let _over = Over(&over);
        let starting = scope.spawn(|| {
            let opened = opened(&database);
            is_open.store(true, Ordering::Relaxed);
            opened
        });
        let using = scope.spawn(|| {
            let (stranger, mut longest, mut uses) = (Stranger::come(database.url()), 0, 0);
            while !over.load(Ordering::Relaxed) {
                let began = boot();
                stranger.sees("SELECT count(*) FROM metergate.held");
                (longest, uses) = (longest.max(boot() - began), uses + 1);
                thread::sleep(Duration::from_millis(2));
            }
            (longest, uses)
        });
        thread::sleep(Duration::from_secs(5));
        let was_open = is_open.load(Ordering::Relaxed);
        dump.does("COMMIT");
        let store = starting.join().unwrap().expect("it goes on once it can");
        over.store(true, Ordering::Relaxed);
        store.close();
        let (longest, uses) = using.join().unwrap();
        (was_open, longest, uses)
    });
    assert!(!was_open, "the dump had the table");
    println!("{uses} uses of the table meanwhile, of which the longest took {longest} µs");
    assert!(uses > 100 && longest < IN_THE_WAY, "{uses} uses, of which one waited for {longest} µs");
    assert_eq!(version(&database), i64::from(SCHEMA));
}

#[test]
fn a_migration_that_waits_for_too_long_says_for_whom_and_leaves_the_schema_as_it_was() {
    let _alone = Kit::alone();
    let database = Database::new();
    database.run(TABLE);
    let _needs = FailPoint::set("last-migration", NEEDS_IT);
    let _hurry = FailPoint::set("migration-in-a-hurry", "return");
    let dump = Stranger::come(database.url());
    dump.does(READS);
    let error = opened(&database).err().expect("it cannot be applied").to_string();
    for part in [format!("to version {SCHEMA}"), "table held".to_owned(), "(dump)".to_owned(), "try again".to_owned()] {
        assert!(error.contains(&part), "{part}: {error}");
    }
    assert_eq!(version(&database), i64::from(SCHEMA) - 1);
    // Another that has the turn is named as well.
    let other = Stranger::come(database.url());
    other.does(TAKES_THE_TURN);
    let error = opened(&database).err().expect("it is another's turn").to_string();
    assert!(error.contains("migrated by process") && error.contains("(other)"), "{error}");
    dump.does("COMMIT");
    drop(other);
    opened(&database).expect("once both are gone it is applied").close();
    assert_eq!(version(&database), i64::from(SCHEMA));
}

/// Takes the turn to migrate.
const TAKES_THE_TURN: &str =
    "SET application_name = 'other'; SELECT pg_advisory_lock(x'6d65746572676174'::bit(64)::bigint)";

#[test]
fn a_start_waits_for_another_that_migrates_however_long_that_takes() {
    let _alone = Kit::alone();
    let database = Database::new();
    // Who does nothing is waited for for two seconds.
    let _hurry = FailPoint::set("migration-in-a-hurry", "return");
    let other = Stranger::come(database.url());
    other.does(TAKES_THE_TURN);
    let began = boot();
    let store = thread::scope(|scope| {
        let starting = scope.spawn(|| opened(&database));
        other.does("SELECT pg_sleep(4)");
        // It rests for a moment, as a migration does that waits for a table.
        thread::sleep(Duration::from_secs(1));
        other.does("SELECT pg_sleep(4)");
        drop(other);
        starting.join().unwrap().expect("it goes on once the other has ended")
    });
    assert!(boot() - began >= 9 * SECOND);
    assert_eq!(version(&database), i64::from(SCHEMA));
    store.close();
}

#[test]
fn whoever_has_nothing_to_migrate_waits_for_nobody_who_migrates() {
    let kit = Kit::new();
    let other = Stranger::come(kit.server().url());
    other.does(TAKES_THE_TURN);
    kit.another();
}
