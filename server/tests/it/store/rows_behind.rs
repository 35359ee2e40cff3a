//! Rows may be behind the journal: nobody who asks or reads sees it, and a start finds what they lack.

use std::sync::atomic::{AtomicUsize, Ordering};

use metergate::backup::{Unwatched, make as back_up};
use metergate::store::Pace;
use metergate::store::sqlite::Sqlite;
use metergate_rules::window::Window;

use super::asks::{METERS, ask, create, tell};
use super::deletion::{delete, forgotten, used};
use super::kit::{Kit, start};
use super::random_work::{ORGANIZATIONS, Random, work};
use crate::invariant::{conservation, folded};

/// Snapshots that are looked at while the store is at work.
const SNAPSHOTS: usize = 20;

/// What readers are told of every organization: its account and what each meter counted.
fn told(kit: &Kit) -> Vec<String> {
    let of_one = |key: &&str| {
        let reported: Vec<_> = METERS.iter().map(|(name, _)| kit.reported(key, name)).collect();
        format!("{:?} {reported:?}", kit.account(key))
    };
    ORGANIZATIONS.iter().map(of_one).collect()
}

/// Up to where every row is, and the last block.
fn folded_to(kit: &Kit) -> (u64, u64) {
    let sqlite = Sqlite::open_to_read(kit.folder()).unwrap();
    let folded_to = sqlite.setting("folded_to").unwrap().map_or(0, |text| text.parse().unwrap());
    let last = sqlite.connection().query_row("SELECT max(sequence) FROM blocks", [], |row| row.get::<_, i64>(0));
    (folded_to, last.unwrap().unsigned_abs())
}

#[test]
fn whoever_reads_sees_what_the_rows_lack() {
    for pace in [0, 1, 2] {
        let mut random = Random::new("whoever_reads_sees_what_the_rows_lack");
        let mut kit = Kit::with_rows(Pace::Accounts(pace));
        for _ in 0..6 {
            work(&mut kit, &mut random, 20);
            let journal = kit.journal();
            for key in ORGANIZATIONS {
                let account = kit.account(key);
                assert_eq!(account, folded(&journal, account.id), "{key} with {pace} rows a commit");
            }
            kit.check().unwrap();
        }
        let (folded, last) = folded_to(&kit);
        assert!(pace > 0 || folded == 0, "without a pace no round ends");
        assert!(pace == 0 || folded > 0, "with a pace rounds end");
        let before = told(&kit);
        kit.reopen();
        assert_eq!(told(&kit), before, "after a start with rows behind the journal");
        kit.set_pace(Pace::Tenth);
        kit.reopen();
        let now = kit.now();
        kit.close();
        assert_eq!(folded_to(&kit), (last, last), "a store that is closed has written its rows");
        conservation(kit.folder()).unwrap();
        kit.reopen_at(now);
        assert_eq!(told(&kit), before, "from rows alone");
    }
}

#[test]
fn values_that_only_memory_has_count_once() {
    let kit = Kit::with_rows(Pace::Accounts(0));
    for value in [1, 2, 1] {
        assert!(kit.allows(&ask("users", value)));
    }
    assert_eq!(kit.used("acme", "users", Window::Lifetime), 2);
    assert_eq!(kit.reported("acme", "users").count, 3);
}

#[test]
fn an_organization_is_found_at_once_whatever_its_row_lacks() {
    let mut kit = Kit::with_rows(Pace::Accounts(0));
    kit.made(&create("globex"));
    assert!(kit.records(&tell("calls", 3, "e1").of("globex")));
    kit.reopen();
    assert_eq!(kit.used("globex", "calls", Window::Lifetime), 3);
    assert!(!kit.records(&tell("calls", 3, "e1").of("globex")), "its ids are known too");
    assert_eq!(kit.reported("globex", "calls").sum, 3);
}

#[test]
fn every_snapshot_that_can_be_read_adds_up() {
    let mut random = Random::new("every_snapshot_that_can_be_read_adds_up");
    let mut kit = Kit::new();
    let (folder, snapshots) = (kit.folder().to_owned(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while snapshots.fetch_add(1, Ordering::Relaxed) < SNAPSHOTS {
                conservation(&folder).unwrap();
            }
        });
        while !reading.is_finished() {
            work(&mut kit, &mut random, 10);
        }
    });
}

#[test]
fn a_backup_of_a_store_with_a_deletion_behind_or_under_way_is_whole() {
    let kit = Kit::with_rows(Pace::Accounts(0));
    used(&kit);
    let to = tempfile::tempdir().unwrap();
    kit.delete(&delete()).unwrap();
    let (_, under_way) = back_up(kit.folder(), &to.path().join("one"), start(), &Unwatched).unwrap();
    assert_eq!(under_way.counts.organizations, 1);
    forgotten(&kit);
    let (_, behind) = back_up(kit.folder(), &to.path().join("two"), start(), &Unwatched).unwrap();
    assert_eq!(behind.counts, under_way.counts);
}
