//! An organization's subscription, and what Stripe told that nobody could use.

use askama::Template;

use crate::answers::{Paged, StripeEvent, Subscription};
use crate::form::{Field, Form};
use crate::format::{self, Markup, Zone};
use crate::forms::About;
use crate::frame::{Frame, Place};
use crate::organization::Head;
use crate::organizations::in_query;

/// The tab of an organization.
#[derive(Template)]
#[template(path = "organization/subscription.html")]
pub struct SubscriptionTab {
    frame: Frame,
    head: Head,
    subscription: Subscription,
}

impl SubscriptionTab {
    /// The page.
    pub fn new(frame: Frame, head: Head, subscription: Subscription, place: Place) -> Self {
        let title = format!("{} · Subscription", head.organization.name);
        Self { frame: frame.at(title, place), head, subscription }
    }

    /// What its state means here, in words.
    fn meaning(&self) -> &'static str {
        match self.subscription.subscription_status.as_deref() {
            Some("trialing") => "In its trial: the plan holds.",
            Some("active") => "Paid: the plan holds.",
            Some("past_due") if self.subscription.grace_ends_at.is_some() => {
                "A payment is missing: the plan holds until the grace time ends."
            }
            Some("past_due") => "A payment is missing, and the grace time is over.",
            Some("unpaid") => "Not paid: consumption is locked.",
            Some("paused") => "Paused, without a way to pay: consumption is locked.",
            Some("canceled") => "It has ended: the fallback plan holds.",
            Some("incomplete_expired") => "The first payment never came: the fallback plan holds.",
            Some("incomplete") => "The first payment is missing: the fallback plan holds until it comes.",
            _ => "Stripe has told nothing of it yet.",
        }
    }

    fn state_class(&self) -> &'static str {
        match self.subscription.subscription_status.as_deref() {
            Some("active" | "trialing") => "is-good",
            Some("past_due" | "incomplete") => "is-warn",
            Some("unpaid" | "paused") => "is-bad",
            _ => "",
        }
    }

    fn is_locked_by_billing(&self) -> bool {
        self.subscription.locks.iter().any(|lock| lock.cause == "billing")
    }

    /// What the form begins with.
    fn linked(&self) -> String {
        let pair =
            |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}={}", in_query(value)));
        let pairs =
            [pair("subscription", &self.subscription.subscription), pair("customer", &self.subscription.customer)];
        pairs.into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}

/// What Stripe told.
#[derive(Template)]
#[template(path = "stripe.html")]
pub struct StripeEvents {
    frame: Frame,
    events: Vec<StripeEvent>,
    next: Option<String>,
    is_all: bool,
    is_later: bool,
}

impl StripeEvents {
    /// The page; of those that need somebody alone, or of all.
    pub fn new(frame: Frame, page: Paged<StripeEvent>, is_all: bool, is_later: bool) -> Self {
        let frame = frame.at("Stripe events", Place::Settings);
        Self { frame, events: page.data, next: page.next_cursor, is_all, is_later }
    }

    fn moment(&self, time: &str) -> Markup {
        format::moment_tag(time, &Zone::utc())
    }

    fn state_class(&self, event: &StripeEvent) -> &'static str {
        match event.state.as_str() {
            "failed" => "is-bad",
            "unmatched" | "waiting" => "is-warn",
            "done" => "is-good",
            _ => "",
        }
    }

    fn can_retry(&self, event: &StripeEvent) -> bool {
        matches!(event.state.as_str(), "failed" | "unmatched")
    }

    fn next_page(&self) -> Option<String> {
        let all = if self.is_all { "&all=true" } else { "" };
        self.next.as_ref().map(|next| format!("/admin/stripe?cursor={}{all}", in_query(next)))
    }
}

/// With which subscription and customer an organization is linked.
pub fn link(about: &About) -> Form {
    let chosen = |name: &str| about.chosen.get(name).map_or("", String::as_str).to_owned();
    Form::new("Link subscription", "Link")
        .say("What Stripe tells of this subscription or customer then rules the organization's plan, status and billing periods. Without either it is on its own again, and keeps its plan.")
        .field(
            Field::text("subscription", "Subscription")
                .value(chosen("subscription"))
                .hint("Stripe's id, such as sub_1MowQVLkdIwHu7ixeRlqHVzs.")
                .optional()
                .most(255),
        )
        .field(
            Field::text("customer", "Customer")
                .value(chosen("customer"))
                .hint("Stripe's id, such as cus_Na6dX7aXxi11N4. Its subscription is found by itself.")
                .optional()
                .most(255),
        )
        .field(Field::reason())
}

/// An event that is tried again.
pub fn retry(event: &str) -> Form {
    Form::new("Try again", "Try again")
        .say(format!("{event} is applied once more, now: after what was wrong is mended."))
        .field(Field::hidden("event", event))
}
