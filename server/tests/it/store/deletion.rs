//! An organization that is deleted stays deleted, whatever happens to the store.

use metergate::backup::{Unwatched, make as back_up};
use metergate::store::audit::{AuditRow, TEAM, chain_of, compare, verify, walk};
use metergate::store::examine::examine;
use metergate::store::sqlite::Sqlite;
use metergate::store::{Pace, Receipt, StoreError};
use metergate_rules::command::{Command, ProfileChange};
use metergate_rules::id::OrganizationId;

use super::asks::{Make, ask, create, make, tell};
use super::kit::{Kit, start};
use super::slices::{LONG, closed};

fn delete() -> Make {
    make(Command::Delete)
}

fn renamed(name: &str) -> Make {
    make(Command::Update(ProfileChange { name: Some(name.to_owned()), ..ProfileChange::default() }))
}

/// Uses something of everything that is kept for an organization.
fn used(kit: &Kit) -> OrganizationId {
    kit.made(&renamed("Ada Lovelace").under("named"));
    for number in 0..6 {
        assert!(kit.allows(&ask("tokens", 1 + number % 2).id(&format!("d{number}"))));
        assert!(kit.records(&tell("users", number, &format!("u{number}"))));
    }
    kit.made(&create("other"));
    assert!(kit.allows(&ask("calls", 2).of("other").id("d0")));
    kit.account("acme").id
}

fn is_gone(kit: &Kit, id: OrganizationId) {
    assert!(!kit.exists("acme") && !kit.exists(&id.to_string()));
    assert_eq!(kit.decide(&ask("calls", 1).id("d0")), Err(StoreError::UnknownOrganization));
    assert_eq!(kit.decide(&ask("calls", 1).of(&id.to_string())), Err(StoreError::UnknownOrganization));
    assert_eq!(kit.send(&tell("hits", 1, "late").of(&id.to_string())), Err(StoreError::UnknownOrganization));
    assert_eq!(kit.delete(&delete()), Err(StoreError::UnknownOrganization));
    assert!(!kit.account("other").meters.is_empty());
}

fn forgotten(kit: &Kit) {
    kit.wait_until("what was left of it is gone", |kit| kit.count("deletions") == 0);
}

fn chain(kit: &Kit, id: OrganizationId) -> Vec<AuditRow> {
    let mut rows = Sqlite::open_to_read(kit.folder()).unwrap().audit_before(chain_of(id), u64::MAX, 1000).unwrap();
    rows.reverse();
    rows
}

#[test]
fn a_deleted_organization_is_gone_at_once_and_after_every_start() {
    for pace in [Pace::Accounts(0), Pace::Accounts(1), Pace::Tenth] {
        let mut kit = Kit::with_rows(pace);
        let id = used(&kit);
        assert!(matches!(kit.delete(&delete()), Ok(Receipt::Answered { replayed: false, .. })));
        is_gone(&kit, id);
        for _ in 0..2 {
            kit.reopen();
            is_gone(&kit, id);
        }
        forgotten(&kit);
        kit.check().unwrap();
        let database = kit.database();
        for (table, column) in [
            ("accounts", "id"),
            ("organizations", "id"),
            ("rollups", "organization"),
            ("unique_values", "organization"),
            ("receipts", "scope"),
        ] {
            let sql = format!("SELECT count(*) FROM {table} WHERE {column} = ?");
            let left: i64 = database.query_row(&sql, [id.bytes()], |row| row.get(0)).unwrap();
            assert_eq!(left, 0, "{table}");
        }
    }
}

/// Whether its rows had it when it was deleted, or only the journal.
#[test]
fn what_it_used_stays_in_the_use_of_all_together() {
    for pace in [Pace::Accounts(0), Pace::Accounts(1), Pace::Tenth] {
        let mut kit = Kit::with_rows(pace);
        used(&kit);
        let before = kit.used_by_all();
        assert!(before.iter().map(|(_, slot)| slot.count).sum::<i64>() >= 13, "{before:?}");
        kit.delete(&delete()).unwrap();
        assert_eq!(kit.used_by_all(), before);
        for pace in [pace, Pace::Tenth] {
            kit.set_pace(pace);
            kit.reopen();
            assert_eq!(kit.used_by_all(), before, "after a start");
        }
        forgotten(&kit);
        kit.wait_until("the rows are up to the journal", |kit| {
            Sqlite::open_to_read(kit.folder()).unwrap().totals().unwrap() == kit.used_by_all()
        });
        kit.close();
        assert_eq!(examine(kit.folder(), &|| true).unwrap().findings, [""; 0]);
    }
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
        let rows = "DELETE FROM accounts; DELETE FROM organizations; DELETE FROM rollups; DELETE FROM unique_values;
                    DELETE FROM fleet_usage; DELETE FROM settings WHERE name = 'folded_to'";
        kit.database().execute_batch(rows).unwrap();
        kit.reopen_at(now);
        is_gone(&kit, id);
        kit.check().unwrap();
    }
}

#[test]
fn a_new_organization_of_the_same_key_has_nothing_of_the_old_one() {
    let mut kit = Kit::new();
    let old = used(&kit);
    kit.delete(&delete().under("k")).unwrap();
    // Repeated under its key it is told again, while there is no other organization of that name.
    assert!(matches!(kit.delete(&delete().under("k")), Ok(Receipt::Answered { replayed: true, .. })));
    kit.made(&create("acme"));
    for _ in 0..2 {
        let new = kit.account("acme");
        assert_ne!(new.id, old);
        assert_eq!((new.meters.len(), kit.delete(&delete().under("k"))), (0, Err(StoreError::Mismatch)));
        kit.reopen();
    }
    // Ids and keys of the old one are new ones here.
    assert_eq!(kit.made(&renamed("Another").under("named")), ("2".to_owned(), false));
    let decided = kit.decide(&ask("tokens", 1).id("d0")).unwrap();
    assert!(!decided.replayed);
    assert!(kit.records(&tell("users", 0, "u0")));
    forgotten(&kit);
    kit.check().unwrap();
}

#[test]
fn the_chain_of_a_deleted_organization_still_verifies_and_says_nothing_of_it() {
    let mut kit = Kit::new();
    let id = used(&kit);
    let before = chain(&kit, id);
    assert!(kit.hold_heads() > 0 || kit.count("audit") > 0);
    kit.delete(&delete()).unwrap();
    forgotten(&kit);
    kit.reopen();
    let after = chain(&kit, id);
    assert_eq!(verify(&after), verify(&before));
    assert!(after.iter().all(|row| row.redacted.is_some() && row.salt == [0; 16] && row.reason.is_empty()));
    let said = format!("{after:?}");
    assert!(!said.contains("Ada") && !said.contains("key:test"), "{said}");
    let sqlite = Sqlite::open_to_read(kit.folder()).unwrap();
    assert_eq!(walk(&sqlite, None, 10_000).unwrap().findings, []);
    let (sequence, hash) = verify(&before).unwrap();
    assert_eq!(compare(&sqlite, chain_of(id), sequence, &hash).unwrap(), None);
    let tombstone = sqlite.audit_before(TEAM, u64::MAX, 1).unwrap().pop().unwrap();
    assert_eq!(tombstone.action, "organization.delete");
    assert!(tombstone.before.contains(&id.to_string()) && !tombstone.before.contains("acme"), "{tombstone:?}");
    // A text put back under a redacted entry proves nothing: what was forgotten is not what is hashed.
    drop(sqlite);
    kit.database().execute("UPDATE audit SET redacted = zeroblob(160) WHERE chain = ?", [id.bytes()]).unwrap();
    let sqlite = Sqlite::open_to_read(kit.folder()).unwrap();
    assert_eq!(walk(&sqlite, None, 10_000).unwrap().findings.len(), 1);
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

#[test]
fn calls_beside_a_deletion_are_answered_before_it_or_by_its_absence() {
    let kit = Kit::new();
    let id = used(&kit);
    std::thread::scope(|scope| {
        let deleting = scope.spawn(|| kit.delete(&delete()));
        let asks: Vec<_> = (0..200).map(|n| ask("hits", 1).id(&format!("b{n}"))).collect();
        for answer in kit.each_alone(asks.iter()) {
            assert!(matches!(answer, Ok(_) | Err(StoreError::UnknownOrganization)), "{answer:?}");
        }
        deleting.join().unwrap().unwrap();
    });
    is_gone(&kit, id);
    assert_eq!(kit.sweep().failed, 0);
    forgotten(&kit);
    kit.check().unwrap();
}

/// The team's kept answers that name it are found without going through all of them.
#[test]
fn what_the_team_was_answered_about_it_goes_with_it() {
    let kit = Kit::new();
    kit.made(&create("named").under("k"));
    let id = kit.account("named").id;
    let about = |kit: &Kit| kit.count(&format!("receipts WHERE about = x'{}'", metergate::hex::hex(id.bytes())));
    assert_eq!(about(&kit), 1);
    kit.delete(&delete().of("named").under("d")).unwrap();
    assert_eq!((about(&kit), kit.count("receipts")), (0, 1), "that it was deleted stays known");
    assert!(!kit.made(&create("named").under("k")).1, "it is made anew");
}
