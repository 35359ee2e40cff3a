//! Voids of what was priced again (M6, M9): what is charged by then is given back, to counters, reports and grants.

use metergate_rules::command::{Charged, Command, Repriced, Voiding};
use metergate_rules::outcome::{Change, PricedAgain, What};
use metergate_rules::plan::Enforcement;
use metergate_rules::price::{Markup, Pattern};
use metergate_rules::time::{DAY, HOUR, MINUTE, Span, Time};

use crate::costs::{COST, TOKENS, folded, part, reprice, tokens, used, world};
use crate::kit::{World, q, uses};

/// Of model `m`.
const OF_M: &str = "{\"model\":\"m\"}";

/// The void of what was the `nth` to be recorded, which is charged so many thousandths of a dollar under these dimension values.
fn void(world: &mut World, nth: usize, thousandths: i64, dimensions: &str) {
    let Command::Void(Voiding::Found(mut found)) = world.void(nth) else { panic!("it is found") };
    let time = found.uses[0].time;
    let room = world.reported(COST)[&time.floor(15 * MINUTE)];
    let (cost, dimensions) = (q(thousandths * 1_000_000), dimensions.to_owned());
    found.charged = Some(Charged { tokens: TOKENS, time, cost, dimensions, room: q(room) });
    world.run(&Command::Void(Voiding::Found(found))).unwrap();
}

fn reported(world: &World) -> Vec<i64> {
    world.reported(COST).into_values().map(|sum| sum / 1_000_000).collect()
}

/// Of the first grant, in thousandths of a dollar.
fn given(world: &World) -> i64 {
    world.settled().grants[0].used.units() / 1_000_000
}

#[test]
fn a_void_gives_credit_back_as_of_what_is_charged_by_then() {
    // A dollar without credit; the first takes 800 of it, the second 200 and 300 of credit.
    for (correction, charged, of_credit) in [(400, 900, 700), (-200, 300, 100), (-400, 100, 0), (0, 500, 300)] {
        let mut world = world(1, Enforcement::Hard);
        world.play("grant calls 900000000");
        tokens(&mut world, "m", 800, 0);
        tokens(&mut world, "m", 500, 0);
        assert_eq!((used(&world), given(&world)), ((1300, 1300), 300));
        let quarter = world.now.floor(15 * MINUTE);
        if correction != 0 {
            reprice(&mut world, vec![part(quarter, correction, 1300)]).unwrap();
        }
        assert_eq!((used(&world).1, given(&world)), (800 + charged, of_credit), "{correction}");
        void(&mut world, 2, charged, OF_M);
        assert_eq!((used(&world), given(&world)), ((800, 800), 0), "{correction}");
        assert_eq!(reported(&world), [800], "{correction}");
        void(&mut world, 1, 800, OF_M);
        assert_eq!((used(&world), given(&world)), ((0, 0), 0), "{correction}");
        assert_eq!(folded(&world), world.account);
    }
}

#[test]
fn what_was_without_a_price_and_has_one_since_is_given_back_where_it_is_charged() {
    let mut world = world(10, Enforcement::Hard);
    tokens(&mut world, "other", 700, 0);
    let dimensions = "{\"model\":\"other\"}";
    let quarter = world.now.floor(15 * MINUTE);
    let priced = Repriced { dimensions: dimensions.to_owned(), ..part(quarter, 350, 0) };
    reprice(&mut world, vec![priced]).unwrap();
    assert_eq!(used(&world), (700, 350));
    void(&mut world, 1, 350, dimensions);
    assert_eq!(used(&world), (0, 0));
    let last = world.entries.iter().rfind(|entry| !uses(entry).is_empty()).map(uses).unwrap();
    let of_cost = last.iter().filter(|used| used.meter == COST);
    let shown: Vec<_> = of_cost.map(|used| (used.dimensions.as_str(), used.follows)).collect();
    let unpriced = "{\"model\":\"other\",\"unpriced\":\"unknown-model\"}";
    assert_eq!(shown, [(unpriced, Some(TOKENS)), (dimensions, Some(TOKENS))]);
    assert_eq!(folded(&world), world.account);
}

#[test]
fn a_void_in_a_later_period_takes_nothing_from_that_one() {
    let mut world = world(10, Enforcement::Hard);
    tokens(&mut world, "m", 600, 0);
    let quarter = world.now.floor(15 * MINUTE);
    reprice(&mut world, vec![part(quarter, 100, 0)]).unwrap();
    world.now = world.settled().windows.period.end.plus(DAY);
    tokens(&mut world, "m", 50, 0);
    reprice(&mut world, vec![part(quarter, 100, 0)]).unwrap();
    assert_eq!((used(&world), reported(&world)), ((50, 50), vec![800, 50]));
    void(&mut world, 1, 800, OF_M);
    assert_eq!((used(&world), reported(&world)), ((50, 50), vec![0, 50]));
    assert_eq!(folded(&world), world.account);
}

#[test]
fn no_more_is_given_back_than_reports_hold() {
    let mut world = world(10, Enforcement::Hard);
    tokens(&mut world, "m", 600, 0);
    world.play("adjust calls -400000000");
    void(&mut world, 1, 900, OF_M);
    assert_eq!((used(&world), reported(&world)), ((0, 0), vec![0]));
}

fn priced(span: Span, table: u64, models: Option<&str>) -> PricedAgain {
    let models = models.map(|text| vec![Pattern::new(text).unwrap()]);
    PricedAgain { at: Time::MIN, span, models, table, markup: Markup::NONE, markups: Vec::new() }
}

fn note(world: &mut World, parts: Vec<Repriced>, priced: PricedAgain) {
    let Span { start: from, end: to } = priced.span;
    let repricing = metergate_rules::command::Repricing { meter: COST, from, to, parts, priced: Some(priced) };
    world.run(&Command::Reprice(repricing)).unwrap();
}

#[test]
fn an_account_knows_by_which_prices_which_time_was_priced_again() {
    let mut world = world(10, Enforcement::Hard);
    tokens(&mut world, "m", 600, 0);
    let quarter = world.now.floor(15 * MINUTE);
    let span = |hours: i64| Span { start: quarter.plus(-hours * HOUR), end: quarter.plus(HOUR) };
    note(&mut world, vec![part(quarter, 10, 0)], priced(span(2), 2, None));
    note(&mut world, Vec::new(), priced(span(1), 3, None));
    note(&mut world, Vec::new(), priced(span(1), 4, Some("m*")));
    let tables = |world: &World| world.account.priced_again.iter().map(|one| one.table).collect::<Vec<_>>();
    assert_eq!(tables(&world), [2, 3, 4]);
    let newest = |time: Time, model: &str| {
        world.account.priced_again.iter().rfind(|one| one.has(time, model, world.now)).map(|one| one.table)
    };
    assert_eq!(newest(quarter, "mini"), Some(4));
    assert_eq!(newest(quarter, "other"), Some(3));
    assert_eq!(newest(quarter.plus(-90 * MINUTE), "mini"), Some(2));
    assert_eq!(newest(quarter.plus(-3 * HOUR), "mini"), None);
    let later = world.now.plus(1);
    assert!(!world.account.priced_again.iter().any(|one| one.has(quarter, "mini", later)), "it was recorded since");
    note(&mut world, Vec::new(), priced(span(3), 5, None));
    assert_eq!(tables(&world), [5], "it has all that those before it had");
    for hours in (4..80).rev() {
        note(&mut world, Vec::new(), priced(span(hours), 6, Some("m")));
    }
    assert_eq!(tables(&world).len(), 64, "the oldest goes");
    // Where there is nothing left to take off nothing is written.
    let changes = world.account.changes;
    note(&mut world, vec![part(quarter, -10, 0)], priced(span(9), 7, None));
    assert_eq!(world.account.changes, changes);
    let is_it = |what: &What| matches!(what, What::Changed(change) if matches!(&**change, Change::Corrected(_)));
    assert!(world.entries.iter().any(|entry| is_it(&entry.what)));
    assert_eq!(folded(&world), world.account);
}

#[test]
fn a_markup_holds_from_its_place_on() {
    let markup = |text: &str| Markup::parse(text).unwrap();
    let span = Span { start: Time::MIN, end: Time::MAX };
    let markups = vec![((3, 5), markup("10")), ((9, 0), markup("0"))];
    let one = PricedAgain { markup: markup("5"), markups, ..priced(span, 1, None) };
    let cases = [((3, 4), "5"), ((3, 5), "10"), ((8, 900), "10"), ((9, 0), "0")];
    for (place, expected) in cases {
        assert_eq!(one.markup(place), markup(expected), "{place:?}");
    }
}
