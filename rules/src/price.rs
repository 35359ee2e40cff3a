//! What a language model's tokens cost (M9): a price table with dates, and the exact cost of a use by it.
//!
//! A price is in US dollars per million tokens, with up to nine decimal places. A cost is in billionths of a dollar (1e-9): what a
//! use comes to is added up exactly, with the plan's markup, and rounded once at the end, half up. With prices of at most three
//! places and no markup nothing is ever rounded.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::id::MeterId;
use crate::quantity::{InvalidQuantity, Quantity};
use crate::time::Time;

/// Decimal places of prices, of costs, and of the meter that counts them.
pub const PLACES: u8 = 9;
/// The meter whose use is priced, by its key.
pub const TOKENS: &str = "tokens";
/// The meter that counts what it costs, by its key.
pub const COST: &str = "llm_cost";
/// The dimension of that meter in which stands why a use has no price.
pub const UNPRICED: &str = "unpriced";

/// Tokens that a price is for.
const PER: i128 = 1_000_000;
/// Decimal places of a markup in percent.
pub const MARKUP_PLACES: u8 = 4;
/// A hundred percent, in the smallest unit of a markup.
const WHOLE: i64 = 1_000_000;
/// The largest markup: ten thousand percent.
const MOST_MARKUP: i64 = 100 * WHOLE;

/// How many tokens of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All that went in, also what was read from the cache or written to it.
    pub input: Quantity,
    /// The part of the input that was read from the cache.
    pub cached_input: Quantity,
    /// The part of the input that was written to the cache.
    pub cache_write: Quantity,
    /// All that came out, also what was thought and not shown.
    pub output: Quantity,
}

/// More was read from the cache or written to it than went in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cachedInputTokens and cacheWriteTokens are parts of inputTokens: together they are at most as many")]
pub struct NotAPart;

impl Tokens {
    /// # Errors
    /// [`NotAPart`] where the parts are more than the input.
    pub fn checked(self) -> Result<Self, NotAPart> {
        let parts = self.cached_input.checked_add(self.cache_write).ok_or(NotAPart)?;
        if parts <= self.input { Ok(self) } else { Err(NotAPart) }
    }

    /// The input that was neither read from the cache nor written to it.
    const fn fresh(&self) -> Quantity {
        self.input.minus(self.cached_input).minus(self.cache_write)
    }
}

/// What a caller said of the tokens of a language model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LlmUse {
    /// The meter that counts the tokens.
    pub meter: MeterId,
    /// The model; empty where none was named.
    pub model: String,
    /// Whose it is, in small letters; empty where that was not said.
    pub provider: String,
    /// How many tokens of which kind; `None` where no kind was said.
    pub tokens: Option<Tokens>,
    /// The values of the dimensions of the meter that counts the cost: a JSON object, empty without any.
    pub dimensions: String,
    /// What was charged for it, where that is known already: then no price is looked up.
    pub charged: Option<Quantity>,
}

/// Why a use has no price. It counts all the same, and its cost is never guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unpriced {
    /// No model was named.
    NoModel,
    /// How many tokens went in and came out was not said.
    NoTokens,
    /// The table has no price for the model, or none yet at that time.
    UnknownModel,
    /// Several providers have the model at different prices, and none of them was named.
    NoProvider,
    /// Tokens of a kind for which the model has no price.
    NoPrice,
}

impl Unpriced {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoModel => "no-model",
            Self::NoTokens => "no-tokens",
            Self::UnknownModel => "unknown-model",
            Self::NoProvider => "no-provider",
            Self::NoPrice => "no-price",
        }
    }
}

/// What a use comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cost {
    /// So many billionths of a dollar.
    Priced(Quantity),
    /// Nobody knows.
    Unpriced(Unpriced),
}

impl Cost {
    /// What is charged: nothing where nobody knows.
    pub const fn charged(self) -> Quantity {
        match self {
            Self::Priced(quantity) => quantity,
            Self::Unpriced(_) => Quantity::ZERO,
        }
    }
}

/// What a plan adds to the price, in percent with up to four decimal places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Markup(Quantity);

impl Markup {
    /// Nothing is added.
    pub const NONE: Self = Self(Quantity::ZERO);

    /// Reads percent as decimal text, `0` to `10000`.
    ///
    /// # Errors
    /// [`InvalidQuantity`] where the text is no such number.
    pub fn parse(text: &str) -> Result<Self, InvalidQuantity> {
        let percent = Quantity::parse(text, MARKUP_PLACES)?;
        if percent.units() > MOST_MARKUP { Err(InvalidQuantity::TooLarge) } else { Ok(Self(percent)) }
    }

    /// Whether nothing is added.
    pub const fn is_none(self) -> bool {
        self.0.is_zero()
    }

    /// What was charged with this one, as it is with another: rounded once more, half up.
    ///
    /// # Errors
    /// [`InvalidQuantity::TooLarge`] beyond nine billion dollars.
    pub fn replaced(self, by: Self, charged: Quantity) -> Result<Quantity, InvalidQuantity> {
        let [from, to] = [self, by].map(|markup| i128::from(WHOLE + markup.0.units()));
        let units = (i128::from(charged.units()) * to + from / 2) / from;
        Quantity::new(i64::try_from(units).map_err(|_| InvalidQuantity::TooLarge)?)
    }
}

/// The models that a price is for: one, or with a trailing `*` all whose names begin so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pattern {
    text: String,
    is_family: bool,
}

/// The longest name of a model in bytes.
pub const MOST_MODEL_BYTES: usize = 256;

impl Pattern {
    /// Reads a name, or the beginning of names and `*`. `None` where it is neither.
    pub fn new(text: &str) -> Option<Self> {
        let (text, is_family) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
        let fits = !text.is_empty() && text.len() <= MOST_MODEL_BYTES;
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
        (fits && is_plain).then(|| Self { text: text.to_owned(), is_family })
    }

    /// Whether it is for this model.
    pub fn matches(&self, model: &str) -> bool {
        if self.is_family { model.starts_with(&self.text) } else { self.text == model }
    }

    /// The longer one is for fewer; a name is for fewer than a family of it.
    const fn length(&self) -> (usize, bool) {
        (self.text.len(), !self.is_family)
    }
}

/// The price of a model from a time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// For which models.
    pub model: Pattern,
    /// Whose, in small letters; empty where it holds for whoever has the model.
    pub provider: String,
    /// Only for uses whose whole input is more than this. Of the prices from the same time on that with the highest holds.
    pub input_above: Quantity,
    /// From when, until a later one of the same models and provider.
    pub effective_from: Time,
    /// For the input, in billionths of a dollar per million tokens.
    pub input: Quantity,
    /// For what is read from the cache; the price of the input without one.
    pub cached_input: Option<Quantity>,
    /// For what is written to the cache; the price of the input without one.
    pub cache_write: Option<Quantity>,
    /// For the output; a model without one has no output, as embeddings have none.
    pub output: Option<Quantity>,
}

impl Price {
    /// # Errors
    /// [`InvalidQuantity::TooLarge`] beyond nine billion dollars; in it why there is no cost.
    fn cost(&self, tokens: &Tokens, markup: Markup) -> Result<Cost, InvalidQuantity> {
        let output = match self.output {
            Some(output) => output,
            None if tokens.output.is_zero() => Quantity::ZERO,
            None => return Ok(Cost::Unpriced(Unpriced::NoPrice)),
        };
        let parts = [
            (tokens.fresh(), self.input),
            (tokens.cached_input, self.cached_input.unwrap_or(self.input)),
            (tokens.cache_write, self.cache_write.unwrap_or(self.input)),
            (tokens.output, output),
        ];
        let sum = parts.into_iter().try_fold(0_i128, |sum, (tokens, price)| {
            sum.checked_add(i128::from(tokens.units()).checked_mul(i128::from(price.units()))?)
        });
        let Some(sum) = sum else { return Err(InvalidQuantity::TooLarge) };
        let (factor, divisor) = (i128::from(WHOLE + markup.0.units()), PER * i128::from(WHOLE));
        let exact = sum.checked_mul(factor).and_then(|exact| exact.checked_add(divisor / 2));
        let units = exact.and_then(|exact| i64::try_from(exact / divisor).ok()).ok_or(InvalidQuantity::TooLarge)?;
        Ok(Cost::Priced(Quantity::new(units)?))
    }

    /// Whether two prices cost the same.
    fn is_as(&self, other: &Self) -> bool {
        let kinds = |price: &Self| {
            let or_input = |kind: Option<Quantity>| kind.unwrap_or(price.input);
            (price.input, or_input(price.cached_input), or_input(price.cache_write), price.output)
        };
        kinds(self) == kinds(other)
    }
}

/// All prices. Never changed: a new table takes its place.
#[derive(Clone, Debug, Default)]
pub struct PriceTable {
    names: HashMap<String, Vec<Price>>,
    /// Longest first.
    families: Vec<Vec<Price>>,
}

impl PriceTable {
    /// A table of these prices.
    pub fn new(prices: Vec<Price>) -> Self {
        let mut table = Self::default();
        let mut families: HashMap<Pattern, Vec<Price>> = HashMap::new();
        for price in prices {
            if price.model.is_family {
                families.entry(price.model.clone()).or_default().push(price);
            } else {
                table.names.entry(price.model.text.clone()).or_default().push(price);
            }
        }
        table.families = families.into_values().collect();
        table.families.sort_by_key(|prices| std::cmp::Reverse(prices.first().map(|price| price.model.length())));
        table
    }

    /// What a use at a time costs: by the name of its model, else by the family with the longest beginning that has a price then.
    ///
    /// # Errors
    /// [`InvalidQuantity::TooLarge`] beyond nine billion dollars.
    pub fn cost(&self, asked: &LlmUse, at: Time, markup: Markup) -> Result<Cost, InvalidQuantity> {
        if asked.model.is_empty() {
            return Ok(Cost::Unpriced(Unpriced::NoModel));
        }
        let (model, provider) = (asked.model.as_str(), asked.provider.as_str());
        let none = Tokens::default();
        let tokens = asked.tokens.as_ref().unwrap_or(&none);
        match self.price(model, provider, tokens.input, at) {
            Err(why) => Ok(Cost::Unpriced(why)),
            Ok(_) if asked.tokens.is_none() => Ok(Cost::Unpriced(Unpriced::NoTokens)),
            Ok(price) => price.cost(tokens, markup),
        }
    }

    /// The price of a model at a time, for a use with so much input.
    ///
    /// # Errors
    /// Why there is none.
    pub fn price(&self, model: &str, provider: &str, input: Quantity, at: Time) -> Result<&Price, Unpriced> {
        let named = self.names.get(model).into_iter();
        let families = self.families.iter().filter(|prices| prices.first().is_some_and(|one| one.model.matches(model)));
        for prices in named.chain(families) {
            if let Some(found) = among(prices, provider, input, at) {
                return found;
            }
        }
        Err(Unpriced::UnknownModel)
    }
}

/// The price in force among those of the same models: that of the provider named, else the one for whoever has the model.
/// `None` where none of them is in force.
fn among<'p>(prices: &'p [Price], provider: &str, input: Quantity, at: Time) -> Option<Result<&'p Price, Unpriced>> {
    let of = |provider: &str| in_force(prices.iter().filter(|price| price.provider == provider), input, at);
    if let Some(price) = of(provider).or_else(|| of("")) {
        return Some(Ok(price));
    } else if !provider.is_empty() {
        return None;
    }
    // Nobody was named: those of all are the same, or it cannot be told.
    let mut providers: Vec<&str> = prices.iter().map(|price| price.provider.as_str()).collect();
    providers.sort_unstable();
    providers.dedup();
    let mut found = providers.into_iter().filter_map(of);
    let first = found.next()?;
    Some(if found.all(|other| other.is_as(first)) { Ok(first) } else { Err(Unpriced::NoProvider) })
}

/// Of one provider's the latest that has begun, and of those from that time on the highest step that the input has passed.
fn in_force<'p>(prices: impl Iterator<Item = &'p Price> + Clone, input: Quantity, at: Time) -> Option<&'p Price> {
    let begun = prices.filter(|price| price.effective_from <= at);
    let latest = begun.clone().map(|price| price.effective_from).max()?;
    let steps = begun.filter(|price| price.effective_from == latest);
    steps.filter(|price| price.input_above.is_zero() || price.input_above < input).max_by_key(|price| price.input_above)
}

#[cfg(test)]
mod tests;
