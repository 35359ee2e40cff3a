//! Random commands, one after another, to the rules and to the second model: after every step both must have given the
//! same answer and stand at the same figures.

use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use metergate_rules::account::{Account, LockCause};
use metergate_rules::command::{Adjustment, Command, Commit, Completion, NewGrant, Reserve};
use metergate_rules::id::{GrantId, PlanId, ReservationId};
use metergate_rules::limits::Limits;
use metergate_rules::outcome::{Entry, LimitState, Reply, Verdict, What};
use metergate_rules::plan::{Enforcement, Max, Plan, TrialEnd};
use metergate_rules::price::{LlmUse, Pattern, Price, PriceTable, Tokens};
use metergate_rules::time::Time;
use metergate_rules::window::Window;

use crate::kit::{API, BYTES, CALLS, COST, OTHER, TOKENS, World, plan, q, trial, uses};
use crate::model::step::Step;
use crate::model::tokens::PRICE;
use crate::model::{Answer, End, Model, PLANS, Shown, Terms};
use steps::METERS;

mod steps;

/// A run that never gets there proves nothing.
const MUST_REACH: [&str; 51] = [
    "a grant drawn partially",
    "a grant expired while it was held",
    "a grant expired with a remainder",
    "a grant was taken back",
    "a grant was taken back while it was held",
    "a late event",
    "a limit hit exactly",
    "a period began",
    "a refusal together",
    "a reservation came to less",
    "a reservation came to more",
    "a reservation came to more than there was",
    "a reservation holds of grants",
    "a reservation lapsed",
    "a reservation settled after a reset",
    "a reservation settled from a grant that had ended",
    "a reservation settled in a closed period",
    "a reservation was refused",
    "a reset",
    "a second void",
    "a soft limit passed",
    "a trial ended",
    "a trial's lock lifted by a plan with one",
    "a void in a closed period",
    "a void of a settled reservation",
    "a void of a value that another event has",
    "a void of tokens that were priced",
    "a void of what a correction had taken",
    "a void of what was counted before a reset",
    "a void returns credit",
    "a void returns credit to a closed period",
    "an adjustment loses credit",
    "an adjustment returns credit",
    "an adjustment takes from several quarter hours",
    "an adjustment would take too much",
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
    "tokens cost more than a limit has",
    "tokens refused for what they cost",
    "tokens without a price",
    "trial-expired",
    "what tokens cost comes from credit",
    "years went by",
];

/// Rounds of cases until all of them were reached, at most: some come once in hundreds of cases.
const MOST_ROUNDS: u64 = 8;

static REACHED: Mutex<BTreeMap<&str, usize>> = Mutex::new(BTreeMap::new());

fn command(world: &World, model: &Model, step: &Step) -> Command {
    let in_time = |micros: &i64| world.now.plus(*micros);
    match step {
        Step::Wait(_) | Step::Near(..) => Command::Touch,
        Step::Consume(items) => world.consumption(items),
        Step::Tokens(n, is_known) => with_model(world.consumption(&[(TOKENS, *n)]), *n, *is_known),
        Step::TokensOf(n, is_known, after) => with_model(world.event(TOKENS, *n, Some(in_time(after))), *n, *is_known),
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
        Step::Reserve(meter, n, ttl) => {
            Command::Reserve(Reserve { item: world.item(*meter, *n), ttl: *ttl, properties: String::new(), llm: None })
        }
        Step::Extend(nth, ttl) => Command::Extend { id: reservation(model, *nth), ttl: *ttl },
        Step::Commit(nth, n) => Command::Commit(Commit {
            id: reservation(model, *nth),
            quantity: n.to_string().into(),
            outcome: Completion::default(),
            calls: None,
            properties: String::new(),
            llm: None,
        }),
        Step::Release(nth) => Command::Release(reservation(model, *nth)),
        Step::Adjust(meter, units, after) => {
            let time = after.as_ref().map(in_time);
            Command::Adjust(Adjustment { meter: *meter, units: *units, time, room: Vec::new() })
        }
        Step::Undo(nth) => world.void(model.place_of(*nth)),
        Step::Lock(cause) => Command::Lock { cause: *cause, reason: None },
        Step::Unlock => Command::Unlock,
    }
}

/// The same with the model whose tokens they are.
fn with_model(mut command: Command, n: i64, is_known: bool) -> Command {
    let said = Some(Box::new(LlmUse {
        meter: TOKENS,
        model: if is_known { "m" } else { "of nobody" }.to_owned(),
        provider: String::new(),
        tokens: Some(Tokens { input: q(n), ..Tokens::default() }),
        dimensions: String::new(),
        charged: None,
    }));
    match &mut command {
        Command::Consume(asked) => asked.llm = said,
        Command::Record(event) => event.llm = said,
        other => panic!("{other:?} uses nothing"),
    }
    command
}

/// A token of `m` costs two billionths of a dollar.
fn prices() -> PriceTable {
    let price = Price {
        model: Pattern::new("m").unwrap(),
        provider: String::new(),
        input_above: q(0),
        effective_from: Time::MIN,
        input: q(PRICE * 1_000_000),
        cached_input: None,
        cache_write: None,
        output: None,
    };
    PriceTable::new(vec![price])
}

/// No step but one that reserves changes the numbers.
fn reservation(model: &Model, nth: usize) -> ReservationId {
    ReservationId(u32::try_from(model.hold_number(nth)).unwrap())
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
        let world = World::at(&Time::from_micros(model.now).to_string(), model.zone, plans);
        World { catalogue: world.catalogue.clone().with_prices(prices()), ..world }
    }

    fn apply(mut world: World, model: &Model, step: Step) -> World {
        world.now = Time::from_micros(model.now);
        let (entries, audit) = (world.entries.len(), world.audit.len());
        let command = command(&world, model, &step);
        let reply = world.run(&command);
        let by_command: Vec<&Entry> = world.entries[entries..]
            .iter()
            .filter(|entry| !matches!(entry.what, What::Due(_) | What::Noticed(_)))
            .collect();
        let told = world.audit[audit..].iter().filter(|draft| !draft.by_system).count();
        let overages = || by_command.iter().flat_map(|entry| uses(entry)).map(|used| used.overage.units()).max();
        match (&model.answer, reply) {
            (Answer::Decided(expected), Ok(Reply::Decided(verdicts))) => {
                assert_eq!(verdicts.iter().map(shown).collect::<Vec<_>>(), *expected);
                assert_cured_by_waiting(&step, &verdicts, model);
            }
            (Answer::Decided(expected), Ok(Reply::Reserved(reserved))) => {
                assert_eq!([shown(&reserved.verdict)], expected[..]);
                assert_eq!(reserved.reservation.is_some(), reserved.verdict.reason.is_none());
            }
            (Answer::Recorded { overage }, Ok(Reply::Recorded)) => assert_eq!(overages(), Some(*overage)),
            (Answer::Adjusted { overage }, Ok(Reply::Done)) => {
                assert_eq!((by_command.len(), told, overages()), (1, 1, Some(*overage)));
            }
            (Answer::Changed(changed), Ok(Reply::Done | Reply::Granted(_))) => {
                assert_eq!((by_command.len(), told), (usize::from(*changed), usize::from(*changed)));
            }
            (Answer::Changed(false), Err(metergate_rules::decide::Problem::UnknownGrant)) => {}
            (Answer::Fails(why), Err(problem)) if why.contains(&problem) => {}
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
                if !slides || matches!(meter, API | CALLS | OTHER | TOKENS | COST) {
                    assert_eq!(world.used(meter, window), model.used(meter, window), "{meter:?} {window:?}");
                }
            }
        }
        let level = account.meter(BYTES).and_then(|used| used.level);
        assert_eq!(level.map(|level| (level.time.micros(), level.value.units())), model.level());
        for (nth, grant) in account.grants.iter().enumerate() {
            let figures = [grant.used, grant.held, grant.available(world.now)].map(|figure| figure.units());
            assert_eq!(figures, [model.given(nth), model.held_of(nth), model.available(nth)], "grant {nth}");
        }
        let held =
            account.reservations.iter().map(|held| (held.id.0 as usize, held.quantity.units(), held.ends_at.micros()));
        let should = model.open_holds().map(|(number, hold)| (number, hold.n, hold.ends));
        assert_eq!(held.collect::<Vec<_>>(), should.collect::<Vec<_>>());
        assert_limits(world, &account, model);
        assert_standing(&account, model);
    }

    fn teardown(world: World, _: Model) {
        world.assert_folds();
    }
}

/// Where only minutes and hours refuse, asking again at the advised time succeeds, and a microsecond earlier does not.
fn assert_cured_by_waiting(step: &Step, verdicts: &[Verdict], model: &Model) {
    let (Step::Consume(items), [verdict]) = (step, verdicts) else { return };
    let mut violated = verdict.limits.iter().filter(|limit| limit.violated);
    let Some(again) = verdict.retry_at.filter(|_| violated.all(|limit| limit.window.sliding_length().is_some())) else {
        return;
    };
    assert!(model.slides_free(items[0], again.micros()), "refused again at {again}");
    // With reservations it is when enough will be free at the latest.
    if model.open_holds().all(|(_, hold)| hold.meter != items[0].0) {
        assert!(!model.slides_free(items[0], again.micros() - 1), "not refused before {again}");
    }
}

/// Every limit of every meter stands as the second model has it.
fn assert_limits(world: &World, account: &Account, model: &Model) {
    let plan = world.catalogue.plan(account.plan).unwrap();
    for meter in METERS {
        let limits = Limits::new(account, plan, world.catalogue.meter(meter).unwrap());
        let standing = Window::ALL.into_iter().filter_map(|window| limits.standing(window, world.now));
        let stands = standing.map(|standing| Shown {
            window: standing.window,
            limit: standing.limit().units(),
            used: standing.used.units(),
            held: standing.held.units(),
            remaining: standing.remaining().units(),
            violated: false,
        });
        assert_eq!(stands.collect::<Vec<_>>(), model.all_shown(meter), "{meter:?}");
    }
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

fn shown(verdict: &Verdict) -> crate::model::Verdict {
    let limits = |states: &[LimitState]| {
        let shown = states.iter().map(|state| Shown {
            window: state.window,
            limit: state.limit.units(),
            used: state.used.units(),
            held: state.held.units(),
            remaining: state.remaining.units(),
            violated: state.violated,
        });
        shown.collect::<Vec<_>>()
    };
    crate::model::Verdict {
        reason: verdict.reason,
        overage: verdict.overage.units(),
        limits: limits(&verdict.limits),
        cost: verdict.cost.as_ref().map(|cost| (cost.overage.units(), limits(&cost.limits))),
    }
}

#[test]
fn the_rules_answer_as_a_model_that_counts_everything_anew() {
    // PROPTEST_CASES sets how many; a failure leaves its seed under proptest-regressions, and it is tried first.
    let config = ProptestConfig { source_file: Some(file!()), ..ProptestConfig::default() };
    for round in 0..MOST_ROUNDS {
        // One runner runs its cases once, and each round is to have others, also where the first seed is given.
        let rng_seed = match config.rng_seed {
            RngSeed::Fixed(seed) => RngSeed::Fixed(seed.wrapping_add(round)),
            RngSeed::Random => RngSeed::Random,
        };
        let mut runner = TestRunner::new(ProptestConfig { rng_seed, ..config.clone() });
        let outcome = runner.run(&Model::sequential_strategy(20..120), |(model, steps, seen)| {
            Machine::test_sequential(config.clone(), model, steps, seen);
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("{failure}\n{runner}");
        }
        if MUST_REACH.iter().all(|state| REACHED.lock().unwrap().contains_key(state)) {
            break;
        }
    }
    let reached = REACHED.lock().unwrap();
    println!("{reached:?}");
    for state in MUST_REACH {
        assert!(reached.contains_key(state), "the run never reached: {state}; {reached:?}");
    }
    assert!(reached["steps"] > 3000, "{reached:?}");
}
