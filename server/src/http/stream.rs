//! `GET /v1/events/stream`: events as they happen, as server-sent events (M11).

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use bytes::Bytes;
use hyper::body::Frame;
use metergate_rules::id::OrganizationId;
use metergate_rules::role::Right;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::auth::{self, Credential};
use super::error::ApiError;
use super::query::Pairs;
use super::reports::{organization, report_to};
use super::state::{App, Shared};
use crate::live::{Admission, Behind, Cursor, Interest, Item, LiveEventBody, News, Subscription, TooMany, behind};
use crate::store::Scope;

/// Chunks that wait for a client that reads slowly, and about how many bytes one has.
const WAITING: usize = 8;
const CHUNK: usize = 64 << 10;
/// How often it is looked whether the credential still holds; each third time a comment is sent.
const LOOKS: Duration = Duration::from_secs(5);
/// After so many milliseconds a client comes again.
const RETRY: u32 = 1000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Events as they happen, from all nodes, as server-sent events of the form of `GET /v1/events` with the organization's key
/// beside. Without `organization` those of all that the caller may read. `Last-Event-ID` goes on behind an event: of one
/// organization exactly there; of several on PostgreSQL some seconds before, so that some come again (an event is told from
/// others by organization, source and id). An event named `gap` says that more happened meanwhile than is sent again, which
/// `GET /v1/events` lists; one named `lagged` ends a stream whose reader was too slow, to be gone on with. Every 15 s a comment
/// is sent. It ends when the credential does.
#[utoipa::path(get, operation_id = "stream_events", path = "/v1/events/stream", tag = "events",
    params(("organization" = Option<String>, Query, description = "Id or key; all without it"), ("meter" = Option<String>, Query),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen")),
    responses((status = 200, content_type = "text/event-stream", body = LiveEventBody), (status = 404, description = "Unknown organization or meter"),
        (status = 422, description = "Last-Event-ID is of another stream"), (status = 429, description = "This credential follows as often as it may")))]
pub async fn stream(
    State(app): State<App>,
    credential: Credential,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&uri, &["organization", "meter"])?;
    let scope = credential.may(Right::Read)?.scope;
    let one = match pairs.one("organization")? {
        Some(text) => {
            let named = organization(text)?;
            let account = report_to(&app, scope, false, move |report| report.view.account(report.scope, &named));
            Some(account.await?.id)
        }
        None => only(&app.shared, scope),
    };
    let meter = pairs.one("meter")?.map(str::to_owned);
    app.meter_if_any(meter.as_deref()).await?;
    let last = headers.get(&LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?").trim());
    let last = last.filter(|text| !text.is_empty()).map(str::parse::<Cursor>).transpose();
    let last = last.map_err(|error| ApiError::invalid("Last-Event-ID", format!("{error}.")))?;
    let who = credential.beginner().unwrap_or_else(|| "administrator".into());
    let admission = app.shared.live.admit(who).map_err(too_many)?;
    let interest = one.map_or_else(|| all_of(&app.shared, scope), Interest::one);
    let shared = &app.shared;
    let following = shared.live.follow(&shared.store, interest, shared.draining.clone()).await?;
    let (interest, reached) = (following.interest().clone(), following.reached);
    let missed = report_to(&app, scope, false, move |report| behind(report, (&interest, one), reached, last)).await?;
    let (out, chunks) = channel(WAITING);
    let (cursor, seen) = (missed.reached, HashMap::new());
    let stream =
        Stream { shared: Arc::clone(shared), headers, one, meter, following, cursor, seen, out, _place: admission };
    tokio::spawn(stream.run(missed, last));
    Ok(opened(chunks))
}

pub(super) fn opened(chunks: Receiver<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(Chunks(chunks)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that keeps what it has until it is more would keep what has happened.
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

pub(super) fn too_many(error: TooMany) -> ApiError {
    match error {
        TooMany::OfOne => ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-streams",
            "This credential follows events as often as it may (/v1/limits). Close a stream first.",
        )
        .with_retry_after(LOOKS.as_secs()),
        TooMany::OfAll => ApiError::unavailable(LOOKS.as_secs()),
    }
}

/// The only organization that a caller may read, if it is one alone.
fn only(shared: &Shared, scope: Scope) -> Option<OrganizationId> {
    match scope {
        Scope::Team => None,
        Scope::Organization(own) | Scope::Portal { organization: own, .. } => Some(own),
        Scope::Member { .. } => match all_of(shared, scope) {
            Interest::Some(mine) if mine.len() == 1 => mine.iter().next().copied(),
            _ => None,
        },
    }
}

/// All that a caller may read, as it is now.
fn all_of(shared: &Shared, scope: Scope) -> Interest {
    match scope {
        Scope::Team => Interest::All,
        Scope::Organization(own) | Scope::Portal { organization: own, .. } => Interest::one(own),
        Scope::Member { user, .. } => {
            let people = shared.store.people();
            let mine = people.memberships(user).filter(|member| member.is_active).map(|member| member.organization);
            Interest::Some(Arc::new(mine.collect::<HashSet<_>>()))
        }
    }
}

/// One who follows.
struct Stream {
    shared: Arc<Shared>,
    /// What the credential stands in.
    headers: HeaderMap,
    one: Option<OrganizationId>,
    meter: Option<String>,
    following: Subscription,
    cursor: Cursor,
    /// Of journals that are apart the blocks that were sent when the stream went on.
    seen: HashMap<OrganizationId, u64>,
    out: Sender<Bytes>,
    _place: Admission,
}

/// The stream ends: the client has gone, or the server goes.
struct Ended;

impl Stream {
    async fn run(mut self, missed: Behind, last: Option<Cursor>) {
        let mut draining = self.shared.draining.clone();
        let stopped = async { drop(draining.wait_for(|stop| *stop).await) };
        let gone = self.out.clone();
        tokio::select! {
            () = stopped => {}
            () = gone.closed() => {}
            _ = self.follow(missed, last) => {}
        }
    }

    async fn follow(&mut self, missed: Behind, last: Option<Cursor>) -> Result<(), Ended> {
        self.begin(missed, last).await?;
        let (mut looks, mut ticks) = (tokio::time::interval(LOOKS), 0_u32);
        looks.tick().await;
        loop {
            tokio::select! {
                news = self.following.next() => match news.as_deref() {
                    Ok(News::Items { items, before, reached }) => self.tell(items, *before, *reached).await?,
                    Ok(News::Missed) | Err(RecvError::Lagged(_)) => return self.lag().await,
                    Err(RecvError::Closed) => return Err(Ended),
                },
                _ = looks.tick() => {
                    self.scope().ok_or(Ended)?;
                    ticks += 1;
                    if ticks.is_multiple_of(3) {
                        // Where nothing is for this stream, it is further all the same.
                        let text = format!(": still here\nid: {}\n\n", self.cursor);
                        self.send(text).await?;
                    }
                }
            }
        }
    }

    /// What was missed comes first. The id lets a client that hears of no event go on from here.
    async fn begin(&mut self, missed: Behind, last: Option<Cursor>) -> Result<(), Ended> {
        let Behind { items, is_whole, reached, seen } = missed;
        let from = last.filter(|_| is_whole).unwrap_or(reached);
        self.send(format!("retry: {RETRY}\nid: {from}\n\n")).await?;
        if !is_whole {
            let text = "{\"detail\":\"More happened meanwhile than is sent again: GET /v1/events lists it.\"}";
            self.send(format!("event: gap\nid: {reached}\ndata: {text}\n\n")).await?;
        }
        self.cursor = from;
        self.tell(&items, from, reached).await?;
        self.seen = seen;
        Ok(())
    }

    /// Sends what of some events is for this stream.
    async fn tell(&mut self, items: &[Item], before: Cursor, reached: Cursor) -> Result<(), Ended> {
        let scope = self.scope().ok_or(Ended)?;
        let people = self.shared.store.people();
        let (mut text, mut named) = (String::new(), None);
        for item in items {
            if !self.is_new(item) {
                continue;
            }
            let is_own = self.one.is_none_or(|one| one == item.organization);
            let wants = self.meter.as_ref().is_none_or(|meter| item.meters.contains(meter));
            let may = is_own && wants && scope.admits(item.organization, &people).is_ok();
            let at = if matches!(self.cursor, Cursor::At(_)) { Cursor::At(item.place) } else { before };
            if may && self.following.interest().has(item.organization) {
                let _ = write!(text, "id: {at}\ndata: {}\n\n", item.json);
                named = Some(at);
            }
            self.cursor = at;
            if text.len() >= CHUNK {
                self.send(std::mem::take(&mut text)).await?;
            }
        }
        self.move_to(reached);
        if let Some(Cursor::Since(time)) = named
            && self.cursor != Cursor::Since(time)
        {
            let _ = write!(text, "id: {}\n\n", self.cursor);
        }
        if text.is_empty() { Ok(()) } else { self.send(text).await }
    }

    /// Whether an event was not sent when the stream went on.
    fn is_new(&self, item: &Item) -> bool {
        match self.cursor {
            Cursor::At(place) if self.one.is_none_or(|one| one == item.organization) => item.place > place,
            Cursor::At(_) => false,
            Cursor::Since(_) => self.seen.get(&item.organization).is_none_or(|last| item.place.sequence > *last),
        }
    }

    /// Everything is told that far. The places of one organization's journal say nothing of another's.
    fn move_to(&mut self, reached: Cursor) {
        match (self.cursor, reached) {
            (Cursor::At(place), Cursor::At(to)) => self.cursor = Cursor::At(place.max(to)),
            (Cursor::Since(time), Cursor::Since(to)) => self.cursor = Cursor::Since(time.max(to)),
            _ => {}
        }
    }

    /// More happened than could be told. The client comes again, and goes on where it was.
    async fn lag(&self) -> Result<(), Ended> {
        let text = "{\"detail\":\"More happened than was read: go on by Last-Event-ID.\"}";
        self.send(format!("event: lagged\nid: {}\ndata: {text}\n\n", self.cursor)).await?;
        Err(Ended)
    }

    /// What the credential may read now, if that is still what the stream is about.
    fn scope(&self) -> Option<Scope> {
        let (shared, store) = (&self.shared, &self.shared.store);
        let known = auth::authenticate(&self.headers, &Method::GET, shared, &store.catalogue(), store.now()).ok()?;
        let scope = known.may(Right::Read).ok()?.scope;
        self.one.is_none_or(|one| scope.admits(one, &store.people()).is_ok()).then_some(scope)
    }

    async fn send(&self, text: String) -> Result<(), Ended> {
        self.out.send(text.into()).await.map_err(|_| Ended)
    }
}

/// The body: what was made so far, until the stream ends.
struct Chunks(Receiver<Bytes>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
