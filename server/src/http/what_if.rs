//! What would have been refused under a changed plan or catalogue (O10).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, Response, StatusCode};
use metergate_rules::id::{OrganizationRef, PlanKey};
use metergate_rules::period::Zone;
use metergate_rules::time::{DAY, Time};
use parking_lot::Mutex;
use serde::Deserialize;
use utoipa::ToSchema;

use super::decision::json as json_answer;
use super::error::ApiError;
use super::jobs::JobBody;
use super::operation::Operation;
use super::query::Pairs;
use super::reports::{Numbers, organization};
use super::state::{App, Operator};
use crate::catalogue::file::CatalogueFile;
use crate::catalogue::spec::{LimitSpec, PlanSpec};
use crate::jobs::{Begun, Ending, Job};
use crate::report::what_if::{Changed, Question, WhatIfReport, answer};
use crate::store::{Scope, StoreError};

/// The kind of the jobs that answer.
const KIND: &str = "what-if";
/// Those that go on at the same time, at most.
const MOST_AT_ONCE: usize = 2;
/// How long it may take at most where that is given, in seconds.
const LONGEST: u32 = 3600;
/// How long a caller is kept waiting for the answer itself, in seconds: without being asked, and at most.
const WAIT: u64 = 5;
const LONGEST_WAIT: u64 = 25;
/// The range where none is given, in days.
const RANGE: i64 = 30;
/// Organizations that can be named at most.
const MOST_NAMED: usize = 1000;

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WhatIfBody {
    /// The plan that is changed. Without `definition` and `limits` it is as it is: what if those were on it?
    pub plan: Option<String>,
    /// All of the plan, as `PUT /v1/plans/{key}` takes it.
    pub definition: Option<Box<PlanSpec>>,
    /// Limits in place of the plan's own on the same meter and window, or beside them.
    pub limits: Option<Vec<LimitSpec>>,
    /// A catalogue file (TOML) in place of a plan.
    pub catalogue: Option<String>,
    /// Ids or keys: these alone, as if they were on the plan; with a catalogue those of them that are on its plans. Without any
    /// all that are on the plans, but test organizations.
    pub organizations: Option<Vec<String>>,
    /// The first instant; 30 days before `to` without one.
    pub from: Option<String>,
    /// The first instant after; now without one.
    pub to: Option<String>,
    /// The zone of the days in the answer; UTC without one.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    /// Seconds, 1 to 3600: the answer is then of the organizations that have been replayed by then, and `unreplayed` says how many are
    /// left. Without it all are replayed.
    pub within_seconds: Option<u32>,
}

/// What would have been refused under a changed plan or catalogue: past records, replayed in order with the real rules. Events
/// are facts and never refused; what of them goes beyond a limit is told as overage. Locks, credit, overrides and moves
/// to other plans stay as they were. What was told too late for a limit, as an import is, stands apart, by when it had happened.
/// Where raw records are gone it says until when, and estimates from sums. Nothing is recorded. Where it takes longer than `wait` it is a job; two go on at a time.
#[utoipa::path(post, operation_id = "what_if", path = "/v1/what-if", tag = "meters and plans", request_body = WhatIfBody,
    params(("wait" = Option<u64>, Query, description = "Seconds until it becomes a job, 0 to 25; 5 without it"), Numbers),
    responses((status = 200, body = WhatIfReport), (status = 202, body = JobBody, description = "It takes longer; `Location` is the job", headers(("location" = String))),
        (status = 404, description = "Unknown plan or organization"), (status = 409, description = "As many go on as may"), (status = 422, description = "Not valid")))]
pub async fn what_if(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&operation.uri, &["wait", "numbers"])?;
    let wait = pairs.parsed::<u64>("wait")?.unwrap_or(WAIT);
    if wait > LONGEST_WAIT {
        return Err(ApiError::invalid("?wait", format!("Send a number of seconds, at most {LONGEST_WAIT}.")));
    }
    let (body, text): (WhatIfBody, bool) = (operation.json()?, pairs.text()?);
    let app = &operation.app;
    let question = question(app, body, text)?;
    let named = question.organizations().map(<[OrganizationRef]>::to_vec);
    if let Some(named) = named {
        // Before anything is begun: who does not exist is an error of the request.
        let exist = app.read(move |view| named.iter().try_for_each(|one| view.account(Scope::Team, one).map(drop)));
        exist.await?;
    }
    let busy = "As many are worked out as may be at a time: wait until one has ended.";
    let begun = app.shared.jobs.begin_among(MOST_AT_ONCE, KIND, operation.by.beginner, app.now());
    let begun = begun.ok_or_else(|| ApiError::conflict("what-if-running", busy))?;
    let job = Arc::clone(&begun.job);
    let failure = Failure::default();
    let ended = run(app, begun, question, Arc::clone(&failure));
    if wait == 0 {
        return accepted(&job);
    }
    // Whoever leaves has the job go on all the same.
    let _ = tokio::time::timeout(Duration::from_secs(wait), ended).await;
    answered(&job, &failure)
}

fn answered(job: &Job, failure: &Failure) -> Result<Response<Body>, ApiError> {
    match job.ending() {
        Some(Ending::Written(made)) => {
            let mut response = Response::new(Body::from(made.to_string()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        Some(Ending::Failed(reason)) => {
            Err(failure.lock().take().map_or_else(|| ApiError::internal(reason), ApiError::from))
        }
        Some(Ending::Done(_)) => Err(ApiError::internal("a what-if made something else")),
        None => accepted(job),
    }
}

fn accepted(job: &Job) -> Result<Response<Body>, ApiError> {
    let mut response = json_answer(StatusCode::ACCEPTED, &JobBody::from(job));
    let location = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id)).map_err(ApiError::internal)?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Why the store could not answer, for whoever still waits.
type Failure = Arc<Mutex<Option<StoreError>>>;

/// Begins to work it out. What is returned ends with it.
fn run(app: &App, begun: Begun, question: Question, failure: Failure) -> tokio::sync::oneshot::Receiver<()> {
    let (store, now) = (Arc::clone(&app.shared.store), app.now());
    let (ended, wait) = tokio::sync::oneshot::channel();
    begun.write_then(
        move |job: &Job| {
            let made = answer(store.reader(), &question, now, job).map_err(|error| error.told());
            let made = made.inspect_err(|error| *failure.lock() = Some(error.clone()));
            let made = made.map_err(|error| match error {
                StoreError::Unavailable => "it was stopped, or the store cannot be read now: ask again".to_owned(),
                error => error.to_string(),
            })?;
            serde_json::to_string(&made).map_err(|error| error.to_string())
        },
        // Nobody may be waiting any more.
        move || {
            let _ = ended.send(());
        },
    );
    wait
}

fn question(app: &App, body: WhatIfBody, text: bool) -> Result<Question, ApiError> {
    let span = span(&body, app.now())?;
    let organizations = body.organizations.as_ref().map(|named| organizations(named)).transpose()?;
    let zone = body.time_zone.as_deref().map_or_else(|| Ok(Zone::utc()), Zone::new);
    let zone = zone.map_err(|error| ApiError::invalid("#/timeZone", format!("{error}.")))?;
    let within = body.within_seconds;
    if within.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
        return Err(ApiError::invalid("#/withinSeconds", format!("Send a number of seconds, 1 to {LONGEST}.")));
    }
    let (is_definition, is_last_month) = (body.definition.is_some(), body.from.is_none() && body.to.is_none());
    let changed = changed(body)?;
    let question = Question::new(&app.snapshot(), changed, organizations, span, zone, text);
    let question = question.map(|question| question.of_last_month(is_last_month).within(within));
    question.map_err(|error| match error {
        // What is wrong with a plan is wrong with the member that defines it.
        StoreError::Catalogue { code, status, detail } if is_definition && detail.starts_with("#/") => {
            let detail = format!("#/definition{}", &detail[1..]);
            StoreError::Catalogue { code, status, detail }.into()
        }
        error => error.into(),
    })
}

fn organizations(named: &[String]) -> Result<Vec<OrganizationRef>, ApiError> {
    if named.is_empty() || named.len() > MOST_NAMED {
        return Err(ApiError::invalid("#/organizations", format!("Send 1 to {MOST_NAMED}, or leave it out for all.")));
    }
    named.iter().map(|text| organization(text)).collect()
}

fn changed(body: WhatIfBody) -> Result<Changed, ApiError> {
    let key = |key: &str| PlanKey::new(key).map_err(|error| ApiError::invalid("#/plan", format!("{error}.")));
    match (body.plan, body.definition, body.limits, body.catalogue) {
        (None, None, None, Some(text)) => {
            let file =
                CatalogueFile::parse(&text).map_err(|error| ApiError::invalid("#/catalogue", error.to_string()))?;
            Ok(Changed::File(file))
        }
        (_, _, _, Some(_)) => Err(ApiError::invalid("#/catalogue", "Send a catalogue or a plan, not both.")),
        (None, ..) => Err(ApiError::invalid("#/plan", "Send the key of a plan, or a catalogue file as catalogue.")),
        (Some(_), Some(_), Some(_), None) => {
            Err(ApiError::invalid("#/limits", "Send limits or all of the definition, not both."))
        }
        (Some(plan), definition, None, None) => Ok(Changed::Plan(key(&plan)?, definition)),
        (Some(plan), None, Some(limits), None) => Ok(Changed::Limits(key(&plan)?, limits)),
    }
}

fn span(body: &WhatIfBody, now: Time) -> Result<(Time, Time), ApiError> {
    let time = |text: &Option<String>, pointer: &str| {
        let parsed = text.as_deref().map(str::parse::<Time>).transpose();
        parsed.map_err(|error| ApiError::invalid(pointer, format!("{error}.")))
    };
    let to = time(&body.to, "#/to")?.unwrap_or(now);
    let from = time(&body.from, "#/from")?.unwrap_or_else(|| to.plus(-RANGE * DAY));
    if from < to { Ok((from, to)) } else { Err(ApiError::invalid("#/to", "Must lie after from.")) }
}
