//! Rollups made again from the records (M12): what was spoiled is right again, what is right stays, whatever goes on beside it.

use std::collections::BTreeMap;

use metergate::store::rollup::{Day, RollupKey, RollupRow, Slot};
use metergate::store::{Pace, Request};
use metergate_rules::time::{DAY, Time};

use super::asks::tell;
use super::kit::{Kit, LONG, blob, is_of, named, record};
use super::random_work::{ORGANIZATIONS, Random, work};

/// Rows are written in the commit of what they are made of, on either engine.
pub(super) const AT_ONCE: Pace = Pace::Accounts(100);

pub(super) fn rollups(kit: &Kit) -> BTreeMap<RollupKey, Day> {
    kit.rollups()
}

/// The condition of a row.
pub(super) fn is_at(key: &RollupKey) -> String {
    let RollupKey { meter, day, dimensions, .. } = key;
    let owner = is_of("rollups", key.organization);
    format!("{owner} AND meter = {} AND day = {day} AND dimensions = '{dimensions}'", meter.0)
}

/// Writes a row with the store's own seal.
pub(super) fn write(kit: &Kit, key: &RollupKey, day: &Day) {
    let row = RollupRow { organization: key.organization, meter: key.meter, day: key.day, dimensions: &key.dimensions };
    let (owner, data) = (named(key.organization), blob(&row.seal(day).unwrap()));
    let (meter, day, dimensions) = (key.meter.0, key.day, &key.dimensions);
    kit.sql(&format!("DELETE FROM rollups WHERE {}", is_at(key)));
    let columns = "organization, meter, day, dimensions, data";
    kit.sql(&format!("INSERT INTO rollups ({columns}) VALUES ({owner}, {meter}, {day}, '{dimensions}', {data})"));
}

pub(super) fn wrong() -> Day {
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
            2 | 3 => kit.sql(&format!("DELETE FROM rollups WHERE {}", is_at(key))),
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
        // At any other pace rows that were right and behind the journal may have caught up between the two.
        assert!(pace != Pace::Accounts(0) || rollups(&kit) == after, "the second time changes nothing");
        kit.check().unwrap();
    }
}

#[test]
fn what_comes_after_rows_were_made_again_is_added_to_those() {
    let mut kit = Kit::with_rows(AT_ONCE);
    record(&kit, 0..5);
    kit.wait_until("the row is written", |kit| kit.count("rollups") == 1);
    let (key, now) = (rollups(&kit).into_keys().next().unwrap(), kit.now());
    kit.close();
    write(&kit, &key, &wrong());
    kit.reopen_at(now);
    // Added to what is wrong, and known so to whoever wrote it.
    record(&kit, 5..7);
    assert_eq!(kit.aggregate().rebuilt, 1);
    record(&kit, 7..9);
    kit.wait_until("all of it is written", |kit| rollups(kit)[&key].all().count == 9);
    kit.check().unwrap();
}

#[test]
fn a_row_whose_bytes_have_changed_is_made_again() {
    let kit = Kit::with_rows(AT_ONCE);
    record(&kit, 0..5);
    kit.wait_until("the row is written", |kit| kit.count("rollups") == 1);
    let before = rollups(&kit);
    kit.sql(&format!("UPDATE rollups SET data = {}", blob(&[2, 0])));
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
    kit.sql("DELETE FROM rollups WHERE dimensions LIKE '%7%'");
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
    assert_eq!(kit.aggregate().wrong, 0, "which sets came first is what the commits made it");
    kit.sql("DELETE FROM rollups WHERE dimensions LIKE '%7%' OR dimensions = 'other'");
    assert!(kit.aggregate().rebuilt == 1001);
    assert_eq!((kit.count("rollups"), kit.reported("acme", "tokens").count), (1001, 1400));
    kit.check().unwrap();
    let first = rollups(&kit);
    assert_eq!((kit.aggregate().rebuilt, rollups(&kit)), (0, first));
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
    kit.reopen();
    kit.check().unwrap();
}
