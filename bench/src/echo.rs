//! The floor: a bare axum server that takes the request of a decision and answers as much as a decision answers.
//!
//! It decides nothing, stores nothing and knows no keys. What Metergate costs beyond it is the price of the decision.

use std::net::SocketAddr;

use axum::http::HeaderName;
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::connection::require_loopback;
use crate::error::BenchError;

/// The body of `POST /v1/consume`, owned: what an ordinary axum handler takes.
#[derive(Deserialize)]
struct ConsumeBody {
    organization: String,
    meter: String,
    quantity: i64,
    id: Option<String>,
}

/// The frame of a decision, with constant text where the three windows would stand.
#[derive(Serialize)]
struct Echo {
    allowed: bool,
    reason: Option<&'static str>,
    organization: String,
    meter: String,
    id: Option<String>,
    quantity: i64,
    overage: i64,
    limits: &'static str,
}

/// As many bytes as three windows with their limits, uses, remainders and instants.
const LIMITS: &str = concat!(
    "[{'window':'minute','enforcement':'hard','limit':1000000000,'used':123,'remaining':999999877,",
    "'resetsAt':'2026-11-22T11:07:00Z'},{'window':'day','enforcement':'hard','limit':1000000000,'used':123,",
    "'remaining':999999877,'resetsAt':'2026-11-23T00:00:00Z'},{'window':'billingPeriod','enforcement':'hard',",
    "'limit':1000000000,'used':123,'remaining':999999877,'resetsAt':'2026-12-22T11:06:00Z'}]",
);

/// The headers of a decision beside `content-type`, `content-length` and `date`.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        HeaderName::from_static("ratelimit"),
        "\"api_calls-minute\";r=999999877;t=1, \"api_calls-day\";r=999999877;t=3600",
    ),
    (
        HeaderName::from_static("ratelimit-policy"),
        "\"api_calls-minute\";q=1000000000;w=60, \"api_calls-day\";q=1000000000;w=86400",
    ),
    (HeaderName::from_static("x-ratelimit-limit-minute"), "1000000000"),
    (HeaderName::from_static("x-ratelimit-remaining-minute"), "999999877"),
    (HeaderName::from_static("x-ratelimit-limit-day"), "1000000000"),
    (HeaderName::from_static("x-ratelimit-remaining-day"), "999999877"),
];

async fn echo(Json(body): Json<ConsumeBody>) -> impl IntoResponse {
    let ConsumeBody { organization, meter, quantity, id } = body;
    let answer = Echo { allowed: true, reason: None, organization, meter, id, quantity, overage: 0, limits: LIMITS };
    (AppendHeaders(HEADERS), Json(answer))
}

/// Serves `POST /v1/consume`, `POST /v1/check` and `GET /readyz` until the process ends.
///
/// # Errors
/// [`BenchError::NotLoopback`], or [`BenchError::Io`] where the address is taken.
pub async fn serve(listen: SocketAddr) -> Result<(), BenchError> {
    require_loopback(listen)?;
    let what = || format!("listening on {listen}");
    let listener = TcpListener::bind(listen).await.map_err(BenchError::io(what()))?;
    axum::serve(listener, routes()).await.map_err(BenchError::io(what()))
}

/// The routes of the echo server.
pub fn routes() -> Router {
    Router::new()
        .route("/v1/consume", post(echo))
        .route("/v1/check", post(echo))
        .route("/readyz", get(async || "ready"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What product.md's shape of a decision over three windows comes to, as bytes.
    const DECISION: &str = concat!(
        r#"{"allowed":true,"reason":null,"organization":"org-00001","meter":"api_calls","id":null,"quantity":1,"#,
        r#""overage":0,"limits":["#,
        r#"{"window":"minute","enforcement":"hard","limit":1000000000,"used":123,"remaining":999999877,"#,
        r#""resetsAt":"2026-11-22T11:07:00Z"},"#,
        r#"{"window":"day","enforcement":"hard","limit":1000000000,"used":123,"remaining":999999877,"#,
        r#""resetsAt":"2026-11-23T00:00:00Z"},"#,
        r#"{"window":"billingPeriod","enforcement":"hard","limit":1000000000,"used":123,"remaining":999999877,"#,
        r#""resetsAt":"2026-12-22T11:06:00Z"}]}"#,
    );

    #[test]
    fn the_echo_answers_as_many_bytes_as_a_decision() {
        let echo = Echo {
            allowed: true,
            reason: None,
            organization: "org-00001".into(),
            meter: "api_calls".into(),
            id: None,
            quantity: 1,
            overage: 0,
            limits: LIMITS,
        };
        let size = serde_json::to_vec(&echo).unwrap().len();
        assert!(size.abs_diff(DECISION.len()) <= 2, "{size} against {}", DECISION.len());
        assert!(size >= 480, "{size}");
    }
}
