//! The portal: what an organization sees of its use and its plan.

use askama::Template;

use crate::answers::{Cycle, Grant, Meter, Offer, Standings, Subscription, name_of, unit_of};
use crate::format::{self, Amount};
use crate::frame::{Frame, Place};
use crate::organization::{Head, UsageParts};

/// The first page.
#[derive(Template)]
#[template(path = "portal/usage.html")]
pub struct Portal {
    frame: Frame,
    head: Head,
    parts: UsageParts,
}

impl Portal {
    /// The page.
    pub fn new(frame: Frame, head: Head, parts: UsageParts) -> Self {
        Self { frame: frame.at(format!("{} · Usage", head.organization.name), Place::Usage), head, parts }
    }
}

/// What the page about billing shows.
pub struct BillingParts {
    /// All meters.
    pub meters: Vec<Meter>,
    /// Where each stands.
    pub standings: Standings,
    /// The credit.
    pub grants: Vec<Grant>,
    /// The billing cycle.
    pub cycle: Cycle,
    /// The subscription.
    pub subscription: Subscription,
}

/// The page about billing.
#[derive(Template)]
#[template(path = "portal/billing.html")]
pub struct Billing {
    frame: Frame,
    head: Head,
    parts: BillingParts,
}

impl Billing {
    /// The page.
    pub fn new(frame: Frame, head: Head, parts: BillingParts) -> Self {
        Self { frame: frame.at(format!("{} · Billing", head.organization.name), Place::Billing), head, parts }
    }

    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        name_of(&self.parts.meters, key)
    }

    fn amount(&self, meter: &str, amount: &Amount) -> String {
        let unit = unit_of(&self.parts.meters, meter);
        amount.in_unit(unit)
    }

    /// The same without the name of the unit.
    fn bare(&self, meter: &str, amount: &Amount) -> String {
        amount.bare(unit_of(&self.parts.meters, meter))
    }

    /// Whether whoever looks can be sent to Stripe's page for their subscription.
    fn can_manage(&self) -> bool {
        self.head.can_change && self.parts.subscription.manageable
    }

    /// Other plans that whoever looks can pay for. Who has a subscription changes it on Stripe's page.
    fn offers(&self) -> Vec<&Offer> {
        let pays = self.parts.subscription.subscription_status.as_deref();
        let pays = pays.is_some_and(|status| !matches!(status, "canceled" | "incomplete_expired" | "incomplete"));
        let is_other = |offer: &&Offer| offer.plan != self.parts.subscription.plan;
        let can = self.head.can_change && !pays;
        self.parts.subscription.offers.iter().filter(|_| can).filter(is_other).collect()
    }

    fn extras(&self) -> Vec<(&str, Amount)> {
        let extra = self.parts.standings.meters.iter().filter(|standing| !standing.extra.is_zero());
        extra.map(|standing| (standing.meter.as_str(), standing.extra)).collect()
    }

    fn open_grants(&self) -> Vec<&Grant> {
        self.parts.grants.iter().filter(|grant| matches!(grant.state.as_str(), "active" | "pending")).collect()
    }

    /// Days of the trial that are left, in words.
    fn trial(&self) -> Option<String> {
        let ends =
            self.head.organization.trial_ends_at.as_deref().filter(|_| self.head.organization.status == "trial")?;
        Some(format::relative(ends, self.head.now()))
    }
}
