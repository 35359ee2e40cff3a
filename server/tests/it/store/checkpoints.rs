//! The team's chain holds the ends of all others, so that what was cut off shows in the log alone.

use metergate::store::Request;
use metergate::store::audit::{Broken, TEAM, Walked, chain_of, walk};
use metergate_rules::command::Command;
use metergate_rules::id::OrganizationId;
use metergate_rules::time::{HOUR, MINUTE};

use super::asks::{create, make, meter, quantity};
use super::kit::{Kit, blob, is_of, start};

fn set_extra(kit: &Kit, key: &str, units: i64) {
    kit.made(&make(Command::extra(meter("calls"), quantity(units))).of(key));
}

/// What is found by going through the whole log, some entries at a time.
fn found(kit: &Kit) -> Vec<([u8; 16], Broken)> {
    let (mut from, mut found) = (None, Vec::new());
    loop {
        let Walked { findings, next, .. } = kit.of_rows(move |rows| walk(rows, from, 3));
        found.extend(findings.into_iter().map(|finding| (finding.chain, finding.broken)));
        match next {
            Some(next) => from = Some(next),
            None => return found,
        }
    }
}

fn roots(kit: &Kit) -> usize {
    kit.chain(TEAM).iter().filter(|row| row.action == "audit.checkpoint").count()
}

#[test]
fn the_ends_that_have_moved_are_held_every_hour_and_no_others() {
    let mut kit = Kit::new();
    let created: Vec<Request> = (0..300).map(|number| (&create(&format!("org-{number}"))).into()).collect();
    assert!(kit.in_one_batch(created).iter().all(Result::is_ok));
    assert_eq!(kit.hold_heads(), 0, "an hour has not passed since the first entry");
    kit.reopen_at(start().plus(HOUR + MINUTE));
    assert_eq!((kit.hold_heads(), roots(&kit)), (301, 2), "so many do not go into one entry");
    assert_eq!(kit.hold_heads(), 0, "an hour has not passed since");
    kit.reopen_at(start().plus(3 * HOUR));
    assert_eq!((kit.hold_heads(), roots(&kit)), (0, 2), "nothing has moved, so nothing is written");
    set_extra(&kit, "org-7", 5);
    kit.reopen_at(start().plus(5 * HOUR));
    assert_eq!((kit.hold_heads(), roots(&kit)), (1, 3));
    assert_eq!(found(&kit), []);
    kit.check().unwrap();
}

#[test]
fn a_chain_that_was_cut_off_emptied_or_written_anew_is_named_without_a_head_from_elsewhere() {
    let mut kit = Kit::new();
    for units in 1..=4 {
        set_extra(&kit, "acme", units);
    }
    kit.reopen_at(start().plus(2 * HOUR));
    assert_eq!(kit.hold_heads(), 1);
    set_extra(&kit, "acme", 9);
    let acme = chain_of(kit.account("acme").id);
    assert_eq!(found(&kit), [], "the chain has grown since");
    kit.sql("CREATE TABLE saved AS SELECT * FROM audit");
    let (in_acme, zeros) = (is_of("audit", OrganizationId(acme)), blob(&[0; 32]));

    let cases: [(String, Vec<Broken>); 3] = [
        ("DELETE FROM audit WHERE acme AND sequence > 6".to_owned(), vec![]),
        ("DELETE FROM audit WHERE acme AND sequence > 3".to_owned(), vec![Broken::CutOff { expected: 5, found: 3 }]),
        (
            format!("UPDATE audit SET hash = {zeros} WHERE acme AND sequence = 5"),
            vec![Broken::Rewritten(5), Broken::Changed(5)],
        ),
    ];
    for (sql, expected) in cases {
        kit.sql(&sql.replace("acme", &in_acme));
        let broken: Vec<_> = found(&kit).into_iter().map(|(chain, broken)| (chain == acme, broken)).collect();
        assert_eq!(broken, expected.into_iter().map(|broken| (true, broken)).collect::<Vec<_>>(), "{sql}");
        kit.sql("DELETE FROM audit; INSERT INTO audit SELECT * FROM saved");
    }
    assert_eq!(found(&kit), []);
}
