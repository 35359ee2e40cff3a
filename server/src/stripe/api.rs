//! Asking Stripe: a subscription as it is now, events that were missed, pages of its own for paying. Bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use metergate_rules::time::{SECOND, Time};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;

use crate::clock::boot;
use crate::config::Secret;

/// Until a connection is made, and until an answer is read to its end.
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(20);
/// The largest answer in bytes.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// How long Stripe wants to be left alone that was asked too much and does not say.
const AFTER_TOO_MANY: Duration = Duration::from_secs(1);
/// What failed within so long, in microseconds, is asked for once more: somebody waits for it.
const AT_ONCE: i64 = 5 * SECOND;
/// The longest wait that Stripe is believed to want.
const LONGEST: Duration = Duration::from_secs(3600);

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A later call may have one: why, and how long Stripe wants to be left alone.
    #[error("{0}")]
    Later(String, Option<Duration>),
    /// There is no such thing.
    #[error("Stripe does not know it: is it of the account, and of the mode, of the API key?")]
    Missing,
    /// The same call is refused again.
    #[error("{0}")]
    Never(String),
}

/// Calls to Stripe.
#[derive(Clone)]
pub struct Api {
    agent: Agent,
    base: Arc<str>,
    key: Secret,
}

/// A page of events, the newest first.
pub struct Events {
    /// Each as it would have come.
    pub payloads: Vec<String>,
    /// The last of them, if there are more.
    pub next: Option<String>,
}

impl Api {
    /// Calls to the server at a base address with a key.
    pub fn new(base: &str, key: Secret) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The key goes where the configuration says, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .build();
        Self { agent: config.new_agent(), base: base.trim_end_matches('/').into(), key }
    }

    /// A subscription as it is now. Waits for the answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn subscription(&self, id: &str) -> Result<Value, CallError> {
        self.get(&format!("/v1/subscriptions/{}", encoded(id)))
    }

    /// Events of these types that were made since a time, a page of them. Waits for the answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn events(&self, kinds: &[&str], since: Time, after: Option<&str>) -> Result<Events, CallError> {
        let mut path = format!("/v1/events?limit=100&created%5Bgte%5D={}", since.micros().max(0) / SECOND);
        for kind in kinds {
            path = format!("{path}&types%5B%5D={}", encoded(kind));
        }
        if let Some(after) = after {
            path = format!("{path}&starting_after={}", encoded(after));
        }
        let page = self.get(&path)?;
        let Some(data) = page["data"].as_array() else { return Err(CallError::Never("a list has no data".to_owned())) };
        let last = data.last().and_then(|last| last["id"].as_str()).filter(|_| page["has_more"] == Value::Bool(true));
        Ok(Events { payloads: data.iter().map(Value::to_string).collect(), next: last.map(str::to_owned) })
    }

    /// Where a customer manages what they pay, and from where they come back; under this key Stripe makes it once. Waits for the
    /// answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn portal(&self, customer: &str, back: &str, key: &str) -> Result<String, CallError> {
        self.page("/v1/billing_portal/sessions", &[("customer", customer), ("return_url", back)], key)
    }

    /// Where somebody pays for a price; under this key Stripe makes it once. Waits for the answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn checkout(&self, asked: &Checkout<'_>, key: &str) -> Result<String, CallError> {
        let mut form = vec![
            ("mode", "subscription"),
            ("line_items[0][price]", asked.price),
            ("line_items[0][quantity]", "1"),
            ("client_reference_id", asked.organization),
            ("metadata[organization]", asked.organization),
            ("subscription_data[metadata][organization]", asked.organization),
            ("success_url", asked.back),
            ("cancel_url", asked.back),
        ];
        form.extend(asked.customer.map(|customer| ("customer", customer)));
        self.page("/v1/checkout/sessions", &form, key)
    }

    /// Has a page made. Where the answer is lost, or Stripe fails at once, it is asked once more under the same key, so that
    /// there is one page whatever became of the first call.
    fn page(&self, path: &str, form: &[(&str, &str)], key: &str) -> Result<String, CallError> {
        let pairs = form.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let post = || {
            let request = self.agent.post(format!("{}{path}", self.base)).header("authorization", self.bearer());
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            answered(request.header("idempotency-key", key).send(body.as_str()))
        };
        let began = boot();
        let made = match post() {
            Err(CallError::Later(_, wanted)) if may_be_asked_again(wanted, began) => post()?,
            made => made?,
        };
        // Somebody is sent there: nowhere else than to a page, and by a secure way unless Stripe stands on this machine.
        let url = made["url"].as_str().filter(|url| url.starts_with("https://") || url.starts_with(&*self.base));
        url.map(str::to_owned).ok_or_else(|| CallError::Never("Stripe made a page without an address".to_owned()))
    }

    fn get(&self, path: &str) -> Result<Value, CallError> {
        answered(self.agent.get(format!("{}{path}", self.base)).header("authorization", self.bearer()).call())
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.key.expose())
    }
}

/// What somebody wants to pay for.
#[derive(Clone, Copy, Debug)]
pub struct Checkout<'a> {
    /// The organization's id.
    pub organization: &'a str,
    /// Stripe's customer that it is, if it is one.
    pub customer: Option<&'a str>,
    /// The price.
    pub price: &'a str,
    /// Where they come back.
    pub back: &'a str,
}

/// Whether a call that began then has failed so soon that somebody may wait for another, and Stripe does not want to be left alone.
fn may_be_asked_again(wanted: Option<Duration>, began: i64) -> bool {
    wanted.is_none_or(|wanted| wanted.is_zero()) && boot() - began < AT_ONCE
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn answered(sent: Result<Response<ureq::Body>, ureq::Error>) -> Result<Value, CallError> {
    let mut response = sent.map_err(|error| CallError::Later(format!("Stripe cannot be asked: {error}"), None))?;
    let status = response.status().as_u16();
    let wanted = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let wanted =
        wanted.and_then(|text| text.trim().parse().ok()).map(|seconds| Duration::from_secs(seconds).min(LONGEST));
    let body = response.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
    let body = body.map_err(|error| CallError::Later(format!("an answer of Stripe's broke off: {error}"), None))?;
    let value = serde_json::from_slice::<Value>(&body);
    match (status, value) {
        (200..=299, Ok(value)) => Ok(value),
        (200..=299, Err(_)) => Err(CallError::Later("an answer of Stripe's is not JSON".to_owned(), None)),
        (404, _) => Err(CallError::Missing),
        (401 | 403, _) => {
            Err(CallError::Later("Stripe refuses the API key: set METERGATE_STRIPE_API_KEY".to_owned(), None))
        }
        (409 | 429 | 500..=599, _) => {
            let wanted = wanted.or((status == 429).then_some(AFTER_TOO_MANY));
            Err(CallError::Later(format!("Stripe answered {status}"), wanted))
        }
        (_, value) => {
            let why = value.ok().and_then(|value| value["error"]["message"].as_str().map(str::to_owned));
            Err(CallError::Never(format!("Stripe answered {status}: {}", why.unwrap_or_default())))
        }
    }
}
