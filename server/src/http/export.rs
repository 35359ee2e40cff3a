//! A copy of everything, as lines of JSON.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, Uri};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::error::ApiError;
use super::keys::KeyBody;
use super::prices::PricesBody;
use super::query::Pairs;
use super::reports::report_to;
use super::settings::SettingsBody;
use super::state::{App, Operator};
use super::team::{MeterBody, PlanBody};
use super::webhook_endpoints::EndpointBody;
use crate::catalogue::logo::Picture;
use crate::report::export::Lines;
use crate::report::{Report, Timestamp};
use crate::store::reader::ReadError;
use crate::store::{Scope, StoreError};

/// Chunks that wait for a caller who reads slowly.
const WAITING: usize = 4;
/// How long one waits. A snapshot that is held keeps the write-ahead file growing.
const STALLED: Duration = Duration::from_secs(30);

/// The first line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Begin {
    format: u32,
    time: Timestamp,
    events: bool,
}

/// Everything at one point in time, as lines of JSON, each `{"kind", "organization"?, "data"}`: `begin`, then `settings`, each
/// `meter`, each version of each `plan`, each API `key` and webhook `endpoint` without its secret, then of each organization `organization`, `quota`,
/// `subscription` where it has one, `grant`, `usage` (quarter hours of a day and set of dimension values), `audit` and, where asked for, `event`; then the team's
/// `audit`. The last line is `end`: without it the answer was cut off. One export goes on at a time; one whose caller reads
/// nothing for 30 s ends.
#[utoipa::path(get, operation_id = "export", path = "/v1/export", tag = "server",
    params(("events" = Option<bool>, Query, description = "Also the events that are still kept")),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 409, description = "One is being made")))]
pub async fn export(State(app): State<App>, _operator: Operator, uri: Uri) -> Result<Response<Body>, ApiError> {
    let with_events = Pairs::of(&uri, &["events"])?.parsed("events")?.unwrap_or(false);
    let alone = std::sync::Arc::clone(&app.shared.exporting).try_acquire_owned();
    let alone =
        alone.map_err(|_| ApiError::conflict("export-running", "An export is being made: wait for its end."))?;
    let (sender, mut receiver) = channel(WAITING);
    let draining = app.shared.draining.clone();
    tokio::spawn(async move {
        let to = sender.clone();
        let made = report_to(&app, Scope::Team, false, move |report| {
            let _alone = alone;
            let mut send = |chunk| if *draining.borrow() { stopped() } else { send(&to, chunk) };
            write(report, with_events, &mut send)
        });
        if let Err(error) = made.await {
            let _ = sender.send(Err(error)).await;
        }
    });
    let first = receiver.recv().await.ok_or_else(|| ApiError::internal("an export ended without a line"))??;
    let mut response = Response::new(Body::new(Chunks { first: Some(first), rest: receiver }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn write(
    report: &Report<'_>,
    with_events: bool,
    send: &mut dyn FnMut(Vec<u8>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut lines = Lines::to(send);
    lines.put("begin", None, &Begin { format: 1, time: Timestamp(report.now), events: with_events })?;
    let stored = &report.catalogue.stored;
    lines.put("settings", None, &SettingsBody::of(&stored.settings, Picture::address))?;
    for meter in stored.meters.values().filter_map(|entry| MeterBody::of(entry, report.catalogue)) {
        lines.put("meter", None, &meter)?;
    }
    stored.plans.values().try_for_each(|plan| lines.put("plan", None, &PlanBody::of(plan)))?;
    lines.put("prices", None, &PricesBody::from(&stored.prices))?;
    stored.keys.values().try_for_each(|key| lines.put("key", None, &KeyBody::of(key, None)))?;
    for endpoint in stored.endpoints.values() {
        lines.put("endpoint", None, &EndpointBody::without_secret(endpoint, report.now))?;
    }
    report.export(with_events, &mut lines)?;
    lines.end()
}

/// Hands a chunk on, on a thread that may wait.
fn send(to: &Sender<Result<Bytes, ApiError>>, chunk: Vec<u8>) -> Result<(), ReadError> {
    let sending = async { tokio::time::timeout(STALLED, to.send(Ok(chunk.into()))).await };
    match tokio::runtime::Handle::current().block_on(sending) {
        Ok(Ok(())) => Ok(()),
        // The caller has gone, or does not read.
        Ok(Err(_)) | Err(_) => stopped(),
    }
}

fn stopped() -> Result<(), ReadError> {
    Err(StoreError::Unavailable.into())
}

/// The body: what was made so far, and what follows.
struct Chunks {
    first: Option<Bytes>,
    rest: Receiver<Result<Bytes, ApiError>>,
}

/// An export that cannot go on ends without its last line, and so does the connection.
#[derive(Debug, thiserror::Error)]
#[error("the export was cut off")]
struct CutOff;

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.rest.poll_recv(context).map(|next| next.map(|chunk| chunk.map(Frame::data).map_err(|_| CutOff)))
    }
}
