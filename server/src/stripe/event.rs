//! Stripe's events and subscriptions, read from JSON of any version of its API. What is not known is passed over.

use metergate_rules::id::{CustomerId, InvoiceId, PriceId, SubscriptionId};
use metergate_rules::subscription::{Invoice, News, PricedItem, Reported, Snapshot};
use metergate_rules::time::{SECOND, Span, Time};
use serde_json::Value;

use crate::store::stripe::{EventRow, EventState, Subject};

/// Items of a subscription that are read.
const MOST_ITEMS: usize = 100;

/// Why there is an invoice that is not what a period costs.
const EXTRA: [&str; 3] = ["subscription_update", "subscription_threshold", "manual"];

/// It is not what it should be, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

fn unreadable<T>(why: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable(why.into()))
}

/// Types of events that are followed, as they are asked for after a downtime.
pub const FOLLOWED: [&str; 12] = [
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "checkout.session.completed",
];

/// An event as it is kept; when it arrived is set where it is.
///
/// # Errors
/// [`Unreadable`] where it is no event.
pub fn event(payload: &str) -> Result<EventRow, Unreadable> {
    let Ok(value) = serde_json::from_str::<Value>(payload) else { return unreadable("this is not JSON") };
    let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| is_plain(text));
    let (Some(id), Some(kind)) = (text("id"), text("type")) else {
        return unreadable("an event has an id and a type");
    };
    if id.starts_with(crate::store::stripe::SYNC) {
        return unreadable("an event's id does not begin so");
    }
    let news = told(kind, &value["data"]["object"])?;
    let subject = match &news {
        Some(news) => Subject {
            subscription: Some(news.id().to_string()),
            customer: id_of(&value["data"]["object"]["customer"]).map(str::to_owned),
            hint: hint(&value["data"]["object"]),
        },
        None => Subject::default(),
    };
    let state = if news.is_some() { EventState::Waiting } else { EventState::Ignored };
    Ok(EventRow {
        id: id.to_owned(),
        kind: kind.to_owned(),
        created_at: time(&value["created"]).unwrap_or(Time::MIN),
        received_at: Time::MIN,
        subject,
        state,
        due_at: Time::MIN,
        attempts: 0,
        organization: None,
        note: String::new(),
        payload: if news.is_some() { payload.to_owned() } else { String::new() },
    })
}

/// What a kept event tells; `None` where that is nothing that is followed.
///
/// # Errors
/// [`Unreadable`] where it is no event.
pub fn news(payload: &str) -> Result<Option<News>, Unreadable> {
    let Ok(value) = serde_json::from_str::<Value>(payload) else { return unreadable("this is not JSON") };
    told(value["type"].as_str().unwrap_or_default(), &value["data"]["object"])
}

fn told(kind: &str, object: &Value) -> Result<Option<News>, Unreadable> {
    if kind.starts_with("customer.subscription.") {
        return snapshot(object, false).map(|snapshot| Some(News::Told(snapshot)));
    }
    let paid = match kind {
        "invoice.paid" | "invoice.payment_succeeded" => true,
        "invoice.payment_failed" => false,
        "checkout.session.completed" => {
            let customer = id_of(&object["customer"]).and_then(|id| CustomerId::new(id).ok());
            let id = id_of(&object["subscription"]).and_then(|id| SubscriptionId::new(id).ok());
            return Ok(id.map(|id| News::Linked { id, customer }));
        }
        _ => return Ok(None),
    };
    // Since API 2025-03-31 the subscription stands in what the invoice comes from.
    let details = &object["parent"]["subscription_details"];
    let id = id_of(&details["subscription"]).or_else(|| id_of(&object["subscription"]));
    let id = id.and_then(|id| SubscriptionId::new(id).ok());
    let invoice = id_of(object).and_then(|id| InvoiceId::new(id).ok()).map(|id| Invoice {
        id,
        // An invoice looks back on the period before the one that is paid for, unless it is the first.
        until: time(&object["period_end"]),
        is_extra: object["billing_reason"].as_str().is_some_and(|reason| EXTRA.contains(&reason)),
    });
    Ok(id.zip(invoice).map(|(id, invoice)| News::Invoiced { id, invoice, paid }))
}

/// A subscription as Stripe writes it, of any version of the API.
///
/// # Errors
/// [`Unreadable`] where it is none.
pub fn snapshot(object: &Value, is_current: bool) -> Result<Snapshot, Unreadable> {
    let id = id_of(object).and_then(|id| SubscriptionId::new(id).ok());
    let Some(id) = id else { return unreadable("a subscription has an id") };
    let Some(status) = object["status"].as_str() else { return unreadable("a subscription has a status") };
    let items = object["items"]["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let items: Vec<PricedItem> = items.iter().take(MOST_ITEMS).filter_map(item).collect();
    let period = period(object);
    let ends = period.or_else(|| items.iter().filter_map(|item| item.period).min_by_key(|period| period.end));
    let at_end = object["cancel_at_period_end"].as_bool() == Some(true);
    Ok(Snapshot {
        id,
        customer: id_of(&object["customer"]).and_then(|id| CustomerId::new(id).ok()),
        created: time(&object["created"]).unwrap_or(Time::MIN),
        status: Reported::from_name(status),
        cancel_at: time(&object["cancel_at"]).or_else(|| ends.filter(|_| at_end).map(|period| period.end)),
        items,
        period,
        trial_end: time(&object["trial_end"]),
        is_current,
    })
}

/// The organization that metadata names, by key or id. Only the merchant writes metadata; a `client_reference_id` the payer may
/// choose, by the address of a payment link, so that it names nobody.
pub fn hint(object: &Value) -> Option<String> {
    let details = [&object["parent"]["subscription_details"], &object["subscription_details"], object];
    let named = details.into_iter().find_map(|of| of["metadata"]["organization"].as_str());
    named.filter(|text| is_plain(text)).map(str::to_owned)
}

/// What is not known here although a subscription says so.
pub fn remark(object: &Value) -> Option<String> {
    let status = object["status"].as_str()?;
    Reported::from_name(status).is_none().then(|| format!("the status {status} is not known: the last one stays"))
}

fn item(item: &Value) -> Option<PricedItem> {
    let price = id_of(&item["price"]).or_else(|| id_of(&item["plan"]))?;
    Some(PricedItem { price: PriceId::new(price).ok()?, period: period(item) })
}

fn period(of: &Value) -> Option<Span> {
    let (start, end) = (time(&of["current_period_start"])?, time(&of["current_period_end"])?);
    (start < end).then_some(Span { start, end })
}

/// Seconds since 1970.
fn time(value: &Value) -> Option<Time> {
    value.as_i64().map(|seconds| Time::from_micros(seconds.saturating_mul(SECOND)))
}

/// An id where it stands alone, and where the whole object does.
fn id_of(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["id"].as_str()).filter(|id| is_plain(id))
}

fn is_plain(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seconds(seconds: i64) -> Time {
        Time::from_micros(seconds * SECOND)
    }

    #[test]
    fn a_subscription_is_read_in_both_shapes() {
        let span = Span { start: seconds(100), end: seconds(200) };
        let new = json!({"id": "sub_1", "customer": "cus_1", "created": 50, "status": "active", "cancel_at": null, "trial_end": null,
            "items": {"data": [{"price": {"id": "price_1"}, "current_period_start": 100, "current_period_end": 200}]}});
        let old = json!({"id": "sub_1", "customer": {"id": "cus_1"}, "created": 50, "status": "active",
            "current_period_start": 100, "current_period_end": 200, "items": {"data": [{"plan": {"id": "price_1"}}]}});
        let (new, old) = (snapshot(&new, true).unwrap(), snapshot(&old, true).unwrap());
        assert_eq!((new.items[0].period, new.period), (Some(span), None));
        assert_eq!((old.items[0].period, old.period), (None, Some(span)));
        assert_eq!((new.status, &new.customer, new.created), (Some(Reported::Active), &old.customer, seconds(50)));
        assert_eq!(new.items[0].price, old.items[0].price);
    }

    #[test]
    fn an_invoice_names_its_subscription_in_both_shapes() {
        let of = |kind: &str, object: &Value| told(kind, object).unwrap();
        let new = json!({"id": "in_1", "parent": {"subscription_details": {"subscription": "sub_1"}}});
        let old = json!({"id": "in_1", "subscription": "sub_1"});
        let (id, invoice) = (SubscriptionId::new("sub_1").unwrap(), InvoiceId::new("in_1").unwrap());
        let invoice = Invoice { id: invoice, until: None, is_extra: false };
        for object in [&new, &old] {
            let told = News::Invoiced { id: id.clone(), invoice: invoice.clone(), paid: true };
            assert_eq!(of("invoice.paid", object), Some(told));
            assert!(matches!(of("invoice.payment_failed", object), Some(News::Invoiced { paid: false, .. })));
        }
        for (reason, is_extra) in [("subscription_cycle", false), ("subscription_update", true)] {
            let object = json!({"id": "in_1", "subscription": "sub_1", "period_end": 100, "billing_reason": reason});
            let Some(News::Invoiced { invoice, .. }) = of("invoice.paid", &object) else { panic!("{object}") };
            assert_eq!((invoice.until, invoice.is_extra), (Some(seconds(100)), is_extra), "{reason}");
        }
        assert_eq!(of("invoice.paid", &json!({"id": "in_1"})), None, "it is of no subscription");
        assert_eq!(of("charge.succeeded", &old), None);
    }

    #[test]
    fn what_is_no_event_is_refused_and_what_is_not_followed_is_passed_over() {
        let bad =
            ["", "[]", "{}", r#"{"id": "evt_1"}"#, r#"{"id": "", "type": "x"}"#, r#"{"id": "sync:1", "type": "x"}"#];
        for bad in bad {
            assert!(event(bad).is_err(), "{bad}");
        }
        assert!(event(r#"{"id": "evt_1", "type": "customer.subscription.updated", "data": {}}"#).is_err());
        let passed =
            event(r#"{"id": "evt_1", "type": "charge.succeeded", "created": 7, "data": {"object": {}}}"#).unwrap();
        assert_eq!((passed.state, passed.payload.as_str(), passed.created_at), (EventState::Ignored, "", seconds(7)));
    }

    #[test]
    fn an_organization_is_named_by_metadata_wherever_that_stands() {
        let named = json!({"metadata": {"organization": "acme"}});
        let cases = [
            named.clone(),
            json!({"parent": {"subscription_details": named.clone()}}),
            json!({"subscription_details": named}),
        ];
        for case in cases {
            assert_eq!(hint(&case).as_deref(), Some("acme"), "{case}");
        }
        assert_eq!(hint(&json!({"metadata": {"organization": 5}})), None);
    }

    #[test]
    fn who_pays_names_no_organization() {
        let session = json!({"id": "cs_1", "customer": "cus_1", "subscription": "sub_1", "client_reference_id": "acme", "metadata": {}});
        assert_eq!(hint(&session), None);
        let kept = event(
            &json!({"id": "evt_1", "type": "checkout.session.completed", "data": {"object": session}}).to_string(),
        );
        assert_eq!(kept.unwrap().subject.hint, None);
    }
}
