//! What language models' tokens cost, and the past priced again.

use std::collections::BTreeMap;

use askama::Template;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::answers::{JobProgress, Price, Prices, Repriced, UnpricedRow, dollars};
use crate::form::{Change, Field, Form, Kind};
use crate::format::{self, Amount, Markup, Zone};
use crate::frame::{Frame, Place};
use crate::organizations::in_query;
use crate::range;

mod filter;

pub use filter::PriceFilter;

/// Days of which uses without a price are shown.
const LATELY: i64 = 7;

/// What asks for uses without a price, of all organizations.
pub fn unpriced_path(now: &str) -> String {
    let (from, to) = range::last_days(&Zone::utc(), now, LATELY);
    format!(
        "/v1/usage?meter=llm_cost&groupBy=model&groupBy=unpriced&granularity=total&from={}&to={}",
        in_query(&from),
        in_query(&to)
    )
}

/// When a price holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Now,
    Before,
    ToCome,
}

/// The table of prices.
#[derive(Template)]
#[template(path = "prices.html")]
pub struct PricesPage {
    frame: Frame,
    prices: Prices,
    filter: PriceFilter,
    /// By model, and why: how often.
    unpriced: Vec<(String, String, u64)>,
}

impl PricesPage {
    /// The page with the prices that are looked for. `unpriced` are uses of late, with a price or without.
    pub fn new(frame: Frame, mut prices: Prices, filter: PriceFilter, unpriced: &[UnpricedRow]) -> Self {
        prices.prices.sort_by(|a, b| {
            let key = |price: &Price| (price.provider.clone(), price.model.clone());
            let steps = a.input_above.cmp(&b.input_above);
            key(a).cmp(&key(b)).then_with(|| begun(&b.effective_from).cmp(&begun(&a.effective_from))).then(steps)
        });
        let mut counted: BTreeMap<(String, String), u64> = BTreeMap::new();
        for row in unpriced {
            let of = |name: &str| row.group.get(name).cloned().flatten();
            let model = of("model").unwrap_or_default();
            if let Some(why) = of("unpriced").filter(|_| filter.is_in(&model)) {
                *counted.entry((model, why)).or_default() += row.count;
            }
        }
        let mut unpriced: Vec<_> = counted.into_iter().map(|((model, why), count)| (model, why, count)).collect();
        unpriced.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
        Self { frame: frame.at("Prices", Place::Prices), prices, filter, unpriced }
    }

    /// Whoever has prices, and how an address names them.
    fn choices(&self) -> Vec<(&str, &str)> {
        let mut providers: Vec<&str> = self.prices.prices.iter().map(provider).collect();
        providers.dedup();
        providers.into_iter().map(|provider| (PriceFilter::named(provider), self.heading(provider))).collect()
    }

    fn states(&self) -> [(&'static str, &'static str); 4] {
        PriceFilter::STATES
    }

    fn found(&self) -> impl Iterator<Item = &Price> {
        self.prices.prices.iter().filter(|price| self.filter.finds(price, self.state(price)))
    }

    /// Whose prices were found.
    fn providers(&self) -> Vec<&str> {
        let mut providers: Vec<&str> = self.found().map(provider).collect();
        providers.dedup();
        providers
    }

    fn of<'a>(&'a self, named: &'a str) -> impl Iterator<Item = &'a Price> {
        self.found().filter(move |price| provider(price) == named)
    }

    /// How many there are, or were found of how many.
    fn counted(&self) -> String {
        let all = format::count(self.prices.prices.len() as u64, "price");
        if self.filter.is_all() { all } else { format!("{} of {all}", self.found().count()) }
    }

    fn heading<'a>(&self, provider: &'a str) -> &'a str {
        if provider.is_empty() { "Whoever has the model" } else { provider }
    }

    fn state(&self, price: &Price) -> State {
        let (now, own) = (begun(&self.frame.now), begun(&price.effective_from));
        if own > now {
            return State::ToCome;
        }
        let same = |other: &&Price| other.model == price.model && other.provider == price.provider;
        let begun = self.prices.prices.iter().filter(same).map(|other| begun(&other.effective_from));
        let latest = begun.filter(|from| *from <= now).max();
        if latest == Some(own) { State::Now } else { State::Before }
    }

    fn is_past(&self, price: &Price) -> bool {
        self.state(price) == State::Before
    }

    fn badge(&self, price: &Price) -> &'static str {
        match self.state(price) {
            State::Now => "in force",
            State::Before => "before",
            State::ToCome => "to come",
        }
    }

    fn above(&self, price: &Price) -> String {
        let tokens = price.input_above.map(|tokens| Amount::whole(i64::try_from(tokens).unwrap_or(i64::MAX)));
        tokens.map_or_else(String::new, |tokens| format!("above {tokens} input tokens"))
    }

    /// What names a price in an address.
    fn named(&self, price: &Price) -> String {
        let above = price.input_above.map(|tokens| tokens.to_string()).unwrap_or_default();
        let pairs = [
            ("model", price.model.as_str()),
            ("provider", provider(price)),
            ("effectiveFrom", &price.effective_from),
            ("inputAbove", &above),
        ];
        let given = pairs.iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| format!("{name}={}", in_query(value))).collect::<Vec<_>>().join("&")
    }

    fn why(&self, why: &str) -> &'static str {
        match why {
            "no-model" => "no model was named",
            "no-tokens" => "input and output were not told apart: send inputTokens and outputTokens",
            "unknown-model" => "no price for this model then",
            "no-provider" => "prices differ by provider, and none was named",
            _ => "no price for this kind of tokens",
        }
    }

    /// Whether a price mends it: where input and output were not told apart, none does.
    fn can_price(&self, why: &str) -> bool {
        !matches!(why, "no-tokens" | "no-model" | "no-provider")
    }

    fn count(&self, number: &u64) -> String {
        format::quantity(&number.to_string())
    }

    fn query(&self, model: &str) -> String {
        in_query(model)
    }

    fn changed(&self) -> Option<Markup> {
        self.prices.changed_at.as_ref().map(|at| format::relative_tag(at, &self.frame.now, &Zone::utc()))
    }
}

/// When that is: a date is its begin in UTC. Two writings of an instant are one.
fn begun(text: &str) -> Option<Timestamp> {
    let of_date = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(of_date)
}

fn provider(price: &Price) -> &str {
    price.provider.as_deref().unwrap_or_default()
}

/// A price: a new one, or one that is changed.
pub fn form(found: Option<&Price>, model: &str, today: &str) -> Form {
    let title = if found.is_some() { "Change price" } else { "New price" };
    let mut form = Form::new(title, "Save").say(
        "US dollars per million tokens. What was charged before stays as it is until it is priced again; a price from another day stands beside those from before.",
    );
    let kinds = found.map_or([""; 4], Price::kinds);
    form = match found {
        // What tells it from others stays: another would stand beside it.
        Some(price) => form
            .say(format!("{} {}, from {}", price.model, provider(price), price.effective_from))
            .field(Field::hidden("model", &price.model))
            .field(Field::hidden("provider", provider(price)))
            .field(Field::hidden("effectiveFrom", &price.effective_from))
            .field(Field::hidden("inputAbove", &price.input_above.map(|n| n.to_string()).unwrap_or_default())),
        None => form
            .field(
                Field::text("model", "Model")
                    .value(model)
                    .hint("Its name, or how names begin and *, such as gpt-4o-mini-20*."),
            )
            .field(Field::text("provider", "Provider").hint("Such as openai. Leave empty for any provider.").optional())
            .field(
                Field::text("effectiveFrom", "In force from")
                    .value(today)
                    .hint("A day, which begins in UTC, or an instant."),
            )
            .field(
                Field::amount("inputAbove", "Only with more input tokens than")
                    .hint("Where long prompts cost more. Leave empty for all.")
                    .optional(),
            ),
    };
    form.field(Field::amount("input", "Input").value(kinds[0]))
        .field(
            Field::amount("cachedInput", "Cached input")
                .value(kinds[1])
                .hint("Leave empty: priced as input.")
                .optional(),
        )
        .field(
            Field::amount("cacheWrite", "Cache write").value(kinds[2]).hint("Leave empty: priced as input.").optional(),
        )
        .field(
            Field::amount("output", "Output")
                .value(kinds[3])
                .hint("Leave empty: the model writes nothing that is priced.")
                .optional(),
        )
        .field(
            Field::text("source", "Source")
                .value(found.and_then(|price| price.source.clone()).unwrap_or_default())
                .hint("Where it comes from, and when that was looked at.")
                .optional()
                .most(500),
        )
}

/// What tokens are priced by, in the order of [`Price::kinds`].
const KINDS: [&str; 4] = ["Input", "Cached input", "Cache write", "Output"];

/// The end of a price; `found` is the one of this model, provider, beginning and least input, where there is still one.
pub fn removal([model, provider, from, above]: [&str; 4], found: Option<&Price>) -> Form {
    let form = Form::new("Remove price", "Remove price")
        .say(format!(
            "{model} {provider} from {from}: what is used without another price is unpriced. What was charged stays."
        ))
        .danger();
    let kinds = found.map_or([""; 4], Price::kinds);
    let priced = KINDS.into_iter().zip(kinds).filter(|(_, price)| !price.is_empty());
    let gone =
        |(kind, price): (&str, &str)| Change::new(kind, format!("${price} per million tokens"), "this price is gone");
    priced
        .map(gone)
        .fold(form, Form::change)
        .field(Field::hidden("model", model))
        .field(Field::hidden("provider", provider))
        .field(Field::hidden("effectiveFrom", from))
        .field(Field::hidden("inputAbove", above))
        .field(Field::reason())
}

/// What is to be priced again.
pub fn question(now: &str) -> Form {
    let (from, _) = range::last_days(&Zone::utc(), now, 30);
    Form::new("Price again", "Show what would change")
        .to("/admin/prices/recompute")
        .say("What was used is priced by the table in force at its time. First it is only said what would change.")
        .field(Field::new("from", "From", Kind::Line("date")).value(from.get(..10).unwrap_or_default()).hint("In UTC."))
        .field(Field::new("to", "To (included)", Kind::Line("date")).value(now.get(..10).unwrap_or_default()))
        .field(
            Field::text("organizations", "Only these organizations")
                .hint("Their keys, with commas between them. Leave empty for all.")
                .optional(),
        )
        .field(
            Field::text("models", "Only these models")
                .hint("Such as gpt-4o, gpt-4o-mini*. Leave empty for all.")
                .optional(),
        )
}

/// What is to be recorded, once it was shown.
pub fn correction(typed: impl Fn(&str) -> String) -> Form {
    let mut form = Form::new("Record the corrections", "Record the corrections")
        .to("/admin/prices/recompute")
        .say("Each organization is corrected by adjustments in the quarter hours of its uses, with an entry in its audit log.")
        .danger();
    for name in ["from", "to", "organizations", "models"] {
        form = form.field(Field::hidden(name, &typed(name)));
    }
    form.field(Field::hidden("apply", "true")).field(Field::reason())
}

/// What there is to see beside the question.
pub enum Shown {
    /// Nothing was asked yet.
    Nothing,
    /// It is being worked out.
    Going(JobProgress),
    /// Why it is not known.
    Failed(String),
    /// What would change, or has changed.
    Report(Box<Repriced>),
}

/// The past priced again.
#[derive(Template)]
#[template(path = "reprice.html")]
pub struct RepricePage {
    frame: Frame,
    form: Form,
    correction: Option<Form>,
    shown: Shown,
}

impl RepricePage {
    /// The page; `correction` is there where it was shown what would change.
    pub fn new(frame: Frame, form: Form, correction: Option<Form>, shown: Shown) -> Self {
        Self { frame: frame.at("Price again", Place::Prices), form, correction, shown }
    }

    fn going(&self) -> Option<&JobProgress> {
        if let Shown::Going(progress) = &self.shown { Some(progress) } else { None }
    }

    fn failed(&self) -> Option<&str> {
        if let Shown::Failed(why) = &self.shown { Some(why) } else { None }
    }

    fn report(&self) -> Option<&Repriced> {
        if let Shown::Report(report) = &self.shown { Some(report) } else { None }
    }

    fn dollars(&self, raw: &serde_json::value::RawValue) -> String {
        dollars(raw)
    }

    fn count(&self, number: &u64) -> String {
        Amount::whole(i64::try_from(*number).unwrap_or(i64::MAX)).to_string()
    }

    fn date(&self, time: &str) -> Markup {
        format::moment_tag(time, &Zone::utc())
    }

    fn days(&self, from: &str, to: &str) -> String {
        format::days(from, to, &Zone::utc(), Zone::utc().year(&self.frame.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_instants_in_any_zone_are_told_apart_by_when_they_are() {
        assert!(begun("2026-11-28T00:00:00+02:00") < begun("2026-11-28"));
        assert_eq!(begun("2026-11-28T02:00:00+02:00"), begun("2026-11-28"));
        assert_eq!(begun("2026-11-28T00:00:00.000000Z"), begun("2026-11-28"));
        assert!(begun("2026-11-28").is_some() && begun("soon").is_none());
    }
}
