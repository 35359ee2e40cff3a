//! Minutes and hours that are counted elsewhere: the answers are those of the account.

use proptest::prelude::*;

use metergate_rules::catalogue::Catalogue;
use metergate_rules::command::Item;
use metergate_rules::decide::Problem;
use metergate_rules::decide::rate::{Bound, Counted, Rate};
use metergate_rules::meter::{Measure, Meter};
use metergate_rules::outcome::{Reason, Verdict};
use metergate_rules::plan::{Degraded, Plan};
use metergate_rules::quantity::{InvalidQuantity, Quantity};
use metergate_rules::time::{SECOND, Time};
use metergate_rules::window::Sliding;

use crate::kit::{API, BYTES, CALLS, World, meters, plan, q};

/// A world in which nothing is recorded of any meter.
fn world(plan: Plan) -> World {
    let meters = meters().into_iter().map(|meter| Meter { record: false, ..meter }).collect();
    let mut world = World::new([plan.clone()]);
    world.catalogue = Catalogue::new(meters, vec![plan]);
    world
}

fn asked(world: &World, quantity: i64) -> Item {
    Item { meter: API, measure: world.measure(API, quantity), dimensions: String::new() }
}

/// Another place that counts, as the server's script does.
#[derive(Default)]
struct Elsewhere(Vec<Sliding>);

impl Elsewhere {
    fn consume(&mut self, rate: &Rate, now: Time) -> Verdict {
        let bounds: Vec<Bound> = rate.bounds().collect();
        self.0.resize(bounds.len(), Sliding::default());
        let found: Vec<Counted> =
            bounds.iter().zip(&self.0).map(|(bound, used)| found(rate, bound, used, now)).collect();
        let fits = |(bound, found): (&Bound, &Counted)| {
            rate.quantity <= bound.most.map_or(Quantity::MAX, |most| most.minus(found.used))
        };
        if !rate.is_refused() && bounds.iter().zip(&found).all(fits) {
            for (bound, used) in bounds.iter().zip(&mut self.0) {
                used.add(bound.length, now, rate.quantity);
            }
        }
        rate.verdict(&found, now, true)
    }
}

fn found(rate: &Rate, bound: &Bound, used: &Sliding, now: Time) -> Counted {
    let fits = bound.most.filter(|most| rate.quantity <= *most);
    Counted {
        used: used.used(bound.length, now),
        next_free: used.next_free(bound.length, now),
        fits_at: fits.and_then(|most| used.falls_to(bound.length, now, most.minus(rate.quantity))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_counted_elsewhere_is_answered_as_by_the_account(
        series in prop::collection::vec((prop_oneof![0..SECOND, 0..20 * SECOND], 0..13_i64), 1..100),
        limits in prop::sample::select(vec!["api.minute=10", "api.minute=10 api.hour=40", "api.hour=12", "api.minute=10!soft api.hour=40"])
    ) {
        let (mut world, mut elsewhere) = (world(plan(1, limits)), Elsewhere::default());
        for (step, quantity) in series {
            world.now = world.now.plus(step);
            let rate = Rate::of(&world.account, &asked(&world, quantity), &world.catalogue).unwrap().unwrap();
            prop_assert_eq!(elsewhere.consume(&rate, world.now), world.consume(API, quantity));
        }
    }
}

#[test]
fn only_meters_without_record_that_have_minutes_and_hours_alone_are_counted_elsewhere() {
    let rows = [
        ("api.minute=10", true),
        ("api.minute=10 api.hour=40", true),
        ("api.minute=10 api.hour=inf", true),
        ("api.minute=10 api.day=50", false),
        ("api.minute=10 api.period=50", false),
        ("api.minute=10 api.day=inf", true),
        ("api.minute=inf", false),
        ("api.minute=4503599627370497", false),
        ("calls.minute=5", false),
        ("", false),
    ];
    for (limits, elsewhere) in rows {
        let world = world(plan(1, limits));
        let rate = Rate::of(&world.account, &asked(&world, 1), &world.catalogue).unwrap();
        assert_eq!(rate.is_some(), elsewhere, "{limits:?}");
    }
    let recorded = World::new([plan(1, "api.minute=10")]);
    assert_eq!(Rate::of(&recorded.account, &asked(&recorded, 1), &recorded.catalogue), Ok(None));
    let mut overridden = world(plan(1, "api.minute=10"));
    overridden.play("override api.day=5");
    assert_eq!(Rate::of(&overridden.account, &asked(&overridden, 1), &overridden.catalogue), Ok(None));
}

#[test]
fn a_lock_refuses_and_shows_what_is_left_and_numbers_beyond_what_is_exact_are_no_quantities() {
    let mut world = world(plan(1, "api.minute=10"));
    world.play("lock operator");
    let rate = Rate::of(&world.account, &asked(&world, 3), &world.catalogue).unwrap().unwrap();
    let verdict = rate.verdict(&[Counted { used: q(4), ..Counted::default() }], world.now, true);
    assert_eq!((verdict.reason, verdict.limits[0].remaining), (Some(Reason::OrganizationLocked), q(6)));
    assert!(rate.is_refused() && verdict.retry_at.is_none());
    let large = Item { measure: Measure::Add(q((1 << 52) + 1)), ..asked(&world, 0) };
    let problem = Problem::InvalidQuantity(InvalidQuantity::TooLarge);
    assert_eq!(Rate::of(&world.account, &large, &world.catalogue), Err(problem));
}

#[test]
fn what_callers_get_where_it_cannot_be_decided_is_denied_unless_the_plan_says_otherwise() {
    let policies = vec![(API, Degraded::Safe(q(5))), (CALLS, Degraded::Allow)];
    let plan = Plan { degraded: policies, ..plan(1, "api.minute=10") };
    assert_eq!(
        [API, CALLS, BYTES].map(|meter| plan.degraded(meter)),
        [Degraded::Safe(q(5)), Degraded::Allow, Degraded::Deny]
    );
    let world = world(plan);
    let rate = Rate::of(&world.account, &asked(&world, 1), &world.catalogue).unwrap().unwrap();
    assert_eq!(rate.policy, Degraded::Safe(q(5)));
}
