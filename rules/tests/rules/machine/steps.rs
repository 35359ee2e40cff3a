//! The random steps, and when each makes sense.

use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::ReferenceStateMachine;

use metergate_rules::account::LockCause;
use metergate_rules::id::MeterId;
use metergate_rules::time::{DAY, HOUR, MINUTE, SECOND};
use metergate_rules::window::Window;

use crate::kit::{API, BYTES, CALLS, COST, OTHER, PEAK, TOKENS, USERS, time};
use crate::model::step::Step;
use crate::model::{Model, PLANS};

pub(super) const METERS: [MeterId; 8] = [API, CALLS, PEAK, BYTES, USERS, OTHER, TOKENS, COST];
const ZONES: [(&str, i64); 5] = [
    ("UTC", 0),
    ("Etc/GMT-5", 5 * HOUR),
    ("Etc/GMT+8", -8 * HOUR),
    ("Asia/Kolkata", 11 * HOUR / 2),
    ("Asia/Kathmandu", 23 * HOUR / 4),
];

fn quantity(meter: MeterId) -> BoxedStrategy<i64> {
    match meter {
        USERS => (0..9_i64).boxed(),
        CALLS => Just(1).boxed(),
        API | OTHER | TOKENS => prop_oneof![0..4_i64, 0..20_i64].boxed(),
        _ => (0..90_i64).boxed(),
    }
}

fn item() -> impl Strategy<Value = (MeterId, i64)> {
    prop_oneof![3 => Just(API), 1 => select(METERS.to_vec())]
        .prop_flat_map(|meter| quantity(meter).prop_map(move |n| (meter, n)))
}

/// Tokens of a model that has a price, mostly, asked for or told.
fn tokens() -> impl Strategy<Value = Step> {
    let (n, is_known) = (prop_oneof![0..9_i64, 0..40_i64], prop::bool::weighted(0.8));
    (n, is_known, prop_oneof![3 => Just(None), 1 => (-2 * DAY..1).prop_map(Some)]).prop_map(|(n, is_known, after)| {
        after.map_or(Step::Tokens(n, is_known), |after| Step::TokensOf(n, is_known, after))
    })
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
    let grantable = || select(vec![API, API, CALLS, USERS, OTHER, COST]);
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

/// Reservations of what adds up, mostly of the newest.
fn reservations() -> impl Strategy<Value = Step> {
    let meters = || prop_oneof![4 => Just(API), 1 => Just(CALLS), 1 => Just(OTHER)];
    let ttl = || prop_oneof![3 => SECOND..2 * MINUTE, 2 => MINUTE..2 * HOUR, 1 => HOUR..DAY + 1];
    let which = || prop_oneof![4 => 0..2_usize, 2 => 0..6_usize];
    prop_oneof![
        6 => (meters().prop_flat_map(|meter| (Just(meter), quantity(meter))), ttl())
            .prop_map(|((meter, n), ttl)| Step::Reserve(meter, n, ttl)),
        2 => (which(), ttl()).prop_map(|(nth, ttl)| Step::Extend(nth, ttl)),
        5 => (which(), prop_oneof![0..4_i64, 0..25_i64]).prop_map(|(nth, n)| Step::Commit(nth, n)),
        2 => which().prop_map(Step::Release),
    ]
}

fn corrections() -> impl Strategy<Value = Step> {
    let meters = || prop_oneof![4 => Just(API), 4 => select(METERS.to_vec())];
    let time = prop::option::of(
        prop_oneof![4 => Just(0), 3 => -2 * HOUR..0, 3 => -2 * DAY..0, 1 => -80 * DAY..0, 1 => 1..HOUR],
    );
    prop_oneof![
        5 => (meters(), prop_oneof![-12..6_i64, -40..1_i64], time).prop_map(|(meter, units, after)| Step::Adjust(meter, units, after)),
        5 => prop_oneof![0..4_usize, 0..200_usize].prop_map(Step::Undo),
    ]
}

/// What happens while there is credit: the base is used up, credit is held and drawn, comes back, and ends meanwhile.
fn around_credit() -> impl Strategy<Value = Step> {
    let ends = prop_oneof![2 => Just(None), 3 => (MINUTE..2 * HOUR).prop_map(Some)];
    let ttl = prop_oneof![1 => SECOND..2 * MINUTE, 3 => HOUR..DAY + 1];
    prop_oneof![
        4 => (10..45_i64, -HOUR..1).prop_map(|(n, after)| Step::Event(API, n, after)),
        3 => (5..25_i64).prop_map(|n| Step::Consume(vec![(API, n)])),
        6 => (3..25_i64, ttl).prop_map(|(n, ttl)| Step::Reserve(API, n, ttl)),
        6 => (0..2_usize, 0..30_i64).prop_map(|(nth, n)| Step::Commit(nth, n)),
        2 => (0..2_usize).prop_map(Step::Release),
        3 => (-25..1_i64).prop_map(|units| Step::Adjust(API, units, None)),
        5 => (0..4_usize).prop_map(Step::Undo),
        3 => (5..25_i64, -2..3_i32, ends).prop_map(|(amount, priority, end)| Step::Grant(API, amount, priority, 0, end)),
        1 => (0..6_usize).prop_map(Step::Void),
        4 => (0..HOUR).prop_map(Step::Wait),
        1 => (HOUR..2 * DAY).prop_map(Step::Wait),
        1 => Just(Step::Near(Window::BillingPeriod, 0)),
        1 => Just(Step::Reset(Some(API), Window::ALL.to_vec())),
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
        let has_credit = state.credit(API) > 0 || state.open_holds().any(|(_, hold)| !hold.of_grants.is_empty());
        let together = prop::collection::vec(item(), 2..4).prop_map(|mut items| {
            items.sort_by_key(|(meter, _)| *meter);
            items.dedup_by_key(|(meter, _)| *meter);
            items
        });
        prop_oneof![
            10 => item().prop_map(|item| Step::Consume(vec![item])),
            2 => together.prop_map(Step::Consume),
            4 => tokens(),
            6 => (item(), after()).prop_map(|((meter, n), after)| Step::Event(meter, n, after)),
            6 => wait(),
            6 => operators(),
            5 => reservations(),
            4 => corrections(),
            if is_near { 40 } else { 0 } => around_a_boundary(),
            if has_credit { 40 } else { 0 } => around_credit(),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        match step {
            // Which window a grant once lifted, and a value that lies ahead of a reset, are kept less exactly there.
            Step::Event(meter, _, after) => {
                (*meter != API && state.credit(*meter) == 0) || *after <= 0 || *after > 5 * MINUTE
            }
            Step::Reset(..) => !state.has_value_ahead(),
            Step::Undo(_) => !state.told.is_empty(),
            _ => true,
        }
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.step(step);
        state
    }
}
