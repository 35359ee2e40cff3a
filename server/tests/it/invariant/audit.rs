//! `audit`: every committed change has exactly one entry with the real before and after, and the chains hold.

use std::collections::BTreeMap;

use metergate::store::audit::{self, AuditRow, chain_of};
use metergate_rules::audit::actions::{RESOLVE, is_own};
use metergate_rules::id::OrganizationId;
use metergate_rules::outcome::{Change, Effect, What};
use metergate_rules::time::Time;
use serde_json::Value;

use super::image::Image;
use super::{Held, Violation, equal};

const NAME: &str = "audit";

/// Checks every chain against the journal.
pub(crate) fn audit(image: &Image) -> Held {
    let chains = &image.chains;
    for (chain, rows) in chains {
        audit::verify(rows).map_err(|broken| Violation { invariant: NAME, detail: format!("{chain:?}: {broken}") })?;
        extra_follows(rows)?;
    }
    let mut changes: BTreeMap<[u8; 16], Vec<(Time, &str)>> = BTreeMap::new();
    for (_, organization, record) in &image.journal.records {
        let told = action(&record.entry.what).map(|action| (record.entry.at, action));
        // Its own chain ends with it: the team's says that it did.
        let chain = if record.entry.what.deletes() { audit::TEAM } else { chain_of(*organization) };
        changes.entry(chain).or_default().extend(told);
    }
    for (chain, changed) in &changes {
        let rows = chains.get(chain).map_or(&[][..], Vec::as_slice);
        let of_journal = |row: &AuditRow| row.chain != audit::TEAM || row.action == "organization.delete";
        let changed_it = |row: &&AuditRow| is_own(&row.action) && row.action != RESOLVE && of_journal(row);
        let told: Vec<(Time, &str)> = rows.iter().filter(changed_it).map(|row| (row.at, row.action.as_str())).collect();
        equal(NAME, format!("entries of organization {}", OrganizationId(*chain)), &told, changed)?;
    }
    Ok(())
}

/// The action under which the audit log tells an entry of the journal.
fn action(what: &What) -> Option<&'static str> {
    let What::Changed(change) = what else {
        return match what {
            What::Due(Effect::TrialEnded { .. }) => Some("trial.end"),
            What::Due(Effect::PlanChanged(_)) => Some("plan.change"),
            What::Due(Effect::GraceEnded(Some(_))) => Some("billing.lock"),
            _ => None,
        };
    };
    Some(match **change {
        Change::Created { .. } => "organization.create",
        Change::Profile { .. } => "organization.update",
        Change::Plan(_) | Change::Scheduled(_) => "plan.change",
        Change::Cycle { .. } => "billing.cycle",
        Change::Trial { .. } => "trial.extend",
        Change::Clock { .. } => "clock.move",
        Change::Override(_) | Change::OverrideCleared { .. } | Change::Overrides(_) => "limit.change",
        Change::Extra { .. } | Change::Extras(_) => "quota.grant",
        Change::Granted(_) => "credit.grant",
        Change::GrantVoided(_) => "credit.void",
        Change::Locked(_) => "billing.lock",
        Change::Unlocked => "billing.unlock",
        Change::Reset { .. } => "usage.reset",
        Change::Deleted => "organization.delete",
        Change::Subscribed(_) => "webhook.state_change",
        Change::Corrected(ref correction) if correction.voided.is_some() => "usage.void",
        Change::Corrected(_) => "usage.adjust",
    })
}

/// What stood before an extra quota is what the last entry about that meter set.
fn extra_follows(rows: &[AuditRow]) -> Held {
    let mut extra: BTreeMap<String, String> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.action == "quota.grant") {
        let stood = |meter: &String| (meter.clone(), extra.get(meter).cloned().unwrap_or_else(|| "0".to_owned()));
        let (before, after) = (extras(&json(&row.before)), extras(&json(&row.after)));
        let expected: BTreeMap<_, _> = after.keys().map(stood).collect();
        equal(NAME, format!("extra quota before entry {}", row.sequence), &before, &expected)?;
        extra.extend(after);
    }
    Ok(())
}

/// The extra quota of each meter that an entry names: of one as `meter` and `extra`, of several as `<meter>.extra`.
fn extras(told: &Value) -> BTreeMap<String, String> {
    let figure = |value: &Value| value.to_string().trim_matches('"').to_owned();
    if let Some(meter) = told["meter"].as_str() {
        return BTreeMap::from([(meter.to_owned(), figure(&told["extra"]))]);
    }
    let several = told.as_object().into_iter().flatten();
    several.filter_map(|(name, value)| Some((name.strip_suffix(".extra")?.to_owned(), figure(value)))).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("an object")
}
