//! The entries of the audit log behind an organization's figures.

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;

use super::super::audit::AuditEntryBody;
use crate::store::audit::{AuditRow, chain_of};
use crate::store::reader::{ReadError, View};

/// Entries in an explanation at most.
const MOST_SHOWN: usize = 50;
/// Entries that are looked at for them at most.
const MOST_READ: usize = 5_000;
/// Entries that are read at once.
const STEP: usize = 200;

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
        found.extend(rows.into_iter().filter(|row| row.at <= until && concerns(row, meter)));
    }
    found.into_iter().take(MOST_SHOWN).map(|row| AuditEntryBody::stored(view, row)).collect()
}

fn concerns(row: &AuditRow, meter: Option<&str>) -> bool {
    /// The actions that figures follow from; the application's own entries are not among them.
    const ACTIONS: [&str; 18] = [
        "organization.create",
        "organization.update",
        "trial.start",
        "trial.extend",
        "trial.end",
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
    ACTIONS.contains(&&*row.action) && meter.is_none_or(|meter| is_about(row, meter))
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
