//! An organization's subscription (P7): what it is linked with, how that stands, and what follows from it.

use metergate_rules::account::Account;
use metergate_rules::due::status_name;
use metergate_rules::id::OrganizationRef;
use serde::Serialize;
use utoipa::ToSchema;

use super::organization::{LockBody, plan_of};
use super::{Period, Report, Timestamp};
use crate::catalogue::Snapshot;
use crate::store::reader::ReadError;

/// An organization's subscription, as Stripe last told of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionBody {
    /// The organization's key.
    pub organization: String,
    /// Stripe's id of the subscription; `null` without one.
    pub subscription: Option<String>,
    /// Stripe's id of the customer; `null` where none is known.
    pub customer: Option<String>,
    /// Where the subscription stands by Stripe's words; `null` where nothing has been told of it.
    pub subscription_status: Option<&'static str>,
    /// The price that says the plan, else the first of them.
    pub price: Option<String>,
    /// What is paid for now.
    pub subscription_period: Option<Period>,
    /// When the subscription will end, if that is known.
    pub cancel_at: Option<Timestamp>,
    /// When the subscription's trial ends, or ended.
    pub trial_end: Option<Timestamp>,
    /// When consumption stops unless a missing payment comes.
    pub grace_ends_at: Option<Timestamp>,
    /// Whether the billing periods are the subscription's, so that nobody else can move them.
    pub rules_dates: bool,
    /// The key of the organization's plan.
    pub plan: String,
    /// `trial`, `active`, `past_due` or `canceled`.
    pub status: &'static str,
    /// Whether a lock stops consumption.
    pub locked: bool,
    /// The locks that hold.
    pub locks: Vec<LockBody>,
    /// The billing period that is open.
    pub current_period: Period,
    /// When the next billing period begins.
    pub next_reset_date: Timestamp,
    /// Whether the organization's people can be sent to Stripe's own page for their subscription.
    pub manageable: bool,
    /// Plans that can be paid for there, each with its price; none where Stripe cannot be asked.
    pub offers: Vec<Offer>,
}

/// A plan that can be paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Offer {
    /// The plan's key.
    pub plan: String,
    /// Its name for people.
    pub name: String,
    /// Stripe's id of the price.
    pub price: String,
}

impl SubscriptionBody {
    /// The subscription of an account on which everything has been applied that has fallen due. `asks`: Stripe can be asked.
    pub fn of(account: &Account, catalogue: &Snapshot, asks: bool) -> Self {
        let (known, state) = (account.subscription.as_deref(), account.subscribed_as());
        let customer = known.and_then(|known| known.customer.as_ref()).map(ToString::to_string);
        Self {
            organization: account.profile.key.to_string(),
            subscription: known.and_then(|known| known.id.as_ref()).map(ToString::to_string),
            manageable: asks && customer.is_some(),
            customer,
            subscription_status: state.map(|state| state.status.as_str()),
            price: state.and_then(|state| state.price.as_ref()).map(ToString::to_string),
            subscription_period: state.and_then(|state| state.period).map(Period::from),
            cancel_at: state.and_then(|state| state.cancel_at).map(Timestamp),
            trial_end: state.and_then(|state| state.trial_end).map(Timestamp),
            grace_ends_at: state.and_then(|state| state.grace_ends).map(Timestamp),
            rules_dates: account.ruling_period().is_some(),
            plan: plan_of(account, catalogue).0,
            status: status_name(account.status),
            locked: !account.locks.is_empty(),
            locks: LockBody::all(&account.locks),
            current_period: account.shown_period().into(),
            next_reset_date: Timestamp(account.windows.period.end),
            offers: if asks { offers(catalogue) } else { Vec::new() },
        }
    }
}

/// Each plan that has a price, by key, with the first of its prices.
fn offers(catalogue: &Snapshot) -> Vec<Offer> {
    let offer = |plan: &crate::catalogue::PlanEntry| {
        let price = plan.spec.stripe_prices.first()?.clone();
        Some(Offer { plan: plan.key.to_string(), name: plan.title().to_owned(), price })
    };
    let mut offers: Vec<Offer> = catalogue.newest_plans().filter_map(offer).collect();
    offers.sort_by(|a, b| a.plan.cmp(&b.plan));
    offers
}

impl Report<'_> {
    /// `GET /v1/organizations/{org}/subscription`, and the number for its entity tag `"v<n>"`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller.
    pub fn subscription(&self, organization: &OrganizationRef, asks: bool) -> Result<SubscriptionBody, ReadError> {
        let current = self.current(organization)?;
        Ok(SubscriptionBody::of(&current.account, self.catalogue, asks))
    }
}
