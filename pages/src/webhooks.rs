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
    /// The page.
    pub fn new(frame: Frame, endpoints: Vec<WebhookEndpoint>) -> Self {
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

/// One endpoint, and what was sent to it.
#[derive(Template)]
#[template(path = "webhook.html")]
pub struct WebhookPage {
    frame: Frame,
    endpoint: WebhookEndpoint,
    deliveries: Vec<WebhookDelivery>,
    next: Option<String>,
    state: String,
    is_later: bool,
}

impl WebhookPage {
    /// The page, with deliveries in a state; in any where it is empty. `is_later` where this is not the list's beginning.
    pub fn new(
        frame: Frame,
        endpoint: WebhookEndpoint,
        page: Paged<WebhookDelivery>,
        state: &str,
        is_later: bool,
    ) -> Self {
        let frame = frame.at(endpoint.name().to_owned(), Place::Webhooks);
        let filter = if state.is_empty() { String::new() } else { format!("state={}&", in_query(state)) };
        let next = page
            .next_cursor
            .map(|cursor| format!("/admin/webhooks/{}?{filter}cursor={}#deliveries", endpoint.id, in_query(&cursor)));
        Self { frame, endpoint, deliveries: page.data, next, state: state.to_owned(), is_later }
    }

    fn relative(&self, time: &str) -> Markup {
        format::relative_tag(time, &self.frame.now, &Zone::utc())
    }

    fn moment(&self, time: &str) -> Markup {
        format::moment_tag(time, &Zone::utc())
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
