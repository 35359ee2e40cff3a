//! HTTP to the provider: no redirects, and bounds of time and size.

use std::error::Error;
use std::time::Duration;

use axum::http::{Request, Response};
use openidconnect::{HttpRequest, HttpResponse, SyncHttpClient};
use ureq::Agent;

/// Until a connection is made, and until an answer is read to its end.
const CONNECT: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(10);
/// The largest answer in bytes.
const MOST_BYTES: u64 = 256 * 1024;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// An address that anybody on the way could answer for.
    #[error("an address of the provider is not https")]
    Plain,
    /// It could not be had.
    #[error("{0}")]
    Failed(#[from] ureq::Error),
}

/// Calls to one provider.
#[derive(Clone)]
pub(super) struct Transport {
    agent: Agent,
    /// Whether the provider is on this machine, by an address without TLS.
    is_plain: bool,
}

impl Transport {
    pub(super) fn to(issuer: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // What we send has secrets in it: it goes where the provider has said, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .build();
        Self { agent: config.new_agent(), is_plain: issuer.starts_with("http://") }
    }
}

impl SyncHttpClient for Transport {
    type Error = CallError;

    fn call(&self, request: HttpRequest) -> Result<HttpResponse, CallError> {
        if request.uri().scheme_str() != Some("https") && !self.is_plain {
            return Err(CallError::Plain);
        }
        let (parts, body) = request.into_parts();
        let mut response = if body.is_empty() {
            self.agent.run(Request::from_parts(parts, ()))?
        } else {
            self.agent.run(Request::from_parts(parts, body))?
        };
        let bytes = response.body_mut().with_config().limit(MOST_BYTES).read_to_vec()?;
        let (parts, _) = response.into_parts();
        Ok(Response::from_parts(parts, bytes))
    }
}

/// An error with what caused it, for the log.
pub(super) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
