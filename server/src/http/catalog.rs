//! The catalogue file: what it would change, and putting it in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::decision::json as json_answer;
use super::error::ApiError;
use super::operation::Operation;
use super::query::Pairs;
use super::state::{App, Operator};
use super::team::answer;
use crate::catalogue::Snapshot;
use crate::catalogue::change::{TeamAfter, TeamCommand};
use crate::catalogue::file::CatalogueFile;
use crate::catalogue::follow::follow;
use crate::catalogue::price::PriceSpec;

/// What a catalogue file would change, or has changed.
#[derive(Serialize, ToSchema)]
pub struct CatalogueDiff {
    /// The meters of the file.
    pub meters: Vec<ChangedMeter>,
    /// The plans of the file.
    pub plans: Vec<ChangedPlan>,
    /// The prices of the file.
    pub prices: Vec<ChangedPrice>,
    /// Whether it is in force now.
    pub applied: bool,
}

/// What happens to a meter.
#[derive(Serialize, ToSchema)]
pub struct ChangedMeter {
    /// Its key.
    pub key: String,
    /// `added`, `changed` or `unchanged`.
    pub change: &'static str,
    /// Each member that differs.
    pub details: Vec<String>,
}

/// What happens to the price of a model.
#[derive(Serialize, ToSchema)]
pub struct ChangedPrice {
    /// The model, its provider, and from when.
    pub key: String,
    /// `added`, `changed` or `unchanged`.
    pub change: &'static str,
    /// Each member that differs.
    pub details: Vec<String>,
}

/// What happens to a plan.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedPlan {
    /// Its key.
    pub key: String,
    /// `added`, `changed` or `unchanged`.
    pub change: &'static str,
    /// The version in force before.
    pub from_version: Option<u32>,
    /// The version after.
    pub to_version: u32,
    /// Each member that differs.
    pub details: Vec<String>,
    /// Organizations on an older version. Where the file is applied they come to the new one, unless they are to be kept, or
    /// their plan changes at the end of their period anyway.
    pub organizations: u64,
}

/// What a catalogue file would change.
#[utoipa::path(post, operation_id = "diff_catalogue", path = "/v1/catalog/diff", tag = "meters and plans", request_body(content = String, content_type = "application/toml"),
    responses((status = 200, body = CatalogueDiff), (status = 422, description = "Not valid")))]
pub async fn diff(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let file = catalogue_file(&operation.body)?;
    Ok(json_answer(StatusCode::OK, &differences(&operation.app, &file, false).await?))
}

/// Puts a catalogue file in force: new versions of the plans that differ. All of it, or nothing. Then organizations are moved
/// to the newest versions of its plans, unless `keep` is true; the answer comes when all are, and a call that is repeated
/// moves those who are left.
#[utoipa::path(post, operation_id = "apply_catalogue", path = "/v1/catalog/apply", tag = "meters and plans", params(("keep" = Option<bool>, Query, description = "Organizations stay on their versions.")), request_body(content = String, content_type = "application/toml"),
    responses((status = 200, body = CatalogueDiff), (status = 422, description = "Not valid: the last good catalogue stays")))]
pub async fn apply(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let keep = Pairs::of(&operation.uri, &["keep"])?.parsed("keep")?.unwrap_or(false);
    let file = catalogue_file(&operation.body)?;
    let differences = Arc::new(differences(&operation.app, &file, true).await?);
    let parts: [&[u8]; 2] = [if keep { b"keep" } else { b"" }, &operation.body];
    let respond = move |_: &TeamAfter<'_>| answer(200, &*differences, None);
    let plans: Vec<String> = file.plans.keys().cloned().collect();
    let applied = operation.change_team("POST /v1/catalog/apply", &parts, TeamCommand::Apply(file), respond).await?;
    if !keep {
        let (app, actor) = (operation.app.clone(), Arc::clone(&operation.by.caller.actor));
        // A caller who leaves does not break it off.
        let following =
            tokio::spawn(
                async move { follow(&app.shared.store, &app.port, &actor, &plans, &app.shared.draining).await },
            );
        following.await.map_err(|error| ApiError::internal(format!("moving organizations panicked: {error}")))??;
    }
    Ok(applied)
}

fn catalogue_file(body: &[u8]) -> Result<CatalogueFile, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::malformed("The file is not UTF-8."))?;
    CatalogueFile::parse(text).map_err(|error| ApiError::invalid("#", error.to_string()))
}

async fn differences(app: &App, file: &CatalogueFile, applied: bool) -> Result<CatalogueDiff, ApiError> {
    let snapshot = app.snapshot();
    crate::catalogue::change::decide(&snapshot, &TeamCommand::Apply(file.clone()), "", app.now())?;
    let meters = file.meters.iter().map(|(key, spec)| {
        let old = snapshot.meter_entry(key).map(|entry| &entry.spec);
        ChangedMeter { key: key.clone(), change: kind(old, spec), details: details(old, spec) }
    });
    let mut plans = Vec::new();
    for (key, spec) in &file.plans {
        let old = snapshot.plan_entry(key);
        let from_version = old.map(|entry| entry.version);
        let old_spec = old.map(|entry| &entry.spec);
        let change = kind(old_spec, spec);
        let to_version = from_version.unwrap_or(0) + u32::from(change != "unchanged");
        let newest = old.filter(|_| change == "unchanged").map(|entry| entry.id);
        let organizations = organizations_behind(app, &snapshot, key, newest).await?;
        let details = details(old_spec, spec);
        plans.push(ChangedPlan { key: key.clone(), change, from_version, to_version, details, organizations });
    }
    let prices = changed_prices(&snapshot.stored.prices.prices, &file.prices);
    Ok(CatalogueDiff { meters: meters.collect(), plans, prices, applied })
}

/// A price is changed by one of the same models and provider from the same time.
fn changed_prices(old: &[PriceSpec], new: &[PriceSpec]) -> Vec<ChangedPrice> {
    let changed = |spec: &PriceSpec| {
        let old = old.iter().find(|old| old.names_the_same(spec));
        ChangedPrice { key: spec.label(), change: kind(old, spec), details: details(old, spec) }
    };
    new.iter().map(changed).collect()
}

async fn organizations_behind(
    app: &App,
    snapshot: &Snapshot,
    key: &str,
    newest: Option<metergate_rules::id::PlanId>,
) -> Result<u64, ApiError> {
    let versions = snapshot.stored.plans.values().filter(|plan| plan.key.as_str() == key && Some(plan.id) != newest);
    let ids: Vec<_> = versions.map(|plan| plan.id).collect();
    app.read(move |view| Ok(view.rows().organizations_on(&ids)?)).await
}

fn kind<S: PartialEq>(old: Option<&S>, new: &S) -> &'static str {
    match old {
        None => "added",
        Some(old) if old == new => "unchanged",
        Some(_) => "changed",
    }
}

/// Every member that differs, as `limits.api_calls.minute.max: 60 → 120`.
fn details<S: Serialize>(old: Option<&S>, new: &S) -> Vec<String> {
    let Some(old) = old else { return Vec::new() };
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten(String::new(), &serde_json::to_value(old).unwrap_or_default(), &mut before);
    flatten(String::new(), &serde_json::to_value(new).unwrap_or_default(), &mut after);
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let shown = |value: Option<&String>| value.map_or_else(|| "–".to_owned(), Clone::clone);
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differing.map(|name| format!("{name}: {} → {}", shown(before.get(name)), shown(after.get(name)))).collect()
}

fn flatten(path: String, value: &serde_json::Value, into: &mut BTreeMap<String, String>) {
    use serde_json::Value;
    let child = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| flatten(child(name), member, into)),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let part = |name| item.get(name).and_then(Value::as_str);
                let name = match (part("meter"), part("window")) {
                    (Some(meter), Some(window)) => format!("{meter}.{window}"),
                    _ => i.to_string(),
                };
                flatten(child(&name), item, into);
            }
        }
        Value::Null => {}
        Value::String(text) => drop(into.insert(path, text.clone())),
        other => drop(into.insert(path, other.to_string())),
    }
}
