//! Backups of the whole store.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{HeaderValue, LOCATION};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::change::written;
use super::error::ApiError;
use super::jobs::JobBody;
use super::operation::Operation;
use super::state::{App, Operator};
use super::team::answer;
use crate::backup::{self, Manifest, Name};
use crate::catalogue::{TeamCommand, TeamRequest};
use crate::jobs::{Begun, Job};
use crate::store::{Answer, StoreError};

/// The kind of the jobs that make backups.
pub(super) const KIND: &str = "backup";

/// A backup to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewBackupBody {
    /// Its name, of at most 64 letters, digits, `.`, `_` and `-`; without one the time.
    pub name: Option<String>,
}

/// A backup that was made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupBody {
    /// Its name.
    pub name: String,
    /// Its folder on the server's machine.
    pub folder: String,
    /// Whether that is on the file system of the data: what takes the one, takes both.
    pub beside_the_data: bool,
    /// Bytes of its files.
    pub bytes: u64,
    /// The last block of the journal that is in it.
    pub last_block: u64,
    /// The time of that block.
    pub last_block_at: Option<String>,
    /// Organizations in it.
    pub organizations: u64,
    /// Decisions and events with an id.
    pub ids: u64,
    /// Entries of the audit log, all verified.
    pub audit_entries: u64,
}

/// Begins a backup below the server's backup folder: a job. There is one at a time.
#[utoipa::path(post, operation_id = "create_backup", path = "/v1/backups", tag = "server", request_body = Option<NewBackupBody>,
    responses((status = 202, body = JobBody, description = "Begun; `Location` is the job", headers(("location" = String))),
        (status = 409, description = "One is being made, or the name is taken"), (status = 422, description = "Not a name")))]
pub async fn create(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let asked: NewBackupBody = operation.json_or_default()?;
    let now = operation.app.now();
    let name = asked.name.map_or_else(|| Ok(Name::at(now)), |name| Name::new(&name));
    let name = name.map_err(|error| ApiError::invalid("#/name", error.to_string()))?;
    let receipt = operation.receipt("POST /v1/backups", &[&operation.body])?;
    let Operation { app, by: operator, .. } = operation;
    // A call that is repeated under its key is answered as before, whatever is in the way now: so that is told to the
    // writer, which knows.
    let begun = app.shared.jobs.begin(KIND, operator.beginner, now);
    let refused = refusal(&app, &name, begun.is_some());
    let first = begun.as_ref().map(|begun| answer(202, &JobBody::from(&*begun.job), None));
    let request = TeamRequest {
        actor: operator.caller.actor,
        reason: String::new(),
        receipt,
        command: TeamCommand::Backup { name: name.to_string(), refused },
        only_if_version: None,
        respond: Arc::new(move |_| first.clone().unwrap_or(Answer { status: 409, body: Vec::new(), version: None })),
    };
    // Apart from the connection: who hangs up after the audit log says that there is a backup, has one all the same.
    let beginning = tokio::spawn(async move {
        let (answer, replayed) = app.change_team(request).await?;
        if let Some(begun) = begun.filter(|_| !replayed) {
            run(&app, begun, name);
        }
        Ok::<_, ApiError>((answer, replayed))
    });
    let (answer, replayed) = beginning.await.map_err(ApiError::internal)??;
    let location = serde_json::from_slice::<Id>(&answer.body).map_err(ApiError::internal)?.location()?;
    let mut response = written(answer, replayed);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// What is in the way of a backup, if it was not begun before.
fn refusal(app: &App, name: &Name, is_alone: bool) -> Option<StoreError> {
    let conflict = |code, detail| Some(StoreError::Catalogue { code, status: 409, detail });
    if app.shared.store.is_shared() {
        let told = "The record is PostgreSQL: back it up with pg_dump or pg_basebackup.";
        return conflict("backup-of-postgresql", told.to_owned());
    }
    if !is_alone {
        return conflict("backup-running", "A backup is being made: wait until that has ended.".to_owned());
    }
    let taken = app.shared.backup_dir.join(name.as_str()).symlink_metadata().is_ok();
    if taken {
        conflict("backup-exists", format!("There is a backup named {name}: choose another name."))
    } else {
        None
    }
}

/// The job's id in its body, also in one that was kept.
#[derive(Deserialize)]
struct Id {
    id: String,
}

impl Id {
    fn location(&self) -> Result<HeaderValue, ApiError> {
        HeaderValue::from_str(&format!("/v1/jobs/{}", self.id)).map_err(ApiError::internal)
    }
}

fn run(app: &App, begun: Begun, name: Name) {
    let (data, to, now) = (app.shared.data_dir.clone(), app.shared.backup_dir.join(name.as_str()), app.now());
    begun.run(move |job: &Job| {
        let made = backup::make(&data, &to, now, job);
        let (folder, manifest) = made.map_err(|error| error.to_string())?;
        tracing::info!(folder = %folder.display(), bytes = manifest.bytes(), "a backup was made");
        let body = BackupBody::of(&name, &folder, backup::is_beside(&data, &folder), &manifest);
        serde_json::to_value(body).map_err(|error| error.to_string())
    });
}

impl BackupBody {
    /// What is told of a backup.
    pub fn of(name: &Name, folder: &std::path::Path, beside_the_data: bool, manifest: &Manifest) -> Self {
        let counts = &manifest.counts;
        Self {
            name: name.to_string(),
            folder: folder.display().to_string(),
            beside_the_data,
            bytes: manifest.bytes(),
            last_block: counts.last_block,
            last_block_at: counts.last_block_at.clone(),
            organizations: counts.organizations,
            ids: counts.ids,
            audit_entries: counts.audit_entries,
        }
    }
}
