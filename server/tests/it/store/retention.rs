//! Older entries of the audit log go into a file and are dropped: chains begin at a checkpoint, which verifies (O6).

use std::path::PathBuf;
use std::sync::Arc;

use metergate::retention::{Asked, Pruned, Retention, prune};
use metergate::store::audit::{Broken, Chain, Cut, Finding, Line, TEAM, Walked, beginning, chain_of, compare, walk};
use metergate::store::{Answer, StoreError};
use metergate_rules::command::Command;
use metergate_rules::decide::Problem;
use metergate_rules::id::OrganizationId;
use metergate_rules::time::{DAY, HOUR, Time};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::ENGINE;
use super::asks::{create, make, meter, quantity};
use super::engine::Engine;
use super::kit::{Kit, is_of, start};

/// Chains of which rows are left that nobody reads any more.
const DROPPING: &str = "audit_checkpoints WHERE dropping";

fn set_extra(kit: &Kit, units: i64) {
    kit.made(&make(Command::extra(meter("calls"), quantity(units))));
}

fn files(kit: &Kit) -> PathBuf {
    kit.folder().join("audit")
}

/// Drops what is from before a time.
fn pruned(kit: &Kit, until: Time) -> Pruned {
    let told = Arc::new(Mutex::new(None));
    let tell = Arc::clone(&told);
    let asked = Asked {
        actor: Arc::from("key:test"),
        reason: "too old".to_owned(),
        receipt: None,
        respond: Arc::new(move |pruned| {
            *tell.lock() = Some(pruned.clone());
            Answer { status: 200, body: Vec::new(), version: None }
        }),
    };
    let (_stop, goes_on) = tokio::sync::watch::channel(false);
    let open = kit.open();
    kit.runtime.block_on(prune(&open.store, &open.port, &files(kit), until, asked, &goes_on)).unwrap();
    kit.wait_until("dropped rows are gone", |kit| kit.count(DROPPING) == 0);
    told.lock().take().unwrap()
}

/// What a walk through all chains in parts finds.
fn walked(kit: &Kit) -> Walked {
    let part = |from| kit.of_rows(move |rows| walk(rows, from, 2));
    let mut all = part(None);
    while let Some(place) = all.next {
        let part = part(Some(place));
        all.chains += part.chains;
        all.checkpoints += part.checkpoints;
        all.dropped += part.dropped;
        all.entries += part.entries;
        all.findings.extend(part.findings);
        all.next = part.next;
    }
    all
}

/// `acme` with five entries of the first day and one of the third.
fn started() -> (Kit, [u8; 16]) {
    let mut kit = Kit::new();
    (1..=4).for_each(|units| set_extra(&kit, units));
    let acme = chain_of(kit.account("acme").id);
    kit.reopen_at(start().plus(2 * DAY));
    set_extra(&kit, 9);
    (kit, acme)
}

/// In SQL, that a row is of a chain.
fn of_chain(chain: [u8; 16]) -> String {
    is_of("audit", OrganizationId(chain))
}

fn places(kit: &Kit) -> Vec<u64> {
    kit.audit("acme").iter().map(|row| row.sequence).collect()
}

#[test]
fn chains_begin_at_a_checkpoint_and_everything_else_goes_on() {
    let (mut kit, acme) = started();
    let before = kit.audit("acme");
    let of_team = kit.count("audit") - 6;
    let done = pruned(&kit, start().plus(DAY));
    assert_eq!((done.chains, done.entries, done.broken.len()), (2, 5 + of_team, 0));
    assert_eq!(places(&kit), [6, 7]);
    assert_eq!(kit.count("audit"), 2 + 2, "of the team's chain its checkpoint is left, and that somebody asked for it");
    let entry = kit.audit("acme").pop().unwrap();
    assert_eq!((&*entry.actor, &*entry.action, &*entry.after), ("system", "audit.checkpoint", r#"{"begins":6}"#));
    let found = walked(&kit);
    assert_eq!((found.chains, found.checkpoints, found.dropped, found.entries), (2, 2, 5 + of_team, 4));
    assert_eq!(found.findings, []);
    let note = make(Command::Resolve { seq: 2, note: "x".to_owned(), before: None });
    assert_eq!(kit.send(&note).unwrap_err(), StoreError::Problem(Problem::UnknownEntry));

    // Heads that somebody kept: older ones have nothing left to compare with, the closing one has its hash.
    let compared = |sequence: u64, hash: [u8; 32]| kit.of_rows(move |rows| compare(rows, acme, sequence, &hash));
    for row in &before {
        assert_eq!(compared(row.sequence, row.hash), None, "{}", row.sequence);
    }
    let rewritten = Finding { chain: acme, broken: Broken::Rewritten(5) };
    assert_eq!(compared(5, [7; 32]), Some(rewritten));

    let told = kit.count("audit");
    let again = pruned(&kit, start().plus(DAY));
    assert_eq!((again.chains, again.file, kit.count("audit")), (0, None, told), "there is nothing more to drop");
    kit.reopen_at(start().plus(40 * DAY));
    set_extra(&kit, 10);
    assert_eq!(pruned(&kit, start().plus(39 * DAY)).chains, 2);
    assert_eq!(places(&kit), [8, 9]);
    assert_eq!(pruned(&kit, kit.now().plus(DAY)).chains, 2, "all of a chain but what says so");
    assert_eq!(places(&kit), [10]);
    let again = pruned(&kit, kit.now().plus(DAY));
    assert_eq!((again.chains, again.entries), (1, 2), "the team's, that somebody asked: a checkpoint alone stays");
    assert_eq!(places(&kit), [10]);
    kit.reopen();
    set_extra(&kit, 11);
    assert_eq!((places(&kit), walked(&kit).findings), (vec![10, 11], vec![]));
}

#[test]
fn a_file_has_all_that_was_dropped_and_shows_by_itself_that_it_is_whole() {
    let (kit, acme) = started();
    kit.send(&create("other")).unwrap();
    let before = kit.audit("acme");
    let done = pruned(&kit, start().plus(DAY));
    let text = std::fs::read_to_string(done.file.unwrap()).unwrap();
    let (mut chain, mut rows, mut closed) = (None::<Chain>, Vec::new(), 0);
    for line in text.lines() {
        match serde_json::from_str(line).unwrap() {
            Line::Opens(end) => chain = end.chain(),
            Line::Entry(entry) => {
                let row = entry.row().unwrap();
                chain.as_mut().unwrap().follow(&row).unwrap();
                rows.extend((row.chain == acme).then_some(row));
            }
            Line::Closes(end) => {
                assert_eq!(chain.take(), end.chain());
                closed += 1;
            }
        }
    }
    assert_eq!((&rows[..], closed), (&before[..5], 2));
    let cut = kit.of_rows(move |rows| beginning(rows, acme)).unwrap().unwrap();
    let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes()).into();
    assert_eq!((cut.sequence, cut.entries, cut.hash, cut.file), (5, 5, before[4].hash, digest));
}

#[test]
fn a_checkpoint_that_was_changed_is_found() {
    let (kit, acme) = started();
    set_extra(&kit, 12);
    pruned(&kit, start().plus(DAY));
    assert_eq!(places(&kit), [6, 7, 8]);
    kit.sql("CREATE TABLE a AS SELECT * FROM audit; CREATE TABLE c AS SELECT * FROM audit_checkpoints");
    let moved = "UPDATE audit_checkpoints SET sequence = 6 WHERE acme; DELETE FROM audit WHERE acme AND sequence = 6";
    let said = |from: &str, to: &str| {
        format!("UPDATE audit SET details = replace(details, '{from}', '{to}') WHERE acme AND sequence = 8")
    };
    let cases: [(String, Broken); 8] = [
        ("DELETE FROM audit_checkpoints WHERE acme".to_owned(), Broken::Missing { expected: 1, found: 6 }),
        ("DELETE FROM audit WHERE acme AND sequence = 6".to_owned(), Broken::Missing { expected: 6, found: 7 }),
        (moved.to_owned(), Broken::Unfounded(6)),
        (format!("{moved}; {}", said("\"seq\":5", "\"seq\":6")), Broken::Unfounded(6)),
        (said("\"entries\":5", "\"entries\":4"), Broken::Unfounded(5)),
        ("DELETE FROM audit WHERE acme AND sequence = 8".to_owned(), Broken::Unfounded(5)),
        ("UPDATE audit_checkpoints SET entry = 7 WHERE acme".to_owned(), Broken::Unfounded(5)),
        ("UPDATE audit SET at = at + 1 WHERE acme AND sequence = 8".to_owned(), Broken::Changed(8)),
    ];
    for (sql, broken) in cases {
        kit.sql(&sql.replace("acme", &of_chain(acme)));
        assert_eq!(walked(&kit).findings, [Finding { chain: acme, broken }], "{sql}");
        kit.sql("DELETE FROM audit; INSERT INTO audit SELECT * FROM a");
        kit.sql("DELETE FROM audit_checkpoints; INSERT INTO audit_checkpoints SELECT * FROM c");
    }
    assert_eq!(walked(&kit).findings, []);
}

#[test]
fn a_chain_that_does_not_verify_is_kept_whole() {
    let (kit, acme) = started();
    kit.tamper("audit", "after = '{}'", OrganizationId(acme), "AND sequence = 3");
    let done = pruned(&kit, start().plus(DAY));
    assert_eq!((done.chains, done.broken), (1, vec![kit.account("acme").id.to_string()]));
    assert_eq!(places(&kit), [1, 2, 3, 4, 5, 6]);
    assert_eq!(walked(&kit).findings, [Finding { chain: acme, broken: Broken::Changed(3) }]);
}

#[test]
fn nothing_goes_that_is_not_what_was_exported() {
    let (kit, chain) = started();
    let rows = kit.audit("acme");
    let cut = Cut { chain, sequence: 5, hash: rows[4].hash, entries: 5, until: start().plus(DAY), file: [1; 32] };
    let open = kit.open();
    let begun = |cut: Cut| kit.runtime.block_on(open.store.cut(&open.port, vec![cut])).unwrap();
    for other in [Cut { hash: rows[3].hash, ..cut }, Cut { sequence: 99, ..cut }] {
        assert_eq!(begun(other), 0, "{}", other.sequence);
        assert_eq!(kit.audit("acme"), rows);
    }
    assert_eq!(begun(cut), 1);
    kit.wait_until("dropped rows are gone", |kit| kit.count(DROPPING) == 0);
    assert_eq!(begun(cut), 0, "somebody was quicker");
    assert_eq!(places(&kit), [6, 7]);
}

#[test]
fn what_is_left_of_a_deleted_organization_verifies_behind_its_checkpoint() {
    let (kit, acme) = started();
    kit.delete(&make(Command::Delete)).unwrap();
    kit.wait_until("it is forgotten", |kit| kit.count("deletions") == 0);
    pruned(&kit, start().plus(DAY));
    let left = kit.of_rows(move |rows| rows.audit_before(acme, u64::MAX, 10));
    assert_eq!(
        left.iter().map(|row| (row.sequence, row.redacted.is_some())).collect::<Vec<_>>(),
        [(7, false), (6, true)]
    );
    assert_eq!(walked(&kit).findings, []);
}

#[test]
fn a_start_goes_on_deleting_what_was_dropped() {
    let (mut kit, acme) = started();
    kit.sql("CREATE TABLE saved AS SELECT * FROM audit");
    pruned(&kit, start().plus(DAY));
    let now = kit.now();
    kit.close();
    // As it is when the process ends right behind the commit of the checkpoints.
    kit.sql("INSERT INTO audit SELECT * FROM saved WHERE true ON CONFLICT DO NOTHING; DROP TABLE saved");
    kit.sql("UPDATE audit_checkpoints SET dropping = true");
    assert!(kit.count(&format!("audit WHERE {}", of_chain(acme))) == 7 && kit.count(DROPPING) == 2);
    if ENGINE == Engine::Embedded {
        // PostgreSQL is read by a store that runs alone.
        let sqlite = metergate::store::sqlite::Sqlite::open_to_read(kit.folder()).unwrap();
        let well = walk(&sqlite, None, 100).unwrap();
        assert_eq!((well.findings, well.entries), (vec![], 4), "nobody reads them any more");
    }
    kit.reopen_at(now);
    let well = walked(&kit);
    assert_eq!((well.findings, well.entries), (vec![], 4), "nobody reads them any more");
    kit.wait_until("they are gone", |kit| kit.count(DROPPING) == 0);
    assert_eq!((kit.count("audit"), places(&kit)), (4, vec![6, 7]));
    assert_eq!(kit.count(&format!("audit WHERE {}", of_chain(acme))), 2);
}

#[test]
fn a_set_time_is_applied_once_a_day_and_the_ends_of_quiet_chains_are_held_again() {
    let (mut kit, _) = started();
    kit.reopen_at(start().plus(3 * DAY));
    assert_eq!(kit.hold_heads(), 1);
    kit.reopen_at(start().plus(40 * DAY));
    let retention = Retention { keep: 30 * DAY, folder: files(&kit), alone: Arc::new(Semaphore::new(1)) };
    let (_stop, goes_on) = tokio::sync::watch::channel(false);
    let mut heads = metergate::sweep::Heads::default();
    let mut done = None;
    let mut apply = |kit: &Kit| {
        let open = kit.open();
        kit.runtime.block_on(retention.apply(&open.store, &open.port, &mut done, &goes_on)).unwrap();
        std::fs::read_dir(files(kit)).map_or(0, Iterator::count)
    };
    let mut hold = |kit: &Kit| kit.runtime.block_on(heads.hold(&kit.open().store, &kit.open().port)).unwrap();
    assert_eq!(hold(&kit), 0, "nothing has moved since it was held");
    assert_eq!(apply(&kit), 1);
    assert_eq!(places(&kit), [7], "all is older");
    let begins = |kit: &Kit| kit.of_rows(|rows| rows.audit_after(TEAM, 0, 1))[0].sequence;
    assert!(begins(&kit) > 2);
    assert_eq!(apply(&kit), 1, "not again on the same day");
    kit.reopen_at(kit.now().plus(2 * HOUR));
    assert_eq!(hold(&kit), 1);
    kit.reopen_at(start().plus(80 * DAY));
    assert_eq!((hold(&kit), apply(&kit), places(&kit)), (0, 2, vec![7]), "a checkpoint alone stays");
    kit.reopen_at(kit.now().plus(2 * HOUR));
    assert_eq!(hold(&kit), 1, "what held its end was dropped");
    assert_eq!(walked(&kit).findings, []);
}
