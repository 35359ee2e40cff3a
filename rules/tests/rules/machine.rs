//! Random commands, one after another, to the rules and to the second model: after every step both must have given the
//! same answer and stand at the same figures.

use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use metergate_rules::account::{Account, LockCause};
use metergate_rules::command::{Command, NewGrant};
use metergate_rules::decide::Problem;
use metergate_rules::id::{GrantId, MeterId, PlanId};
use metergate_rules::outcome::{Entry, Reply, What};
use metergate_rules::plan::{Enforcement, Max, Plan, TrialEnd};
use metergate_rules::time::{DAY, HOUR, MINUTE, SECOND, Time};
use metergate_rules::window::Window;

use crate::kit::{API, BYTES, CALLS, OTHER, PEAK, USERS, World, plan, q, time, trial, uses};
use crate::model::step::Step;
use crate::model::{Answer, End, Model, PLANS, Terms};

const METERS: [MeterId; 6] = [API, CALLS, PEAK, BYTES, USERS, OTHER];
const ZONES: [(&str, i64); 5] = [
    ("UTC", 0),
    ("Etc/GMT-5", 5 * HOUR),
    ("Etc/GMT+8", -8 * HOUR),
    ("Asia/Kolkata", 11 * HOUR / 2),
    ("Asia/Kathmandu", 23 * HOUR / 4),
];

/// A run that never gets there proves nothing.
const MUST_REACH: [&str; 22] = [
    "a grant drawn partially",
    "a grant expired with a remainder",
    "a grant was taken back",
    "a late event",
    "a limit hit exactly",
    "a period began",
    "a refusal together",
    "a reset",
    "a soft limit passed",
    "a trial ended",
    "an event ahead of a window",
    "an event beyond a limit",
    "an event of a closed period",
    "an event too far ahead",
    "an overdrawn base",
    "an override ended",
    "not-entitled",
    "organization-locked",
    "quota-exceeded",
    "several grants drawn at once",
    "trial-expired",
    "years went by",
];

static REACHED: Mutex<BTreeMap<&str, usize>> = Mutex::new(BTreeMap::new());

fn quantity(meter: MeterId) -> BoxedStrategy<i64> {
    match meter {
        USERS => (0..9_i64).boxed(),
        CALLS => Just(1).boxed(),
        API | OTHER => prop_oneof![0..4_i64, 0..20_i64].boxed(),
        _ => (0..90_i64).boxed(),
    }
}

fn item() -> impl Strategy<Value = (MeterId, i64)> {
    prop_oneof![3 => Just(API), 1 => select(METERS.to_vec())]
        .prop_flat_map(|meter| quantity(meter).prop_map(move |n| (meter, n)))
}

/// An override that leaves the period limit where it is: the second model does not know which window a grant once lifted.
fn place() -> impl Strategy<Value = (MeterId, Window)> {
    use Window::{BillingPeriod, Day, Hour, Lifetime, Minute, Month};
    let api = [Minute, Hour, Day, Month, BillingPeriod, Lifetime].map(|window| (API, window));
    let others =
        [(CALLS, Hour), (CALLS, Month), (PEAK, Day), (BYTES, BillingPeriod), (USERS, Day), (USERS, BillingPeriod)];
    select(api.into_iter().chain(others).collect::<Vec<_>>())
}

fn after() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => Just(0),
        4 => -2 * HOUR..0,
        4 => -2 * DAY..0,
        3 => -80 * DAY..0,
        8 => 0..5 * MINUTE + 1,
        3 => Just(5 * MINUTE),
        1 => 5 * MINUTE + 1..DAY,
    ]
}

fn wait() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2 * SECOND).prop_map(Step::Wait),
        4 => (0..90 * SECOND).prop_map(Step::Wait),
        3 => (0..2 * HOUR).prop_map(Step::Wait),
        2 => (0..30 * HOUR).prop_map(Step::Wait),
        1 => (0..40 * DAY).prop_map(Step::Wait),
        1 => (200 * DAY..900 * DAY).prop_map(Step::Wait),
        6 => (select(vec![Window::Day, Window::Month, Window::BillingPeriod]), prop_oneof![Just(0), Just(1), 0..5 * MINUTE])
            .prop_map(|(window, before)| Step::Near(window, before)),
    ]
}

fn operators() -> impl Strategy<Value = Step> {
    let ends = || prop::option::of(prop_oneof![1..HOUR, 1..40 * DAY]);
    let grantable = || select(vec![API, API, CALLS, USERS, OTHER]);
    let windows = || prop::collection::btree_set(select(Window::ALL.to_vec()), 0..4);
    let causes = select(vec![LockCause::Operator, LockCause::Billing, LockCause::Trial]);
    prop_oneof![
        8 => (grantable(), 1..25_i64, -2..3_i32, prop_oneof![3 => Just(0), 1 => 0..HOUR], ends()).prop_map(
            |(meter, amount, priority, start, end)| {
                Step::Grant(meter, amount, priority, start, end.map(|end| start + end))
            }
        ),
        2 => (0..6_usize).prop_map(Step::Void),
        2 => (select(METERS.to_vec()), 0..20_i64).prop_map(|(meter, quantity)| Step::Extra(meter, quantity)),
        3 => (place(), prop::option::weighted(0.8, 1..50_i64), any::<bool>(), ends())
            .prop_map(|((meter, window), max, soft, end)| Step::Override(meter, window, max, soft, end)),
        1 => place().prop_map(|(meter, window)| Step::Clear(meter, window)),
        2 => (0..PLANS.len(), any::<bool>()).prop_map(|(plan, keep)| Step::Plan(plan, keep)),
        3 => (prop::option::of(select(METERS.to_vec())), windows())
            .prop_map(|(meter, windows)| Step::Reset(meter, windows.into_iter().collect())),
        1 => causes.prop_map(Step::Lock),
        4 => Just(Step::Unlock),
    ]
}

/// What happens within minutes of a window's end: events ahead of it, the same values on either side, resets.
fn around_a_boundary() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (item(), -5 * MINUTE..5 * MINUTE + 1).prop_map(|((meter, n), after)| Step::Event(meter, n, after)),
        3 => (0..4_i64, 0..5 * MINUTE + 1).prop_map(|(value, after)| Step::Event(USERS, value, after)),
        3 => (0..4_i64).prop_map(|value| Step::Consume(vec![(USERS, value)])),
        3 => (0..3 * MINUTE).prop_map(Step::Wait),
        1 => Just(Step::Reset(None, Window::ALL.to_vec())),
    ]
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let begin = (time("2024-01-01T00:00:00Z").micros()..time("2030-01-01T00:00:00Z").micros()).boxed();
        (begin, select(ZONES.to_vec()), 0..PLANS.len()).prop_map(|(at, zone, plan)| Self::new(at, zone, plan)).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let ends = [Window::Day, Window::BillingPeriod].map(|window| state.range(window).1);
        let is_near = ends.iter().any(|end| end - state.now <= 5 * MINUTE);
        let together = prop::collection::vec(item(), 2..4).prop_map(|mut items| {
            items.sort_by_key(|(meter, _)| *meter);
            items.dedup_by_key(|(meter, _)| *meter);
            items
        });
        prop_oneof![
            10 => item().prop_map(|item| Step::Consume(vec![item])),
            2 => together.prop_map(Step::Consume),
            6 => (item(), after()).prop_map(|((meter, n), after)| Step::Event(meter, n, after)),
            6 => wait(),
            6 => operators(),
            if is_near { 40 } else { 0 } => around_a_boundary(),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        match step {
            // Which window a grant once lifted, and a value that lies ahead of a reset, are kept less exactly there.
            Step::Event(API, _, after) => *after <= 0 || *after > 5 * MINUTE,
            Step::Reset(..) => !state.has_value_ahead(),
            _ => true,
        }
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.step(step);
        state
    }
}

fn command(world: &World, step: &Step) -> Command {
    let in_time = |micros: &i64| world.now.plus(*micros);
    match step {
        Step::Wait(_) | Step::Near(..) => Command::Touch,
        Step::Consume(items) => world.consumption(items),
        Step::Event(meter, n, after) => world.event(*meter, *n, Some(in_time(after))),
        Step::Grant(meter, amount, priority, start, end) => Command::Grant(NewGrant {
            meter: *meter,
            amount: q(*amount),
            priority: *priority,
            starts_at: Some(in_time(start)),
            expires_at: end.as_ref().map(in_time),
            reason: String::new(),
        }),
        Step::Void(nth) => Command::VoidGrant(GrantId(u32::try_from(*nth).unwrap() + 1)),
        Step::Extra(meter, quantity) => Command::extra(*meter, q(*quantity)),
        Step::Override(meter, window, max, soft, end) => Command::SetOverride {
            meter: *meter,
            window: *window,
            max: max.map_or(Max::Unlimited, |max| Max::Units(q(max))),
            enforcement: if *soft { Enforcement::Soft } else { Enforcement::Hard },
            until: end.as_ref().map(in_time),
        },
        Step::Clear(meter, window) => Command::ClearOverride { meter: *meter, window: *window },
        Step::Plan(plan, keep) => {
            Command::ChangePlan { plan: plan_id(*plan), keep_overrides: *keep, at_period_end: false }
        }
        Step::Reset(meter, windows) => {
            Command::Reset { meters: meter.map(|meter| vec![meter]), windows: windows.iter().copied().collect() }
        }
        Step::Lock(cause) => Command::Lock { cause: *cause, reason: None },
        Step::Unlock => Command::Unlock,
    }
}

fn plan_id(nth: usize) -> PlanId {
    PlanId(u32::try_from(nth).unwrap())
}

fn plans() -> Vec<Plan> {
    let on_end = |end| match end {
        End::Lock => TrialEnd::Lock,
        End::Continue => TrialEnd::Continue,
        End::Plan1 => TrialEnd::Plan("plan-1".parse().unwrap()),
    };
    let plan = |(id, (limits, closed, trial_of)): (u32, &Terms)| Plan {
        other_meters: !closed,
        trial: trial_of.and_then(|(days, end)| trial(u16::try_from(days).unwrap(), on_end(end))),
        ..plan(id, limits)
    };
    (0..).zip(&PLANS).map(plan).collect()
}

struct Machine;

impl StateMachineTest for Machine {
    type SystemUnderTest = World;
    type Reference = Model;

    fn init_test(model: &Model) -> World {
        let mut plans = plans();
        plans.rotate_left(model.first_plan);
        World::at(&Time::from_micros(model.now).to_string(), model.zone, plans)
    }

    fn apply(mut world: World, model: &Model, step: Step) -> World {
        world.now = Time::from_micros(model.now);
        let (entries, audit) = (world.entries.len(), world.audit.len());
        let command = command(&world, &step);
        let reply = world.run(&command);
        let by_command: Vec<&Entry> =
            world.entries[entries..].iter().filter(|entry| !matches!(entry.what, What::Due(_))).collect();
        let told = world.audit[audit..].iter().filter(|draft| !draft.by_system).count();
        match (&model.answer, reply) {
            (Answer::Decided(expected), Ok(Reply::Decided(verdicts))) => {
                assert_eq!(verdicts.iter().map(shown).collect::<Vec<_>>(), *expected);
                assert_cured_by_waiting(&step, &verdicts, model);
            }
            (Answer::Recorded { overage }, Ok(Reply::Recorded)) => {
                assert_eq!(uses(by_command[0])[0].overage, q(*overage));
            }
            (Answer::Changed(changed), Ok(Reply::Done | Reply::Granted(_))) => {
                assert_eq!((by_command.len(), told), (usize::from(*changed), usize::from(*changed)));
            }
            (Answer::Changed(false), Err(Problem::UnknownGrant)) | (Answer::Problem, Err(Problem::FutureEvent)) => {}
            (expected, reply) => panic!("{reply:?} instead of {expected:?}"),
        }
        let mut reached = REACHED.lock().unwrap();
        *reached.entry("steps").or_default() += 1;
        model.reached.iter().for_each(|state| *reached.entry(state).or_default() += 1);
        world
    }

    fn check_invariants(world: &World, model: &Model) {
        let account = world.settled();
        for meter in METERS {
            for window in Window::ALL {
                let slides = window.sliding_length().is_some();
                if !slides || matches!(meter, API | CALLS | OTHER) {
                    assert_eq!(world.used(meter, window), model.used(meter, window), "{meter:?} {window:?}");
                }
            }
        }
        assert_eq!(account.meter(BYTES).and_then(|used| used.level).map(|level| level.value.units()), model.level());
        for (nth, grant) in account.grants.iter().enumerate() {
            assert_eq!(
                (grant.used.units(), grant.available(world.now).units()),
                (model.given(nth), model.available(nth))
            );
        }
        assert_standing(&account, model);
    }

    fn teardown(world: World, _: Model) {
        world.assert_folds();
    }
}

/// Where only minutes and hours refuse, asking again at the advised time succeeds, and a microsecond earlier does not.
fn assert_cured_by_waiting(step: &Step, verdicts: &[metergate_rules::outcome::Verdict], model: &Model) {
    let (Step::Consume(items), [verdict]) = (step, verdicts) else { return };
    let mut violated = verdict.limits.iter().filter(|limit| limit.violated);
    let Some(again) = verdict.retry_at.filter(|_| violated.all(|limit| limit.window.sliding_length().is_some())) else {
        return;
    };
    assert!(model.slides_free(items[0], again.micros()), "refused again at {again}");
    assert!(!model.slides_free(items[0], again.micros() - 1), "not refused before {again}");
}

fn assert_standing(account: &Account, model: &Model) {
    assert_eq!((account.plan, account.status), (plan_id(model.plan), model.status));
    assert_eq!(account.trial.map(|trial| (trial.ends_at.micros(), trial.over)), model.trial);
    let mut causes: Vec<LockCause> = account.locks.iter().map(|lock| lock.cause).collect();
    causes.sort();
    assert_eq!(causes, model.locks.iter().copied().collect::<Vec<_>>());
    assert_eq!(account.overrides.len(), model.exceptions.len());
    let windows = [Window::Day, Window::Month, Window::BillingPeriod].map(|window| {
        let span = account.windows.get(window);
        assert_eq!((span.start.micros(), span.end.micros()), model.range(window), "{window:?}");
        span
    });
    assert!(windows.iter().all(|span| span.contains(Time::from_micros(model.now))));
}

fn shown(verdict: &metergate_rules::outcome::Verdict) -> crate::model::Verdict {
    let limits = verdict.limits.iter().map(|state| crate::model::Shown {
        window: state.window,
        limit: state.limit.units(),
        used: state.used.units(),
        remaining: state.remaining.units(),
        violated: state.violated,
    });
    crate::model::Verdict { reason: verdict.reason, overage: verdict.overage.units(), limits: limits.collect() }
}

#[test]
fn the_rules_answer_as_a_model_that_counts_everything_anew() {
    // PROPTEST_CASES sets how many; a failure leaves its seed under proptest-regressions, and it is tried first.
    let config = ProptestConfig { source_file: Some(file!()), ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config.clone());
    let outcome = runner.run(&Model::sequential_strategy(20..120), |(model, steps, seen)| {
        Machine::test_sequential(config.clone(), model, steps, seen);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}\n{runner}");
    }
    let reached = REACHED.lock().unwrap();
    println!("{reached:?}");
    for state in MUST_REACH {
        assert!(reached.contains_key(state), "the run never reached: {state}; {reached:?}");
    }
    assert!(reached["steps"] > 3000, "{reached:?}");
}
