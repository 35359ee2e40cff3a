//! Entries of the audit log in the forms of the documented paths.

use std::collections::BTreeMap;

use metergate_rules::id::{OrganizationId, OrganizationRef};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::super::{Report, Timestamp, stored_object};
use super::key_of;
use crate::store::audit::{AuditRow, chain_of};
use crate::store::reader::{ReadError, View};

/// Named values, each as its JSON text.
type Details = BTreeMap<String, Box<RawValue>>;

/// An entry of an organization's audit log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrgEntry {
    /// Its place in the organization's chain, from 1.
    pub id: u64,
    /// The organization's key.
    pub org_id: String,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// `before`, `after` and `reason`, where there are such, and what else there is to say.
    #[schema(value_type = Object)]
    pub details: Details,
    /// When.
    pub created_at: Timestamp,
}

/// An organization's audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrgAuditLog {
    /// Its last entries, newest first.
    pub entries: Vec<OrgEntry>,
}

/// An entry of a client's audit log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientEntry {
    /// Its place in the organization's chain, from 1.
    pub id: u64,
    /// The organization's key.
    pub client_id: String,
    /// Who.
    pub admin_id: String,
    /// What was done, such as `plan_change`, `limit_change`, `credit_grant` or `usage_reset`.
    pub action: String,
    /// `reason`, where there is one, and what else there is to say.
    #[schema(value_type = Object)]
    pub details: Details,
    /// What stood before.
    #[schema(value_type = Object)]
    pub previous_value: Box<RawValue>,
    /// What stands now.
    #[schema(value_type = Object)]
    pub new_value: Box<RawValue>,
    /// When.
    pub created_at: Timestamp,
}

impl OrgEntry {
    fn of(row: AuditRow, org_id: String) -> Self {
        let mut details = details(&row);
        for (name, text) in [("before", &row.before), ("after", &row.after)] {
            if text != "{}" {
                details.insert(name.to_owned(), stored_object(text));
            }
        }
        let AuditRow { sequence: id, at, actor, action, .. } = row;
        Self { id, org_id, actor, action, details, created_at: Timestamp(at) }
    }
}

impl ClientEntry {
    pub(super) fn of(row: AuditRow, client_id: String) -> Self {
        Self {
            id: row.sequence,
            client_id,
            action: rendered(&row.action).to_owned(),
            details: details(&row),
            previous_value: stored_object(&row.before),
            new_value: stored_object(&row.after),
            admin_id: row.actor,
            created_at: Timestamp(row.at),
        }
    }
}

/// What is said beside before and after.
fn details(row: &AuditRow) -> Details {
    let mut details: Details = serde_json::from_str(&row.details).unwrap_or_default();
    if !row.reason.is_empty() {
        details.extend(to_raw_value(&row.reason).ok().map(|reason| ("reason".to_owned(), reason)));
    }
    details
}

/// The name of an action on `/api/admin/clients`; those without one of their own keep theirs.
fn rendered(action: &str) -> &str {
    match action {
        "plan.change" => "plan_change",
        "limit.change" | "quota.grant" => "limit_change",
        "credit.grant" => "credit_grant",
        "credit.void" => "credit_void",
        "usage.reset" => "usage_reset",
        "usage.adjust" => "usage_adjust",
        "usage.void" => "usage_void",
        other => other,
    }
}

/// The last entries of an organization, newest first.
pub(super) fn newest(view: &View<'_>, organization: OrganizationId, limit: usize) -> Result<Vec<AuditRow>, ReadError> {
    Ok(view.rows().audit_before(chain_of(organization), u64::MAX, limit)?)
}

impl Report<'_> {
    /// `GET /internal/org/{key}/audit-log`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller.
    pub fn org_audit_log(&self, organization: &OrganizationRef, limit: usize) -> Result<OrgAuditLog, ReadError> {
        let current = self.current(organization)?;
        let rows = newest(self.view, current.account.id, limit)?;
        Ok(OrgAuditLog { entries: rows.into_iter().map(|row| OrgEntry::of(row, key_of(&current))).collect() })
    }
}
