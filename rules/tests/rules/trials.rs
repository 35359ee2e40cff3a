//! Trials and plan changes (P4, P5, P6).

use metergate_rules::account::{LockCause, Status};
use metergate_rules::audit::Object;
use metergate_rules::plan::{Plan, TrialEnd};
use metergate_rules::time::DAY;

use crate::kit::{World, plan, time, trial};

fn plans(on_end: TrialEnd) -> [Plan; 4] {
    [
        Plan { trial: trial(30, on_end), ..plan(1, "api.day=1") },
        plan(2, "api.day=2"),
        Plan { trial: trial(30, TrialEnd::Lock), ..plan(3, "api.day=3") },
        Plan { trial: trial(30, TrialEnd::Continue), ..plan(4, "api.day=4") },
    ]
}

fn to_plan_2() -> TrialEnd {
    TrialEnd::Plan("plan-2".parse().unwrap())
}

#[test]
fn a_trial_lasts_its_days_of_24_hours_and_ends_as_the_plan_says() {
    #[rustfmt::skip]
    let cases = [ // how, the last instant, the first after it, status, plan
        (TrialEnd::Continue, "ok day 1/1", "ok day 1/1",              Status::Active, 1),
        (TrialEnd::Lock,     "ok day 1/1", "trial-expired day 0/1",   Status::Trial,  1),
        (to_plan_2(),        "ok day 1/1", "ok day 1/2",              Status::Active, 2),
    ];
    for (on_end, last, first, status, plan) in cases {
        // Over the end of summer time: exactly 30 × 24 hours, not thirty days of the calendar.
        let mut world = World::at("2026-10-10T00:00:00Z", "Europe/Berlin", plans(on_end.clone()));
        assert_eq!(world.account.trial.unwrap().ends_at, world.now.plus(30 * DAY));
        assert_eq!(world.account.status, Status::Trial);
        assert_eq!(world.play("clock 2026-11-08T23:59:59.999999Z; api 1"), last, "{on_end:?}");
        assert_eq!(world.play("clock 2026-11-09T23:00:00Z; api 1"), first, "{on_end:?}");
        assert_eq!((world.account.status, world.account.plan.0), (status, plan), "{on_end:?}");
        assert!(world.account.trial.unwrap().over);
        let ends = world.audit.iter().filter(|draft| draft.action == "trial.end" && draft.by_system).count();
        assert_eq!(ends, 1, "{on_end:?}: one entry, written by time");
    }
}

#[test]
fn an_unlock_after_the_end_of_a_trial_lasts() {
    let mut world = World::new(plans(TrialEnd::Lock));
    let answers = world.play("wait 30d; api 1; unlock; api 1; wait 400d; api 1; lock trial; api 1");
    let expected = "trial-expired day 0/1; done; ok day 1/1; ok day 1/1; done; trial-expired day 1/1";
    assert_eq!(answers, expected);
}

#[test]
fn at_most_one_lock_of_each_cause() {
    let mut world = World::new(plans(TrialEnd::Lock));
    world.play("lock trial; lock operator; lock operator; lock billing; wait 31d; touch");
    let causes: Vec<LockCause> = world.account.locks.iter().map(|lock| lock.cause).collect();
    assert_eq!(causes, [LockCause::Trial, LockCause::Operator, LockCause::Billing]);
}

#[test]
fn moving_to_a_plan_without_trial_ends_it_and_lifts_a_trial_lock_only() {
    let mut world = World::new(plans(TrialEnd::Lock));
    assert_eq!(world.play("wait 1d; plan 2; wait 60d; api 2"), "done; ok day 2/2");
    assert_eq!((world.account.status, world.account.trial.unwrap().over), (Status::Active, true));
    assert_eq!(world.account.trial.unwrap().ends_at, time("2026-11-23T11:06:00Z"), "ended by the move");

    let mut world = World::new(plans(TrialEnd::Lock));
    assert_eq!(
        world.play("wait 30d; lock operator; plan 2; api 1; unlock; api 2"),
        "done; done; organization-locked day 0/2; done; ok day 2/2"
    );
    let change = world.audit.iter().find(|draft| draft.action == "plan.change").unwrap();
    let shown = |object: &Object| match object {
        Object::Fields(fields) => serde_json::to_value(fields).unwrap(),
        Object::Text(text) => panic!("{text} is the application's"),
    };
    assert_eq!(shown(&change.before)["locks"], serde_json::json!(["trial", "operator"]));
    assert_eq!(shown(&change.after)["locks"], serde_json::json!(["operator"]), "side effects stand in the entry");
}

#[test]
fn moving_to_a_plan_with_a_trial_neither_begins_a_second_nor_prolongs_the_first() {
    let mut world = World::new(plans(TrialEnd::Lock));
    let ends = world.account.trial;
    world.play("wait 1d; plan 4; wait 1d; plan 3");
    assert_eq!(world.account.trial, ends);
    assert_eq!(world.play("wait 28d; api 1; plan 2; plan 3; api 1"), "trial-expired day 0/3; done; done; ok day 1/3");
    assert!(world.account.trial.unwrap().over);
}

#[test]
fn after_a_trial_a_plan_with_one_lets_go_on_unless_it_locks_too() {
    #[rustfmt::skip]
    let cases = [ // plan, answer, status
        (4, "ok day 1/4",            Status::Active),
        (3, "trial-expired day 0/3", Status::Trial),
    ];
    for (number, answer, status) in cases {
        let mut world = World::new(plans(TrialEnd::Lock));
        let ended = world.play("wait 30d; api 1");
        assert_eq!(ended, "trial-expired day 0/1");
        assert_eq!(world.play(&format!("plan {number}; api 1")), format!("done; {answer}"));
        assert_eq!((world.account.status, world.account.trial.unwrap().over), (status, true), "plan {number}");
    }
    let mut world = World::new(plans(TrialEnd::Lock));
    let answers = world.play("wait 30d; lock operator; plan 4; api 1");
    assert_eq!(answers, "done; done; organization-locked day 0/4", "only the trial's own lock");
}

#[test]
fn the_plan_at_the_end_decides_how_a_trial_ends() {
    let mut world = World::new(plans(TrialEnd::Lock));
    assert_eq!(world.play("plan 4; wait 30d; api 1"), "done; ok day 1/4");
    assert_eq!(world.account.status, Status::Active);
}

#[test]
fn limits_follow_the_new_plan_at_once_and_counters_stay() {
    let small = plan(1, "api.day=5 api.period=5");
    let large = plan(2, "api.period=20");
    let mut world = World::new([small, large]);
    let answers = world.play(
        "api 5; plan 2; api 6; plan 1; api 1; override api.day=50; plan 2; plan 1; api 1; plan 2 fresh; plan 1; api 1",
    );
    let expected = "ok day 5/5, period 5/5; done; ok period 11/20; done; quota-exceeded day 11/5 left 0, period 11/5 left 0; \
                    done; done; done; quota-exceeded day 11/50, period 11/5 left 0; done; done; \
                    quota-exceeded day 11/5 left 0, period 11/5 left 0";
    assert_eq!(answers, expected);
}
