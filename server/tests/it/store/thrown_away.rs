//! What follows from the blocks can be thrown away: a start makes it again.

use rusqlite::types::Value;

use super::aggregate::rollups;
use super::asks::tell;
use super::deletion::{delete, forgotten, is_gone, used};
use super::kit::{Kit, LONG, blob, closed, record};
use super::random_work::{Random, work};

/// Tables that are the fold of the blocks.
const DERIVED: [&str; 6] = ["accounts", "organizations", "rollups", "day_totals", "unique_values", "fleet_usage"];

fn rows(kit: &Kit, table: &str) -> Vec<Vec<Value>> {
    let database = kit.database();
    let mut query = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let columns = query.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|i| row.get(i)).collect::<Result<Vec<Value>, _>>();
    query.query_map([], row).unwrap().map(Result::unwrap).collect()
}

#[test]
fn rows_that_were_thrown_away_are_made_again_from_the_blocks() {
    let mut random = Random::new("rows_that_were_thrown_away_are_made_again_from_the_blocks");
    let mut kit = Kit::new();
    work(&mut kit, &mut random, 150);
    for thrown_away in [&DERIVED[..], &[]] {
        let now = kit.now();
        kit.close();
        let mut before = DERIVED.map(|table| rows(&kit, table));
        let database = kit.database();
        for table in thrown_away {
            database.execute(&format!("DELETE FROM {table}"), []).unwrap();
        }
        database.execute("DELETE FROM settings WHERE name = 'folded_to'", []).unwrap();
        drop(database);
        kit.reopen_at(now);
        kit.check().unwrap();
        let mut after = DERIVED.map(|table| rows(&kit, table));
        // The place up to which an account is folded is that of its last block, or of the block up to which all were.
        [&mut before[0], &mut after[0]].into_iter().flatten().for_each(|row| row[1] = Value::Null);
        for (table, (before, after)) in DERIVED.iter().zip(before.iter().zip(&after)) {
            assert_eq!(before, after, "{table}, after {thrown_away:?} was thrown away");
        }
        work_goes_on(&mut kit, &mut random);
    }
}

fn work_goes_on(kit: &mut Kit, random: &mut Random) {
    let asks: Vec<_> = (0..20).map(|_| super::asks::ask("tokens", random.below(3))).collect();
    assert!(kit.each_alone(asks.iter()).iter().all(Result::is_ok));
    kit.check().unwrap();
}

#[test]
fn totals_of_days_that_are_not_what_the_rows_come_to_are_made_again() {
    let kit = Kit::new();
    record(&kit, 0..5);
    kit.wait_until("the row is written", |kit| kit.count("day_totals") == 1);
    let before = rollups(&kit);
    for spoiled in ["DELETE FROM day_totals".to_owned(), format!("UPDATE day_totals SET data = {}", blob(&[2, 0]))] {
        kit.sql(&spoiled);
        let done = kit.aggregate();
        assert_eq!((done.rows, done.rebuilt), (1, 0), "no row of rollups was wrong");
        assert_eq!((kit.count("day_totals"), rollups(&kit)), (1, before.clone()));
        kit.check().unwrap();
    }
}

#[test]
fn a_block_that_was_changed_is_refused_and_named() {
    let mut kit = Kit::new();
    assert!(kit.allows(&super::asks::ask("calls", 1)));
    kit.close();
    let database = kit.database();
    let data: Vec<u8> = database.query_row("SELECT data FROM blocks WHERE sequence = 2", [], |row| row.get(0)).unwrap();
    let mut changed = data.clone();
    *changed.last_mut().unwrap() ^= 1;
    database.execute("UPDATE blocks SET data = ? WHERE sequence = 2", [changed]).unwrap();
    let settings = metergate::store::Settings::in_folder(kit.folder());
    let error = metergate::store::Store::open(settings, metergate::clock::Clock::start()).err().expect("it is refused");
    assert!(error.to_string().contains("block 2") && error.to_string().contains("checksum"), "{error}");
}

#[test]
fn it_stays_deleted_when_the_rows_are_made_again_from_blocks_and_slices() {
    for slices in [None, Some(3)] {
        let mut kit = slices.map_or_else(Kit::new, |ids| Kit::with_slices(ids, LONG));
        let id = used(&kit);
        kit.delete(&delete()).unwrap();
        if slices.is_some() {
            assert!((0..8).all(|n| kit.records(&tell("hits", 1, &format!("o{n}")).of("other"))));
            closed(&kit, 2);
        }
        forgotten(&kit);
        let now = kit.now();
        kit.close();
        let rows = "DELETE FROM accounts; DELETE FROM organizations; DELETE FROM rollups; DELETE FROM day_totals; DELETE FROM unique_values;
                    DELETE FROM fleet_usage; DELETE FROM settings WHERE name = 'folded_to'";
        kit.database().execute_batch(rows).unwrap();
        kit.reopen_at(now);
        is_gone(&kit, id);
        kit.check().unwrap();
    }
}
