//! Older entries of the audit log: exported, then dropped behind a checkpoint (O6).

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::hex::hex;
use crate::http::change::{MOST_REASON, written};
use crate::http::error::ApiError;
use crate::http::operation::Operation;
use crate::http::state::Operator;
use crate::http::team::answer;
use crate::report::Timestamp;
use crate::retention::{self, Asked, Pruned};

/// What is to be dropped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneBody {
    /// Entries from before this, which does not lie in the future.
    #[schema(example = "2025-01-01T00:00:00Z")]
    pub until: String,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// What was dropped, and where it is now.
#[derive(Debug, Serialize, ToSchema)]
pub struct PrunedBody {
    /// Entries from before this.
    pub until: Timestamp,
    /// Chains that begin later now.
    pub chains: u64,
    /// Entries that were dropped.
    pub entries: u64,
    /// The file on the server's machine that they are in; `null` where there were none.
    pub file: Option<String>,
    /// SHA-256 of the file in hexadecimal digits.
    pub sha256: Option<String>,
    /// Chains that do not verify, and of which nothing was dropped; 100 at most.
    pub broken: Vec<String>,
}

impl From<&Pruned> for PrunedBody {
    fn from(pruned: &Pruned) -> Self {
        Self {
            until: Timestamp(pruned.until),
            chains: pruned.chains,
            entries: pruned.entries,
            file: pruned.file.clone(),
            sha256: pruned.file.as_ref().map(|_| hex(&pruned.sha256)),
            broken: pruned.broken.clone(),
        }
    }
}

/// Writes entries of all chains of the audit log from before a time into a file on the server's machine, and drops them: an
/// entry `audit.checkpoint` of each chain says where it begins then. Answers when it is done; it goes on where the caller
/// leaves.
#[utoipa::path(post, operation_id = "prune_audit_log", path = "/v1/audit-log/prune", tag = "audit log", request_body = PruneBody,
    responses((status = 200, body = PrunedBody), (status = 409, description = "It goes on already"), (status = 422, description = "Not valid")))]
pub async fn prune(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let PruneBody { until, reason } = operation.json()?;
    let until =
        until.parse::<Time>().map_err(|_| ApiError::invalid("#/until", "Send a time such as 2025-01-01T00:00:00Z."))?;
    if until > operation.app.now() {
        return Err(ApiError::invalid("#/until", "Must not lie in the future."));
    } else if reason.len() > MOST_REASON {
        return Err(ApiError::invalid("#/reason", format!("Send at most {MOST_REASON} bytes.")));
    }
    let asked = Asked {
        actor: Arc::clone(&operation.by.caller.actor),
        reason,
        receipt: operation.receipt("POST /v1/audit-log/prune", &[&operation.body])?,
        respond: Arc::new(|pruned| answer(200, &PrunedBody::from(pruned), None)),
    };
    let app = operation.app;
    let alone = Arc::clone(&app.shared.pruning).try_acquire_owned();
    let alone = alone.map_err(|_| ApiError::conflict("prune-running", "It goes on already: wait for its end."))?;
    // A caller who leaves does not break it off.
    let work = tokio::spawn(async move {
        let _alone = alone;
        let (shared, port) = (&app.shared, &app.port);
        retention::prune(&shared.store, port, &shared.audit_dir, until, asked, &shared.draining).await
    });
    let done = work.await.map_err(|error| ApiError::internal(format!("a prune panicked: {error}")))?;
    let (answer, replayed) = done?;
    Ok(written(answer, replayed))
}
