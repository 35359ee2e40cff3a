//! Meters and plans as they are written: in a request, in the catalogue file, in the store.

use std::collections::BTreeMap;

use metergate_rules::account::Status;
use metergate_rules::id::{EventType, MeterId, MeterKey, PlanId, PlanKey, PriceId};
use metergate_rules::meter::{Aggregation, MAX_DECIMALS, Meter};
use metergate_rules::plan::{Cycle, Enforcement, Limit, Max, MeterLimits, Plan, RefusalStatus, Trial, TrialEnd};
use metergate_rules::price::Markup;
use metergate_rules::quantity::Quantity;
use metergate_rules::window::Window;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::number::QuantityText;

mod degraded;

pub use degraded::DegradedSpec;

/// Limits in a plan at most.
const MOST_LIMITS: usize = 600;
/// Dimensions of a meter at most.
const MOST_DIMENSIONS: usize = 16;
/// Features in a plan at most.
const MOST_FEATURES: usize = 500;

/// Days of grace for a missing payment unless a plan says otherwise, and the most that one may say.
const GRACE_DAYS: u16 = 7;
const MOST_GRACE_DAYS: u16 = 365;
/// Prices of a plan at most.
const MOST_PRICES: usize = 100;
/// The plan after a subscription's end unless a plan says otherwise.
const FALLBACK_PLAN: &str = "free";

/// What is wrong with a definition, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct Invalid {
    /// Where, as a JSON pointer such as `#/limits/0/max`.
    pub pointer: String,
    /// What is wrong and what to do.
    pub detail: String,
}

impl Invalid {
    /// The same, where what is wrong stands in another place.
    #[must_use]
    pub fn below(self, from: &str, to: &str) -> Self {
        match self.pointer.strip_prefix(from) {
            Some(rest) => Self { pointer: format!("{to}{rest}"), detail: self.detail },
            None => self,
        }
    }
}

pub(super) fn invalid<T>(pointer: impl Into<String>, detail: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { pointer: pointer.into(), detail: detail.into() })
}

/// A meter's definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeterSpec {
    /// Its name for people; the key without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What one is called, in the singular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Events of this type count; the key without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// `sum`, `count`, `max`, `last` or `uniqueCount`. Cannot be changed.
    #[schema(value_type = String, example = "sum")]
    pub aggregation: Aggregation,
    /// Decimal places of its quantities, 0 to 9. Cannot be changed.
    #[serde(default)]
    pub decimals: u8,
    /// The property that holds the quantity, `quantity` without one; of `uniqueCount` the value, `value` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_property: Option<String>,
    /// Properties by which reports can group.
    #[serde(default)]
    pub dimensions: Vec<String>,
    /// Whether single decisions are kept.
    #[serde(default = "yes")]
    pub record: bool,
}

const fn yes() -> bool {
    true
}

impl MeterSpec {
    /// The meter that this defines.
    ///
    /// # Errors
    /// [`Invalid`] where a member is out of its bounds.
    pub fn meter(&self, id: MeterId, key: &MeterKey) -> Result<Meter, Invalid> {
        let countless = matches!(self.aggregation, Aggregation::Count | Aggregation::UniqueCount);
        if self.decimals > MAX_DECIMALS {
            return invalid("#/decimals", "must be 0 to 9");
        } else if countless && self.decimals != 0 {
            return invalid("#/decimals", "must be 0: count and uniqueCount count whole things");
        } else if self.dimensions.len() > MOST_DIMENSIONS {
            return invalid("#/dimensions", "at most 16 dimensions");
        } else if self.dimensions.iter().any(|name| name.is_empty() || name.len() > 64) {
            return invalid("#/dimensions", "a dimension's name has 1 to 64 bytes");
        }
        let event_type = self.event_type.as_deref().unwrap_or(key.as_str());
        let Ok(event_type) = EventType::new(event_type) else {
            return invalid("#/eventType", "must be 1 to 255 bytes without control characters");
        };
        let default = if self.aggregation == Aggregation::UniqueCount { "value" } else { "quantity" };
        let mut dimensions = self.dimensions.clone();
        dimensions.sort_unstable();
        dimensions.dedup();
        Ok(Meter {
            id,
            key: key.clone(),
            name: self.name.clone().unwrap_or_else(|| key.to_string()),
            unit: self.unit.clone().unwrap_or_default(),
            event_type,
            aggregation: self.aggregation,
            decimals: self.decimals,
            value_property: self.value_property.clone().unwrap_or_else(|| default.to_owned()),
            dimensions,
            record: self.record,
        })
    }
}

/// A limit in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitSpec {
    /// The meter's key.
    pub meter: String,
    /// `minute`, `hour`, `day`, `month`, `billingPeriod` or `lifetime`.
    #[schema(value_type = String, example = "billingPeriod")]
    pub window: Window,
    /// The most that may be used in the window, where 0 admits nothing; needed unless `unlimited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub max: Option<QuantityText>,
    /// Never refuses, still counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlimited: bool,
    /// `hard` refuses, `soft` allows and counts overage.
    #[serde(default)]
    #[schema(value_type = String, example = "hard")]
    pub enforcement: Enforcement,
    /// The status that gateways give a refusal by it: 429 or 402.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Percentages at which a notification fires; 80 and 100 without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Vec<u8>>,
}

/// The trial of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrialSpec {
    /// Its length in days of exactly 24 hours, 1 to 3650.
    pub days: u16,
    /// `continue`, `lock`, or `{"plan": "<key>"}`.
    #[schema(value_type = serde_json::Value)]
    pub on_end: TrialEnd,
}

/// Whether meters that a plan does not name may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum OtherMeters {
    /// Without limit.
    #[default]
    Unlimited,
    /// Not at all.
    None,
}

/// A plan's definition. Every change of it is a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanSpec {
    /// Its name for people; the key without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its limits.
    #[serde(default)]
    pub limits: Vec<LimitSpec>,
    /// On/off and valued entitlements, for the application to read.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub features: BTreeMap<String, serde_json::Value>,
    /// The trial of a new organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialSpec>,
    /// `signUp` or `firstOfMonth`.
    #[serde(default)]
    #[schema(value_type = String, example = "signUp")]
    pub cycle: Cycle,
    /// Whether meters that it does not name may be used.
    #[serde(default)]
    pub other_meters: OtherMeters,
    /// What callers get where a meter cannot be decided, by the meter's key: `deny` (of those that are not here), `allow`, or
    /// `{"safe": <quantity>}` a minute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub degraded: BTreeMap<String, DegradedSpec>,
    /// What is added to the price of a language model's tokens, in percent: 0 to 10000, with at most four decimal places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub llm_markup: Option<QuantityText>,
    /// Days of grace for a missing payment, 0 to 365; 7 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_days: Option<u16>,
    /// The Stripe price ids that stand for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stripe_prices: Vec<String>,
    /// The plan after the subscription's end; `free` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_plan: Option<String>,
}

impl PlanSpec {
    /// Whether organizations come from it to another plan by themselves.
    pub fn leads_to(&self, key: &PlanKey) -> bool {
        self.trial_leads_to(key) || self.fallback_plan.as_deref() == Some(key.as_str())
    }

    fn markup(&self) -> Result<Markup, Invalid> {
        let Some(text) = &self.llm_markup else { return Ok(Markup::NONE) };
        Markup::parse(text.as_str())
            .or_else(|_| invalid("#/llmMarkup", "must be percent, 0 to 10000, with at most four decimal places"))
    }

    /// Whether its trial ends in another plan.
    pub fn trial_leads_to(&self, key: &PlanKey) -> bool {
        matches!(self.trial.as_ref().map(|trial| &trial.on_end), Some(TrialEnd::Plan(end)) if end == key)
    }

    /// The plan that this defines, given the meters.
    ///
    /// # Errors
    /// [`Invalid`] where a member is out of its bounds or names what does not exist.
    pub fn plan<'m>(
        &self,
        id: PlanId,
        key: &PlanKey,
        version: u32,
        meter: impl Fn(&str) -> Option<&'m Meter>,
    ) -> Result<Plan, Invalid> {
        if self.limits.len() > MOST_LIMITS || self.features.len() > MOST_FEATURES {
            return invalid("#", format!("at most {MOST_LIMITS} limits and {MOST_FEATURES} features"));
        }
        let mut meters: Vec<MeterLimits> = Vec::new();
        for (i, spec) in self.limits.iter().enumerate() {
            let pointer = format!("#/limits/{i}");
            let Some(known) = meter(&spec.meter) else {
                return invalid(pointer + "/meter", format!("there is no meter {:?}: create it first", spec.meter));
            };
            let at = meters.iter().position(|limits| limits.meter == known.id).unwrap_or(meters.len());
            if at == meters.len() {
                meters.push(MeterLimits::new(known.id));
            }
            if meters[at].get(spec.window).is_some() {
                return invalid(pointer, "the meter has a limit in this window already");
            }
            meters[at].set(spec.window, spec.limit(known, &pointer)?);
        }
        if self.degraded.len() > MOST_LIMITS {
            return invalid("#/degraded", format!("at most {MOST_LIMITS} meters"));
        }
        let policy = |(key, spec): (&String, &DegradedSpec)| match meter(key) {
            Some(known) => Ok((known.id, spec.policy(known, &format!("#/degraded/{key}"))?)),
            None => invalid(format!("#/degraded/{key}"), format!("there is no meter {key:?}: create it first")),
        };
        Ok(Plan {
            degraded: self.degraded.iter().map(policy).collect::<Result<_, _>>()?,
            id,
            key: key.clone(),
            version,
            meters,
            other_meters: self.other_meters == OtherMeters::Unlimited,
            llm_markup: self.markup()?,
            trial: self.trial.as_ref().map(TrialSpec::trial).transpose()?,
            cycle: self.cycle,
            grace_days: self.grace()?,
            stripe_prices: self.prices()?,
            fallback: self.fallback()?,
        })
    }

    fn grace(&self) -> Result<u16, Invalid> {
        let days = self.grace_days.unwrap_or(GRACE_DAYS);
        if days > MOST_GRACE_DAYS { invalid("#/graceDays", "must be 0 to 365") } else { Ok(days) }
    }

    fn prices(&self) -> Result<Vec<PriceId>, Invalid> {
        if self.stripe_prices.len() > MOST_PRICES {
            return invalid("#/stripePrices", format!("at most {MOST_PRICES} prices"));
        }
        let read = |(i, text): (usize, &String)| match PriceId::new(text) {
            Ok(price) => Ok(price),
            Err(_) => {
                invalid(format!("#/stripePrices/{i}"), "must be the id of a price, such as price_1MoBy5LkdIwHu7ix")
            }
        };
        self.stripe_prices.iter().enumerate().map(read).collect()
    }

    fn fallback(&self) -> Result<PlanKey, Invalid> {
        let key = self.fallback_plan.as_deref().unwrap_or(FALLBACK_PLAN);
        PlanKey::new(key).or_else(|error| invalid("#/fallbackPlan", error.to_string()))
    }
}

impl TrialSpec {
    fn trial(&self) -> Result<Trial, Invalid> {
        if !(1..=3650).contains(&self.days) {
            return invalid("#/trial/days", "must be 1 to 3650");
        }
        Ok(Trial { days: self.days, on_end: self.on_end.clone() })
    }
}

impl LimitSpec {
    fn limit(&self, meter: &Meter, pointer: &str) -> Result<Limit, Invalid> {
        if self.window.sliding_length().is_some() && !meter.aggregation.is_rate() {
            return invalid(format!("{pointer}/window"), "minute and hour limits need a meter of sum or count");
        }
        let status = match self.status {
            None | Some(429) => RefusalStatus::TooManyRequests,
            Some(402) => RefusalStatus::PaymentRequired,
            Some(_) => return invalid(format!("{pointer}/status"), "must be 429 or 402"),
        };
        let thresholds = self.thresholds.clone().unwrap_or_else(|| vec![80, 100]);
        if thresholds.len() > 20 || thresholds.iter().any(|t| !(1..=100).contains(t)) || !thresholds.is_sorted() {
            return invalid(format!("{pointer}/thresholds"), "must be ascending percentages, 1 to 100, at most 20");
        }
        Ok(Limit { max: self.limit_max(meter, pointer)?, enforcement: self.enforcement, status, thresholds })
    }

    fn limit_max(&self, meter: &Meter, pointer: &str) -> Result<Max, Invalid> {
        match (&self.max, self.unlimited) {
            (None, true) => Ok(Max::Unlimited),
            (Some(text), false) => match Quantity::parse(text.as_str(), meter.decimals) {
                Ok(max) => Ok(Max::Units(max)),
                Err(error) => invalid(format!("{pointer}/max"), error.to_string()),
            },
            _ => invalid(pointer, "give either max or \"unlimited\": true"),
        }
    }
}

/// The name of a status on the wire.
pub const fn status_name(status: Status) -> &'static str {
    metergate_rules::due::status_name(status)
}
