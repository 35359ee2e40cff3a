//! What tokens cost: counted with them, limited with them, taken back with them, and corrected after prices have changed (M9).

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::catalogue::Catalogue;
use metergate_rules::command::{Command, Completion, Consume, Event, Item, Repriced, Repricing};
use metergate_rules::decide::Problem;
use metergate_rules::id::{EventId, EventSource, EventType, MeterId, MeterKey, PlanId};
use metergate_rules::meter::{Aggregation, Measure, Meter};
use metergate_rules::notice::Notice;
use metergate_rules::outcome::{CostVerdict, Entry, Reason, Reply, Verdict, What};
use metergate_rules::plan::{Enforcement, Limit, Max, MeterLimits, Plan, RefusalStatus};
use metergate_rules::price::{Cost, LlmUse, Markup, Pattern, Price, PriceTable, Tokens, Unpriced};
use metergate_rules::time::{HOUR, MINUTE, Time};
use metergate_rules::what_if::{Moved, Replay, Terms};
use metergate_rules::window::Window;

use crate::kit::{World, plan, q, uses};

pub(crate) const TOKENS: MeterId = MeterId(1);
pub(crate) const COST: MeterId = MeterId(2);
/// A dollar.
pub(crate) const DOLLAR: i64 = 1_000_000_000;

fn meter(id: MeterId, key: &str, decimals: u8, dimensions: &[&str]) -> Meter {
    Meter {
        id,
        key: MeterKey::new(key).unwrap(),
        name: key.to_owned(),
        unit: String::new(),
        event_type: EventType::new(key).unwrap(),
        aggregation: Aggregation::Sum,
        decimals,
        value_property: "quantity".to_owned(),
        dimensions: dimensions.iter().map(|name| (*name).to_owned()).collect(),
        record: true,
    }
}

/// Of model `m` input costs 1,000 dollars a million and output 2,000, so that a token is a thousandth of a dollar.
fn prices(input: i64) -> PriceTable {
    let price = Price {
        model: Pattern::new("m").unwrap(),
        provider: String::new(),
        input_above: q(0),
        effective_from: Time::MIN,
        input: q(input * DOLLAR),
        cached_input: None,
        cache_write: None,
        output: Some(q(2000 * DOLLAR)),
    };
    PriceTable::new(vec![price])
}

pub(crate) fn catalogue(plans: Vec<Plan>, input: i64) -> Catalogue {
    let meters = vec![meter(TOKENS, "tokens", 0, &["model"]), meter(COST, "llm_cost", 9, &["model", "unpriced"])];
    Catalogue::new(meters, plans).with_prices(prices(input))
}

/// At most so many dollars in a billing period.
pub(crate) fn plan_of(dollars: i64, enforcement: Enforcement) -> Plan {
    let limit = Limit {
        max: Max::Units(q(dollars * DOLLAR)),
        enforcement,
        status: RefusalStatus::PaymentRequired,
        thresholds: Vec::new(),
    };
    let mut cost = MeterLimits::new(COST);
    cost.set(Window::BillingPeriod, limit);
    let mut tokens = MeterLimits::new(TOKENS);
    let many = Limit {
        max: Max::Units(q(10_000)),
        enforcement: Enforcement::Hard,
        status: RefusalStatus::default(),
        thresholds: Vec::new(),
    };
    tokens.set(Window::BillingPeriod, many);
    Plan { meters: vec![tokens, cost], ..plan(1, "") }
}

pub(crate) fn world(dollars: i64, enforcement: Enforcement) -> World {
    let plans = vec![plan_of(dollars, enforcement)];
    let mut world = World::new(plans.clone());
    world.catalogue = catalogue(plans, 1000);
    world
}

pub(crate) fn said(model: &str, input: i64, output: i64) -> Option<Box<LlmUse>> {
    let tokens = Tokens { input: q(input), output: q(output), ..Tokens::default() };
    let dimensions = if model.is_empty() { String::new() } else { format!("{{\"model\":\"{model}\"}}") };
    let (model, provider) = (model.to_owned(), String::new());
    Some(Box::new(LlmUse { meter: TOKENS, model, provider, tokens: Some(tokens), dimensions, charged: None }))
}

pub(crate) fn item(meter: MeterId, quantity: i64) -> Item {
    Item { meter, measure: Measure::Add(q(quantity)), dimensions: String::new() }
}

fn consume(world: &mut World, llm: Option<Box<LlmUse>>, items: Vec<Item>) -> Vec<Verdict> {
    let asked = Consume { items, properties: String::new(), outcome: Completion::default(), llm };
    match world.run(&Command::Consume(asked)) {
        Ok(Reply::Decided(verdicts)) => verdicts,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn tokens(world: &mut World, model: &str, input: i64, output: i64) -> Verdict {
    consume(world, said(model, input, output), vec![item(TOKENS, input + output)]).remove(0)
}

fn event(llm: Option<Box<LlmUse>>, quantity: i64, time: Option<Time>) -> Command {
    Command::Record(Event {
        id: EventId::new("e-1").unwrap(),
        source: EventSource::new("/test").unwrap(),
        event_type: EventType::new("tokens").unwrap(),
        time,
        data: String::new(),
        items: vec![item(TOKENS, quantity)],
        outcome: Completion::default(),
        calls: None,
        llm,
    })
}

/// Tokens and thousandths of a dollar used in the open period.
pub(crate) fn used(world: &World) -> (i64, i64) {
    let of = |meter| world.used(meter, Window::BillingPeriod);
    assert_eq!(of(COST) % 1_000_000, 0, "these prices have no smaller part");
    (of(TOKENS), of(COST) / 1_000_000)
}

pub(crate) fn cost(verdict: &Verdict) -> &CostVerdict {
    verdict.cost.as_deref().expect("its tokens are priced")
}

/// What was used last on the meter of costs: under which dimension values, and what it goes with.
fn last_cost(world: &World) -> (String, Option<MeterId>) {
    let last = world.entries.iter().flat_map(uses).rfind(|used| used.meter == COST).unwrap();
    (last.dimensions.clone(), last.follows)
}

pub(crate) fn folded(world: &World) -> Account {
    let mut folded = apply::create(world.account.id, &world.entries[0]).unwrap();
    world.entries[1..].iter().for_each(|entry: &Entry| apply::apply(&mut folded, entry));
    folded
}

#[test]
fn a_decision_counts_what_its_tokens_cost_and_a_limit_of_that_refuses_both() {
    let mut world = world(1, Enforcement::Hard);
    let first = tokens(&mut world, "m", 300, 100);
    let CostVerdict { meter, cost: charged, overage, limits } = cost(&first).clone();
    assert_eq!((first.reason, meter, charged, overage), (None, COST, Cost::Priced(q(DOLLAR / 2)), q(0)));
    assert_eq!((limits[0].used, limits[0].remaining), (q(DOLLAR / 2), q(DOLLAR / 2)));
    assert_eq!(last_cost(&world), ("{\"model\":\"m\"}".to_owned(), Some(TOKENS)));
    assert_eq!(used(&world), (400, 500));

    let refused = tokens(&mut world, "m", 301, 100);
    assert_eq!((refused.reason, refused.status), (Some(Reason::QuotaExceeded), RefusalStatus::PaymentRequired));
    assert!(!refused.limits[0].violated && cost(&refused).limits[0].violated, "tokens were left, dollars were not");
    assert_eq!(cost(&refused).cost, Cost::Priced(q(DOLLAR / 1000 * 501)));
    assert_eq!(refused.retry_at, Some(world.settled().windows.period.end), "the next period has dollars again");
    assert_eq!(used(&world), (400, 500), "neither was used");

    assert_eq!(tokens(&mut world, "m", 300, 100).reason, None, "exactly what is left");
    assert_eq!(used(&world), (800, 1000));
    assert_eq!(tokens(&mut world, "m", 1, 0).reason, Some(Reason::QuotaExceeded));
    assert_eq!(folded(&world), world.account);
}

#[test]
fn what_has_no_price_counts_and_is_charged_nothing() {
    let mut world = world(1, Enforcement::Hard);
    let cases = [
        (said("other", 10, 5), Unpriced::UnknownModel, r#"{"model":"other","unpriced":"unknown-model"}"#),
        (said("", 10, 5), Unpriced::NoModel, r#"{"unpriced":"no-model"}"#),
    ];
    for (llm, why, dimensions) in cases {
        let verdict = consume(&mut world, llm, vec![item(TOKENS, 15)]).remove(0);
        assert_eq!((verdict.reason, cost(&verdict).cost), (None, Cost::Unpriced(why)));
        assert_eq!(last_cost(&world).0, dimensions);
    }
    let mut without_kinds = said("m", 0, 0);
    without_kinds.as_mut().unwrap().tokens = None;
    let verdict = consume(&mut world, without_kinds, vec![item(TOKENS, 15)]).remove(0);
    assert_eq!(cost(&verdict).cost, Cost::Unpriced(Unpriced::NoTokens));
    assert_eq!(used(&world), (45, 0));
    let plain = consume(&mut world, None, vec![item(TOKENS, 5)]).remove(0);
    assert_eq!(plain.cost, None, "nothing was said of a model");
}

#[test]
fn what_the_caller_says_it_cost_stands_and_nothing_is_added() {
    let mut world = world(10, Enforcement::Hard);
    let verdicts = consume(&mut world, said("m", 300, 100), vec![item(TOKENS, 400), item(COST, 7_000_000)]);
    assert!(verdicts.iter().all(|verdict| verdict.reason.is_none() && verdict.cost.is_none()));
    assert_eq!(used(&world), (400, 7));
    assert_eq!(last_cost(&world).1, None, "it stands by itself");
    consume(&mut world, None, vec![item(COST, 3_000_000)]);
    assert_eq!(used(&world), (400, 10), "a decision on the cost alone goes on working");
}

#[test]
fn a_plan_that_has_no_other_meters_need_not_name_what_tokens_cost() {
    let mut one = plan_of(1, Enforcement::Hard);
    one.meters.truncate(1);
    one.other_meters = false;
    let mut world = World::new([one.clone()]);
    world.catalogue = catalogue(vec![one], 1000);
    assert_eq!(tokens(&mut world, "m", 5000, 0).reason, None);
    assert_eq!(used(&world), (5000, 5000));
}

#[test]
fn a_markup_of_the_plan_is_added() {
    let mut one = plan_of(10, Enforcement::Hard);
    one.llm_markup = Markup::parse("12.5").unwrap();
    let mut world = World::new([one.clone()]);
    world.catalogue = catalogue(vec![one], 1000);
    assert_eq!(cost(&tokens(&mut world, "m", 800, 0)).cost, Cost::Priced(q(DOLLAR / 10 * 9)));
}

/// Under a plan with another markup the same prices cost more: past use is replayed with it.
#[test]
fn a_changed_markup_is_replayed() {
    let mut world = world(10, Enforcement::Hard);
    for _ in 0..3 {
        assert_eq!(tokens(&mut world, "m", 2500, 0).reason, None);
    }
    let refused = |markup: &str| {
        let other =
            Plan { id: PlanId(9), llm_markup: Markup::parse(markup).unwrap(), ..plan_of(10, Enforcement::Hard) };
        let catalogue = catalogue(vec![plan_of(10, Enforcement::Hard), other], 1000);
        let terms = Terms { catalogue: &catalogue, moved: &Moved::To(PlanId(9)) };
        let created = apply::create(world.account.id, &world.entries[0]).unwrap();
        let mut replay = Replay::new(created, terms, &[]);
        let taken = world.entries[1..].iter().filter_map(|entry| replay.take((1, 0), entry).unwrap());
        taken.filter(|found| !found.is_allowed).count()
    };
    assert_eq!(["0", "33.3333", "33.4", "100", "400"].map(refused), [0, 0, 1, 1, 3]);
}

/// By other prices, too: then what was priced again since is in them already.
#[test]
fn changed_prices_are_replayed() {
    let mut world = world(10, Enforcement::Hard);
    (0..3).for_each(|_| assert_eq!(tokens(&mut world, "m", 2500, 0).reason, None));
    let (quarter, dimensions) = (world.now.floor(15 * MINUTE), "{\"model\":\"m\"}".to_owned());
    let parts = vec![Repriced { quarter, dimensions, units: -DOLLAR, room: q(7 * DOLLAR) }];
    world.run(&Command::Reprice(Repricing { meter: COST, from: quarter, to: world.now, parts, priced: None })).unwrap();
    assert_eq!(used(&world), (7500, 6500));
    let replayed = |input: i64| {
        let catalogue = catalogue(vec![plan_of(10, Enforcement::Hard)], input);
        let terms = Terms { catalogue: &catalogue, moved: &Moved::To(world.account.plan) };
        let mut replay = Replay::new(apply::create(world.account.id, &world.entries[0]).unwrap(), terms, &[]);
        let of = |entry: &Entry| matches!(entry.what, What::Decided(_)).then(|| said("m", 2500, 0)).flatten();
        let taken = world.entries[1..].iter().filter_map(|entry| replay.take_priced((1, 0), entry, of(entry)).unwrap());
        let refused = taken.filter(|found| !found.is_allowed).count();
        let counter = replay.account().meter(COST).and_then(|used| used.counter(Window::BillingPeriod));
        (refused, counter.map_or(0, |counter| counter.used.units()) / (DOLLAR / 1000))
    };
    assert_eq!([1000, 1333, 1334, 4001].map(replayed), [(0, 7500), (0, 9997), (1, 6670), (3, 0)]);
}

#[test]
fn an_event_is_priced_at_its_time_never_refused_and_takes_its_cost_back_when_it_is_void() {
    let mut world = world(1, Enforcement::Hard);
    let before = world.now;
    world.now = world.now.plus(HOUR);
    world.run(&event(said("m", 1500, 0), 1500, Some(before))).unwrap();
    assert_eq!(used(&world), (1500, 1500));
    let recorded = world.entries.iter().flat_map(uses).find(|used| used.meter == COST).unwrap().clone();
    assert_eq!((recorded.time, recorded.overage), (before, q(DOLLAR / 2)), "beyond the limit it is overage");
    assert_eq!(tokens(&mut world, "m", 1, 0).reason, Some(Reason::QuotaExceeded), "and nothing more is admitted");
    let void = world.void(1);
    world.run(&void).unwrap();
    assert_eq!(used(&world), (0, 0));
    assert_eq!(tokens(&mut world, "m", 1, 0).reason, None);
    assert_eq!(folded(&world), world.account);
}

#[test]
fn a_cost_that_is_out_of_range_is_an_error_and_uses_nothing() {
    let mut world = world(1, Enforcement::Soft);
    let asked = Consume {
        items: vec![item(TOKENS, 5)],
        properties: String::new(),
        outcome: Completion::default(),
        llm: said("m", i64::MAX, 0),
    };
    let answer = world.run(&Command::Consume(asked));
    assert!(matches!(answer, Err(Problem::InvalidQuantity(_))), "{answer:?}");
    assert_eq!(used(&world), (0, 0));
}

pub(crate) fn part(quarter: Time, units: i64, room: i64) -> Repriced {
    Repriced {
        quarter,
        dimensions: "{\"model\":\"m\"}".to_owned(),
        units: units * 1_000_000,
        room: q(room * 1_000_000),
    }
}

pub(crate) fn reprice(world: &mut World, parts: Vec<Repriced>) -> Result<Reply, Problem> {
    let (from, to) = (world.now.plus(-HOUR), world.now);
    world.run(&Command::Reprice(Repricing { meter: COST, from, to, parts, priced: None }))
}

#[test]
fn pricing_again_charges_more_or_less_in_the_quarter_hours_of_the_uses_with_one_entry() {
    let mut world = world(10, Enforcement::Hard);
    tokens(&mut world, "m", 1000, 0);
    let first = world.now.floor(15 * MINUTE);
    world.now = world.now.plus(HOUR);
    let second = world.now.floor(15 * MINUTE);
    tokens(&mut world, "m", 3000, 0);
    assert_eq!(used(&world), (4000, 4000));
    let audit = world.audit.len();
    reprice(&mut world, vec![part(first, -400, 1000), part(second, 900, 0)]).unwrap();
    assert_eq!(used(&world), (4000, 4500));
    let reported = world.reported(COST);
    assert_eq!((reported[&first], reported[&second]), (600_000_000, 3_900_000_000));
    assert_eq!(world.audit.len(), audit + 1);
    assert_eq!(world.audit.last().unwrap().action, "usage.adjust");

    reprice(&mut world, vec![part(first, -1000, 600)]).unwrap();
    assert_eq!(used(&world), (4000, 3900), "no more is taken off than was counted");
    let (entries, changes) = (world.entries.len(), world.account.changes);
    reprice(&mut world, vec![part(first, -1000, 0)]).unwrap();
    assert_eq!((world.entries.len(), world.account.changes), (entries, changes), "nothing is left to take off");
    assert_eq!(folded(&world), world.account);
    let other = Repricing { meter: TOKENS, from: first, to: second, parts: Vec::new(), priced: None };
    assert_eq!(world.run(&Command::Reprice(other)), Err(Problem::UnknownMeter));
}

#[test]
fn what_is_charged_more_goes_beyond_the_limit_part_by_part() {
    let mut world = world(1, Enforcement::Hard);
    tokens(&mut world, "m", 900, 0);
    let quarter = world.now.floor(15 * MINUTE);
    reprice(&mut world, vec![part(quarter, 80, 0), part(quarter, 80, 0)]).unwrap();
    let corrected = world.entries.iter().rfind(|entry| !entry.what.uses().is_empty());
    let overage: Vec<i64> = corrected.map(uses).unwrap().iter().map(|used| used.overage.units()).collect();
    assert_eq!(overage, [0, 60_000_000], "each part counts on top of the one before");
    assert_eq!(used(&world), (900, 1060));
}

#[test]
fn what_is_charged_more_is_told_once_of_all_parts_together() {
    let mut limited = plan_of(1, Enforcement::Hard);
    let limit = limited.meters[1].get(Window::BillingPeriod).cloned().unwrap();
    limited.meters[1].set(Window::BillingPeriod, Limit { thresholds: vec![80, 100], ..limit });
    let plans = vec![limited];
    let mut world = World::new(plans.clone());
    world.catalogue = catalogue(plans, 1000);
    world.play("grant calls 100000000");
    tokens(&mut world, "m", 700, 0);
    let (quarter, before) = (world.now.floor(15 * MINUTE), world.entries.len());
    reprice(&mut world, vec![part(quarter, 100, 0), part(quarter, 200, 0), part(quarter, 160, 0)]).unwrap();
    let told = world.entries[before + 1..].iter().map(|entry| match &entry.what {
        What::Noticed(Notice::Threshold { percent, .. }) => format!("{percent}%"),
        What::Noticed(Notice::Overage { figures, .. }) => format!("over by {}", figures.overage.units()),
        What::Noticed(Notice::GrantExhausted(grant)) => format!("grant {} used up", grant.0),
        other => panic!("{other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>().join("; "), "80%; 100%; over by 60000000; grant 1 used up");
    let entries = world.entries.len();
    reprice(&mut world, vec![part(quarter, 1, 0)]).unwrap();
    assert_eq!(world.entries.len(), entries + 1, "it was told");
}
