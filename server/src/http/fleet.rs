//! All organizations together, and that something has happened to one of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use bytes::Bytes;
use metergate_rules::role::Right;
use tokio::sync::mpsc::{Sender, channel};
use utoipa::ToSchema;

use super::auth;
use super::decision::json;
use super::error::ApiError;
use super::query::Pairs;
use super::reports::{Numbers, report_to};
use super::state::{App, Operator, Shared};
use super::stream::{opened, too_many};
use crate::fleet::MOST_LISTED;
use crate::live::mark;
use crate::report::fleet::{FleetBody, FleetQuery};
use crate::store::Scope;

/// Organizations in each list where nobody says how many.
const LISTED: usize = 10;
/// How often it is looked whether anything has happened: the view is at most as old.
const LOOKS: Duration = Duration::from_secs(5);
/// After so many looks without anything a comment is sent.
const QUIET: u32 = 3;

/// All organizations at one time, at most 5 s ago: how many, by status, plan and lock; those close to a limit, locked, in
/// trial, refused and using most; what all used by UTC day. The first question after some minutes begins to go through
/// them all: until `complete` the answer says how far it has come.
#[utoipa::path(get, operation_id = "fleet", path = "/v1/fleet", tag = "usage",
    params(("limit" = Option<u32>, Query, description = "Organizations in each list, 1 to 100; 10 without it"),
        ("meter" = Option<String>, Query, description = "Use of this meter alone"), Numbers),
    responses((status = 200, body = FleetBody), (status = 404, description = "Unknown meter"), (status = 422, description = "Not valid")))]
pub async fn fleet(State(app): State<App>, _operator: Operator, uri: Uri) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&uri, &["limit", "meter", "numbers"])?;
    let limit = pairs.parsed::<usize>("limit")?.unwrap_or(LISTED);
    if limit == 0 || limit > MOST_LISTED {
        return Err(ApiError::invalid("?limit", "Send a number from 1 to 100."));
    }
    let query = FleetQuery { limit, meter: app.meter_if_any(pairs.one("meter")?).await? };
    let shared = &app.shared;
    let overview = shared.fleet.overview(&shared.store, shared.draining.clone()).await?;
    let body = report_to(&app, Scope::Team, pairs.text()?, move |report| report.fleet(&overview, query)).await?;
    Ok(json(StatusCode::OK, &body))
}

/// One event of the stream.
#[derive(ToSchema)]
#[schema(as = FleetEvent)]
#[allow(dead_code, reason = "it is there for the document alone")]
pub struct FleetEventBody {
    /// `changed`.
    #[schema(example = "changed")]
    pub event: String,
    /// An empty object.
    #[schema(example = "{}")]
    pub data: String,
}

/// That something was recorded or changed, as server-sent events named `changed`, at most one every 5 s: whoever shows all
/// organizations together asks for the view again. What it was `/v1/events/stream` tells. It costs one look at the store's
/// progress every 5 s, however much happens. Every 15 s without any a comment is sent. It ends when the credential does.
#[utoipa::path(get, operation_id = "stream_fleet", path = "/v1/fleet/stream", tag = "usage",
    responses((status = 200, content_type = "text/event-stream", body = FleetEventBody), (status = 429, description = "This credential follows as often as it may")))]
pub async fn stream(
    State(app): State<App>,
    operator: Operator,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    Pairs::of(&uri, &[])?;
    let who = operator.beginner.unwrap_or_else(|| "administrator".into());
    let place = app.shared.live.admit(who).map_err(too_many)?;
    let (shared, seen) = (Arc::clone(&app.shared), mark(&app.shared.store).await?);
    let (out, chunks) = channel(1);
    tokio::spawn(async move {
        let _place = place;
        let (mut draining, gone) = (shared.draining.clone(), out.clone());
        let stopped = async { drop(draining.wait_for(|stop| *stop).await) };
        tokio::select! {
            () = stopped => {}
            () = gone.closed() => {}
            () = look(&shared, &headers, seen, &out) => {}
        }
    });
    Ok(opened(chunks))
}

/// Looks again and again, until the credential or the client has gone, or the store cannot be asked.
async fn look(shared: &Shared, headers: &HeaderMap, mut seen: u64, out: &Sender<Bytes>) {
    // What was shown before may be some seconds old, too.
    let mut quiet = 0_u32;
    let mut text = Bytes::from_static(b"retry: 1000\n\n");
    loop {
        if !text.is_empty() && out.send(text).await.is_err() {
            return;
        }
        tokio::time::sleep(LOOKS).await;
        let store = &shared.store;
        let known = auth::authenticate(headers, &Method::GET, shared, &store.catalogue(), store.now());
        if known.and_then(|known| known.may(Right::Operate)).is_err() {
            return;
        }
        let Ok(now) = mark(store).await else { return };
        quiet = if now == seen { quiet + 1 } else { 0 };
        seen = now;
        text = match quiet {
            // Once more after the last change: the view may have been some seconds old when it was asked for.
            0 | 1 => Bytes::from_static(b"event: changed\ndata: {}\n\n"),
            quiet if quiet.is_multiple_of(QUIET) => Bytes::from_static(b": still here\n\n"),
            _ => Bytes::new(),
        };
    }
}
