//! What is the team's: meters and plans.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use metergate_rules::account::Account;
use metergate_rules::id::{MeterKey, PlanKey};
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Credential;
use super::change::{OptionalReasonBody, if_match, written};
use super::decision::json as json_answer;
use super::error::ApiError;
use super::idempotency;
use super::operation::Operation;
use super::page::{PageQuery, Paged, bad_cursor};
use super::path::Path;
use super::query::Query;
use super::state::App;
use crate::catalogue::change::{TeamAfter, TeamCommand, TeamReply, TeamRequest};
use crate::catalogue::spec::{MeterSpec, PlanSpec};
use crate::catalogue::{MeterEntry, PlanEntry, Snapshot};
use crate::store::reader::ReadError;
use crate::store::{Answer, StoreError};

/// Accounts that are looked at in one go.
const ACCOUNTS_AT_ONCE: usize = 1000;

/// A meter.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeterBody {
    /// Its key.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// What one is called.
    pub unit: String,
    /// Events of this type count.
    pub event_type: String,
    /// `sum`, `count`, `max`, `last` or `uniqueCount`.
    #[schema(value_type = String)]
    pub aggregation: metergate_rules::meter::Aggregation,
    /// Decimal places of its quantities.
    pub decimals: u8,
    /// The property that holds the quantity or value.
    pub value_property: String,
    /// Properties by which reports can group.
    pub dimensions: Vec<String>,
    /// Whether single decisions are kept.
    pub record: bool,
    /// When it was created.
    pub created_at: String,
}

impl MeterBody {
    pub(super) fn of(entry: &MeterEntry, snapshot: &Snapshot) -> Option<Self> {
        let meter = snapshot.rules.meter(entry.id)?;
        Some(Self {
            key: meter.key.to_string(),
            name: meter.name.clone(),
            unit: meter.unit.clone(),
            event_type: meter.event_type.to_string(),
            aggregation: meter.aggregation,
            decimals: meter.decimals,
            value_property: meter.value_property.clone(),
            dimensions: meter.dimensions.clone(),
            record: meter.record,
            created_at: entry.created_at.to_string(),
        })
    }
}

/// One version of a plan.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanBody {
    /// Its key.
    pub key: String,
    /// From 1.
    pub version: u32,
    /// The definition.
    #[serde(flatten)]
    pub spec: PlanSpec,
    /// When this version was made.
    pub created_at: String,
}

impl PlanBody {
    pub(super) fn of(entry: &PlanEntry) -> Self {
        let mut spec = entry.spec.clone();
        spec.name.get_or_insert_with(|| entry.key.to_string());
        Self { key: entry.key.to_string(), version: entry.version, spec, created_at: entry.created_at.to_string() }
    }
}

/// All meters.
#[utoipa::path(get, path = "/v1/meters", tag = "meters and plans", params(PageQuery), responses((status = 200, body = Paged<MeterBody>)))]
pub async fn list_meters(
    State(app): State<App>,
    credential: Credential,
    uri: Uri,
    Query(query): Query<PageQuery>,
) -> Result<Response<Body>, ApiError> {
    credential.may(Right::Catalogue)?;
    let snapshot = app.snapshot();
    let living = snapshot.stored.meters.values().filter(|entry| entry.deleted_at.is_none());
    let by_key: BTreeMap<&str, &MeterEntry> = living.map(|entry| (entry.key.as_str(), entry)).collect();
    page(&query, &uri, by_key, |entry| MeterBody::of(entry, &snapshot), |body| &body.key)
}

/// One page of things by key.
fn page<'a, E, T: Serialize>(
    query: &PageQuery,
    uri: &Uri,
    by_key: BTreeMap<&'a str, &'a E>,
    body: impl Fn(&E) -> Option<T>,
    key: impl Fn(&T) -> &str,
) -> Result<Response<Body>, ApiError> {
    let page = query.page()?;
    let after = match &page.after {
        Some(bytes) => std::str::from_utf8(bytes).map_err(|_| bad_cursor())?,
        None => "",
    };
    let rest = by_key.range::<str, _>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
    let data = rest.filter_map(|(_, entry)| body(entry)).take(page.limit + 1).collect();
    Ok(Paged::cut(data, &page, |one| key(one).as_bytes().to_vec()).response(uri))
}

/// One meter.
#[utoipa::path(get, path = "/v1/meters/{key}", tag = "meters and plans", params(("key" = String, Path)),
    responses((status = 200, body = MeterBody), (status = 404, description = "Unknown")))]
pub async fn get_meter(
    State(app): State<App>,
    Path(key): Path<String>,
    credential: Credential,
) -> Result<Response<Body>, ApiError> {
    credential.may(Right::Catalogue)?;
    let snapshot = app.snapshot_with(|known| known.meter_entry(&key).is_some()).await;
    let body = snapshot.meter_entry(&key).and_then(|entry| MeterBody::of(entry, &snapshot));
    body.map(|body| json_answer(StatusCode::OK, &body)).ok_or_else(ApiError::unknown_meter)
}

/// Defines a meter. Aggregation and decimals cannot be changed.
#[utoipa::path(put, path = "/v1/meters/{key}", tag = "meters and plans", params(("key" = String, Path)), request_body = MeterSpec,
    responses((status = 200, body = MeterBody), (status = 201, body = MeterBody), (status = 409, description = "Aggregation or decimals differ"), (status = 422, description = "Not valid")))]
pub async fn put_meter(operation: Operation) -> Result<Response<Body>, ApiError> {
    let key = &operation.named;
    let meter = MeterKey::new(key).map_err(|error| ApiError::invalid("{key}", error.to_string()))?;
    let (command, parts) = (TeamCommand::PutMeter(meter, operation.json()?), [key.as_bytes(), &operation.body[..]]);
    operation.change_team("PUT /v1/meters/{key}", &parts, command, meter_answer).await
}

fn meter_answer(after: &TeamAfter<'_>) -> Answer {
    let TeamReply::Meter(key, new) = after.reply else { return nothing(after) };
    let body = after.snapshot.meter_entry(key.as_str()).and_then(|entry| MeterBody::of(entry, after.snapshot));
    answer(if *new { 201 } else { 200 }, &body, None)
}

/// Deletes a meter that no plan limits, and of which no organization has an override, extra quota or credit. What was recorded on it
/// stays.
#[utoipa::path(delete, path = "/v1/meters/{key}", tag = "meters and plans", params(("key" = String, Path)), request_body = Option<OptionalReasonBody>,
    responses((status = 204), (status = 404, description = "Unknown"), (status = 409, description = "A plan limits it, or an organization has an override, extra quota or credit of it")))]
pub async fn delete_meter(operation: Operation) -> Result<Response<Body>, ApiError> {
    let key = MeterKey::new(&operation.named).map_err(|_| ApiError::unknown_meter())?;
    let is_used = match operation.app.meter(key.as_str()).await {
        Ok(meter) => {
            let meter = meter.id;
            let now = operation.app.now();
            is_some(&operation.app, move |_, account| account.has_own(meter, now)).await?
        }
        Err(_) => false,
    };
    operation.delete_of_team("DELETE /v1/meters/{key}", TeamCommand::DeleteMeter(key, is_used)).await
}

/// The newest version of every plan.
#[utoipa::path(get, path = "/v1/plans", tag = "meters and plans", params(PageQuery), responses((status = 200, body = Paged<PlanBody>)))]
pub async fn list_plans(
    State(app): State<App>,
    credential: Credential,
    uri: Uri,
    Query(query): Query<PageQuery>,
) -> Result<Response<Body>, ApiError> {
    credential.may(Right::Catalogue)?;
    let snapshot = app.snapshot();
    let newest = snapshot.stored.plans.values().filter_map(|plan| snapshot.plan_entry(plan.key.as_str()));
    let by_key: BTreeMap<&str, &PlanEntry> = newest.map(|entry| (entry.key.as_str(), entry)).collect();
    page(&query, &uri, by_key, |entry| Some(PlanBody::of(entry)), |body| &body.key)
}

/// Which version of a plan.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// The version; the newest without one.
    version: Option<u32>,
}

fn plan_of<'s>(snapshot: &'s Snapshot, key: &str, version: Option<u32>) -> Option<&'s PlanEntry> {
    match version {
        None => snapshot.plan_entry(key),
        Some(version) => snapshot.stored.plans.values().find(|p| p.key.as_str() == key && p.version == version),
    }
}

/// A plan.
#[utoipa::path(get, path = "/v1/plans/{key}", tag = "meters and plans", params(("key" = String, Path), VersionQuery),
    responses((status = 200, body = PlanBody), (status = 404, description = "Unknown")))]
pub async fn get_plan(
    State(app): State<App>,
    Path(key): Path<String>,
    credential: Credential,
    Query(query): Query<VersionQuery>,
) -> Result<Response<Body>, ApiError> {
    credential.may(Right::Catalogue)?;
    let snapshot = app.snapshot_with(|known| plan_of(known, &key, query.version).is_some()).await;
    let entry = plan_of(&snapshot, &key, query.version);
    let entry = entry.ok_or_else(ApiError::unknown_plan)?;
    Ok(written(answer(200, &PlanBody::of(entry), Some(u64::from(entry.version))), false))
}

/// Defines a plan, all of it. One that differs is a new version; organizations stay on theirs until they are moved.
#[utoipa::path(put, path = "/v1/plans/{key}", tag = "meters and plans", params(("key" = String, Path)), request_body = PlanSpec,
    responses((status = 200, body = PlanBody), (status = 201, body = PlanBody), (status = 412, description = "Changed since"), (status = 422, description = "Not valid")))]
pub async fn put_plan(operation: Operation) -> Result<Response<Body>, ApiError> {
    let key = &operation.named;
    let plan = PlanKey::new(key).map_err(|error| ApiError::invalid("{key}", error.to_string()))?;
    let (command, parts) = (TeamCommand::PutPlan(plan, operation.json()?), [key.as_bytes(), &operation.body[..]]);
    operation.change_team("PUT /v1/plans/{key}", &parts, command, plan_answer).await
}

fn plan_answer(after: &TeamAfter<'_>) -> Answer {
    let TeamReply::Plan(key, new) = after.reply else { return nothing(after) };
    let entry = after.snapshot.plan_entry(key.as_str());
    let version = entry.map(|entry| u64::from(entry.version));
    answer(if *new { 201 } else { 200 }, &entry.map(PlanBody::of), version)
}

/// Deletes a plan that nobody needs: no organization is on it or will come to it.
#[utoipa::path(delete, path = "/v1/plans/{key}", tag = "meters and plans", params(("key" = String, Path)), request_body = Option<OptionalReasonBody>,
    responses((status = 204), (status = 404, description = "Unknown"), (status = 409, description = "New organizations begin on it, a plan leads to it, or organizations are on it or will come to it")))]
pub async fn delete_plan(operation: Operation) -> Result<Response<Body>, ApiError> {
    let plan = PlanKey::new(&operation.named).map_err(|_| ApiError::unknown_plan())?;
    let key = plan.clone();
    let is_used = is_some(&operation.app, move |snapshot, account| snapshot.leads_to(account, &key)).await?;
    operation.delete_of_team("DELETE /v1/plans/{key}", TeamCommand::DeletePlan(plan, is_used)).await
}

/// Whether an organization is one of some. Few at a time: nobody else's reading waits for all of them. An account that cannot be
/// read may be one.
async fn is_some(
    app: &App,
    is_one: impl Fn(&Snapshot, &Account) -> bool + Clone + Send + 'static,
) -> Result<bool, ApiError> {
    let mut after = None;
    loop {
        let (snapshot, is_one) = (app.snapshot(), is_one.clone());
        let (found, next) = app
            .read(move |view| {
                let mut found = false;
                let next = view.each_account(after, ACCOUNTS_AT_ONCE, |_, account| {
                    found |= match account {
                        Ok(account) => is_one(&snapshot, &account),
                        Err(ReadError::Store(StoreError::UnknownOrganization)) => false,
                        Err(_) => true,
                    };
                })?;
                Ok((found, next))
            })
            .await?;
        if found || next.is_none() {
            return Ok(found);
        }
        after = next;
    }
}

/// A change of what is the team's, as it came in.
pub struct Change<'a> {
    /// The app.
    pub app: &'a App,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// Method and path template.
    pub route: &'static str,
    /// What tells this request from another under the same key.
    pub parts: &'a [&'a [u8]],
}

impl Change<'_> {
    /// Runs it in somebody's name.
    ///
    /// # Errors
    /// The command's own.
    pub(super) async fn run_as(
        self,
        actor: Arc<str>,
        reason: String,
        command: TeamCommand,
        respond: impl Fn(&TeamAfter<'_>) -> Answer + Send + Sync + 'static,
    ) -> Result<Response<Body>, ApiError> {
        let request = TeamRequest {
            actor,
            reason,
            receipt: idempotency::receipt(self.headers, self.route, self.parts)?,
            command,
            only_if_version: if_match(self.headers)?,
            respond: Arc::new(respond),
        };
        let (answer, replayed) = self.app.change_team(request).await?;
        Ok(written(answer, replayed))
    }
}

/// An answer with a body.
pub fn answer(status: u16, body: &impl Serialize, version: Option<u64>) -> Answer {
    Answer { status, body: serde_json::to_vec(body).unwrap_or_default(), version }
}

/// 204.
pub const fn nothing(_: &TeamAfter<'_>) -> Answer {
    Answer { status: 204, body: Vec::new(), version: None }
}
