//! Rollups made again from the records (M12): what was spoiled is right again, what is right stays, whatever goes on beside it.

use std::collections::BTreeMap;

use metergate::aggregate::Aggregated;
use metergate::store::rollup::{Day, RollupKey, RollupRow, Slot};
use metergate::store::sqlite::Sqlite;
use metergate::store::{Pace, Request};
use metergate_rules::time::{DAY, Time};

use super::asks::{create, meter, tell};
use super::kit::Kit;
use super::random_work::{ORGANIZATIONS, Random, work};
use super::slices::{LONG, closed, record};
use crate::invariant::{conservation, stored_rollups};

fn rollups(kit: &Kit) -> BTreeMap<RollupKey, Day> {
    stored_rollups(&Sqlite::open_to_read(kit.folder()).unwrap())
}

/// Writes a row with the store's own seal.
fn write(kit: &Kit, key: &RollupKey, day: &Day) {
    let row = RollupRow { organization: key.organization, meter: key.meter, day: key.day, dimensions: &key.dimensions };
    let sql = "INSERT OR REPLACE INTO rollups (organization, meter, day, dimensions, data) VALUES (?, ?, ?, ?, ?)";
    let row = (key.organization.bytes(), key.meter.0, key.day, &key.dimensions, row.seal(day).unwrap());
    kit.database().execute(sql, row).unwrap();
}

fn wrong() -> Day {
    let mut day = Day::default();
    day.add(3, &Slot { count: 2, sum: 4711, max: 99, last: Some((Time::from_micros(1), 5)) });
    day
}

/// Wrong figures, rows that are missing, rows that nothing makes.
fn spoil(kit: &Kit, random: &mut Random) -> u64 {
    let all: Vec<_> = rollups(kit).into_keys().collect();
    assert!(all.len() > 5, "there is something to spoil");
    for round in 0..5 {
        let key = random.one_of(&all);
        match round {
            0 | 1 => write(kit, key, &wrong()),
            2 | 3 => {
                let sql = "DELETE FROM rollups WHERE organization = ? AND meter = ? AND day = ? AND dimensions = ?";
                let row = (key.organization.bytes(), key.meter.0, key.day, &key.dimensions);
                kit.database().execute(sql, row).unwrap();
            }
            _ => {
                let extra = RollupKey { dimensions: r#"{"model":"never"}"#.to_owned(), ..key.clone() };
                write(kit, &extra, &wrong());
                write(kit, &RollupKey { day: key.day + 4000, ..key.clone() }, &wrong());
            }
        }
    }
    all.len() as u64
}

fn with_model(mut request: Request, model: usize) -> Request {
    if let Request::Record(record) = &mut request {
        record.event.items[0].dimensions = format!(r#"{{"model":"{model}"}}"#);
    }
    request
}

#[test]
fn what_was_spoiled_is_made_again_and_what_is_right_stays() {
    for (pace, slice_ids) in [(Pace::Tenth, 5_000_000), (Pace::Accounts(0), 5_000_000), (Pace::Accounts(1), 15)] {
        let mut random = Random::new("what_was_spoiled_is_made_again_and_what_is_right_stays");
        let mut kit = Kit::with_slices(slice_ids, LONG);
        work(&mut kit, &mut random, 60);
        kit.set_pace(Pace::Tenth);
        kit.reopen();
        let now = kit.now();
        kit.close();
        let before = rollups(&kit);
        let rows = spoil(&kit, &mut random);
        kit.set_pace(pace);
        kit.reopen_at(now);
        // Its rows may be behind by then.
        work(&mut kit, &mut random, 5);
        let done = kit.aggregate();
        assert_eq!((done.organizations, done.kept), (ORGANIZATIONS.len() as u64, 0));
        assert!(done.rebuilt > 0 && done.rows + 20 > rows, "{done:?}");
        kit.check().unwrap();
        assert!(rollups(&kit).len() >= before.len());
        let after = rollups(&kit);
        kit.wait_until("nothing is left to be made again", |kit| kit.aggregate().rebuilt == 0);
        assert!(pace == Pace::Tenth || rollups(&kit) == after, "the second time changes nothing");
        kit.check().unwrap();
    }
}

#[test]
fn a_row_whose_bytes_have_changed_is_made_again() {
    let kit = Kit::new();
    record(&kit, 0..5);
    kit.wait_until("the row is written", |kit| kit.count("rollups") == 1);
    let before = rollups(&kit);
    kit.database().execute("UPDATE rollups SET data = x'0200'", []).unwrap();
    assert_eq!(kit.aggregate().rebuilt, 1);
    assert_eq!(rollups(&kit), before);
    kit.check().unwrap();
}

/// More than fit in memory, or in a commit.
#[test]
fn many_rows_are_made_a_few_days_at_a_time() {
    const SETS: usize = 900;
    const DAYS: i64 = 24;
    let kit = Kit::new();
    for day in 0..DAYS {
        let time = kit.now().plus(-day * DAY);
        let of = |model: usize| {
            let tell = tell("tokens", 1, &format!("e{day}-{model}")).at(time);
            with_model(Request::from(&tell), model)
        };
        assert!(kit.in_one_batch((0..SETS).map(of).collect()).iter().all(Result::is_ok));
    }
    let rows = SETS as u64 * DAYS.unsigned_abs();
    kit.wait_until("the rows are written", |kit| kit.count("rollups") == rows);
    let before = rollups(&kit);
    kit.database().execute("DELETE FROM rollups WHERE dimensions LIKE '%7%'", []).unwrap();
    assert_eq!(kit.aggregate().rebuilt, rows);
    assert!(rollups(&kit) == before, "every row is there again");
    let done = kit.aggregate();
    assert_eq!((done.organizations, done.rows, done.rebuilt), (1, rows, 0));
}

/// Beyond the cap the sets that came first have rows of their own, each time the same.
#[test]
fn the_cap_of_dimension_sets_holds_and_totals_are_exact() {
    let kit = Kit::new();
    let of = |model: usize| with_model(Request::from(&tell("tokens", 1, &format!("e{model}"))), model);
    for models in [0..700, 700..1400] {
        let events: Vec<Request> = models.map(of).collect();
        assert!(kit.in_one_batch(events).iter().all(Result::is_ok));
    }
    kit.wait_until("the rows are written", |kit| kit.count("rollups") == 1001);
    kit.database().execute("DELETE FROM rollups WHERE dimensions LIKE '%7%' OR dimensions = 'other'", []).unwrap();
    assert!(kit.aggregate().rebuilt == 1001);
    assert_eq!((kit.count("rollups"), kit.reported("acme", "tokens").count), (1001, 1400));
    kit.check().unwrap();
    let first = rollups(&kit);
    assert_eq!((kit.aggregate().rebuilt, rollups(&kit)), (0, first));
}

#[test]
fn days_whose_records_have_gone_are_kept_and_said_to_be() {
    let mut kit = Kit::with_slices(20, 90);
    let first = kit.now();
    record(&kit, 0..25);
    closed(&kit, 1);
    kit.wait_until("the blocks have left the database", |kit| kit.count("blocks") == 1);
    kit.reopen_at(first.plus(200 * DAY));
    kit.wait_until("the oldest file has gone", |kit| kit.count("slices") == 0);
    kit.made(&create("globex"));
    record(&kit, 200..203);
    kit.reopen_at(first.plus(202 * DAY));
    record(&kit, 300..304);
    assert!(kit.records(&tell("hits", 1, "e1").of("globex")));
    let now = kit.now();
    kit.close();
    let mut spoiled = rollups(&kit);
    let today = i32::try_from(now.micros().div_euclid(DAY)).unwrap();
    let hits: Vec<_> = spoiled.keys().filter(|key| key.meter == meter("hits")).cloned().collect();
    assert_eq!(hits.iter().filter(|key| key.day == today - 202).count(), 1);
    for key in &hits {
        write(&kit, key, &wrong());
    }
    kit.reopen_at(now);
    let done = kit.aggregate();
    assert_eq!((done.kept, done.rebuilt, done.kept_until), (1, 3, Some(today - 202)), "{done:?}");
    for key in hits.iter().filter(|key| key.day == today - 202) {
        spoiled.insert(key.clone(), wrong());
    }
    assert_eq!(rollups(&kit), spoiled, "what cannot be made again stays as it is");
    assert_eq!(Aggregated { rebuilt: 0, ..done }, kit.aggregate());
}

#[test]
fn beside_work_it_is_right_at_every_moment() {
    let mut random = Random::new("beside_work_it_is_right_at_every_moment");
    let mut kit = Kit::with_slices(40, LONG);
    work(&mut kit, &mut random, 30);
    kit.reopen();
    let now = kit.now();
    kit.close();
    spoil(&kit, &mut random);
    kit.reopen_at(now);
    let mut sent = 0;
    let done = kit.aggregate_beside(|| {
        sent += 1;
        (0..5).map(|i| Request::from(&tell("hits", 1, &format!("beside-{sent}-{i}")))).collect()
    });
    assert!(done.rebuilt > 0 && sent > 0, "{done:?} beside {sent} calls");
    assert_eq!(kit.aggregate().rebuilt, 0);
    kit.check().unwrap();
    kit.close();
    conservation(kit.folder()).unwrap();
}
