//! Subscriptions, and what Stripe told.

use serde::Deserialize;

use super::{Lock, Period};

/// An organization's subscription.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    pub(crate) subscription: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) subscription_status: Option<String>,
    pub(crate) price: Option<String>,
    pub(crate) subscription_period: Option<Period>,
    pub(crate) cancel_at: Option<String>,
    pub(crate) trial_end: Option<String>,
    pub(crate) grace_ends_at: Option<String>,
    pub(crate) rules_dates: bool,
    pub(crate) plan: String,
    pub(crate) locks: Vec<Lock>,
    pub(crate) manageable: bool,
    pub(crate) offers: Vec<Offer>,
}

/// A plan that can be paid for.
#[derive(Clone, Debug, Deserialize)]
pub struct Offer {
    pub(crate) plan: String,
    pub(crate) name: String,
}

/// What Stripe told, and what became of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StripeEvent {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) subscription: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) names: Option<String>,
    pub(crate) organization: Option<String>,
    pub(crate) note: String,
    pub(crate) due_at: Option<String>,
    pub(crate) received_at: String,
}
