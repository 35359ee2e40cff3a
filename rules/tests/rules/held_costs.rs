//! What tokens are to cost is held with them, and a limit of that refuses reservations as it refuses decisions (M9, D3, D5).

use metergate_rules::apply;
use metergate_rules::command::{Command, Commit, Completion, NewGrant, Reserve};
use metergate_rules::id::{PlanId, ReservationId};
use metergate_rules::notice::Notice;
use metergate_rules::outcome::{LimitState, Reason, Reply, Reserved, What};
use metergate_rules::plan::{Enforcement, Plan, RefusalStatus};
use metergate_rules::price::{Cost, LlmUse, Unpriced};
use metergate_rules::time::{HOUR, MINUTE};
use metergate_rules::what_if::{Finding, Kind, Moved, Replay, Terms};
use metergate_rules::window::Window;

use crate::costs::{COST, DOLLAR, TOKENS, catalogue, cost, folded, item, plan_of, said, tokens, used, world};
use crate::kit::{World, q};

fn answered(world: &mut World, command: &Command) -> Reserved {
    match world.run(command) {
        Ok(Reply::Reserved(reserved)) => *reserved,
        other => panic!("{other:?}"),
    }
}

fn reserve(world: &mut World, llm: Option<Box<LlmUse>>, quantity: i64) -> Reserved {
    let asked = Reserve { item: item(TOKENS, quantity), ttl: MINUTE, properties: String::new(), llm };
    answered(world, &Command::Reserve(asked))
}

fn commit(world: &mut World, number: u32, llm: Option<Box<LlmUse>>, quantity: i64) -> Reserved {
    let commit = Commit {
        id: ReservationId(number),
        quantity: quantity.to_string().into(),
        outcome: Completion::default(),
        calls: None,
        properties: String::new(),
        llm,
    };
    answered(world, &Command::Commit(commit))
}

fn release(world: &mut World, number: u32) {
    answered(world, &Command::Release(ReservationId(number)));
}

/// Thousandths of a dollar that are used, held and left.
fn stands(limit: &LimitState) -> [i64; 3] {
    [limit.used, limit.held, limit.remaining].map(|figure| figure.units() / (DOLLAR / 1000))
}

#[test]
fn a_reservation_holds_what_its_tokens_are_to_cost_and_the_true_cost_takes_its_place() {
    let mut world = world(1, Enforcement::Hard);
    let made = reserve(&mut world, said("m", 300, 100), 400).verdict;
    assert_eq!((made.reason, cost(&made).cost, cost(&made).overage), (None, Cost::Priced(q(DOLLAR / 2)), q(0)));
    assert_eq!((stands(&cost(&made).limits[0]), used(&world)), ([0, 500, 500], (0, 0)));

    assert_eq!(tokens(&mut world, "m", 501, 0).reason, Some(Reason::QuotaExceeded), "what is held is not free");
    let refused = reserve(&mut world, said("m", 501, 0), 501);
    assert!(refused.reservation.is_none());
    let refused = refused.verdict;
    assert_eq!((refused.reason, refused.status), (Some(Reason::QuotaExceeded), RefusalStatus::PaymentRequired));
    assert!(!refused.limits[0].violated && cost(&refused).limits[0].violated, "tokens are left, dollars are not");
    assert_eq!(refused.retry_at, Some(world.now.plus(MINUTE)), "when the first one has lapsed");
    assert_eq!(tokens(&mut world, "m", 500, 0).reason, None, "exactly what is left");

    let done = commit(&mut world, 1, said("m", 600, 0), 600).verdict;
    let told = cost(&done);
    assert_eq!((told.cost, told.overage), (Cost::Priced(q(DOLLAR / 10 * 6)), q(DOLLAR / 10)), "more than was held");
    assert_eq!((stands(&told.limits[0]), used(&world)), ([1100, 0, 0], (1100, 1100)));
    assert_eq!(world.used(COST, Window::Hour), DOLLAR / 10 * 11, "it was admitted, so hours count it");
    assert!(reserve(&mut world, said("m", 1, 0), 1).reservation.is_none(), "nothing more is admitted");
    assert_eq!(folded(&world), world.account);
}

#[test]
fn what_was_held_of_dollars_is_free_again_once_less_was_used_or_it_is_released_or_lapses() {
    let mut world = world(1, Enforcement::Hard);
    (0..2).for_each(|_| assert_eq!(reserve(&mut world, said("m", 500, 0), 500).verdict.reason, None));
    assert!(reserve(&mut world, said("m", 1, 0), 1).reservation.is_none());
    assert_eq!(stands(&cost(&commit(&mut world, 1, said("m", 200, 0), 200).verdict).limits[0]), [200, 500, 300]);
    release(&mut world, 2);
    assert_eq!(world.used(COST, Window::Hour), DOLLAR, "hours count what was held, as of any reservation");
    let third = reserve(&mut world, said("m", 800, 0), 800).verdict;
    assert_eq!((third.reason, stands(&cost(&third).limits[0])), (None, [200, 800, 0]));
    answered(&mut world, &Command::Extend { id: ReservationId(3), ttl: 2 * MINUTE });
    world.now = world.now.plus(MINUTE);
    assert_eq!(tokens(&mut world, "m", 1, 0).reason, Some(Reason::QuotaExceeded), "it was extended");
    world.now = world.now.plus(MINUTE);
    assert_eq!(tokens(&mut world, "m", 800, 0).reason, None, "it has lapsed");
    assert_eq!(used(&world), (1000, 1000));
    assert_eq!(folded(&world), world.account);
}

#[test]
fn a_reservation_that_does_not_say_what_it_costs_is_refused_once_nothing_is_left() {
    let without_kinds = said("m", 0, 0).map(|said| Box::new(LlmUse { tokens: None, ..*said }));
    let cases = [(None, Unpriced::NoModel), (said("", 10, 5), Unpriced::NoModel), (without_kinds, Unpriced::NoTokens)];
    for (enforcement, refused) in [(Enforcement::Hard, Some(Reason::QuotaExceeded)), (Enforcement::Soft, None)] {
        let mut world = world(1, enforcement);
        for (llm, why) in &cases {
            let made = reserve(&mut world, llm.clone(), 15).verdict;
            assert_eq!((made.reason, cost(&made).cost), (None, Cost::Unpriced(*why)));
            assert_eq!(stands(&cost(&made).limits[0]), [0, 0, 1000], "what nobody knows is not held");
        }
        assert_eq!(tokens(&mut world, "m", 1000, 0).reason, None);
        for (llm, why) in &cases {
            let answer = reserve(&mut world, llm.clone(), 15).verdict;
            assert_eq!((answer.reason, cost(&answer).cost), (refused, Cost::Unpriced(*why)));
            assert_eq!(stands(&cost(&answer).limits[0]), [1000, 0, 0]);
            let end = refused.map(|_| world.settled().windows.period.end);
            assert_eq!((answer.retry_at, cost(&answer).limits[0].violated), (end, refused.is_some()));
        }
        let free = reserve(&mut world, said("other", 10, 5), 15).verdict;
        assert_eq!((free.reason, cost(&free).cost), (None, Cost::Unpriced(Unpriced::UnknownModel)), "as a decision");
        assert_eq!(commit(&mut world, 1, said("m", 10, 0), 10).reservation.map(|held| held.cost), Some(None));
        assert_eq!(used(&world), (1010, 1010), "where nothing is held its cost is a fact");
        assert_eq!(folded(&world), world.account);
    }
}

#[test]
fn credit_holds_its_part_of_what_tokens_are_to_cost() {
    let mut world = world(1, Enforcement::Hard);
    let grant = NewGrant {
        meter: COST,
        amount: q(DOLLAR / 10 * 3),
        priority: 0,
        starts_at: None,
        expires_at: None,
        reason: String::new(),
    };
    world.run(&Command::Grant(grant)).unwrap();
    let of_grant = |world: &World| [world.account.grants[0].held, world.account.grants[0].used].map(|q| q.units());
    assert_eq!(reserve(&mut world, said("m", 1200, 0), 1200).verdict.reason, None);
    assert_eq!(of_grant(&world), [DOLLAR / 10 * 2, 0]);
    release(&mut world, 1);
    assert_eq!(of_grant(&world), [0, 0]);
    assert_eq!(reserve(&mut world, said("m", 1200, 0), 1200).verdict.reason, None);
    let done = commit(&mut world, 2, said("m", 1300, 0), 1300).verdict;
    assert_eq!((cost(&done).overage, of_grant(&world)), (q(0), [0, DOLLAR / 10 * 3]), "all that it had");
    let is_told = |what: &What| matches!(what, What::Noticed(Notice::GrantExhausted(_)));
    assert!(world.entries.iter().any(|entry| is_told(&entry.what)));
    assert_eq!(folded(&world), world.account);
}

#[test]
fn what_is_held_of_dollars_settles_in_the_period_in_which_it_was_held() {
    let mut world = world(1, Enforcement::Hard);
    world.now = world.settled().windows.period.end.plus(-MINUTE / 2);
    assert_eq!(reserve(&mut world, said("m", 900, 0), 900).verdict.reason, None);
    world.now = world.now.plus(MINUTE / 2);
    assert_eq!(tokens(&mut world, "m", 1000, 0).reason, None, "the new period holds nothing");
    assert_eq!(cost(&commit(&mut world, 1, said("m", 900, 0), 900).verdict).overage, q(0));
    assert_eq!(used(&world), (1000, 1000));
    assert_eq!(folded(&world), world.account);
}

/// Of each reservation whether it would have been, with at most so many dollars.
fn replayed(world: &World, dollars: i64) -> Vec<bool> {
    let other = Plan { id: PlanId(9), ..plan_of(dollars, Enforcement::Hard) };
    let catalogue = catalogue(vec![plan_of(2, Enforcement::Hard), other], 1000);
    let terms = Terms { catalogue: &catalogue, moved: &Moved::To(PlanId(9)) };
    let mut replay = Replay::new(apply::create(world.account.id, &world.entries[0]).unwrap(), terms, &[]);
    let found: Vec<Finding> =
        world.entries[1..].iter().filter_map(|entry| replay.take((1, 0), entry).unwrap()).collect();
    if dollars == 2 {
        assert_eq!(replay.into_account().meters, world.account.meters, "under the same terms the same comes out");
    }
    let made = found.iter().filter(|found| found.kind == Kind::Reservation);
    made.map(|found| {
        let of_cost = found.parts.iter().find(|part| part.meter == COST);
        let stood_in_its_way = of_cost.is_some_and(|part| part.is.passed.has(Window::BillingPeriod));
        assert_eq!(stood_in_its_way, !found.is_allowed, "{found:?}");
        found.is_allowed
    })
    .collect()
}

#[test]
fn reservations_are_replayed_against_other_limits_of_what_tokens_cost() {
    let mut world = world(2, Enforcement::Hard);
    reserve(&mut world, None, 15);
    reserve(&mut world, said("m", 1500, 0), 1500);
    reserve(&mut world, said("other", 10, 0), 10);
    commit(&mut world, 2, said("m", 1400, 0), 1400);
    world.now = world.now.plus(HOUR);
    reserve(&mut world, None, 15);
    assert_eq!(world.account.reserved, 4);
    assert_eq!(replayed(&world, 2), [true; 4]);
    assert_eq!(replayed(&world, 1), [true, false, true, true]);
    assert_eq!(replayed(&world, 0), [false, false, true, false]);
}
