//! Long work: how far it is, and what came of it.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::auth::Credential;
use super::backups::{self, BackupBody};
use super::decision::json as json_answer;
use super::error::ApiError;
use super::path::Path;
use super::prices::recompute::RepricedBody;
use super::state::App;
use crate::jobs::{Ending, Job};
use crate::report::what_if::WhatIfReport;

/// A piece of long work.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobBody {
    /// Its id.
    pub id: String,
    /// What it does: `backup`, `what-if`, `recompute-prices`.
    pub kind: &'static str,
    /// `running`, `done` or `failed`.
    pub state: &'static str,
    /// How far it is.
    pub progress: Progress,
    /// When it was begun.
    pub created_at: String,
    /// What it has made, once it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Made>)]
    pub result: Option<Box<RawValue>>,
    /// Why it has made nothing, once it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far a job is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Progress {
    /// Done so far.
    pub done: u64,
    /// To be done; 0 as long as that is not known.
    pub total: u64,
    /// Of what: `bytes` of a backup, else `organizations`.
    pub unit: &'static str,
}

/// What jobs make.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = JobResult)]
#[allow(dead_code, clippy::large_enum_variant, reason = "it is there for the document alone")]
pub enum Made {
    /// Of a `backup`.
    #[schema(title = "backup")]
    Backup(BackupBody),
    /// Of a `what-if`.
    #[schema(title = "what-if")]
    WhatIf(WhatIfReport),
    /// Of a `recompute-prices`.
    #[schema(title = "recompute-prices")]
    Recompute(RepricedBody),
}

impl From<&Job> for JobBody {
    fn from(job: &Job) -> Self {
        let (done, total) = job.progress();
        let (state, result, error) = match job.ending() {
            None => ("running", None, None),
            Some(Ending::Done(made)) => ("done", to_raw_value(&made).ok(), None),
            Some(Ending::Written(made)) => ("done", RawValue::from_string(made.to_string()).ok(), None),
            Some(Ending::Failed(reason)) => ("failed", None, Some(reason)),
        };
        let unit = if job.kind == backups::KIND { "bytes" } else { "organizations" };
        let progress = Progress { done, total, unit };
        Self {
            id: job.id.clone(),
            kind: job.kind,
            state,
            progress,
            created_at: job.created_at.to_string(),
            result,
            error,
        }
    }
}

/// A job, for the key that began it. A job is forgotten when the server stops.
#[utoipa::path(get, operation_id = "get_job", path = "/v1/jobs/{id}", tag = "server", params(("id" = String, Path)),
    responses((status = 200, body = JobBody), (status = 404, description = "Unknown, or begun by another key")))]
pub async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
    credential: Credential,
) -> Result<Response<Body>, ApiError> {
    let job = app.shared.jobs.find(&id, credential.beginner().as_deref()).ok_or_else(ApiError::not_found)?;
    Ok(json_answer(StatusCode::OK, &JobBody::from(&*job)))
}
