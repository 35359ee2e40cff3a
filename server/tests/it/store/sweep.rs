//! The sweep: what falls due by time alone is applied where nobody calls, once.

use metergate_rules::command::Command;
use metergate_rules::outcome::{Effect, What};
use metergate_rules::time::{DAY, HOUR};
use metergate_rules::window::Window;

use super::asks::{LARGE, ask, create, make};
use super::kit::{Kit, blob, start};
use metergate::store::Pace;
use metergate::sweep::Swept;

/// How often a scheduled plan took effect on an organization.
fn plan_changes(kit: &Kit, key: &str) -> usize {
    let id = kit.account(key).id;
    let changed = |what: &What| matches!(what, What::Due(Effect::PlanChanged(_)));
    kit.journal().of_organization(id).filter(|record| changed(&record.entry.what)).count()
}

#[test]
fn what_has_fallen_due_is_applied_without_a_call_and_only_once() {
    // With rows at the journal, and with rows that stay behind it.
    for pace in [Pace::Tenth, Pace::Accounts(0)] {
        let mut kit = Kit::with_rows(pace);
        for number in 0..120 {
            kit.made(&create(&format!("org-{number:03}")));
        }
        let waits = Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: true };
        for key in ["org-007", "org-119"] {
            kit.made(&make(waits.clone()).of(key));
        }
        let end = kit.account("org-007").windows.period.end;
        assert!(kit.allows(&ask("calls", 3)));

        kit.reopen_at(end.plus(-HOUR));
        assert_eq!(kit.sweep(), Swept::default(), "nothing is due before its time");
        kit.reopen_at(end.plus(HOUR));
        let written = kit.audit("org-007").len();
        assert_eq!(kit.sweep(), Swept { settled: 121, failed: 0 }, "a period began everywhere");
        for key in ["org-007", "org-119"] {
            assert_eq!((kit.account(key).plan, plan_changes(&kit, key)), (LARGE, 1));
        }
        let entry = kit.audit("org-007").pop().unwrap();
        assert_eq!((&*entry.actor, &*entry.action, entry.at), ("system", "plan.change", end), "at its own due time");
        assert_eq!(kit.audit("org-007").len(), written + 1);
        assert_eq!(kit.audit("org-008").len(), 1, "a period that begins is no entry of the audit log");
        assert_eq!(kit.used("acme", "calls", Window::BillingPeriod), 0);

        let last = kit.last_block();
        assert_eq!(kit.sweep(), Swept::default());
        assert_eq!(kit.last_block(), last, "a sweep that finds nothing writes nothing");
        kit.check().unwrap();
    }
}

#[test]
fn an_organization_with_a_clock_of_its_own_is_left_to_it() {
    let mut kit = Kit::new();
    kit.made(&create("held").test());
    kit.made(&make(Command::SetClock(start().plus(DAY))).of("held"));
    let end = kit.account("held").windows.period.end;
    kit.reopen_at(end.plus(40 * DAY));
    assert_eq!(kit.sweep(), Swept { settled: 1, failed: 0 }, "acme alone");
    assert_eq!(kit.account("held").windows.period.end, end);
}

#[test]
fn an_organization_that_cannot_be_read_holds_up_no_other() {
    let mut kit = Kit::new();
    kit.made(&create("damaged"));
    let (id, end) = (kit.account("damaged").id, kit.account("acme").windows.period.end);
    kit.wait_until("the rows are at the journal", |kit| kit.count("accounts") == 2);
    kit.close();
    kit.tamper("accounts", &format!("data = {}", blob(&[0; 9])), id, "");
    kit.reopen_at(end.plus(HOUR));
    assert_eq!(kit.sweep(), Swept { settled: 1, failed: 1 });
    assert_eq!(kit.account("acme").windows.period.start, end);
}
