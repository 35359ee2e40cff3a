//! The entries of the audit log behind an organization's figures.

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::{Timestamp, stored_object};
use crate::hex::hex;
use crate::store::audit::{AuditRow, chain_of};
use crate::store::reader::{ReadError, View};

/// Entries in an explanation at most.
const MOST_SHOWN: usize = 50;
/// Entries that are looked at for them at most.
const MOST_READ: usize = 5_000;
/// Entries that are read at once.
const STEP: usize = 200;

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntryBody {
    /// Its place in the organization's chain, from 1.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To which kind of thing.
    pub category: String,
    /// What stood before.
    #[schema(value_type = Object)]
    pub before: Box<RawValue>,
    /// What stands now.
    #[schema(value_type = Object)]
    pub after: Box<RawValue>,
    /// What else there is to say.
    #[schema(value_type = Object)]
    pub details: Box<RawValue>,
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// The hash that the next entry carries, in hexadecimal digits.
    pub hash: String,
}

impl AuditEntryBody {
    /// A stored entry.
    pub fn of(row: AuditRow) -> Self {
        Self {
            seq: row.sequence,
            time: Timestamp(row.at),
            before: stored_object(&row.before),
            after: stored_object(&row.after),
            details: stored_object(&row.details),
            actor: row.actor,
            action: row.action,
            category: row.category,
            reason: Some(row.reason).filter(|reason| !reason.is_empty()),
            hash: hex(&row.hash),
        }
    }
}

/// The last entries up to a time that a figure may follow from, newest first; with a meter without those about another one.
pub(super) fn behind(
    view: &View<'_>,
    organization: OrganizationId,
    meter: Option<&str>,
    until: Time,
) -> Result<Vec<AuditEntryBody>, ReadError> {
    let (mut found, mut read, mut before) = (Vec::new(), 0, u64::MAX);
    while found.len() < MOST_SHOWN && read < MOST_READ {
        let rows = view.sqlite().audit_before(chain_of(organization), before, STEP)?;
        let Some(last) = rows.last() else { break };
        before = last.sequence;
        read += rows.len();
        found.extend(rows.into_iter().filter(|row| row.at <= until && concerns(row, meter)).map(AuditEntryBody::of));
    }
    found.truncate(MOST_SHOWN);
    Ok(found)
}

fn concerns(row: &AuditRow, meter: Option<&str>) -> bool {
    /// The actions that figures follow from; the application's own entries are not among them.
    const ACTIONS: [&str; 15] = [
        "organization.create",
        "organization.update",
        "plan.change",
        "limit.change",
        "quota.grant",
        "credit.grant",
        "credit.void",
        "usage.reset",
        "usage.adjust",
        "usage.void",
        "billing.lock",
        "billing.unlock",
        "billing.cycle",
        "webhook.state_change",
        "subscription.link",
    ];
    let listed = ACTIONS.contains(&&*row.action) || row.action.starts_with("trial.");
    listed && meter.is_none_or(|meter| is_about(row, meter))
}

/// Whether an entry names this meter, or none.
fn is_about(row: &AuditRow, meter: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Named {
        meter: Option<String>,
    }
    let named = |text: &str| serde_json::from_str::<Named>(text).ok().and_then(|named| named.meter);
    named(&row.after).or_else(|| named(&row.before)).is_none_or(|named| named == meter)
}
