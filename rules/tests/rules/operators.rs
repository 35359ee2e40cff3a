//! Operators' changes: each writes one audit entry, what changes nothing writes none (§5).

use metergate_rules::account::LockCause;
use metergate_rules::audit::{Object, Value};
use metergate_rules::command::{Command, PeriodLimit, ProfileChange};
use metergate_rules::decide::Problem;
use metergate_rules::id::{MeterId, PlanId};
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::quantity::InvalidQuantity;
use metergate_rules::time::MINUTE;
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
        ("extras api=6 calls=7", "quota.grant"),
        ("limits api=6 calls=inf", "limit.change"),
        ("plan 2",              "plan.change"),
        ("limits plan=1 api=5 calls=7", "plan.change"),
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
fn one_call_tells_all_that_it_changes_in_one_entry() {
    #[rustfmt::skip]
    let cases = [
        ("extras api=5",             "meter=api extra=0",                       "meter=api extra=5"),
        ("extras api=5 calls=7",     "api.extra=5 calls.extra=0",               "api.extra=5 calls.extra=7"),
        ("limits api=30 calls=inf",  "api.month=9 calls.billingPeriod=- overridden=[]",
                                     "api.month=30 calls.billingPeriod=- overridden=[\"api.month\", \"calls.billingPeriod\"]"),
        ("limits bytes=4",           "bytes.lifetime=5 overridden=[]",          "bytes.lifetime=4 overridden=[\"bytes.lifetime\"]"),
    ];
    let mut world = World::new([plan(1, "api.month=9 bytes.life=5!soft"), plan(2, "api.period=7 bytes.life=5")]);
    for (step, before, after) in cases {
        assert_eq!(world.play(step), "done", "{step}");
        let draft = world.audit.last().unwrap();
        assert_eq!((shown(&draft.before), shown(&draft.after)), (before.to_owned(), after.to_owned()), "{step}");
    }
    let soft = world.account.override_of(BYTES, Window::Lifetime).unwrap().enforcement;
    assert_eq!(soft, Enforcement::Soft, "what happens beyond a limit stays");
    // A plan takes the overrides of before along, and the call's own stand on it.
    assert_eq!(world.play("limits plan=2 bytes=3; api 0; bytes 0"), "done; ok period 0/12; ok life 0/3");
    let draft = world.audit.last().unwrap();
    assert_eq!((&*draft.action, world.account.overrides.len()), ("plan.change", 1));
    assert!(shown(&draft.before).ends_with("bytes.lifetime=4 overridden=[\"bytes.lifetime\"]"), "{:?}", draft.before);
    assert!(shown(&draft.after).ends_with("bytes.lifetime=3 overridden=[\"bytes.lifetime\"]"), "{:?}", draft.after);
}

fn shown(object: &Object) -> String {
    let Object::Fields(fields) = object else { panic!("what the rules know: {object:?}") };
    let shown = fields.0.iter().map(|(name, value)| match value {
        Value::Null => format!("{name}=-"),
        Value::List(names) => format!("{name}={names:?}"),
        Value::Quantity(quantity) => format!("{name}={quantity}"),
        Value::Text(text) => format!("{name}={text}"),
        other => format!("{name}={other:?}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn corrections_tell_every_figure_before_and_after() {
    #[rustfmt::skip]
    let cases = [
        ("reset api minute day period", "api.minute=5 api.day=5 api.billingPeriod=5",
            "api.minute=0 api.day=0 api.billingPeriod=0 windows=[\"minute\", \"day\", \"billingPeriod\"]"),
        ("event api 4; adjust api -3", "meter=api used=4", "meter=api used=1 quantity=-3"),
        ("adjust api 2",               "meter=api used=1", "meter=api used=3 quantity=2"),
        ("bytes 7; adjust bytes 2",    "meter=bytes used=7", "meter=bytes used=2 quantity=2"),
    ];
    let mut world = World::new([plan(1, "api.minute=9 api.period=9")]);
    world.play("api 5");
    for (step, before, after) in cases {
        assert!(world.play(step).ends_with("done"), "{step}");
        let draft = world.audit.last().unwrap();
        assert_eq!(shown(&draft.before), before, "{step}");
        assert!(shown(&draft.after).starts_with(after), "{step}: {}", shown(&draft.after));
    }
}

#[test]
fn a_lock_takes_another_reason_and_stays_since_when_it_was() {
    let mut world = World::new([plan(1, "")]);
    let since = world.now;
    let steps = [
        (Some("unpaid"), "unpaid", 1, "locked=Bool(false) locks=[] lockReason=-"),
        (Some("unpaid"), "unpaid", 1, "locked=Bool(false) locks=[] lockReason=-"),
        (Some("abuse"), "abuse", 2, "locked=Bool(true) locks=[\"operator\"] lockReason=unpaid"),
        (None, "abuse", 2, "locked=Bool(true) locks=[\"operator\"] lockReason=unpaid"),
    ];
    let (entries, audit) = (world.entries.len(), world.audit.len());
    for (asked, stands, changes, before) in steps {
        world.play("wait 1m");
        let reason = asked.map(str::to_owned);
        world.run(&Command::Lock { cause: LockCause::Operator, reason }).unwrap();
        let [lock] = &world.account.locks[..] else { panic!("one lock: {:?}", world.account.locks) };
        assert_eq!((lock.reason.as_deref(), lock.since.since(since)), (Some(stands), MINUTE), "{asked:?}");
        assert_eq!((world.entries.len() - entries, world.audit.len() - audit), (changes, changes), "{asked:?}");
        let draft = world.audit.last().unwrap();
        assert_eq!(shown(&draft.before), before, "{asked:?}");
        assert!(shown(&draft.after).ends_with(&format!("lockReason={stands}")), "{asked:?}");
    }
}

#[test]
fn credit_for_the_period_ends_with_it() {
    let mut world = World::new([plan(1, "api.period=5")]);
    let end = world.account.windows.period.end;
    let Command::Grant(new) = world.command(&["grant", "api", "3"]) else { unreachable!() };
    world.run(&Command::GrantForPeriod(new)).unwrap();
    assert_eq!(world.account.grants[0].expires_at, Some(end));
    assert_eq!(world.play("api 6; wait 31d; api 0"), "ok period 6/8; ok period 0/5");
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
        (Command::extra(meter, q(1)), Problem::UnknownMeter),
        (
            Command::SetLimits { plan: None, limits: vec![PeriodLimit { meter, max: Max::Unlimited }] },
            Problem::UnknownMeter,
        ),
        (Command::SetLimits { plan: Some(PlanId(99)), limits: Vec::new() }, Problem::UnknownPlan),
        (Command::Reset { meters: Some(vec![meter]), windows: WindowSet::NONE }, Problem::UnknownMeter),
        (Command::ChangePlan { plan: PlanId(99), keep_overrides: true, at_period_end: false }, Problem::UnknownPlan),
    ];
    for (command, problem) in cases {
        assert_eq!(world.run(&command), Err(problem), "{command:?}");
    }
    let zero = world.command(&["limits", "api=0"]);
    assert_eq!(world.run(&zero), Err(Problem::InvalidQuantity(InvalidQuantity::Zero)));
    for twice in [["extras", "api=1", "api=2"], ["limits", "api=1", "api=2"]] {
        assert_eq!(world.run(&world.command(&twice)), Err(Problem::MeterTwice), "{twice:?}");
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
