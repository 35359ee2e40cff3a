use super::*;
use Unpriced::{NoModel, NoPrice, NoProvider, NoTokens, UnknownModel};

fn q(units: i64) -> Quantity {
    Quantity::new(units).unwrap()
}

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

/// `models[@provider][>above] from input cached write output`, where `-` is none.
fn price(line: &str) -> Price {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (models, above) = words[0].split_once('>').unwrap_or((words[0], "0"));
    let (models, provider) = models.split_once('@').unwrap_or((models, ""));
    let kind = |text: &str| (text != "-").then(|| Quantity::parse(text, PLACES).unwrap());
    Price {
        model: Pattern::new(models).unwrap(),
        provider: provider.to_owned(),
        input_above: Quantity::parse(above, 0).unwrap(),
        effective_from: time(words[1]),
        input: kind(words[2]).unwrap(),
        cached_input: kind(words[3]),
        cache_write: kind(words[4]),
        output: kind(words[5]),
    }
}

fn table(lines: &[&str]) -> PriceTable {
    PriceTable::new(lines.iter().map(|line| price(line)).collect())
}

/// `input/cached/write/output`.
fn tokens(text: &str) -> Tokens {
    let parts: Vec<Quantity> = text.split('/').map(|part| Quantity::parse(part, 0).unwrap()).collect();
    let [input, cached_input, cache_write, output] = parts[..] else { panic!("four kinds: {text}") };
    Tokens { input, cached_input, cache_write, output }.checked().unwrap()
}

/// `model[@provider]`.
fn asked(model: &str, kinds: Option<&str>) -> LlmUse {
    let (model, provider) = model.split_once('@').unwrap_or((model, ""));
    let (model, provider) = (model.to_owned(), provider.to_owned());
    LlmUse { meter: MeterId(1), model, provider, tokens: kinds.map(tokens), dimensions: String::new(), charged: None }
}

const DAY: &str = "2026-11-22T00:00:00Z";

fn cost(table: &PriceTable, model: &str, kinds: &str, at: &str, markup: &str) -> Result<Cost, InvalidQuantity> {
    table.cost(&asked(model, Some(kinds)), time(at), Markup::parse(markup).unwrap())
}

#[test]
fn each_kind_of_token_is_charged_once_and_the_sum_is_rounded_once() {
    let table = table(&[
        "gpt-4o 2024-10-01T00:00:00Z 2.50 1.25 - 10.00",
        "claude 2024-10-01T00:00:00Z 3 0.30 3.75 15",
        "plain 2024-10-01T00:00:00Z 2 - - 8",
        "fine 2024-10-01T00:00:00Z 0.0375 0.01875 - 0.0005",
        "finest 2024-10-01T00:00:00Z 0.000000001 - - 1",
    ]);
    #[rustfmt::skip]
    let cases = [ // model, input/cached/write/output, markup, billionths of a dollar
        ("gpt-4o", "1000/0/0/200", "0", 4_500_000),
        ("gpt-4o", "1/0/0/0", "0", 2_500),
        ("gpt-4o", "1000/1000/0/0", "0", 1_250_000),          // all of it from the cache: nothing at the full price
        ("gpt-4o", "1000/400/0/200", "0", 4_000_000),         // 600 × 2.5 + 400 × 1.25 + 200 × 10
        ("gpt-4o", "1000/0/400/0", "0", 2_500_000),           // writing to the cache has no price of its own: input
        ("claude", "1000/400/500/10", "0", 2_445_000),        // 100 × 3 + 400 × 0.3 + 500 × 3.75 + 10 × 15
        ("plain", "1000/400/0/0", "0", 2_000_000),            // nor has reading from it here
        ("gpt-4o", "0/0/0/0", "0", 0),
        ("gpt-4o", "1000/0/0/200", "20", 5_400_000),
        ("gpt-4o", "1000/0/0/200", "12.5", 5_062_500),
        ("gpt-4o", "1000/0/0/200", "0.0001", 4_500_005),      // 4,500,004.5, rounded half up
        ("gpt-4o", "1000/0/0/200", "10000", 454_500_000),
        ("fine", "1/0/0/0", "0", 38),                         // 37.5
        ("fine", "1/1/0/0", "0", 19),                         // 18.75
        ("fine", "2/1/0/0", "0", 56),                         // 56.25: each kind alone would come to 57
        ("fine", "0/0/0/1", "0", 1),                          // 0.5
        ("finest", "499999/0/0/0", "0", 0),                   // 0.499999
        ("finest", "500000/0/0/0", "0", 1),
    ];
    for (model, kinds, markup, units) in cases {
        let cost = cost(&table, model, kinds, DAY, markup);
        assert_eq!(cost, Ok(Cost::Priced(q(units))), "{model} {kinds} + {markup} %");
    }
}

#[test]
fn the_name_comes_before_families_and_a_longer_family_before_a_shorter_one() {
    let table = table(&[
        "gpt-4o* 2024-01-01T00:00:00Z 4 - - 4",
        "gpt-4o-mini* 2024-01-01T00:00:00Z 3 - - 3",
        "gpt-4o 2024-01-01T00:00:00Z 2 - - 2",
        "gpt-4o-mini-2024* 2026-01-01T00:00:00Z 1 - - 1",
    ]);
    #[rustfmt::skip]
    let cases = [
        ("gpt-4o", DAY, Ok(2)),
        ("gpt-4o-2024-08-06", DAY, Ok(4)),
        ("gpt-4o-mini", DAY, Ok(3)),
        ("gpt-4o-mini-2024-07-18", DAY, Ok(1)),
        ("gpt-4o-mini-2024-07-18", "2025-12-31T23:59:59Z", Ok(3)), // the longer family has no price yet
        ("gpt-4", DAY, Err(UnknownModel)),
        ("GPT-4o", DAY, Err(UnknownModel)),
        ("", DAY, Err(NoModel)),
    ];
    for (model, at, dollars) in cases {
        let expected = dollars.map_or_else(Cost::Unpriced, |dollars: i64| Cost::Priced(q(dollars * 1_000_000_000)));
        assert_eq!(cost(&table, model, "1000000/0/0/0", at, "0"), Ok(expected), "{model} at {at}");
    }
}

#[test]
fn a_price_holds_from_its_instant_until_the_next_one() {
    let table = table(&[
        "m 2026-01-01T00:00:00Z 2 - - 1",
        "m 2025-01-01T00:00:00Z 1 - - 1",
        "m>1000 2026-06-01T00:00:00Z 8 - - 1",
        "m 2026-06-01T00:00:00Z 4 - - 1",
        "m>2000 2026-06-01T00:00:00Z 16 - - 1",
        "long>10 2026-01-01T00:00:00Z 1 - - 1",
    ]);
    #[rustfmt::skip]
    let cases = [ // model, input, at, billionths a token
        ("m", 1, "2024-12-31T23:59:59.999999Z", Err(UnknownModel)),
        ("m", 1, "2025-01-01T00:00:00Z", Ok(1000)),
        ("m", 1, "2025-12-31T23:59:59.999999Z", Ok(1000)),
        ("m", 1, "2026-01-01T00:00:00Z", Ok(2000)),
        ("m", 5000, "2026-05-31T23:59:59.999999Z", Ok(2000)),  // steps begin with their prices
        ("m", 1000, "2026-06-01T00:00:00Z", Ok(4000)),
        ("m", 1001, "2026-06-01T00:00:00Z", Ok(8000)),         // the whole use at the step's price
        ("m", 2001, "2026-06-01T00:00:00Z", Ok(16000)),
        ("long", 10, DAY, Err(UnknownModel)),                  // below the only step there is no price
        ("long", 11, DAY, Ok(1000)),
    ];
    for (model, input, at, each) in cases {
        let expected = each.map_or_else(Cost::Unpriced, |each: i64| Cost::Priced(q(each * input)));
        assert_eq!(cost(&table, model, &format!("{input}/0/0/0"), at, "0"), Ok(expected), "{input} of {model} at {at}");
    }
}

#[test]
fn of_several_providers_the_one_that_was_named_counts_and_none_is_guessed() {
    let table = table(&[
        "m@openai 2025-01-01T00:00:00Z 1 - - 1",
        "m@azure 2025-01-01T00:00:00Z 2 - - 1",
        "same@openai 2025-01-01T00:00:00Z 1 - - 1",
        "same@azure 2025-01-01T00:00:00Z 1 1 - 1",
        "any@azure 2025-01-01T00:00:00Z 2 - - 1",
        "any 2025-01-01T00:00:00Z 3 - - 1",
        "fam*@azure 2025-01-01T00:00:00Z 4 - - 1",
        "fam 2026-11-23T00:00:00Z 5 - - 1",
        "one@openai 2025-01-01T00:00:00Z 6 - - 1",
    ]);
    #[rustfmt::skip]
    let cases = [
        ("m@openai", Ok(1)),
        ("m@azure", Ok(2)),
        ("m", Err(NoProvider)),
        ("m@bedrock", Err(UnknownModel)),
        ("same", Ok(1)),          // it does not matter whose
        ("any", Ok(3)),           // the price for whoever has it
        ("any@azure", Ok(2)),
        ("any@bedrock", Ok(3)),
        ("fam", Ok(4)),           // its own price begins tomorrow
        ("one", Ok(6)),
        ("one@azure", Err(UnknownModel)),
    ];
    for (model, dollars) in cases {
        let expected = dollars.map_or_else(Cost::Unpriced, |dollars: i64| Cost::Priced(q(dollars * 1_000_000_000)));
        assert_eq!(cost(&table, model, "1000000/0/0/0", DAY, "0"), Ok(expected), "{model}");
    }
}

#[test]
fn what_was_not_said_or_has_no_price_is_unpriced() {
    let table = table(&["embedding 2025-01-01T00:00:00Z 0.02 - - -"]);
    assert_eq!(cost(&table, "embedding", "1000/0/0/0", DAY, "0"), Ok(Cost::Priced(q(20_000))));
    assert_eq!(cost(&table, "embedding", "1000/0/0/1", DAY, "0"), Ok(Cost::Unpriced(NoPrice)));
    let without_kinds = table.cost(&asked("embedding", None), time(DAY), Markup::NONE);
    assert_eq!(without_kinds, Ok(Cost::Unpriced(NoTokens)));
    let unknown = table.cost(&asked("other", None), time(DAY), Markup::NONE);
    assert_eq!(unknown, Ok(Cost::Unpriced(UnknownModel)));
    assert_eq!(PriceTable::default().cost(&asked("", None), time(DAY), Markup::NONE), Ok(Cost::Unpriced(NoModel)));
}

#[test]
fn what_is_out_of_range_is_an_error_and_never_wraps() {
    let most = i64::MAX.to_string();
    let table = table(&[
        "dear 2025-01-01T00:00:00Z 9223372036.854775807 - - 9223372036.854775807",
        "cheap 2025-01-01T00:00:00Z 0.001 - - 0.001",
    ]);
    for (model, kinds, markup) in [
        ("dear", format!("{most}/0/0/{most}"), "10000"),
        ("dear", format!("{most}/0/0/0"), "0"),
        ("dear", "1000001/0/0/0".to_owned(), "0"),
        ("cheap", format!("{most}/0/0/1"), "0"),
    ] {
        let cost = cost(&table, model, &kinds, DAY, markup);
        assert_eq!(cost, Err(InvalidQuantity::TooLarge), "{model} {kinds} {markup}");
    }
    let largest = cost(&table, "cheap", &format!("{most}/0/0/0"), DAY, "0");
    assert_eq!(largest, Ok(Cost::Priced(Quantity::MAX)));
    assert_eq!(cost(&table, "dear", "1000000/0/0/0", DAY, "0"), Ok(Cost::Priced(Quantity::MAX)));
}

#[test]
fn parts_of_the_input_are_at_most_the_input() {
    let tokens = |input, cached_input, cache_write| {
        Tokens { input: q(input), cached_input: q(cached_input), cache_write: q(cache_write), output: q(0) }.checked()
    };
    for (input, cached, written, is_valid) in
        [(10, 10, 0, true), (10, 5, 5, true), (10, 11, 0, false), (10, 5, 6, false), (0, 0, 1, false)]
    {
        assert_eq!(tokens(input, cached, written).is_ok(), is_valid, "{input} {cached} {written}");
    }
    assert!(tokens(i64::MAX, i64::MAX, i64::MAX).is_err(), "the sum of the parts is out of range");
}

#[test]
fn patterns_and_markups_are_read_or_refused() {
    for (text, is_valid) in
        [("gpt-4o", true), ("gpt-4o*", true), ("*", false), ("", false), ("a*b", false), ("a b", false)]
    {
        assert_eq!(Pattern::new(text).is_some(), is_valid, "{text:?}");
    }
    assert!(Pattern::new(&"m".repeat(MOST_MODEL_BYTES + 1)).is_none());
    for (text, is_valid) in [
        ("0", true),
        ("12.5", true),
        ("10000", true),
        ("10000.0001", false),
        ("-1", false),
        ("0.00001", false),
        ("x", false),
    ] {
        assert_eq!(Markup::parse(text).is_ok(), is_valid, "{text:?}");
    }
}

#[test]
fn another_markup_takes_the_place_of_one_exactly_or_rounded_half_up() {
    let markup = |text: &str| Markup::parse(text).unwrap();
    #[rustfmt::skip]
    let cases = [ // from, to, charged, then
        ("0",  "100", 7,   7 * 2),
        ("50", "0",   150, 100),
        ("50", "0",   4,   3),
        ("0",  "50",  1,   2),
        ("10", "10",  33,  33),
    ];
    for (from, to, charged, then) in cases {
        assert_eq!(markup(from).replaced(markup(to), q(charged)), Ok(q(then)), "{charged} from {from} to {to}");
    }
    assert!(Markup::NONE.replaced(markup("100"), Quantity::MAX).is_err());
}
