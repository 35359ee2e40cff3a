//! Voids of what was priced again: they give back at once what is charged for it by then, on either engine (M6, M9).

use metergate::catalogue::change::TeamCommand;
use metergate::catalogue::file::CatalogueFile;
use metergate::catalogue::price::PriceSpec;
use metergate::reprice::MOST_KEPT;
use metergate::store::Request;
use metergate_rules::command::{Command, EventName, Voiding};
use metergate_rules::id::{DecisionId, MeterId, PlanId};
use metergate_rules::price::Pattern;
use metergate_rules::time::{HOUR, MINUTE};

use super::asks::{make, meter};
use super::costs::{THOUSANDTH, again, of_models, priced, set_price, tokens, units};
use super::kit::{Kit, decided};
use super::random_work::Random;

fn void(kit: &Kit, id: &str) {
    let name = EventName::Decision(meter("tokens"), DecisionId::new(id).unwrap());
    kit.made(&make(Command::Void(Voiding::Asked(String::new(), id.to_owned(), name))));
}

#[test]
fn a_void_gives_back_what_is_charged_by_then_and_leaves_nothing_to_correct() {
    // Prices in hundreds of dollars a million: at first, and each time that it is priced again.
    let cases: [&[i64]; 6] = [&[2, 1], &[2, 3], &[2, 3, 1], &[2, 1, 3], &[2, 5, 4], &[3, 1, 2]];
    for prices in cases {
        for others in [&[][..], &["two"], &["two", "three"]] {
            let what = format!("{prices:?} beside {others:?}");
            let mut kit = Kit::new();
            let cost = priced(&kit);
            set_price(&kit, &(prices[0] * 100).to_string());
            for id in ["one"].iter().chain(others) {
                assert_eq!(decided(kit.send(tokens(5, id)).unwrap()).verdicts[0].reason, None, "{what}");
            }
            for price in &prices[1..] {
                set_price(&kit, &(price * 100).to_string());
                assert_eq!(again(&kit, false, MOST_KEPT).differing, 1, "{what}");
                kit.reopen();
            }
            let each = 5 * prices[prices.len() - 1] * THOUSANDTH / 10;
            let left = i64::try_from(others.len()).unwrap() * each;
            assert_eq!(units(&kit, cost), left + each, "{what}");
            void(&kit, "one");
            assert_eq!(units(&kit, cost), left, "{what}: at once");
            let found = again(&kit, false, MOST_KEPT);
            assert_eq!((found.differing, units(&kit, cost)), (0, left), "{what}: nothing is left to correct");
            kit.reopen();
            assert_eq!((again(&kit, false, MOST_KEPT).differing, units(&kit, cost)), (0, left), "{what}");
            kit.check().unwrap();
        }
    }
}

#[test]
fn what_was_recorded_after_it_was_priced_again_is_given_back_as_it_was_charged() {
    let kit = Kit::new();
    let cost = priced(&kit);
    kit.send(tokens(2, "before")).unwrap();
    set_price(&kit, "2000");
    assert_eq!(again(&kit, false, MOST_KEPT).differing, 1);
    set_price(&kit, "500");
    kit.send(tokens(2, "after")).unwrap();
    assert_eq!(units(&kit, cost), 5 * THOUSANDTH);
    void(&kit, "after");
    assert_eq!(units(&kit, cost), 4 * THOUSANDTH, "charged by the newest table");
    void(&kit, "before");
    assert_eq!(units(&kit, cost), 0, "charged by the one before");
    assert_eq!(again(&kit, false, MOST_KEPT).differing, 0);
    kit.check().unwrap();
}

#[test]
fn sums_that_stay_while_single_uses_are_charged_otherwise_are_noted_once_and_voids_know_it() {
    let kit = Kit::new();
    let cost = priced(&kit);
    // The first costs more than before, the second as much less: the same model, the same quarter hour.
    let set = |short: i64, long: i64| {
        let any = format!(r#"{{"model": "m", "effectiveFrom": "2020-01-01", "input": {short}}}"#);
        let above = format!(r#"{{"model": "m", "effectiveFrom": "2020-01-01", "inputAbove": 2, "input": {long}}}"#);
        let prices = [any, above].map(|text| serde_json::from_str::<PriceSpec>(&text).unwrap());
        kit.change_team(TeamCommand::PutPrices(prices.to_vec(), None)).unwrap();
    };
    set(900, 300);
    kit.send(tokens(2, "short")).unwrap();
    kit.send(tokens(6, "long")).unwrap();
    assert_eq!(units(&kit, cost), 36 * THOUSANDTH / 10);
    set(1200, 200);
    let changes = || kit.account("acme").changes;
    let before = changes();
    assert_eq!((again(&kit, false, MOST_KEPT).differing, changes()), (0, before + 1), "noted");
    assert_eq!((again(&kit, false, MOST_KEPT).differing, changes()), (0, before + 1), "once");
    void(&kit, "long");
    assert_eq!(units(&kit, cost), 24 * THOUSANDTH / 10);
    assert_eq!(again(&kit, false, MOST_KEPT).differing, 0);
    assert_eq!(units(&kit, cost), 24 * THOUSANDTH / 10);
    kit.check().unwrap();
}

/// Two plans without limits, one with a markup.
const PLANS: &str = r#"
prices = [{ model = "m", effectiveFrom = "2020-01-01", input = "1000" }]
[meters.llm_cost]
aggregation = "sum"
decimals = 9
dimensions = ["model", "unpriced"]
[plans.plain]
[plans.rich]
llmMarkup = "50"
"#;
const PLAIN: PlanId = PlanId(3);
const RICH: PlanId = PlanId(4);
const MODELS: [&str; 2] = ["m", "n"];

/// A decision as it is charged now: model, tokens, whether with the markup, billionths of a dollar.
struct Charged {
    id: String,
    model: usize,
    tokens: i64,
    is_marked_up: bool,
    cost: i64,
    is_void: bool,
}

fn of_model(model: usize, units: i64, id: &str) -> Request {
    let mut request = tokens(units, id);
    if let Request::Consume(consume) = &mut request {
        let said = consume.consume.llm.as_mut().unwrap();
        (said.model, said.dimensions) = (MODELS[model].to_owned(), format!("{{\"model\":\"{}\"}}", MODELS[model]));
        consume.consume.properties = format!("{{\"model\":\"{}\",\"inputTokens\":{units}}}", MODELS[model]);
    }
    request
}

/// The prices of both models in dollars a million; a model without one is unpriced.
fn put_prices(kit: &Kit, prices: [Option<i64>; 2]) {
    let priced = MODELS.iter().zip(prices).filter_map(|(model, price)| Some((model, price?)));
    let specs = priced.map(|(model, price)| {
        let text = format!(r#"{{"model": "{model}", "effectiveFrom": "2020-01-01", "input": {price}}}"#);
        serde_json::from_str::<PriceSpec>(&text).unwrap()
    });
    kit.change_team(TeamCommand::PutPrices(specs.collect(), None)).unwrap();
}

fn cost_of(of: &Charged, prices: [Option<i64>; 2]) -> i64 {
    let units = prices[of.model].unwrap_or(0) * of.tokens * 1000;
    if of.is_marked_up { units * 3 / 2 } else { units }
}

/// Voids one of those that stand, where there is one.
fn void_one(kit: &Kit, all: &mut [Charged], random: &mut Random) -> u64 {
    let standing: Vec<usize> = (0..all.len()).filter(|at| !all[*at].is_void).collect();
    if standing.is_empty() {
        return 0;
    }
    let one = &mut all[*random.one_of(&standing)];
    one.is_void = true;
    void(kit, &one.id);
    1
}

#[test]
fn after_any_course_of_uses_prices_repricings_and_voids_what_is_charged_is_what_stands() {
    let mut random = Random::new("repriced voids");
    let (mut voids, mut moved) = (0, 0);
    for _ in 0..4 {
        let mut kit = Kit::new();
        kit.change_team(TeamCommand::Apply(CatalogueFile::parse(PLANS).unwrap())).unwrap();
        let on = |kit: &Kit, plan| {
            kit.made(&make(Command::ChangePlan { plan, keep_overrides: false, at_period_end: false }));
        };
        on(&kit, PLAIN);
        let cost: MeterId = kit.open().store.catalogue().meter("llm_cost").unwrap().id;
        let (mut all, mut prices, mut is_marked_up) = (Vec::<Charged>::new(), [Some(1000), None], false);
        for step in 0..60 {
            match random.below(10) {
                0..=3 => {
                    let (id, model, tokens) =
                        (format!("t-{step}"), usize::try_from(random.below(2)).unwrap(), 1 + random.below(9));
                    kit.send(of_model(model, tokens, &id)).unwrap();
                    let mut charged = Charged { id, model, tokens, is_marked_up, cost: 0, is_void: false };
                    charged.cost = cost_of(&charged, prices);
                    all.push(charged);
                }
                4 => {
                    let mut price = || (random.below(4) > 0).then(|| 2 * (1 + random.below(600)));
                    prices = [price(), price()];
                    put_prices(&kit, prices);
                }
                5 | 6 => {
                    let only = (random.below(3) == 0).then(|| usize::try_from(random.below(2)).unwrap());
                    let models = only.map(|model| vec![Pattern::new(MODELS[model]).unwrap()]);
                    let kept = if random.below(2) == 0 { MOST_KEPT } else { 3 };
                    let found = of_models(&kit, models.clone(), false, kept);
                    moved += found.differing;
                    for charged in all.iter_mut().filter(|one| only.is_none_or(|model| model == one.model)) {
                        charged.cost = cost_of(charged, prices);
                    }
                    assert_eq!(of_models(&kit, models, false, MOST_KEPT).differing, 0, "step {step}");
                }
                7 | 8 => voids += void_one(&kit, &mut all, &mut random),
                _ if random.below(3) == 0 => {
                    is_marked_up = !is_marked_up;
                    on(&kit, if is_marked_up { RICH } else { PLAIN });
                }
                _ => {
                    let longest = *random.one_of(&[MINUTE, 20 * MINUTE, 3 * HOUR]);
                    kit.reopen_at(kit.now().plus(random.below(longest)));
                }
            }
            let stands: i64 = all.iter().filter(|one| !one.is_void).map(|one| one.cost).sum();
            assert_eq!(units(&kit, cost), stands, "step {step}");
        }
        kit.check().unwrap();
    }
    assert!(voids > 3 && moved > 3, "{voids} voids, {moved} corrections: nothing was tried");
}
