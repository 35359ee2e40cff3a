//! The entries of the audit log behind an organization's figures.

use metergate_rules::account::Account;
use metergate_rules::time::Time;

use super::super::audit::AuditEntryBody;
use super::super::refuse;
use crate::catalogue::Snapshot;
use crate::store::audit::{AuditRow, beginning, chain_of};
use crate::store::reader::{ReadError, View};

/// Entries in an explanation at most.
const MOST_SHOWN: usize = 50;
/// Entries that are looked at for them at most.
const MOST_READ: usize = 5_000;
/// Entries that are read at once.
const STEP: usize = 200;

/// The last entries up to a time that a figure may follow from, newest first; with a meter without those about another one.
///
/// `account` is the organization as it is now. Only a test organization's time can have run back, when its clock was first
/// set: what lies before that came before everything after it, whatever its time says.
pub(super) fn behind(
    (view, catalogue): (&View<'_>, &Snapshot),
    account: &Account,
    meter: Option<&str>,
    until: Time,
    now: Time,
) -> Result<Vec<AuditEntryBody>, ReadError> {
    let chain = chain_of(account.id);
    let begins = beginning(view.rows(), chain)?.ok().flatten();
    let (mut found, mut read) = (Vec::new(), 0);
    let first = begins.map_or(1, |cut| cut.sequence + 1);
    let mut before = if account.clock.is_none() { first_after(view, chain, first, until)? } else { u64::MAX };
    let mut earliest = account.own_time(now);
    while found.len() < MOST_SHOWN && read < MOST_READ {
        let rows = view.rows().audit_before(chain, before, STEP)?;
        let Some(last) = rows.last() else { break };
        before = last.sequence;
        // What says where the chain begins has wall time, also where a test organization has a clock of its own.
        for row in rows.into_iter().filter(|row| row.dropped().is_none()) {
            let counts = row.at <= until || earliest < row.at;
            earliest = earliest.min(row.at);
            read += usize::from(counts);
            if counts && concerns(&row, meter) {
                found.push(row);
            }
        }
    }
    found.into_iter().take(MOST_SHOWN).map(|row| AuditEntryBody::stored(view, catalogue, row)).collect()
}

/// What happened before a chain begins cannot be told with the entries behind it.
///
/// # Errors
/// [`ReadError::Store`] where the time lies before that.
pub(super) fn are_kept(view: &View<'_>, account: &Account, at: Time) -> Result<(), ReadError> {
    let begins = beginning(view.rows(), chain_of(account.id))?.ok().flatten();
    match begins.filter(|cut| at < cut.until) {
        Some(cut) => {
            refuse(format!("at: entries of the audit log from before {} were exported and dropped", cut.until))
        }
        None => Ok(()),
    }
}

/// The place of the first entry of a chain after a time, however many lie after it. The chain begins at `first`.
fn first_after(view: &View<'_>, chain: [u8; 16], first: u64, until: Time) -> Result<u64, ReadError> {
    let newest = view.rows().audit_before(chain, u64::MAX, 1)?;
    let (mut low, mut high) = (first, newest.first().map_or(first, |row| row.sequence + 1));
    while low < high {
        let middle = low + (high - low) / 2;
        let is_after = view.rows().audit_entry(chain, middle)?.is_none_or(|row| until < row.at);
        (low, high) = if is_after { (low, middle) } else { (middle + 1, high) };
    }
    Ok(low)
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
