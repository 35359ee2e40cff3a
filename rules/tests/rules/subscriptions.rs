//! What a subscription makes of an organization (P7, P2): statuses, grace, periods, its end.

use metergate_rules::account::{LockCause, Status};
use metergate_rules::audit::Object;
use metergate_rules::command::Command;
use metergate_rules::id::{CustomerId, PriceId, SubscriptionId};
use metergate_rules::plan::Plan;
use metergate_rules::subscription::{News, PricedItem, Reported, Snapshot};
use metergate_rules::time::{DAY, Span, Time};

use crate::kit::{World, plan, time, trial};

mod beside;
mod courses;
mod order;
mod periods;

/// Where the tests begin: within the period that is paid for.
const NOW: &str = "2026-03-10T00:00:00Z";
const MARCH: &str = "2026-03-05T00:00:00Z/2026-04-05T00:00:00Z";
const APRIL: &str = "2026-04-05T00:00:00Z/2026-05-05T00:00:00Z";

/// Plan 1 is what organizations sign up for and fall back to, plans 2 and 3 cost something.
fn plans() -> Vec<Plan> {
    let free = || "plan-1".parse().unwrap();
    let mut plans = vec![plan(1, "api.period=5"), plan(2, "api.period=50"), plan(3, "api.period=500")];
    plans.iter_mut().for_each(|plan| plan.fallback = free());
    plans
}

fn world() -> World {
    World::at(NOW, "UTC", plans())
}

fn span(text: &str) -> Span {
    text.split_once('/').map(|(start, end)| Span { start: time(start), end: time(end) }).unwrap()
}

fn snapshot(id: &str, status: &str, price: u32, period: &str) -> Snapshot {
    Snapshot {
        id: SubscriptionId::new(id).unwrap(),
        customer: Some(CustomerId::new("cus_1").unwrap()),
        created: time("2026-03-05T00:00:00Z"),
        status: Reported::from_name(status),
        items: vec![PricedItem { price: PriceId::new(&format!("price-{price}")).unwrap(), period: Some(span(period)) }],
        period: None,
        cancel_at: None,
        trial_end: None,
        is_current: true,
    }
}

fn event(status: &str, price: u32, period: &str) -> Snapshot {
    Snapshot { is_current: false, ..snapshot("sub_1", status, price, period) }
}

/// Tells it. Whether that changed anything, which the audit log then says exactly once.
fn tell(world: &mut World, news: News) -> bool {
    let (before, entries) = (world.audit.len(), world.settled());
    world.run(&Command::SetSubscription(Box::new(news))).unwrap();
    world.assert_folds();
    let told: Vec<_> = world.audit[before..].iter().filter(|draft| !draft.by_system).collect();
    assert!(told.len() <= 1 && told.iter().all(|draft| draft.action == "webhook.state_change"), "{told:?}");
    if let [draft] = told[..] {
        assert_ne!(draft.before, draft.after, "what changes nothing is not noted");
        assert_eq!(draft.category, "webhook");
    }
    let (mut old, mut new) = (entries, world.account.clone());
    (old.time, old.changes, new.time, new.changes) = (Time::MIN, 0, Time::MIN, 0);
    assert_eq!(old != new, told.len() == 1, "a change has one entry in the audit log, and nothing else has one");
    told.len() == 1
}

fn is_told(world: &mut World, snapshot: Snapshot) -> bool {
    tell(world, News::Told(snapshot))
}

/// Status, plan, locks.
fn state(world: &World) -> String {
    let account = world.settled();
    let locks: Vec<String> = account.locks.iter().map(|lock| format!("{:?}", lock.cause)).collect();
    format!("{:?} {} [{}]", account.status, account.plan.0, locks.join(" "))
}

#[test]
fn each_status_of_stripes_makes_one_of_ours() {
    #[rustfmt::skip]
    let cases = [ // Stripe's, ours at once, after eight days without a word
        ("trialing",           "Trial 2 []",           "Trial 2 []"),
        ("active",             "Active 2 []",          "Active 2 []"),
        ("past_due",           "PastDue 2 []",         "PastDue 2 [Billing]"),
        ("unpaid",             "PastDue 2 [Billing]",  "PastDue 2 [Billing]"),
        ("paused",             "PastDue 2 [Billing]",  "PastDue 2 [Billing]"),
        ("canceled",           "Canceled 1 []",        "Canceled 1 []"),
        ("incomplete_expired", "Canceled 1 []",        "Canceled 1 []"),
        ("incomplete",         "Canceled 1 []",        "Canceled 1 []"),
        // Not known: of a subscription of which nothing is known nothing follows.
        ("resting",            "Active 1 []",          "Active 1 []"),
    ];
    for (status, at_once, later) in cases {
        let mut world = world();
        // What says that it is over counts of one that it had.
        let is_live = Reported::from_name(status).is_none_or(Reported::is_live);
        if !is_live {
            is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
        }
        assert!(is_told(&mut world, snapshot("sub_1", status, 2, MARCH)), "{status}");
        assert_eq!(state(&world), at_once, "{status}");
        world.now = world.now.plus(8 * DAY);
        assert_eq!(state(&world), later, "{status}");
        assert!(!is_told(&mut world, snapshot("sub_1", status, 2, MARCH)), "{status}: told again it changes nothing");
    }
}

#[test]
fn an_unknown_status_leaves_the_last() {
    let mut world = world();
    is_told(&mut world, snapshot("sub_1", "past_due", 2, MARCH));
    assert!(!is_told(&mut world, snapshot("sub_1", "resting", 2, MARCH)));
    assert_eq!(state(&world), "PastDue 2 []");
    assert!(is_told(&mut world, snapshot("sub_1", "resting", 3, MARCH)), "the rest of it holds");
    assert_eq!(state(&world), "PastDue 3 []");
}

#[test]
fn a_missing_payment_locks_when_its_grace_time_is_over_and_not_before() {
    for (days, plan) in [(7, 2), (3, 3)] {
        let mut plans = plans();
        plans[2].grace_days = 3;
        let mut world = World::at(NOW, "UTC", plans);
        is_told(&mut world, snapshot("sub_1", "active", plan, MARCH));
        is_told(&mut world, snapshot("sub_1", "past_due", plan, MARCH));
        let ends = world.now.plus(days * DAY);
        assert_eq!(world.account.subscribed_as().unwrap().grace_ends, Some(ends));
        assert!(world.account.next_notable() <= ends, "it falls due by itself");
        // Told again within it, the grace time does not begin anew.
        world.now = world.now.plus(DAY);
        assert!(!is_told(&mut world, snapshot("sub_1", "past_due", plan, MARCH)));
        world.now = ends.plus(-1);
        assert!(world.settled().locks.is_empty());
        world.now = ends;
        world.run(&Command::Touch).unwrap();
        let lock = world.account.lock(LockCause::Billing).unwrap();
        assert_eq!(lock.since, ends);
        assert_eq!(world.play("api 1"), format!("subscription-inactive period 0/{}", if plan == 2 { 50 } else { 500 }));
        let told = world.audit.last().unwrap();
        assert_eq!((&*told.action, told.by_system, told.at), ("billing.lock", true, ends));
        let Object::Fields(after) = &told.after else { panic!("{told:?}") };
        assert!(format!("{after:?}").contains("billing"), "{after:?}");
        world.assert_folds();
    }
}

#[test]
fn without_grace_time_a_missing_payment_locks_at_once() {
    let mut plans = plans();
    plans[1].grace_days = 0;
    let mut world = World::at(NOW, "UTC", plans);
    is_told(&mut world, snapshot("sub_1", "past_due", 2, MARCH));
    assert_eq!(state(&world), "PastDue 2 [Billing]");
}

#[test]
fn a_payment_lifts_billings_lock_and_no_other() {
    let mut world = world();
    is_told(&mut world, snapshot("sub_1", "unpaid", 2, MARCH));
    world.play("lock operator");
    assert_eq!(state(&world), "PastDue 2 [Billing Operator]");
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    assert_eq!(state(&world), "Active 2 [Operator]");
}

#[test]
fn an_operators_unlock_lasts_until_the_state_changes() {
    let mut world = world();
    is_told(&mut world, snapshot("sub_1", "unpaid", 2, MARCH));
    world.play("unlock");
    let news = Snapshot { cancel_at: Some(time("2026-04-05T00:00:00Z")), ..snapshot("sub_1", "unpaid", 2, MARCH) };
    assert!(is_told(&mut world, news));
    assert_eq!(state(&world), "PastDue 2 []", "told again of the same state");
    is_told(&mut world, snapshot("sub_1", "past_due", 2, MARCH));
    is_told(&mut world, snapshot("sub_1", "unpaid", 2, MARCH));
    assert_eq!(state(&world), "PastDue 2 [Billing]", "a new one locks again");
    // The same of the lock after the grace time.
    is_told(&mut world, snapshot("sub_1", "past_due", 2, MARCH));
    world.now = world.now.plus(7 * DAY);
    world.play("touch; unlock");
    assert!(!is_told(&mut world, snapshot("sub_1", "past_due", 2, MARCH)));
    assert_eq!(state(&world), "PastDue 2 []");
}

#[test]
fn the_plan_follows_the_price_and_overrides_stay() {
    let mut world = world();
    world.play("override api.day=1");
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    is_told(&mut world, snapshot("sub_1", "active", 3, MARCH));
    assert_eq!(state(&world), "Active 3 []");
    assert_eq!(world.account.overrides.len(), 1);
    // A price that no plan has leaves the plan.
    is_told(&mut world, snapshot("sub_1", "active", 9, MARCH));
    assert_eq!(state(&world), "Active 3 []");
    // What an operator chose stays until the price changes.
    let change =
        |id| Command::ChangePlan { plan: metergate_rules::id::PlanId(id), keep_overrides: true, at_period_end: false };
    world.run(&change(2)).unwrap();
    let at = Some(world.now);
    is_told(&mut world, Snapshot { cancel_at: at, ..snapshot("sub_1", "active", 3, MARCH) });
    assert_eq!(state(&world), "Active 2 []");
    is_told(&mut world, snapshot("sub_1", "canceled", 3, MARCH));
    assert_eq!(state(&world), "Canceled 1 []");
}

#[test]
fn an_organization_stays_on_its_version_of_the_plan() {
    let mut plans = plans();
    plans.push(Plan {
        key: "plan-2".parse().unwrap(),
        version: 2,
        stripe_prices: Vec::new(),
        ..plan(4, "api.period=60")
    });
    let mut world = World::at(NOW, "UTC", [plans[1].clone(), plans[0].clone(), plans[3].clone()]);
    // Only the older version lists the price, and the organization is on it.
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    assert_eq!(state(&world), "Active 2 []");
    is_told(&mut world, snapshot("sub_1", "canceled", 2, MARCH));
    is_told(&mut world, snapshot("sub_2", "active", 2, MARCH));
    assert_eq!(world.account.plan.0, 4, "who comes anew gets the newest version");
}

#[test]
fn no_trial_of_ours_begins_with_a_fallback() {
    let mut plans = plans();
    plans[0].trial = trial(30, metergate_rules::plan::TrialEnd::Lock);
    plans.rotate_left(1);
    let mut world = World::at(NOW, "UTC", plans);
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    is_told(&mut world, snapshot("sub_1", "canceled", 2, MARCH));
    assert_eq!((state(&world), world.account.trial), ("Canceled 1 []".to_owned(), None));
    world.now = world.now.plus(60 * DAY);
    assert_eq!(state(&world), "Canceled 1 []");
}

#[test]
fn a_trial_of_the_subscription_is_shown_and_its_end_locks_nothing() {
    let mut plans = plans();
    plans[0].trial = trial(30, metergate_rules::plan::TrialEnd::Lock);
    let mut world = World::at(NOW, "UTC", plans);
    let ends = time("2026-03-20T00:00:00Z");
    is_told(&mut world, Snapshot { trial_end: Some(ends), ..snapshot("sub_1", "trialing", 9, MARCH) });
    assert_eq!((world.account.status, world.account.trial.unwrap().ends_at), (Status::Trial, ends));
    world.now = ends;
    assert_eq!(state(&world), "Active 1 []", "how it goes on Stripe says");
    is_told(&mut world, Snapshot { trial_end: Some(ends), ..snapshot("sub_1", "paused", 9, MARCH) });
    assert_eq!(state(&world), "PastDue 1 [Billing]");
}
