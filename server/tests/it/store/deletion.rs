//! An organization that is deleted stays deleted, whatever happens to the store.

use metergate::catalogue::change::{ImportRecord, TeamCommand};
use metergate::store::audit::{AuditRow, TEAM, chain_of, compare, verify, walk};
use metergate::store::{Pace, Receipt, StoreError};
use metergate_rules::command::{Command, ProfileChange};
use metergate_rules::id::OrganizationId;

use super::asks::{Make, ask, create, make, tell};
use super::kit::{Kit, blob};

pub(super) fn delete() -> Make {
    make(Command::Delete)
}

fn renamed(name: &str) -> Make {
    make(Command::Update(ProfileChange { name: Some(name.to_owned()), ..ProfileChange::default() }))
}

/// Uses something of everything that is kept for an organization.
pub(super) fn used(kit: &Kit) -> OrganizationId {
    kit.made(&renamed("Ada Lovelace").under("named"));
    for number in 0..6 {
        assert!(kit.allows(&ask("tokens", 1 + number % 2).id(&format!("d{number}"))));
        assert!(kit.records(&tell("users", number, &format!("u{number}"))));
    }
    kit.made(&create("other"));
    assert!(kit.allows(&ask("calls", 2).of("other").id("d0")));
    kit.account("acme").id
}

pub(super) fn is_gone(kit: &Kit, id: OrganizationId) {
    assert!(!kit.exists("acme") && !kit.exists(&id.to_string()));
    assert_eq!(kit.decide(&ask("calls", 1).id("d0")), Err(StoreError::UnknownOrganization));
    assert_eq!(kit.decide(&ask("calls", 1).of(&id.to_string())), Err(StoreError::UnknownOrganization));
    assert_eq!(kit.send(&tell("hits", 1, "late").of(&id.to_string())), Err(StoreError::UnknownOrganization));
    assert_eq!(kit.delete(&delete()), Err(StoreError::UnknownOrganization));
    assert!(!kit.account("other").meters.is_empty());
}

pub(super) fn forgotten(kit: &Kit) {
    kit.wait_until("what was left of it is gone", |kit| kit.count("deletions") == 0);
}

fn chain(kit: &Kit, id: OrganizationId) -> Vec<AuditRow> {
    kit.chain(chain_of(id))
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
        for table in ["accounts", "organizations", "rollups", "unique_values", "receipts"] {
            assert_eq!(kit.count_of(table, id), 0, "{table}");
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
        kit.rows_are_written();
        kit.close();
        assert_eq!(kit.examined(), [""; 0]);
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
    let findings = |kit: &Kit| kit.read(|view, _| Ok(walk(view.rows(), None, 10_000)?.findings)).unwrap();
    assert_eq!(findings(&kit), []);
    let (sequence, hash) = verify(&before).unwrap();
    let compared = kit.read(move |view, _| Ok(compare(view.rows(), chain_of(id), sequence, &hash)?));
    assert_eq!(compared.unwrap(), None);
    let tombstone = kit.chain(TEAM).pop().unwrap();
    assert_eq!(tombstone.action, "organization.delete");
    assert!(tombstone.before.contains(&id.to_string()) && !tombstone.before.contains("acme"), "{tombstone:?}");
    // A text put back under a redacted entry proves nothing: what was forgotten is not what is hashed.
    kit.tamper("audit", &format!("redacted = {}", blob(&[0; 160])), id, "");
    assert_eq!(findings(&kit).len(), 1);
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
    let about = |kit: &Kit| kit.count("receipts WHERE about IS NOT NULL");
    assert_eq!(about(&kit), 1);
    kit.delete(&delete().of("named").under("d")).unwrap();
    assert_eq!((about(&kit), kit.count("receipts")), (0, 1), "that it was deleted stays known");
    assert!(!kit.made(&create("named").under("k")).1, "it is made anew");
}

/// Else a file would be done already for the next organization of that key.
#[test]
fn how_far_its_imports_were_goes_with_it() {
    let kit = Kit::new();
    let id = kit.account("acme").id;
    let mine = ["import:acme/tokens/a.csv".to_owned(), format!("import:{id}/tokens/a.csv"), format!("{id}/a.csv")];
    let others = ["import:acme-2/tokens/a.csv", "import:acme", "import:acme0", "a.csv"].map(str::to_owned);
    for source in mine.iter().chain(&others) {
        let record = ImportRecord { source: source.clone(), rows_done: 3, digest: "d".to_owned() };
        kit.change_team(TeamCommand::PutImport(record)).unwrap();
    }
    kit.delete(&delete()).unwrap();
    for (sources, is_there) in [(&mine[..], false), (&others[..], true)] {
        for source in sources {
            let name = source.clone();
            let found = kit.read(move |view, _| Ok(view.rows().import(&name)?)).unwrap();
            assert_eq!(found.is_some(), is_there, "{source}");
        }
    }
}
