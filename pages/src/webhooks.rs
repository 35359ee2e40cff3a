//! Webhook endpoints, how they fare, and what was sent to one.

use askama::Template;

use crate::answers::{Paged, WebhookDelivery, WebhookEndpoint};
use crate::format::{self, Markup, Zone};
use crate::frame::{Frame, Place};
use crate::organizations::in_query;

/// Where a delivery can stand, with the words for it.
const STATES: [(&str, &str); 4] =
    [("pending", "Pending"), ("delivered", "Delivered"), ("failed", "Failed"), ("canceled", "Canceled")];

/// All endpoints.
#[derive(Template)]
#[template(path = "webhooks.html")]
pub struct Webhooks {
    frame: Frame,
    endpoints: Vec<WebhookEndpoint>,
}

impl Webhooks {
    /// The page: the oldest stands first, so that a new one comes last. Their ids are random.
    pub fn new(frame: Frame, mut endpoints: Vec<WebhookEndpoint>) -> Self {
        endpoints.sort_by_key(|endpoint| format::instant(&endpoint.created_at));
        Self { frame: frame.at("Webhooks", Place::Webhooks), endpoints }
    }

    fn relative(&self, time: &str) -> Markup {
        format::relative_tag(time, &self.frame.now, &Zone::utc())
    }
}

/// JSON over several lines, with every figure and member as it stands there.
fn indented(json: &str) -> String {
    let (mut lines, mut depth, mut in_text, mut escaped) = (String::new(), 0_usize, false, false);
    let line = |lines: &mut String, depth: usize| {
        lines.push('\n');
        lines.extend(std::iter::repeat_n("  ", depth));
    };
    for c in json.chars() {
        if !in_text && matches!(c, '}' | ']') {
            depth = depth.saturating_sub(1);
            let end = lines.trim_end().len();
            if lines[..end].ends_with(['{', '[']) {
                lines.truncate(end);
            } else {
                line(&mut lines, depth);
            }
        }
        lines.push(c);
        match c {
            '{' | '[' if !in_text => {
                depth += 1;
                line(&mut lines, depth);
            }
            ',' if !in_text => line(&mut lines, depth),
            ':' if !in_text => lines.push(' '),
            '"' if !escaped => in_text = !in_text,
            _ => {}
        }
        escaped = in_text && c == '\\' && !escaped;
    }
    lines
}

/// What waits for an endpoint.
#[derive(Clone, Debug)]
pub struct Waiting {
    count: usize,
    /// Whether there is more than was counted.
    is_more: bool,
    /// When the first of it is due.
    next: Option<String>,
}

impl Waiting {
    /// What a list of all that is pending says.
    pub fn of(pending: &Paged<WebhookDelivery>) -> Self {
        let due = |delivery: &WebhookDelivery| delivery.next_attempt_at.clone();
        let next = pending.data.iter().filter_map(due).min_by_key(|time| format::instant(time));
        let is_more = pending.next_cursor.is_some();
        // Of more than was read nobody knows which is the first.
        Self { count: pending.data.len(), is_more, next: next.filter(|_| !is_more) }
    }

    fn words(&self) -> String {
        let count = format::count(self.count as u64, "message");
        if self.is_more { format!("more than {count}") } else { count }
    }
}

/// One endpoint, and what was sent to it.
#[derive(Template)]
#[template(path = "webhook.html")]
pub struct WebhookPage {
    frame: Frame,
    endpoint: WebhookEndpoint,
    waiting: Waiting,
    deliveries: Vec<WebhookDelivery>,
    next: Option<String>,
    state: String,
    is_later: bool,
}

impl WebhookPage {
    /// The page, with deliveries in a state; in any where it is empty. `is_later` where this is not the list's beginning.
    pub fn new(
        frame: Frame,
        (endpoint, waiting): (WebhookEndpoint, Waiting),
        page: Paged<WebhookDelivery>,
        state: &str,
        is_later: bool,
    ) -> Self {
        let frame = frame.at(endpoint.name().to_owned(), Place::Webhooks);
        let filter = if state.is_empty() { String::new() } else { format!("state={}&", in_query(state)) };
        let next = page
            .next_cursor
            .map(|cursor| format!("/admin/webhooks/{}?{filter}cursor={}#deliveries", endpoint.id, in_query(&cursor)));
        Self { frame, endpoint, waiting, deliveries: page.data, next, state: state.to_owned(), is_later }
    }

    fn relative(&self, time: &str) -> Markup {
        format::relative_tag(time, &self.frame.now, &Zone::utc())
    }

    fn moment(&self, time: &str) -> Markup {
        format::moment_tag(time, &Zone::utc())
    }

    /// When something is sent to it next: not before its rest is over, and never while it is disabled.
    fn next_try(&self) -> Option<&str> {
        let next = self.waiting.next.as_deref().filter(|_| self.endpoint.enabled)?;
        let rest = self.endpoint.rests_until.as_deref();
        rest.into_iter().chain([next]).max_by_key(|time| format::instant(time))
    }

    const fn states(&self) -> [(&'static str, &'static str); 4] {
        STATES
    }

    /// The class of a state's badge.
    fn badge(&self, state: &str) -> &'static str {
        match state {
            "delivered" => "is-good",
            "failed" => "is-bad",
            "pending" => "is-warn",
            _ => "",
        }
    }

    fn body(&self, delivery: &WebhookDelivery) -> String {
        indented(delivery.body.get())
    }

    /// Why nothing is sent to it, in a sentence.
    fn stopped(&self) -> Option<&'static str> {
        if self.endpoint.enabled {
            return None;
        }
        Some(match self.endpoint.disabled_reason.as_deref() {
            Some("gone") => "It answered 410 Gone, so nothing is sent to it.",
            Some("failing") => "For three days it took nothing, so it is paused.",
            _ => "An operator has disabled it.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(endpoint: serde_json::Value, pending: &[&str]) -> String {
        let mut whole = serde_json::json!({
            "id": "ep_1", "url": "https://example.com/hooks", "types": [], "description": "", "enabled": true,
            "disabledReason": null, "disabledAt": null, "oldSecretEndsAt": null, "lastAttemptAt": null, "lastDeliveredAt": null,
            "failingSince": null, "restsUntil": null, "createdAt": "2026-11-01T00:00:00Z",
        });
        whole.as_object_mut().unwrap().extend(endpoint.as_object().unwrap().clone());
        let delivery = |at: &&str| {
            serde_json::json!({"id": "msg_1", "type": "usage.reset", "organization": null, "state": "pending",
                "createdAt": "2026-11-27T00:00:00Z", "nextAttemptAt": at, "attemptCount": 0, "attempts": [], "body": {}})
        };
        let pending: Vec<_> = pending.iter().map(delivery).collect();
        let pending = serde_json::json!({"data": pending, "nextCursor": null}).to_string();
        let pending: Paged<WebhookDelivery> = serde_json::from_str(&pending).unwrap();
        let (waiting, none) = (Waiting::of(&pending), Paged { data: Vec::new(), next_cursor: None });
        let endpoint = (serde_json::from_value(whole).unwrap(), waiting);
        let mut frame = Frame::nobody();
        frame.now = "2026-11-28T12:00:00Z".to_owned();
        WebhookPage::new(frame, endpoint, none, "", false).render().unwrap()
    }

    #[test]
    fn an_endpoint_says_whether_it_rests_or_is_paused_since_when_and_what_comes_next() {
        let (early, late) = ("2026-11-28T12:10:00Z", "2026-11-28T13:00:00Z");
        let idle = page(serde_json::json!({}), &[]);
        assert!(idle.contains("<dd>nothing</dd>") && idle.contains(">enabled</span>"), "{idle}");
        let busy = page(serde_json::json!({}), &[late, early]);
        assert!(
            busy.contains("2 messages; the next is tried <time") && busy.contains(">in 10 minutes</time>"),
            "{busy}"
        );
        let resting = page(serde_json::json!({"restsUntil": "2026-11-28T14:00:00Z"}), &[late, early]);
        assert!(resting.contains("Resting until <time") && resting.contains(">in 2 hours</time>"), "{resting}");
        assert!(!resting.contains(">in 10 minutes</time>"), "{resting}");
        let paused =
            serde_json::json!({"enabled": false, "disabledReason": "failing", "disabledAt": "2026-11-28T09:00:00Z"});
        let paused = page(paused, &[early]);
        assert!(paused.contains("Paused since <time") && paused.contains("For three days it took nothing"), "{paused}");
        assert!(paused.contains("1 message</dd>"), "nothing is tried meanwhile: {paused}");
    }

    #[test]
    fn json_is_shown_over_several_lines_with_its_figures_as_they_are() {
        let cases = [
            (r#"{}"#, "{}"),
            (r#"{"b":123456789.123456789,"a":[]}"#, "{\n  \"b\": 123456789.123456789,\n  \"a\": []\n}"),
            (r#"[1,{"t":"a, {b}: \"c\" \\"},2]"#, "[\n  1,\n  {\n    \"t\": \"a, {b}: \\\"c\\\" \\\\\"\n  },\n  2\n]"),
        ];
        for (json, expected) in cases {
            assert_eq!(indented(json), expected);
        }
    }
}
