//! What operators change about webhook endpoints.

use crate::answers::WebhookEndpoint;
use crate::form::{Change, Field, Form, Kind};

/// What an endpoint can be told, with the words for it.
const TYPES: [(&str, &str); 13] = [
    ("usage.threshold", "A limit comes close (usage.threshold)"),
    ("usage.refused", "Something was refused (usage.refused)"),
    ("usage.overage", "Use went beyond a limit (usage.overage)"),
    ("usage.reset", "Usage was reset (usage.reset)"),
    ("trial.ending", "A trial ends soon (trial.ending)"),
    ("trial.ended", "A trial has ended (trial.ended)"),
    ("subscription.changed", "Plan, status or cycle changed (subscription.changed)"),
    ("organization.locked", "An organization was locked (organization.locked)"),
    ("organization.unlocked", "An organization was unlocked (organization.unlocked)"),
    ("grant.created", "Credit was granted (grant.created)"),
    ("grant.expiring", "Credit expires soon (grant.expiring)"),
    ("grant.exhausted", "Credit is used up (grant.exhausted)"),
    ("period.started", "A billing period began (period.started)"),
];

/// An endpoint, new or to be changed.
pub fn endpoint(found: Option<&WebhookEndpoint>) -> Form {
    let mut form = match found {
        Some(endpoint) => Form::new("Edit webhook endpoint", "Save").field(Field::hidden("endpoint", &endpoint.id)),
        None => Form::new("New webhook endpoint", "Create endpoint"),
    };
    let of = |read: fn(&WebhookEndpoint) -> String| found.map(read).unwrap_or_default();
    form = form
        .field(
            Field::new("url", "Address", Kind::Line("url"))
                .value(of(|endpoint| endpoint.url.clone()))
                .hint("Such as https://example.com/webhooks: https, and reachable from everywhere.")
                .most(2048),
        )
        .field(
            Field::text("description", "Description")
                .value(of(|endpoint| endpoint.description.clone()))
                .hint("What your team calls it.")
                .optional()
                .most(255),
        );
    for (kind, words) in TYPES {
        let is_wanted = found.is_some_and(|endpoint| endpoint.types.iter().any(|wanted| wanted == kind));
        let check = Field::check(&format!("type.{kind}"), words).value(if is_wanted { "true" } else { "" });
        form =
            form.field(check.group("Events", "It is told of those that are checked. Where none is, of all of them."));
    }
    form
}

fn about(form: Form, endpoint: &WebhookEndpoint) -> Form {
    form.of(endpoint.name()).field(Field::hidden("endpoint", &endpoint.id))
}

/// Nothing is sent to it any more, or is again.
pub fn switch(endpoint: &WebhookEndpoint, enable: bool) -> Form {
    let (title, before, after) = if enable {
        ("Enable webhook endpoint", "disabled", "enabled")
    } else {
        ("Disable webhook endpoint", "enabled", "disabled")
    };
    let form = Form::new(title, title).change(Change::new(endpoint.name(), before, after));
    let form = if enable {
        form.say("What has waited for less than a day is sent now.")
    } else {
        form.say("Nothing is sent to it until it is enabled again. What waits then is sent, if that is within a day; of what happens meanwhile it is never told.").danger().field(Field::reason())
    };
    about(form, endpoint)
}

/// It goes.
pub fn delete(endpoint: &WebhookEndpoint) -> Form {
    let form = Form::new("Delete webhook endpoint", "Delete endpoint")
        .say("What waits for it is not sent any more, and its secret is forgotten.")
        .danger()
        .change(Change::new(endpoint.name(), "endpoint", "no endpoint"))
        .field(Field::reason());
    about(form, endpoint)
}

/// Another secret.
pub fn rotate(endpoint: &WebhookEndpoint) -> Form {
    let form = Form::new("Rotate the secret", "Make another secret").say(
        "Messages are signed by both secrets for a day, so that your receiver can go over to the new one in its own time.",
    );
    let form = form
        .field(Field::check("atOnce", "End the present secret at once").hint("For one that somebody else has seen."));
    about(form, endpoint)
}

/// Something is sent for a try.
pub fn test(endpoint: &WebhookEndpoint) -> Form {
    let form = Form::new("Send a test", "Send a test").say(format!(
        "A message of type webhook.test goes to {}. What it answers is seen among its deliveries.",
        endpoint.url
    ));
    about(form, endpoint)
}

/// A message is sent once more.
pub fn resend(endpoint: &WebhookEndpoint, delivery: &str) -> Form {
    let form = Form::new("Send again", "Send again")
        .say(format!("The message goes to {} once more, under the same id: {delivery}.", endpoint.url))
        .field(Field::hidden("delivery", delivery));
    about(form, endpoint)
}
