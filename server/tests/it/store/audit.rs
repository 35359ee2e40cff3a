//! `audit`: every committed change has exactly one entry with the real before and after, and tampering is found.

use metergate::store::audit::{AuditRow, Broken, Finding, Place, Walked, verify, walk};
use metergate_rules::account::{ExtraQuota, LockCause};
use metergate_rules::audit::actions::is_own;
use metergate_rules::command::{Command, NewGrant, Note, PeriodLimit, ProfileChange};
use metergate_rules::decide::Problem;
use metergate_rules::id::{GrantId, OrganizationId, PlanId};
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::window::{Window, WindowSet};
use serde_json::{Value, json};

use super::asks::{LARGE, ask, create, make, meter, quantity};
use super::kit::{Kit, blob};

fn set_extra(units: i64) -> Command {
    Command::extra(meter("calls"), quantity(units))
}

fn extras(calls: i64, tokens: i64) -> Vec<ExtraQuota> {
    let extra = |name, units| ExtraQuota { meter: meter(name), quantity: quantity(units) };
    vec![extra("calls", calls), extra("tokens", tokens)]
}

fn set_limits(plan: Option<PlanId>, units: i64) -> Command {
    Command::SetLimits { plan, limits: vec![PeriodLimit { meter: meter("calls"), max: Max::Units(quantity(units)) }] }
}

fn set_override(units: i64) -> Command {
    let (meter, window) = (meter("calls"), Window::BillingPeriod);
    let max = Max::Units(quantity(units));
    Command::SetOverride { meter, window, max, enforcement: Enforcement::Hard, until: None }
}

fn grant(units: i64) -> Command {
    let amount = quantity(units);
    let (reason, meter) = ("sorry".to_owned(), meter("calls"));
    Command::Grant(NewGrant { meter, amount, priority: 0, starts_at: None, expires_at: None, reason })
}

fn rename(name: &str) -> Command {
    Command::Update(ProfileChange { name: Some(name.to_owned()), ..ProfileChange::default() })
}

fn reset() -> Command {
    Command::Reset { meters: None, windows: WindowSet::NONE.with(Window::BillingPeriod) }
}

/// Whether `part` is in `whole`.
fn contains(whole: &str, part: &Value) -> bool {
    let whole: Value = serde_json::from_str(whole).unwrap();
    part.as_object().unwrap().iter().all(|(name, value)| whole.get(name) == Some(value))
}

#[test]
fn each_change_has_one_entry_with_what_stood_before_and_what_stands_now() {
    let kit = Kit::new();
    assert!(kit.allows(&ask("calls", 7)));
    let clear = Command::ClearOverride { meter: meter("calls"), window: Window::BillingPeriod };
    let plan = Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false };
    #[rustfmt::skip]
    let rows = [
        (set_extra(5), "quota.grant", json!({"extra": 0}), json!({"extra": 5})),
        (set_extra(2), "quota.grant", json!({"extra": 5}), json!({"extra": 2})),
        (
            Command::SetExtra(extras(3, 4)),
            "quota.grant",
            json!({"calls.extra": 2, "tokens.extra": 0}),
            json!({"calls.extra": 3, "tokens.extra": 4}),
        ),
        (set_override(50), "limit.change", json!({"overridden": false}), json!({"max": 50, "window": "billingPeriod"})),
        (set_override(60), "limit.change", json!({"max": 50}), json!({"max": 60})),
        (clear, "limit.change", json!({"max": 60}), json!({"overridden": false})),
        (set_limits(None, 70), "limit.change", json!({"overridden": []}), json!({"overridden": ["calls.billingPeriod"]})),
        (set_limits(None, 71), "limit.change", json!({"calls.billingPeriod": 70}), json!({"calls.billingPeriod": 71})),
        (grant(9), "credit.grant", json!({}), json!({"amount": 9, "grant": 1})),
        (Command::VoidGrant(GrantId(1)), "credit.void", json!({"remaining": 9}), json!({"remaining": 0})),
        (rename("Acme & Co"), "organization.update", json!({"name": "acme"}), json!({"name": "Acme & Co"})),
        (plan, "plan.change", json!({"plan": "free"}), json!({"plan": "large"})),
        (
            set_limits(Some(super::asks::FREE), 72),
            "plan.change",
            json!({"plan": "large"}),
            json!({"plan": "free", "calls.billingPeriod": 72}),
        ),
        (Command::Lock { cause: LockCause::Operator, reason: None }, "billing.lock", json!({"locked": false}), json!({"locked": true})),
        (Command::Unlock, "billing.unlock", json!({"locked": true}), json!({"locked": false})),
        (reset(), "usage.reset", json!({"calls.billingPeriod": 7}), json!({"windows": ["billingPeriod"]})),
    ];
    for (i, (command, action, before, after)) in rows.into_iter().enumerate() {
        kit.made(&make(command));
        let entries = kit.audit("acme");
        assert_eq!(entries.len(), i + 2, "{action}: one entry more, after that of the creation");
        assert!(is_own(action), "the application cannot write {action}");
        let entry = entries.last().unwrap();
        assert_eq!((entry.action.as_str(), &*entry.actor, &*entry.reason), (action, "key:test", "a test"));
        assert!(contains(&entry.before, &before), "{action}: before is {}, not {before}", entry.before);
        assert!(contains(&entry.after, &after), "{action}: after is {}, not {after}", entry.after);
    }
    assert_eq!(kit.audit("acme")[0].action, "organization.create");
    kit.check().unwrap();
}

#[test]
fn what_changes_nothing_has_no_entry() {
    let kit = Kit::new();
    for command in [
        set_extra(5),
        set_override(50),
        Command::Lock { cause: LockCause::Operator, reason: None },
        rename("New"),
        grant(5),
    ] {
        kit.made(&make(command));
    }
    kit.made(&make(Command::VoidGrant(GrantId(1))));
    let entries = kit.audit("acme").len();
    let same = [
        set_extra(5),
        set_override(50),
        Command::Lock { cause: LockCause::Operator, reason: None },
        rename("New"),
        Command::VoidGrant(GrantId(1)),
        Command::ClearOverride { meter: meter("calls"), window: Window::Day },
        Command::ChangePlan { plan: super::asks::FREE, keep_overrides: true, at_period_end: false },
        Command::Touch,
    ];
    for command in same {
        kit.made(&make(command.clone()));
        assert_eq!(kit.audit("acme").len(), entries, "{command:?}");
    }
    for wrong in [grant(0), Command::VoidGrant(GrantId(9))] {
        assert!(kit.send(&make(wrong.clone())).is_err(), "{wrong:?}");
    }
    assert!(kit.send(&create("acme")).is_err());
    assert_eq!(kit.audit("acme").len(), entries, "nor has what was refused");
    kit.check().unwrap();
}

#[test]
fn the_applications_entries_and_notes_on_them_are_in_the_chain_and_change_nothing_else() {
    let mut kit = Kit::new();
    let object = || r#"{"pages":3}"#.to_owned();
    let (action, category) = ("document.upload".to_owned(), "chat".to_owned());
    let append = Command::Append(Note { action, category, before: object(), after: object(), details: object() });
    let resolve = |seq, note: &str| Command::Resolve { seq, note: note.to_owned(), before: None };
    // Notes on what is in the same batch, and the same one twice.
    let batch = [append.clone(), resolve(2, "a"), resolve(2, "a"), resolve(2, "b"), resolve(1, "c")];
    kit.in_one_batch(batch.into_iter().map(|command| (&make(command)).into()).collect());
    kit.reopen();
    kit.made(&make(resolve(2, "b")));
    kit.made(&make(append));
    let told: Vec<_> = kit.audit("acme").into_iter().map(|row| (row.resolves(), row.note(), row.details)).collect();
    let noted = |seq: u64, note: &str| (Some(seq), Some(note.to_owned()), format!(r#"{{"seq":{seq}}}"#));
    let created = (None, None, "{}".to_owned());
    let appended = (None, None, object());
    assert_eq!(told, [created, appended.clone(), noted(2, "a"), noted(2, "b"), noted(1, "c"), appended]);
    for seq in [0, 7, u64::MAX] {
        let refused = kit.send(&make(resolve(seq, "x")));
        assert_eq!(refused.unwrap_err(), metergate::store::StoreError::Problem(Problem::UnknownEntry), "{seq}");
    }
    kit.check().unwrap();
}

#[test]
fn changes_in_one_batch_and_at_once_are_told_in_order() {
    let kit = Kit::new();
    kit.in_one_batch((1..=20).map(|units| (&make(set_extra(units))).into()).collect());
    kit.each_alone((21..=60).map(|units| make(set_extra(units))).collect::<Vec<_>>().iter());
    assert_eq!(kit.audit("acme").len(), 61);
    kit.check().unwrap();
}

#[test]
fn what_was_changed_dropped_moved_or_cut_off_is_found() {
    let kit = Kit::new();
    for units in 1..=4 {
        kit.made(&make(set_extra(units)));
    }
    let rows = kit.audit("acme");
    let (last, head) = verify(&rows).unwrap();
    assert_eq!(last, 5);
    type Tamper = fn(&mut Vec<AuditRow>);
    let tampered: [(&str, Tamper, Broken); 7] = [
        ("changed after", |rows| rows[2].after = "{}".to_owned(), Broken::Changed(3)),
        ("changed actor", |rows| rows[4].actor = "key:nobody".to_owned(), Broken::Changed(5)),
        ("changed time", |rows| rows[0].at = rows[0].at.plus(1), Broken::Changed(1)),
        ("dropped", |rows| drop(rows.remove(1)), Broken::Missing { expected: 2, found: 3 }),
        ("dropped first", |rows| drop(rows.remove(0)), Broken::Missing { expected: 1, found: 2 }),
        ("reordered", |rows| rows.swap(1, 2), Broken::Missing { expected: 2, found: 3 }),
        (
            "reordered and renumbered",
            |rows| {
                rows.swap(1, 2);
                (rows[1].sequence, rows[2].sequence) = (2, 3);
            },
            Broken::Changed(2),
        ),
    ];
    for (what, tamper, found) in tampered {
        let mut rows = rows.clone();
        tamper(&mut rows);
        assert_eq!(verify(&rows), Err(found), "{what}");
    }
    assert_ne!(verify(&rows[..4]), Ok((last, head)), "a chain that was cut off has another end");
    let mut sealed_anew = rows.clone();
    sealed_anew[3].after = "{}".to_owned();
    sealed_anew[3].hash = sealed_anew[3].sealed(&sealed_anew[2].hash);
    assert_eq!(verify(&sealed_anew), Err(Broken::Changed(5)), "the next entry shows it");
}

#[test]
fn a_walk_in_parts_finds_what_one_at_once_does() {
    let kit = Kit::new();
    kit.send(&create("other")).unwrap();
    for units in 1..=4 {
        kit.made(&make(set_extra(units)));
    }
    let walked = |most: usize| {
        let walk = |from| kit.read(move |view, _| Ok(walk(view.rows(), from, most)?)).unwrap();
        let mut all = walk(None);
        while let Some(place) = all.next {
            let next = walk(Place::from_bytes(&place.to_bytes()));
            all.chains += next.chains;
            all.entries += next.entries;
            all.findings.extend(next.findings);
            all.next = next.next;
        }
        all
    };
    let whole = walked(1000);
    assert!(whole.findings.is_empty() && whole.entries >= 6 && whole.chains >= 2, "{whole:?}");
    assert_eq!(walked(1), whole);
    let acme = kit.audit("acme")[0].chain;
    kit.tamper("audit", "after = '{}'", OrganizationId(acme), "AND sequence = 3");
    let expected = vec![Finding { chain: acme, broken: Broken::Changed(3) }];
    for most in [1, 2, 3, 1000] {
        assert_eq!(walked(most), Walked { findings: expected.clone(), ..whole.clone() }, "{most}");
    }
    assert_eq!(Place::from_bytes(&[0; 66]), None);
}

#[test]
fn an_entry_whose_bytes_are_of_another_length_is_named_and_hides_nothing_else() {
    for column in ["salt", "hash", "redacted"] {
        let kit = Kit::new();
        kit.send(&create("other")).unwrap();
        for units in 1..=3 {
            kit.made(&make(set_extra(units)));
        }
        let [acme, other] = ["acme", "other"].map(|key| kit.audit(key)[0].chain);
        kit.tamper("audit", &format!("{column} = {}", blob(&[0])), OrganizationId(acme), "AND sequence = 2");
        kit.tamper("audit", "after = '{}'", OrganizationId(other), "AND sequence = 1");
        let mut found = kit.read(move |view, _| Ok(walk(view.rows(), None, 1000)?)).unwrap().findings;
        found.sort_by_key(|one| one.chain);
        let mut expected = [(acme, 2), (other, 1)].map(|(chain, at)| Finding { chain, broken: Broken::Changed(at) });
        expected.sort_by_key(|one| one.chain);
        assert_eq!(found, expected, "{column}");
    }
}

#[test]
fn the_chain_goes_on_after_a_restart() {
    let mut kit = Kit::new();
    for units in 1..=3 {
        kit.made(&make(set_extra(units)));
        kit.reopen();
    }
    assert_eq!(verify(&kit.audit("acme")).unwrap().0, 4);
}
