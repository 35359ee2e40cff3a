//! The audit log: read by administrators, added to by the application, dealt with by operators (O6).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use metergate_rules::command::{Command, Note};
use metergate_rules::id::OrganizationRef;
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::auth::Credential;
use super::change::{MOST_REASON, answer};
use super::download::saved_as;
use super::error::ApiError;
use super::operation::Operation;
use super::page::{PageQuery, Paged, encode};
use super::path::Path;
use super::query::Pairs;
use super::reports::{organization, report_to};
use super::state::{App, Operator};
use crate::report::audit::{AuditEntryBody, AuditFilter, BeginningBody, csv};
use crate::store::{After, Answer, Respond, Scope};

pub mod prune;
pub mod verify;

/// The most bytes of each of before, after and details.
const MOST_OBJECT: usize = 16 * 1024;
/// The names of a listing's query.
const NAMES: [&str; 8] = ["actor", "action", "category", "from", "to", "format", "limit", "cursor"];

/// An entry of the application's own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAuditEntryBody {
    /// What was done: 1 to 128 letters, digits, `.`, `:`, `_` and `-`, and none of Metergate's own actions.
    pub action: String,
    /// `trial`, `quota`, `billing`, `usage`, `knowledge_base`, `chat`, `config`, `auth`, `webhook` or `error`.
    pub category: String,
    /// What stood before: an object of at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Box<RawValue>>,
    /// What stands now: an object of at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Box<RawValue>>,
    /// What else there is to say: an object of at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub details: Option<Box<RawValue>>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// How an entry was dealt with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResolveBody {
    /// What became of it.
    pub note: String,
}

/// A page of an audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditLogBody {
    /// The entries.
    #[serde(flatten)]
    pub page: Paged<AuditEntryBody>,
    /// Where the log begins, where older entries were exported and dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins: Option<BeginningBody>,
}

/// How a listing is written.
enum Format {
    Json,
    Csv,
    Lines,
}

/// An organization's audit log, newest first. As JSON, as CSV with `Accept: text/csv` or `?format=csv`, or as lines of JSON
/// with `Accept: application/x-ndjson` or `?format=jsonl`; `Link` leads to the next page of each. A page may be short, or
/// empty, though there is a next one. In CSV a text that a spreadsheet would take for a formula has a `'` before it; the other
/// forms have every text as it is.
#[utoipa::path(get, operation_id = "list_audit_log", path = "/v1/organizations/{org}/audit-log", tag = "audit log",
    params(("org" = String, Path, description = "Id or key"), ("actor" = Option<String>, Query), ("action" = Option<String>, Query, description = "`plan.change` or `plan_change`"),
        ("category" = Option<String>, Query), ("from" = Option<String>, Query), ("to" = Option<String>, Query), ("format" = Option<String>, Query, description = "json, csv or jsonl"), PageQuery),
    responses((status = 200, body = AuditLogBody), (status = 404, description = "Unknown organization")))]
pub async fn list(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let caller = app.admit(&credential, Right::ReadAudit, &org).await?;
    let pairs = Pairs::of(&uri, &NAMES)?;
    listing(&app, caller.scope, Some(organization(&org)?), &pairs, &uri, &headers).await
}

/// The team's own audit log, or an organization's: in the forms of an organization's.
#[utoipa::path(get, operation_id = "list_team_audit_log", path = "/v1/audit-log", tag = "audit log",
    params(("organization" = Option<String>, Query, description = "Id or key; the team's own log without one"), ("actor" = Option<String>, Query), ("action" = Option<String>, Query, description = "`plan.change` or `plan_change`"),
        ("category" = Option<String>, Query), ("from" = Option<String>, Query), ("to" = Option<String>, Query), ("format" = Option<String>, Query, description = "json, csv or jsonl"), PageQuery),
    responses((status = 200, body = AuditLogBody), (status = 404, description = "Unknown organization")))]
pub async fn list_of_team(
    State(app): State<App>,
    credential: Credential,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let caller = credential.may(Right::Operate)?;
    let pairs = Pairs::of(&uri, &[&NAMES[..], &["organization"]].concat())?;
    let org = pairs.one("organization")?.map(organization).transpose()?;
    listing(&app, caller.scope, org, &pairs, &uri, &headers).await
}

async fn listing(
    app: &App,
    scope: Scope,
    org: Option<OrganizationRef>,
    pairs: &Pairs,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let (filter, format, page) = (filter(pairs)?, format(pairs, headers)?, pairs.page()?);
    let whose = org.clone();
    let found = report_to(app, scope, false, move |report| {
        let found = report.audit(org.as_ref(), &filter, page.limit, page.after.as_deref())?;
        Ok((found, report.audit_begins(org.as_ref())?))
    });
    let (found, begins) = found.await?;
    let page = Paged { data: found.data, next_cursor: found.next.as_deref().map(encode) };
    Ok(match format {
        Format::Json if begins.is_some() => {
            let body = AuditLogBody { page, begins };
            body.page.response_as(uri, "application/json", serde_json::to_vec(&body).map_err(ApiError::internal)?)
        }
        Format::Json => page.response(uri),
        Format::Csv => {
            let answer = page.response_as(uri, "text/csv", csv(&page.data)?);
            saved_as(answer, whose.as_ref(), ("audit", "csv"), app.now())
        }
        Format::Lines => {
            let answer = page.response_as(uri, "application/x-ndjson", lines(&page.data)?);
            saved_as(answer, whose.as_ref(), ("audit", "jsonl"), app.now())
        }
    })
}

fn filter(pairs: &Pairs) -> Result<AuditFilter, ApiError> {
    let text = |name| Ok::<_, ApiError>(pairs.one(name)?.map(str::to_owned));
    Ok(AuditFilter {
        actor: text("actor")?,
        action: text("action")?,
        category: text("category")?,
        from: pairs.parsed("from")?,
        to: pairs.parsed("to")?,
    })
}

fn format(pairs: &Pairs, headers: &HeaderMap) -> Result<Format, ApiError> {
    let accepted =
        |kind: &str| headers.get("accept").is_some_and(|value| value.as_bytes().starts_with(kind.as_bytes()));
    match pairs.one("format")? {
        Some("json") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        Some("jsonl") => Ok(Format::Lines),
        Some(_) => Err(ApiError::invalid("?format", "Send json, csv or jsonl.")),
        None if accepted("text/csv") => Ok(Format::Csv),
        None if accepted("application/x-ndjson") => Ok(Format::Lines),
        None => Ok(Format::Json),
    }
}

fn lines<T: Serialize>(entries: &[T]) -> Result<Vec<u8>, ApiError> {
    let mut lines = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut lines, entry).map_err(ApiError::internal)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Adds an entry of the application's own, in the name of its key.
#[utoipa::path(post, operation_id = "append_audit_entry", path = "/v1/organizations/{org}/audit-log", tag = "audit log", request_body = NewAuditEntryBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 201, body = AuditEntryBody), (status = 404, description = "Unknown organization"), (status = 422, description = "Not valid, or an action of Metergate's own")))]
pub async fn append(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.by.may_append()?;
    operation.admit(Right::Append).await?;
    let asked: NewAuditEntryBody = operation.json()?;
    let note = Note {
        action: asked.action,
        category: asked.category,
        before: object("#/before", asked.before.as_deref())?,
        after: object("#/after", asked.after.as_deref())?,
        details: object("#/details", asked.details.as_deref())?,
    };
    operation
        .run_for(
            caller,
            "POST /v1/organizations/{org}/audit-log",
            Command::Append(note),
            asked.reason,
            entry_answer(201),
        )
        .await
}

/// Marks an entry as dealt with, by another entry. A later note takes the place of an earlier one.
#[utoipa::path(post, operation_id = "resolve_audit_entry", path = "/v1/organizations/{org}/audit-log/{seq}/resolve", tag = "audit log", request_body = ResolveBody,
    params(("org" = String, Path, description = "Id or key"), ("seq" = u64, Path)),
    responses((status = 200, body = AuditEntryBody), (status = 404, description = "Unknown organization or entry")))]
pub async fn resolve(operation: Operation<Operator, (String, String)>) -> Result<Response<Body>, ApiError> {
    let seq = operation.named.1.parse().map_err(|_| ApiError::not_found())?;
    let ResolveBody { note } = operation.json()?;
    if note.trim().is_empty() || note.len() > MOST_REASON {
        return Err(ApiError::invalid("#/note", format!("Send 1 to {MOST_REASON} bytes.")));
    }
    let command = Command::Resolve { seq, note, before: None };
    operation
        .run("POST /v1/organizations/{org}/audit-log/{seq}/resolve", command, String::new(), entry_answer(200))
        .await
}

/// Answers with the entry that the change is about.
fn entry_answer(status: u16) -> Respond {
    Arc::new(move |after: &After<'_>| {
        let (entry, resolution) = (after.audit.first().cloned(), after.audit.get(1).cloned());
        let body = entry.map(|entry| AuditEntryBody::of(entry, resolution));
        Answer { version: None, ..answer(status, after, &body) }
    })
}

/// A JSON object on one line; `{}` without one.
fn object(pointer: &str, sent: Option<&RawValue>) -> Result<String, ApiError> {
    let text = sent.map_or("{}", RawValue::get);
    if !text.starts_with('{') {
        return Err(ApiError::invalid(pointer, "Send an object, or leave it out."));
    } else if text.len() > MOST_OBJECT {
        return Err(ApiError::invalid(pointer, "Send at most 16 KiB."));
    }
    Ok(compact(text))
}

/// JSON without the space between its parts.
fn compact(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let keep = |c: &char| {
        let kept = in_text || !c.is_ascii_whitespace();
        in_text ^= *c == '"' && !escaped;
        escaped = in_text && *c == '\\' && !escaped;
        kept
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_goes_between_the_parts_of_json_and_stays_in_its_texts() {
        let cases = [
            ("{ }", "{}"),
            ("{\n \"a b\" :\t[1, 2.50 ] }", "{\"a b\":[1,2.50]}"),
            (r#"{"a": "x \" y", "b": " \\\\", "c": 1}"#, r#"{"a":"x \" y","b":" \\\\","c":1}"#),
        ];
        for (sent, kept) in cases {
            assert_eq!(compact(sent), kept);
        }
    }
}
