//! `POST /v1/prices/recompute`: what was charged for tokens, priced again by today's table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, Response};
use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::price::{PLACES, Pattern, TOKENS};
use metergate_rules::time::{Span, Time};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::catalogue::Snapshot;
use crate::catalogue::change::{Recompute, TeamCommand, TeamRequest};
use crate::http::change::{Reason, written};
use crate::http::error::ApiError;
use crate::http::jobs::JobBody;
use crate::http::number::Number;
use crate::http::operation::Operation;
use crate::http::query::Pairs;
use crate::http::reports::organization;
use crate::http::state::{App, Operator};
use crate::http::team::answer;
use crate::jobs::{Begun, Ending, Job};
use crate::report::Timestamp;
use crate::reprice::{self, Asked, Figures, MOST_SHOWN, OfOrganization, Repriced, Repricer};
use crate::store::{Answer, Scope, StoreError};

/// The kind of the jobs.
const KIND: &str = "recompute-prices";
/// How long a caller is kept waiting for the result itself, in seconds: without being asked, and at most.
const WAIT: u64 = 5;
const LONGEST_WAIT: u64 = 25;
/// Organizations and models that can be named at most.
const MOST_NAMED: usize = 1000;

/// What is to be priced again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecomputeBody {
    /// What was used from this instant on; brought down to its quarter hour.
    #[schema(example = "2026-11-01T00:00:00Z")]
    pub from: String,
    /// And before this one, brought up to its quarter hour; now without one.
    #[serde(default)]
    pub to: Option<String>,
    /// Ids or keys of these organizations alone; all without any.
    #[serde(default)]
    pub organizations: Option<Vec<String>>,
    /// With these models alone, or families of them such as `gpt-4o*`; all without any.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Whether it is only said what would change: so unless it is `false`.
    #[serde(default = "yes")]
    pub dry_run: bool,
    /// Why; kept in the audit log of each organization that is corrected. Needed unless it is a dry run.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Reason>,
}

const fn yes() -> bool {
    true
}

/// What would change, or has changed. Costs are US dollars.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RepricedReport)]
pub struct RepricedBody {
    /// Whether it was only said.
    pub dry_run: bool,
    /// What was used from this instant on.
    pub from: Timestamp,
    /// And before this one.
    pub to: Timestamp,
    /// Organizations that were gone through.
    pub checked: u64,
    /// Those of which something differs.
    pub differing: u64,
    /// Those that changed again and again meanwhile, so that they were left as they are: call again.
    pub failed: u64,
    /// From when on the records of all are kept, where older ones of the time have gone; what was used before stays as it is.
    pub complete_from: Option<Timestamp>,
    /// What was charged, with what earlier calls have corrected.
    pub before: Number,
    /// What it costs by the table in force.
    pub after: Number,
    /// How much more that is, or less.
    pub difference: Number,
    /// By model, of all organizations.
    pub models: Vec<OfModel>,
    /// The organizations with the largest differences, 500 at most.
    pub organizations: Vec<OfOrganizationBody>,
}

/// What differs of one organization.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RepricedOrganization)]
pub struct OfOrganizationBody {
    /// Its key.
    pub organization: String,
    /// From when on its records are kept, where older ones of the time have gone.
    pub complete_from: Option<Timestamp>,
    /// What was charged.
    pub before: Number,
    /// What it costs by the table in force.
    pub after: Number,
    /// How much more that is, or less.
    pub difference: Number,
    /// By model.
    pub models: Vec<OfModel>,
}

/// What differs of one model.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RepricedModel)]
pub struct OfModel {
    /// The model; `null` where none was named.
    pub model: Option<String>,
    /// Decisions and events.
    pub uses: u64,
    /// Those that the table has no price for: nothing is charged for them.
    pub unpriced: u64,
    /// What was charged.
    pub before: Number,
    /// What it costs by the table in force.
    pub after: Number,
    /// How much more that is, or less.
    pub difference: Number,
}

/// Prices what was used in a time again by the table in force, at the time of each use and with the markup of the plan that the
/// organization was on. What differs is recorded as audited adjustments of `llm_cost` in the quarter hours of the uses; a second
/// call changes nothing. A dry run, as it is unless `dryRun` is `false`, only says what would change. What the caller has said
/// to cost, and what is void, is left out. Where it takes longer than `wait` it is a job.
#[utoipa::path(post, operation_id = "recompute_prices", path = "/v1/prices/recompute", tag = "meters and plans", request_body = RecomputeBody,
    params(("wait" = Option<u64>, Query, description = "Seconds until it becomes a job, 0 to 25; 5 without it")),
    responses((status = 200, body = RepricedBody), (status = 202, body = JobBody, description = "It takes longer; `Location` is the job", headers(("location" = String))),
        (status = 404, description = "Unknown organization"), (status = 409, description = "One goes on, or no meter counts costs"), (status = 422, description = "Not valid")))]
pub async fn recompute(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let wait = Pairs::of(&operation.uri, &["wait"])?.parsed::<u64>("wait")?.unwrap_or(WAIT);
    if wait > LONGEST_WAIT {
        return Err(ApiError::invalid("?wait", format!("Send a number of seconds, at most {LONGEST_WAIT}.")));
    }
    let body: RecomputeBody = operation.json()?;
    let receipt = operation.receipt("POST /v1/prices/recompute", &[&operation.body])?;
    let Operation { app, by: operator, .. } = operation;
    let asked = asked(&app, &body, Arc::clone(&operator.caller.actor)).await?;
    let begun = app.shared.jobs.begin(KIND, operator.beginner, app.now());
    if asked.dry_run {
        let begun = begun.ok_or_else(|| ApiError::conflict("recompute-running", RUNNING))?;
        return watched(&app, begun, asked, wait).await;
    }
    let first = begun.as_ref().map(|begun| answer(202, &JobBody::from(&*begun.job), None));
    let refused = begun.is_none().then(|| StoreError::Catalogue {
        code: "recompute-running",
        status: 409,
        detail: RUNNING.to_owned(),
    });
    let command = TeamCommand::Recompute(Recompute {
        span: asked.span,
        organizations: body.organizations.unwrap_or_default(),
        models: body.models.unwrap_or_default(),
        refused,
    });
    let request = TeamRequest {
        actor: operator.caller.actor,
        reason: asked.reason.clone(),
        receipt,
        command,
        only_if_version: None,
        respond: Arc::new(move |_| first.clone().unwrap_or(Answer { status: 409, body: Vec::new(), version: None })),
    };
    // Apart from the connection: who hangs up after the audit log says that it was begun has begun it.
    let beginning = tokio::spawn(async move {
        let (answer, replayed) = app.change_team(request).await?;
        match begun.filter(|_| !replayed) {
            Some(begun) => watched(&app, begun, asked, wait).await,
            None => Ok(written(answer, replayed)),
        }
    });
    beginning.await.map_err(ApiError::internal)?
}

const RUNNING: &str = "Something is being priced again: wait until that has ended.";

async fn asked(app: &App, body: &RecomputeBody, actor: Arc<str>) -> Result<Asked, ApiError> {
    let time = |text: &str, pointer: &str| {
        text.parse::<Time>().map_err(|error| ApiError::invalid(pointer, format!("{error}.")))
    };
    let from = time(&body.from, "#/from")?;
    let to = body.to.as_deref().map_or_else(|| Ok(app.now()), |to| time(to, "#/to"))?;
    if to <= from {
        return Err(ApiError::invalid("#/to", "Must lie after from."));
    }
    let reason = match (&body.reason, body.dry_run) {
        (Some(reason), _) => String::from(reason.clone()),
        (None, true) => String::new(),
        (None, false) => return Err(ApiError::invalid("#/reason", "Say why.")),
    };
    let models = models(&app.snapshot(), body.models.as_deref())?;
    let organizations = match &body.organizations {
        Some(named) => Some(organizations(app, named).await?),
        None => None,
    };
    let (span, caller) = (reprice::whole(from, to), reprice::caller(actor));
    let (dry_run, most_kept) = (body.dry_run, reprice::MOST_KEPT);
    Ok(Asked { span, organizations, models, most_kept, dry_run, reason, caller })
}

fn models(snapshot: &Snapshot, named: Option<&[String]>) -> Result<Option<Vec<Pattern>>, ApiError> {
    let cost = snapshot.rules.cost_meter().filter(|_| snapshot.meter(TOKENS).is_some());
    let Some(cost) = cost else {
        let detail = "There is no meter tokens, or no meter llm_cost that is a sum with nine decimal places.";
        return Err(ApiError::conflict("no-cost-meter", detail));
    };
    let Some(named) = named else { return Ok(None) };
    if named.is_empty() || named.len() > MOST_NAMED {
        return Err(ApiError::invalid("#/models", format!("Send 1 to {MOST_NAMED}, or leave it out for all.")));
    } else if !cost.dimensions.iter().any(|name| name == "model") {
        return Err(ApiError::invalid("#/models", "The meter llm_cost has no dimension model: leave it out for all."));
    }
    let pattern = |(i, text): (usize, &String)| {
        Pattern::new(text)
            .ok_or_else(|| ApiError::invalid(format!("#/models/{i}"), "Send a model's name, or how names begin and *."))
    };
    named.iter().enumerate().map(pattern).collect::<Result<_, _>>().map(Some)
}

async fn organizations(app: &App, named: &[String]) -> Result<Vec<OrganizationId>, ApiError> {
    if named.is_empty() || named.len() > MOST_NAMED {
        return Err(ApiError::invalid("#/organizations", format!("Send 1 to {MOST_NAMED}, or leave it out for all.")));
    }
    let named: Vec<OrganizationRef> = named.iter().map(|text| organization(text)).collect::<Result<_, _>>()?;
    let ids = app.read(move |view| {
        let ids = named.iter().map(|one| view.account(Scope::Team, one).map(|account| account.id));
        ids.collect::<Result<Vec<_>, _>>()
    });
    let mut ids = ids.await?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Runs the job, and answers with what it made if that is soon.
async fn watched(app: &App, begun: Begun, asked: Asked, wait: u64) -> Result<Response<Body>, ApiError> {
    let job = Arc::clone(&begun.job);
    let ended = run(app, begun, asked);
    // Whoever leaves has the job go on all the same.
    let _ = tokio::time::timeout(Duration::from_secs(wait), ended).await;
    match job.ending() {
        Some(Ending::Written(made)) => {
            let mut response = Response::new(Body::from(made.to_string()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        Some(Ending::Failed(reason)) => Err(ApiError::internal(reason)),
        Some(Ending::Done(_)) => Err(ApiError::internal("the job made something else")),
        None => {
            let location = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id)).map_err(ApiError::internal)?;
            let mut response = written(answer(202, &JobBody::from(&*job), None), false);
            response.headers_mut().insert(LOCATION, location);
            Ok(response)
        }
    }
}

/// Begins. What is returned ends with it.
fn run(app: &App, begun: Begun, asked: Asked) -> tokio::sync::oneshot::Receiver<()> {
    let (store, app) = (Arc::clone(&app.shared.store), app.clone());
    let (ended, wait) = tokio::sync::oneshot::channel();
    begun.write_then(
        move |job: &Job| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let made = runtime.map_err(|error| error.to_string())?.block_on(async {
                let port = store.port();
                let receiving = tokio::spawn(port.clone().receive());
                let snapshot = || app.snapshot();
                let repricer = Repricer { store: &store, port: &port, snapshot: &snapshot, asked: &asked, watch: job };
                let made = repricer.run().await;
                receiving.abort();
                made
            });
            let made = made.map_err(|error| match error {
                StoreError::Unavailable => {
                    "it was stopped, or the store cannot be used now: call again, what was corrected stays".to_owned()
                }
                error => error.to_string(),
            })?;
            serde_json::to_string(&RepricedBody::of(&asked, made)).map_err(|error| error.to_string())
        },
        // Nobody may be waiting any more.
        move || {
            let _ = ended.send(());
        },
    );
    wait
}

fn dollars(units: i128) -> Number {
    Number { units, decimals: PLACES, text: false }
}

fn sums(models: &BTreeMap<String, Figures>) -> (Number, Number, Number) {
    let sum = |of: fn(&Figures) -> i128| models.values().map(of).sum::<i128>();
    let (before, after) = (sum(|figures| figures.before), sum(|figures| figures.after));
    (dollars(before), dollars(after), dollars(after - before))
}

fn by_model(models: &BTreeMap<String, Figures>) -> Vec<OfModel> {
    let of = |(model, figures): (&String, &Figures)| OfModel {
        model: (!model.is_empty()).then(|| model.clone()),
        uses: figures.uses,
        unpriced: figures.unpriced,
        before: dollars(figures.before),
        after: dollars(figures.after),
        difference: dollars(figures.difference()),
    };
    models.iter().map(of).collect()
}

impl RepricedBody {
    fn of(asked: &Asked, made: Repriced) -> Self {
        let Span { start, end } = asked.span;
        let (before, after, difference) = sums(&made.models);
        Self {
            dry_run: asked.dry_run,
            from: Timestamp(start),
            to: Timestamp(end),
            checked: made.checked,
            differing: made.differing,
            failed: made.failed,
            complete_from: made.complete_from.map(Timestamp),
            before,
            after,
            difference,
            models: by_model(&made.models),
            organizations: made.organizations.iter().take(MOST_SHOWN).map(of_organization).collect(),
        }
    }
}

fn of_organization(of: &OfOrganization) -> OfOrganizationBody {
    let (before, after, difference) = sums(&of.models);
    OfOrganizationBody {
        organization: of.key.to_string(),
        complete_from: of.complete_from.map(Timestamp),
        before,
        after,
        difference,
        models: by_model(&of.models),
    }
}
