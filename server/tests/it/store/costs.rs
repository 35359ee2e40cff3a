//! What tokens cost: decided, kept, replayed and corrected on either engine (M9).

use metergate::backup::Unwatched;
use metergate::catalogue::change::TeamCommand;
use metergate::catalogue::file::CatalogueFile;
use metergate::catalogue::price::PriceSpec;
use metergate::reprice::{self, Asked, MOST_KEPT, Repricer};
use metergate::store::{Receipt, Request, StoreError};
use metergate_rules::command::{Command, Repriced, Repricing};
use metergate_rules::id::{MeterId, PlanId};
use metergate_rules::outcome::{Change, Verdict, What};
use metergate_rules::price::{Cost, LlmUse, Pattern, Tokens};
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{HOUR, MINUTE};
use metergate_rules::window::Window;

use super::asks::{ask, make, meter, quantity};
use super::kit::{Kit, allowed, decided, start};

/// A token is a thousandth of a dollar, and a period has ten thousandths.
const PRICED: &str = r#"
prices = [{ model = "m", effectiveFrom = "2020-01-01", input = "1000" }]
[meters.llm_cost]
aggregation = "sum"
decimals = 9
dimensions = ["model", "unpriced"]
[plans.priced]
limits = [{ meter = "llm_cost", window = "billingPeriod", max = "0.01" }]
"#;
/// A thousandth of a dollar.
pub(super) const THOUSANDTH: i64 = 1_000_000;

pub(super) fn priced(kit: &Kit) -> MeterId {
    kit.change_team(TeamCommand::Apply(CatalogueFile::parse(PRICED).unwrap())).unwrap();
    let plan = PlanId(3);
    kit.made(&make(Command::ChangePlan { plan, keep_overrides: false, at_period_end: false }));
    kit.open().store.catalogue().meter("llm_cost").unwrap().id
}

pub(super) fn set_price(kit: &Kit, dollars: &str) {
    let json = format!(r#"{{"model": "m", "effectiveFrom": "2020-01-01", "input": {dollars}}}"#);
    let price: PriceSpec = serde_json::from_str(&json).unwrap();
    kit.change_team(TeamCommand::PutPrices(vec![price], None)).unwrap();
}

pub(super) fn tokens(units: i64, id: &str) -> Request {
    let mut request = Request::from(&ask("tokens", units).id(id));
    if let Request::Consume(consume) = &mut request {
        let tokens = Some(Tokens { input: quantity(units), ..Tokens::default() });
        let (model, dimensions) = ("m".to_owned(), "{\"model\":\"m\"}".to_owned());
        let said = LlmUse { meter: meter("tokens"), model, provider: String::new(), tokens, dimensions, charged: None };
        consume.consume.llm = Some(Box::new(said));
        consume.consume.properties = format!("{{\"model\":\"m\",\"inputTokens\":{units}}}");
    }
    request
}

fn cost(verdict: &Verdict) -> Cost {
    verdict.cost.as_ref().expect("it is priced").cost
}

/// Billionths of a dollar in the open period.
pub(super) fn units(kit: &Kit, cost: MeterId) -> i64 {
    let account = kit.account("acme");
    let counter = account.meter(cost).and_then(|used| used.counter(Window::BillingPeriod).cloned());
    counter.map_or(0, |counter| counter.used.units())
}

/// Thousandths of a dollar in the open period.
fn used(kit: &Kit, cost: MeterId) -> i64 {
    units(kit, cost) / THOUSANDTH
}

#[test]
fn no_decision_costs_beyond_the_limit_whoever_asks_at_once() {
    let mut kit = Kit::new();
    let meter = priced(&kit);
    let all = (0..40).map(|i| vec![tokens(1, &format!("t-{i}"))]).collect();
    let receipts: Vec<_> = kit.at_once(all).into_iter().flat_map(Result::unwrap).collect();
    assert_eq!((allowed(&receipts), used(&kit, meter)), (10, 10));
    kit.reopen();
    let again = decided(kit.send(tokens(1, "new")).unwrap());
    assert!(again.verdicts[0].reason.is_some() && again.verdicts[0].cost.as_ref().unwrap().limits[0].violated);
    kit.check().unwrap();
}

#[test]
fn a_repeated_decision_has_its_first_cost_whatever_the_price_is_by_then() {
    let mut kit = Kit::new();
    let meter = priced(&kit);
    let first = decided(kit.send(tokens(4, "one")).unwrap());
    assert_eq!(cost(&first.verdicts[0]), Cost::Priced(quantity(4 * THOUSANDTH)));
    set_price(&kit, "2000");
    kit.reopen();
    let again = decided(kit.send(tokens(4, "one")).unwrap());
    assert_eq!((again.replayed, again.verdicts), (true, first.verdicts));
    let dearer = decided(kit.send(tokens(3, "two")).unwrap());
    assert_eq!(cost(&dearer.verdicts[0]), Cost::Priced(quantity(6 * THOUSANDTH)), "the table is kept over a start");
    assert_eq!((used(&kit, meter), kit.open().store.catalogue().stored.prices.version), (10, 2));
    kit.check().unwrap();
}

#[test]
fn of_two_corrections_at_once_one_counts_and_both_engines_keep_what_it_was() {
    let mut kit = Kit::new();
    let meter = priced(&kit);
    kit.send(tokens(5, "one")).unwrap();
    let account = kit.account("acme");
    let quarter = kit.now().floor(15 * MINUTE);
    let part = |units: i64| Repriced {
        quarter,
        dimensions: "{\"model\":\"m\"}".to_owned(),
        units: units * THOUSANDTH,
        room: Quantity::ZERO,
    };
    let reprice = |units: i64| {
        let repricing =
            Repricing { meter, from: quarter, to: quarter.plus(HOUR), parts: vec![part(units)], priced: None };
        Request::from(&make(Command::Reprice(repricing)).only_if(account.changes))
    };
    let answers = kit.in_one_batch(vec![reprice(-2), reprice(-2)]);
    assert!(matches!(answers[0], Ok(Receipt::Answered { .. })), "{answers:?}");
    assert_eq!(answers[1], Err(StoreError::Changed), "it was read before the first one");
    assert_eq!(used(&kit, meter), 3);
    kit.reopen();
    assert_eq!(used(&kit, meter), 3);
    let is_it = |what: &What| match what {
        What::Changed(change) => matches!(&**change, Change::Corrected(correction) if correction.repriced),
        _ => false,
    };
    assert_eq!(kit.journal().of_organization(account.id).filter(|record| is_it(&record.entry.what)).count(), 1);
    // More than is there cannot be taken off: what reports hold is looked up where it is decided.
    let repricing = Repricing { meter, from: quarter, to: quarter.plus(HOUR), parts: vec![part(-9)], priced: None };
    kit.made(&make(Command::Reprice(repricing)));
    assert_eq!(used(&kit, meter), 0);
    kit.check().unwrap();
}

/// What an hour before all of it and since was used is priced again by the table of now; so much is kept at once.
pub(super) fn again(kit: &Kit, dry_run: bool, most_kept: usize) -> reprice::Repriced {
    of_models(kit, None, dry_run, most_kept)
}

/// The same of some models.
pub(super) fn of_models(kit: &Kit, models: Option<Vec<Pattern>>, dry_run: bool, most_kept: usize) -> reprice::Repriced {
    let open = kit.open();
    let asked = Asked {
        span: reprice::whole(start().plus(-HOUR), kit.now()),
        organizations: None,
        models,
        most_kept,
        dry_run,
        reason: "a wrong price".to_owned(),
        caller: reprice::caller("tests".into()),
    };
    let snapshot = || open.store.catalogue();
    let (store, port) = (&*open.store, &open.port);
    let run = Repricer { store, port, snapshot: &snapshot, asked: &asked, watch: &Unwatched };
    kit.runtime.block_on(run.run()).unwrap()
}

#[test]
fn a_time_that_is_too_long_to_be_kept_at_once_is_priced_again_in_parts_that_come_to_the_same() {
    let mut kit = Kit::new();
    let cost = priced(&kit);
    set_price(&kit, "100");
    for i in 0..17 {
        assert_eq!(decided(kit.send(tokens(5, &format!("t-{i}"))).unwrap()).verdicts[0].reason, None);
        kit.reopen_at(kit.now().plus(if i % 3 == 0 { 40 * MINUTE } else { 7 * MINUTE }));
    }
    set_price(&kit, "50");
    let whole = again(&kit, true, MOST_KEPT);
    assert_eq!((whole.models["m"].uses, whole.models["m"].difference()), (17, i128::from(-17 * THOUSANDTH / 4)));
    for most in [1, 2, 5, 9] {
        assert_eq!(again(&kit, true, most), whole, "{most} at once");
    }
    assert_eq!(again(&kit, false, 3), whole);
    assert_eq!(units(&kit, cost), 17 * THOUSANDTH / 4);
    assert_eq!((again(&kit, false, 3).differing, again(&kit, false, MOST_KEPT).differing), (0, 0));
    kit.check().unwrap();
}
