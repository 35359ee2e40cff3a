//! Slices: where the journal is — in memory, closing, in a file, in a merged one — is nobody's business who asks or reads.

use std::fs;
use std::path::PathBuf;

use metergate::aggregate::Aggregated;
use metergate::clock::Clock;
use metergate::report::Report;
use metergate::report::events::EventFilter;
use metergate::store::slice::Extent;
use metergate::store::sqlite::Sqlite;
use metergate::store::{DecidedReceipt, Place, Receipt, Request, Scope, Settings, Store, StoreError};
use metergate_rules::time::DAY;
use metergate_rules::window::Window;

use super::aggregate::{rollups, write, wrong};
use super::asks::{Ask, ask, create, meter, organization, tell};
use super::kit::{Kit, LONG, closed, decided, event, record};
use super::random_work::{ORGANIZATIONS, Random, work};

/// Files of ids at most.
const MOST_FILES: u64 = 8;
/// The files in the folder of slices, with this ending.
fn files(kit: &Kit, ending: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(kit.folder().join("slices")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = all.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    files.sort();
    files
}

#[test]
fn an_id_counts_once_and_has_one_answer_wherever_its_slice_is() {
    let mut kit = Kit::with_slices(20, LONG);
    let asks: Vec<Ask> = (0..14).map(|i| ask("credits", 1 + i % 3).id(&format!("d{i}"))).collect();
    let mut told: Vec<DecidedReceipt> = Vec::new();
    for round in 0..14 {
        told.push(kit.decide(&asks[round]).unwrap());
        record(&kit, round * 25..(round + 1) * 25);
        // At this moment the slice may be closing, or closed.
        for number in [round * 25, round * 25 + 24, round * 10, 0] {
            assert!(!kit.records(&event(number)), "event {number} in round {round}");
        }
        closed(&kit, round as u64 + 1);
        assert!(kit.count("slice_ids") <= MOST_FILES);
        if round % 5 == 4 {
            kit.reopen();
        }
        for (ask, first) in asks.iter().zip(&told) {
            let again = kit.decide(ask).unwrap();
            assert!(again.replayed, "{ask:?} in round {round}");
            assert_eq!(DecidedReceipt { replayed: false, ..again }, *first);
        }
    }
    kit.wait_until("the last file is there", |kit| kit.count("slice_ids") == MOST_FILES);
    let all: Vec<Request> = (0..14 * 25).map(|number| (&event(number)).into()).collect();
    assert!(kit.in_one_batch(all).iter().all(|answer| *answer == Ok(Receipt::Recorded { duplicate: true })));
    assert_eq!(kit.used("acme", "hits", Window::Lifetime), 14 * 25);
    kit.wait_until("the blocks have left the database", |kit| kit.count("blocks") == 1);
    assert_eq!(files(&kit, "ids").len() as u64, MOST_FILES, "the files that were merged are gone");
    kit.check().unwrap();
    kit.reopen();
    assert!(!kit.records(&event(7)) && kit.decide(&asks[0]).unwrap().replayed);
    kit.check().unwrap();
}

/// All records of an organization as a reader gets them, each reading so many and going on before the last.
fn read_in_steps(kit: &Kit, key: &'static str, step: usize) -> Vec<Place> {
    let (mut all, mut newest): (Vec<Place>, u64) = (Vec::new(), u64::MAX);
    loop {
        let read = move |view: &metergate::store::reader::View<'_>, _: &_| {
            let (id, mut places) = (view.account(Scope::Team, &organization(key))?.id, Vec::new());
            view.records(id, newest, |sequence, offset, _| {
                // Only whole blocks, since the next step begins with the block before.
                let more = places.len() < step || places.last().is_some_and(|last: &Place| last.sequence == sequence);
                if more {
                    places.push(Place { sequence, offset });
                }
                more
            })?;
            Ok(places)
        };
        let places = kit.read(read).unwrap();
        let Some(last) = places.last() else { return all };
        newest = last.sequence - 1;
        all.extend(places);
    }
}

#[test]
fn records_come_newest_first_from_blocks_and_slices_whatever_happens_meanwhile() {
    let mut random = Random::new("records_come_newest_first_from_blocks_and_slices_whatever_happens_meanwhile");
    let mut kit = Kit::with_slices(15, LONG);
    for round in 0..8 {
        work(&mut kit, &mut random, 15);
        let journal = kit.journal();
        for key in ORGANIZATIONS {
            let id = kit.account(key).id;
            for step in [1, 10, usize::MAX] {
                let places = read_in_steps(&kit, key, step);
                assert!(places.is_sorted_by(|a, b| a > b), "{key}, {step} at a time, round {round}");
                assert_eq!(places.len(), journal.of_organization(id).count(), "{key}, {step} at a time");
            }
        }
        kit.check().unwrap();
    }
    kit.wait_until("slices are closed", |kit| kit.count("slices") >= 5);
}

#[test]
fn an_event_list_pages_through_blocks_and_slices_in_order() {
    let kit = Kit::with_slices(20, LONG);
    kit.made(&create("globex"));
    for number in 0..130 {
        assert!(kit.records(&event(number)));
        assert!(kit.records(&event(number).of("globex")));
    }
    kit.wait_until("slices are closed", |kit| kit.count("slices") >= 5);
    for key in ["acme", "globex"] {
        let (mut listed, mut cursor): (Vec<String>, Option<Vec<u8>>) = (Vec::new(), None);
        loop {
            let now = kit.now();
            let page = kit.read(move |view, catalogue| {
                let report = Report { view, catalogue, scope: Scope::Team, now, text: false };
                report.events(&organization(key), &EventFilter::default(), 7, cursor.as_deref())
            });
            let page = page.unwrap();
            listed.extend(page.data.into_iter().map(|event| event.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, (0..130).rev().map(|number| format!("e{number}")).collect::<Vec<_>>(), "{key}");
    }
}

#[test]
fn ids_go_past_their_window_and_records_past_the_retention_whole() {
    let mut kit = Kit::with_slices(20, 90);
    let first = kit.now();
    for round in 0..3 {
        record(&kit, round * 25..(round + 1) * 25);
        closed(&kit, round as u64 + 1);
    }
    kit.wait_until("the blocks have left the database", |kit| kit.count("blocks") == 1);
    assert_eq!((files(&kit, "ids").len(), files(&kit, "records").len()), (3, 3));
    let last = read_in_steps(&kit, "acme", usize::MAX)[0].sequence;
    kit.reopen_at(first.plus(34 * DAY));
    assert!(!kit.records(&event(3)), "within the window");
    kit.reopen_at(first.plus(36 * DAY));
    kit.wait_until("the files of ids are gone", |kit| kit.count("slice_ids") == 0 && files(kit, "ids").is_empty());
    assert_eq!(files(&kit, "records").len(), 3, "records are kept for longer");
    assert!(kit.records(&event(3)), "the id is forgotten, and used again");
    assert!(!kit.records(&event(3)));
    kit.check().unwrap();
    kit.reopen_at(first.plus(91 * DAY));
    kit.wait_until("the oldest files are gone", |kit| {
        let firsts = Sqlite::open_to_read(kit.folder()).unwrap().slices().unwrap();
        firsts.iter().map(|extent| extent.first).eq([last + 1]) && files(kit, "records").len() == 1
    });
    let left = read_in_steps(&kit, "acme", usize::MAX);
    assert!(left.iter().all(|place| place.sequence > last), "of what is old nothing is left to read");
    assert!(!left.is_empty(), "the later use is");
    assert_eq!(kit.used("acme", "hits", Window::Lifetime), 76, "counters stay");
    assert!(kit.records(&event(200)));
    kit.reopen();
    assert!(!kit.records(&event(200)));
}

#[test]
fn a_store_that_nobody_asks_keeps_its_place_in_the_journal() {
    let mut kit = Kit::with_slices(10, 90);
    let first = kit.now();
    record(&kit, 0..25);
    closed(&kit, 1);
    let last = kit.last_block();
    for days in [200, 400] {
        kit.reopen_at(first.plus(days * DAY));
        kit.wait_until("everything has gone", |kit| files(kit, "records").is_empty() && files(kit, "ids").is_empty());
    }
    assert!(kit.records(&event(3)), "all ids are forgotten");
    let place = read_in_steps(&kit, "acme", usize::MAX)[0];
    assert!(place.sequence > last, "a place in the journal is never used twice");
    assert_eq!(kit.used("acme", "hits", Window::Lifetime), 26);
    kit.reopen();
    assert!(!kit.records(&event(3)));
}

#[test]
fn rows_that_were_thrown_away_are_made_again_from_slices_and_blocks() {
    let mut random = Random::new("rows_that_were_thrown_away_are_made_again_from_slices_and_blocks");
    let mut kit = Kit::with_slices(15, LONG);
    work(&mut kit, &mut random, 60);
    kit.wait_until("blocks have left the database", |kit| kit.count("blocks WHERE sequence < 20") == 0);
    let before: Vec<_> = ORGANIZATIONS.iter().map(|key| kit.account(key)).collect();
    let now = kit.now();
    kit.close();
    let rows = "DELETE FROM accounts; DELETE FROM organizations; DELETE FROM rollups; DELETE FROM day_totals; DELETE FROM unique_values; DELETE FROM fleet_usage;
                DELETE FROM settings WHERE name = 'folded_to'";
    kit.database().execute_batch(rows).unwrap();
    kit.reopen_at(now);
    assert_eq!(ORGANIZATIONS.iter().map(|key| kit.account(key)).collect::<Vec<_>>(), before);
    kit.check().unwrap();
    kit.close();
    kit.database().execute_batch(&format!("DELETE FROM slices WHERE first = 1; {rows}")).unwrap();
    let settings = Settings::in_folder(kit.folder());
    let error = Store::open(settings, Clock::starting_at(now)).err().expect("it is refused").to_string();
    assert!(error.contains("the rows lack block 1 and the journal begins with block "), "{error}");
}

#[test]
fn a_slice_that_was_changed_is_named_and_never_an_answer() {
    let mut kit = Kit::with_slices(20, LONG);
    record(&kit, 0..25);
    closed(&kit, 1);
    kit.wait_until("the blocks have left the database", |kit| kit.count("blocks") == 1);
    let now = kit.now();
    for (ending, place) in [("records", 40), ("records", -30), ("ids", 10), ("ids", -40), ("ids", -400)] {
        kit.close();
        let path = files(&kit, ending).remove(0);
        let good = fs::read(&path).unwrap();
        let mut changed = good.clone();
        let at = usize::try_from(if place < 0 { good.len() as i64 + place } else { place }).unwrap();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        let settings = Settings { slice_ids: 20, ..Settings::in_folder(kit.folder()) };
        match Store::open(settings, Clock::starting_at(now)) {
            Err(error) => assert!(error.to_string().contains(path.file_name().unwrap().to_str().unwrap()), "{error}"),
            Ok(store) => {
                store.close();
                drop(store);
                kit.reopen_at(now);
                assert_eq!(kit.send(&event(3)), Err(StoreError::Damaged), "{ending} at {place}");
                let id = kit.account("acme").id;
                let listed = kit.read(move |view, _| view.records(id, u64::MAX, |_, _, _| true));
                assert_eq!(listed.is_err(), ending == "records", "{listed:?}");
                let answers = kit.in_one_batch(vec![(&event(3)).into(), (&ask("hits", 1)).into()]);
                assert!(answers[0].is_err() && answers[1].is_ok(), "others are not held up: {answers:?}");
            }
        }
        kit.close();
        fs::write(&path, good).unwrap();
        kit.reopen_at(now);
        assert!(!kit.records(&event(3)));
    }
}

#[test]
fn files_that_do_not_count_are_removed_at_a_start_and_those_that_count_must_be_there() {
    let mut kit = Kit::with_slices(20, LONG);
    record(&kit, 0..25);
    closed(&kit, 1);
    let now = kit.now();
    kit.close();
    let extent = Sqlite::open_to_read(kit.folder()).unwrap().slices().unwrap()[0];
    let left = Extent { first: 900, last: 901, ..extent };
    fs::write(left.records_in(kit.folder()), "half").unwrap();
    fs::write(left.ids_in(kit.folder()), "").unwrap();
    kit.reopen_at(now);
    assert_eq!((files(&kit, "ids").len(), files(&kit, "records").len()), (1, 1));
    assert!(!kit.records(&event(3)));
    kit.close();
    fs::remove_file(extent.ids_in(kit.folder())).unwrap();
    let settings = Settings::in_folder(kit.folder());
    let error = Store::open(settings, Clock::starting_at(now)).err().expect("it is refused").to_string();
    assert!(error.contains(&format!("{}-{}.ids", extent.first, extent.last)), "{error}");
}

#[cfg(feature = "faults")]
#[test]
fn a_slice_whose_commit_fails_is_closed_later() {
    let kit = Kit::alone_with_slices(20);
    fail::cfg("slices-fail", "return").unwrap();
    record(&kit, 0..25);
    kit.wait_until("its files are there", |kit| files(kit, "ids").len() == 1);
    for number in 0..25 {
        assert!(!kit.records(&event(number)));
        assert!(kit.records(&event(100 + number)), "work goes on");
    }
    assert_eq!(kit.count("slices"), 0);
    fail::remove("slices-fail");
    assert!(kit.records(&event(200)));
    closed(&kit, 1);
    assert!((0..25).all(|number| !kit.records(&event(number)) && !kit.records(&event(100 + number))));
    kit.check().unwrap();
}

#[test]
fn one_batch_of_many_answers_is_found_again_in_its_slice() {
    let mut kit = Kit::with_slices(10, LONG);
    let asks: Vec<Ask> = (0..40).map(|i| ask("calls", 1).id(&format!("d{i}"))).collect();
    let in_one = |kit: &Kit| {
        let answers = kit.in_one_batch(asks.iter().map(Request::from).collect()).into_iter();
        answers.map(|answer| decided(answer.unwrap())).collect::<Vec<_>>()
    };
    let first = in_one(&kit);
    closed(&kit, 1);
    for _ in 0..2 {
        let again = in_one(&kit);
        assert!(again.iter().all(|answer| answer.replayed));
        for (again, first) in again.iter().zip(&first) {
            assert_eq!(DecidedReceipt { replayed: false, ..again.clone() }, *first);
        }
        kit.reopen();
    }
    assert_eq!(kit.used("acme", "calls", Window::Lifetime), 10, "the other thirty were refused, and stay so");
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
    assert_eq!(Aggregated { wrong: 0, rebuilt: 0, ..done }, kit.aggregate());
}
