//! Operators' changes: each writes one audit entry, what changes nothing writes none (§5).

use metergate_rules::command::{Command, ProfileChange};
use metergate_rules::decide::Problem;
use metergate_rules::id::{MeterId, PlanId};
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::window::{Window, WindowSet};

use crate::kit::script::table;
use crate::kit::{API, BYTES, World, plan, q};

#[test]
fn every_change_writes_one_entry_and_one_line_of_the_audit_log_and_its_repeat_none() {
    #[rustfmt::skip]
    let changes = [
        ("override api.day=2",  "limit.change"),
        ("clear api.day",       "limit.change"),
        ("extra api 5",         "quota.grant"),
        ("plan 2",              "plan.change"),
        ("lock operator",       "billing.lock"),
        ("unlock",              "billing.unlock"),
        ("reset",               "usage.reset"),
        ("reset api day hour",  "usage.reset"),
        ("zone Europe/Berlin",  "organization.update"),
        ("void 1",              "credit.void"),
    ];
    let mut world = World::new([plan(1, "api.day=9"), plan(2, "api.day=9")]);
    world.play("grant api 5; override api.day=3; api 1");
    for (change, action) in changes {
        let (entries, audit, changes) = (world.entries.len(), world.audit.len(), world.account.changes);
        assert_eq!(world.play(change), "done", "{change}");
        assert_eq!((world.entries.len(), world.audit.len()), (entries + 1, audit + 1), "{change}");
        assert_eq!(world.account.changes, changes + 1, "{change}: the entity tag is another");
        let draft = world.audit.last().unwrap();
        assert_eq!((&*draft.action, draft.by_system), (action, false));
        assert_ne!(draft.before, draft.after, "{change}");
        assert_eq!(world.play(change), "done", "{change} again");
        let same = (world.entries.len(), world.audit.len(), world.account.changes);
        assert_eq!(same, (entries + 1, audit + 1, changes + 1), "{change} again changes nothing");
    }
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let world = World::new([plan(1, "api.day=9")]);
    let steps = [
        "clear api.day",
        "extra api 0",
        "plan 1",
        "plan 1 fresh",
        "unlock",
        "reset",
        "reset bytes",
        "zone UTC",
        "touch",
    ];
    for step in steps {
        let outcome = world.ask(&world.command(&step.split(' ').collect::<Vec<_>>())).unwrap();
        assert!(outcome.entries.is_empty() && outcome.audit.is_empty(), "{step}");
    }
}

#[test]
fn a_reset_sets_period_and_month_to_zero_and_keeps_the_rest() {
    let mut world = World::new([plan(
        1,
        "api.minute=9 api.day=9 api.month=9 api.period=9 api.life=9 bytes.period=9 calls.period=9",
    )]);
    let answers = world.play("grant api 5; api 7; bytes 4; calls 1; reset; api 0; calls 1; bytes 5");
    let expected = "grant 1; ok minute 7/9, day 7/9, month 7/9, period 7/14, life 7/9; ok period 4/9; ok period 1/9; done; \
                    ok minute 7/9, day 7/9, month 0/9, period 0/14, life 7/9; ok period 1/9; ok period 5/9";
    assert_eq!(answers, expected);
    #[rustfmt::skip]
    table(&[
        ("api.period=5 calls.period=5", "api 5; calls 1; reset calls; api 1; calls 1; reset api; api 1",
            "ok period 5/5; ok period 1/5; done; quota-exceeded period 5/5; ok period 1/5; done; ok period 1/5"),
        ("api.minute=5 api.hour=9 api.life=9", "api 5; reset api minute life; api 5; reset * hour; api 0",
            "ok minute 5/5, hour 5/9, life 5/9; done; quota-exceeded minute 0/5, hour 5/9, life 0/9; done; \
             ok minute 0/5, hour 0/9, life 0/9"),
    ]);
}

#[test]
fn a_reset_of_what_holds_nothing_is_no_change() {
    let mut world = World::new([plan(1, "bytes.period=9")]);
    world.play("bytes 4; event api 1 @-40d");
    let entries = world.entries.len();
    world.play("reset; reset bytes; reset api");
    assert_eq!(world.entries.len(), entries, "a level stays, and the closed month is not this one");
    let command = Command::Reset { meters: None, windows: WindowSet::NONE };
    assert!(world.ask(&command).unwrap().entries.is_empty(), "no window, no change");
    world.play("reset * life");
    assert_eq!((world.used(API, Window::Lifetime), world.used(BYTES, Window::Lifetime)), (0, 4));
}

#[test]
fn an_override_whose_time_is_up_is_gone_and_the_entity_tag_with_it() {
    let mut world = World::new([plan(1, "api.day=9")]);
    world.play("override api.day=2 until=+1h");
    let changes = world.account.changes;
    world.play("wait 1h; touch");
    assert!(world.account.overrides.is_empty());
    assert_eq!(world.account.changes, changes + 1);
}

#[test]
fn unknown_names_are_problems() {
    let mut world = World::new([plan(1, "")]);
    let (meter, window) = (MeterId(99), Window::Day);
    let over =
        Command::SetOverride { meter, window, max: Max::Units(q(1)), enforcement: Enforcement::Hard, until: None };
    let cases = [
        (over, Problem::UnknownMeter),
        (Command::SetExtra { meter, quantity: q(1) }, Problem::UnknownMeter),
        (Command::Reset { meters: Some(vec![meter]), windows: WindowSet::NONE }, Problem::UnknownMeter),
        (Command::ChangePlan { plan: PlanId(99), keep_overrides: true, at_period_end: false }, Problem::UnknownPlan),
    ];
    for (command, problem) in cases {
        assert_eq!(world.run(&command), Err(problem), "{command:?}");
    }
    let past = world.command(&["override", "api.day=1", "until=-0s"]);
    assert_eq!(world.run(&past), Err(Problem::EndsTooEarly));
    assert_eq!(world.entries.len(), 1, "nothing happened");
}

#[test]
fn a_profile_changes_in_what_is_given() {
    let mut world = World::new([plan(1, "")]);
    let windows = world.account.windows;
    let change =
        ProfileChange { name: Some("Other".to_owned()), metadata: Some("{}".to_owned()), ..Default::default() };
    world.run(&Command::Update(change)).unwrap();
    let profile = world.profile();
    assert_eq!((profile.key.as_str(), profile.name.as_str(), profile.metadata.as_str()), ("acme", "Other", "{}"));
    assert_eq!(world.account.windows, windows);
}
