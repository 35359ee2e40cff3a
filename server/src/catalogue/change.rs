//! Changes of what is the team's: decided against what is stored, written with an entry of the team's audit chain.

use std::sync::Arc;

use metergate_rules::audit::actions::CHECKPOINT;
use metergate_rules::audit::{Draft, Fields, Object};
use metergate_rules::id::{MeterId, MeterKey, OrganizationRef, PlanKey};
use metergate_rules::time::Time;

use super::endpoint::EndpointId;
use super::file::CatalogueFile;
use super::key::{ApiKey, KeyScope};
use super::price::{PriceSpec, StoredPrices};
use super::settings::{SettingsChange, TeamSettings};
use super::spec::{Invalid, MeterSpec, PlanSpec};
use super::{MeterEntry, PlanEntry, Snapshot, Stored};
use crate::hex::hex;
use crate::people::UserId;
use crate::retention::Pruned;
use crate::store::audit::Checkpoint;
use crate::store::message::MessageRow;
use crate::store::outbox::DeliveryKey;
use crate::store::{Answer, ReceiptKey, Scope, StoreError};

mod endpoints;
mod keys;
mod plans;
mod prices;
mod settings;

pub use endpoints::{EndpointChange, EndpointCommand, EndpointRow, NewEndpoint, Resent};
pub use keys::{Ended, end_made_by};
pub use prices::Recompute;

/// A change of what is the team's.
#[derive(Clone, Debug)]
pub enum TeamCommand {
    /// Defines a meter.
    PutMeter(MeterKey, MeterSpec),
    /// Deletes a meter that no plan's newest version names; whether an organization was found that has something of its own on it.
    DeleteMeter(MeterKey, bool),
    /// Defines a plan: a new version where it differs.
    PutPlan(PlanKey, PlanSpec),
    /// Puts prices in the place of all that there are.
    PutPrices(Vec<PriceSpec>, Option<u64>),
    /// Adds or changes single prices, and removes those of the same names as these.
    PatchPrices {
        /// To be added or changed.
        set: Vec<PriceSpec>,
        /// To be removed.
        remove: Vec<PriceSpec>,
    },
    /// Notes that what was charged for tokens is priced again.
    Recompute(Recompute),
    /// Deletes a plan that nobody needs; whether an organization was found that is on it, or comes to it.
    DeletePlan(PlanKey, bool),
    /// Defines all that a file names.
    Apply(CatalogueFile),
    /// Makes an API key.
    CreateKey(NewKey),
    /// Ends an API key.
    RevokeKey(String),
    /// Makes a key like this one, which ends at the time given: both work until then.
    RotateKey(String, Time),
    /// One of the three before, on a key that is bound to this organization, by whom the scope admits to it.
    OfOrganization(Scope, OrganizationRef, Box<TeamCommand>),
    /// Changes the team's settings.
    ChangeSettings(SettingsChange),
    /// Changes a webhook endpoint, or sends something to it.
    Endpoint(EndpointCommand),
    /// Notes how far a file has been imported.
    PutImport(ImportRecord),
    /// Notes where the chains of the audit log end.
    Checkpoint(Checkpoint),
    /// Notes that older entries of the audit log are in a file and will be dropped.
    Prune(Pruned),
    /// Notes that a backup is begun: whoever has a copy of everything stands in the audit log before there is one.
    Backup {
        /// Its name.
        name: String,
        /// Why it cannot be begun, unless it was before.
        refused: Option<StoreError>,
    },
}

/// An API key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its name.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<KeyScope>,
    /// The organization that it is bound to.
    pub organization: Option<OrganizationRef>,
    /// From when it is refused.
    pub expires_at: Option<Time>,
}

/// How far a file has been imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRecord {
    /// The import's name.
    pub source: String,
    /// Rows that are recorded.
    pub rows_done: u64,
    /// The digest of those rows.
    pub digest: String,
}

/// A change, with who asks and how to answer.
pub struct TeamRequest {
    /// Who asks.
    pub actor: Arc<str>,
    /// Why; empty without a reason.
    pub reason: String,
    /// The key under which it may be repeated.
    pub receipt: Option<ReceiptKey>,
    /// What to change.
    pub command: TeamCommand,
    /// Only if the plan still is at this version: `If-Match`.
    pub only_if_version: Option<u64>,
    /// Makes the answer. Called once more for the answer that is kept, without the secret.
    pub respond: Arc<dyn Fn(&TeamAfter<'_>) -> Answer + Send + Sync>,
}

/// The team's things after a change.
pub struct TeamAfter<'a> {
    /// As they are now.
    pub snapshot: &'a Snapshot,
    /// What was made.
    pub reply: &'a TeamReply,
}

/// What a change made.
#[derive(Clone, Debug)]
pub enum TeamReply {
    /// A meter; whether it is new.
    Meter(MeterKey, bool),
    /// A plan; whether it is new.
    Plan(PlanKey, bool),
    /// An API key, with the whole of it where it may be shown.
    Key(String, Option<String>),
    /// The table of prices.
    Prices,
    /// Pricing again is begun.
    RecomputeBegun,
    /// A catalogue file was applied.
    Applied,
    /// What was named is gone.
    Gone,
    /// The team's settings.
    Settings,
    /// A webhook endpoint; whether its secret may be shown.
    Endpoint(EndpointId, bool),
    /// A delivery that is to be sent.
    Delivery(DeliveryKey),
    /// An import's record.
    Import(ImportRecord),
    /// A backup is begun.
    BackupBegun,
    /// The ends of chains are held.
    Checkpointed,
    /// Older entries of the audit log are in a file.
    Pruned(Pruned),
}

/// A row to write.
#[derive(Clone, Debug)]
pub enum TeamRow {
    /// A meter, new or changed.
    Meter(MeterEntry),
    /// A plan's version, new, or deleted.
    Plan(PlanEntry),
    /// A key, new, revoked or with an end.
    Key(ApiKey),
    /// A key of an organization that is deleted.
    KeyGone(String),
    /// A version of the table of prices.
    Prices(StoredPrices),
    /// The team's settings.
    Settings(TeamSettings),
    /// A webhook endpoint, new or changed.
    Endpoint(EndpointRow),
    /// A webhook endpoint that is deleted.
    EndpointGone(EndpointId),
    /// A message that is to be sent at once.
    Resent(Resent),
    /// An import's record.
    Import(ImportRecord),
}

/// What deciding a change gave.
pub struct TeamOutcome {
    /// What is stored after it.
    pub stored: Stored,
    /// What to write.
    pub rows: Vec<TeamRow>,
    /// What is sent to webhook endpoints because somebody asked for it.
    pub messages: Vec<MessageRow>,
    /// What the audit log keeps.
    pub audit: Option<Draft>,
    /// What to answer.
    pub reply: TeamReply,
}

/// Decides a change.
///
/// # Errors
/// [`StoreError::Catalogue`] where it makes no sense.
pub fn decide(snapshot: &Snapshot, command: &TeamCommand, actor: &str, now: Time) -> Result<TeamOutcome, StoreError> {
    // A portal of a member is gone within hours, and says nobody anything then: what is made in it is that member's.
    let member = match command {
        TeamCommand::OfOrganization(Scope::Portal { member, .. }, ..) => member.map(UserId::actor),
        _ => None,
    };
    let actor = member.as_deref().unwrap_or(actor);
    let stored = snapshot.stored.clone();
    let mut change = Changing { stored, rows: Vec::new(), messages: Vec::new(), actor, now };
    let (reply, audit) = match command {
        TeamCommand::OfOrganization(_, organization, command) => change.of_organization(organization, command)?,
        TeamCommand::PutMeter(key, spec) => change.put_meter(snapshot, key, spec)?,
        TeamCommand::DeleteMeter(key, is_used) => change.delete_meter(snapshot, key, *is_used)?,
        TeamCommand::PutPlan(key, spec) => change.put_plan(snapshot, key, spec)?,
        TeamCommand::DeletePlan(key, is_used) => change.delete_plan(snapshot, key, *is_used)?,
        TeamCommand::PutPrices(prices, version) => change.put_prices(prices, *version)?,
        TeamCommand::PatchPrices { set, remove } => change.patch_prices(set, remove)?,
        TeamCommand::Recompute(begun) => change.recompute(begun)?,
        TeamCommand::Apply(file) => change.apply(snapshot, file)?,
        TeamCommand::CreateKey(new) => change.create_key(new)?,
        TeamCommand::RevokeKey(id) => change.revoke_key(id)?,
        TeamCommand::RotateKey(id, until) => change.rotate_key(id, *until)?,
        TeamCommand::ChangeSettings(settings) => change.change_settings(settings)?,
        TeamCommand::Endpoint(command) => change.change_endpoint(command)?,
        TeamCommand::PutImport(record) => {
            change.rows.push(TeamRow::Import(record.clone()));
            (TeamReply::Import(record.clone()), None)
        }
        TeamCommand::Checkpoint(checkpoint) => (TeamReply::Checkpointed, change.checkpoint(checkpoint)),
        TeamCommand::Prune(pruned) => (TeamReply::Pruned(pruned.clone()), change.prune(pruned)),
        TeamCommand::Backup { refused: Some(error), .. } => return Err(error.clone()),
        TeamCommand::Backup { name, refused: None } => {
            let after = Fields::default().with("name", name.as_str());
            (TeamReply::BackupBegun, change.draft("backup.create", "config", Fields::default(), after))
        }
    };
    let Changing { stored, rows, messages, .. } = change;
    Ok(TeamOutcome { stored, rows, messages, audit, reply })
}

type Decided = Result<(TeamReply, Option<Draft>), StoreError>;

struct Changing<'a> {
    stored: Stored,
    rows: Vec<TeamRow>,
    messages: Vec<MessageRow>,
    actor: &'a str,
    now: Time,
}

impl Changing<'_> {
    fn draft(&self, action: &'static str, category: &'static str, before: Fields, after: Fields) -> Option<Draft> {
        Some(Draft::new(self.now, action, category, before, after))
    }

    fn checkpoint(&self, checkpoint: &Checkpoint) -> Option<Draft> {
        let chains = i64::try_from(checkpoint.chains).unwrap_or(i64::MAX);
        let after = Fields::default().with("chains", chains).with("root", checkpoint.root.as_str());
        let draft = self.draft(CHECKPOINT, "config", Fields::default(), after)?;
        Some(Draft { by_system: true, details: Object::Text(checkpoint.details()), ..draft })
    }

    /// Which chains begin later is said in those.
    fn prune(&self, pruned: &Pruned) -> Option<Draft> {
        let file = pruned.file.as_ref()?;
        let count = |things: u64| i64::try_from(things).unwrap_or(i64::MAX);
        let after = Fields::default()
            .with("until", pruned.until)
            .with("chains", count(pruned.chains))
            .with("entries", count(pruned.entries))
            .with("file", file.as_str())
            .with("sha256", hex(&pruned.sha256));
        self.draft(CHECKPOINT, "config", Fields::default(), after)
    }

    fn put_meter(&mut self, snapshot: &Snapshot, key: &MeterKey, spec: &MeterSpec) -> Decided {
        let old = snapshot.meter_entry(key.as_str());
        let reply = TeamReply::Meter(key.clone(), old.is_none());
        if old.is_some_and(|old| old.spec == *spec) {
            return Ok((reply, None));
        }
        self.write_meter(old, key, spec)?;
        let (before, after) = (spec_fields(key.as_str(), old.map(|o| &o.spec)), spec_fields(key.as_str(), Some(spec)));
        Ok((reply, self.draft("meter.change", "config", before, after)))
    }

    fn write_meter(&mut self, old: Option<&MeterEntry>, key: &MeterKey, spec: &MeterSpec) -> Result<(), StoreError> {
        let fixed = |s: &MeterSpec| (s.aggregation, s.decimals);
        if old.is_some_and(|old| fixed(&old.spec) != fixed(spec)) {
            return conflict("meter-fixed", "aggregation and decimals of a meter cannot change: make another meter");
        }
        let next = self.stored.meters.keys().next_back().map_or(1, |last| last.0 + 1);
        let entry = MeterEntry {
            id: old.map_or(MeterId(next), |old| old.id),
            key: key.clone(),
            spec: spec.clone(),
            created_at: old.map_or(self.now, |old| old.created_at),
            deleted_at: None,
        };
        entry.spec.meter(entry.id, key).map_err(unprocessable)?;
        self.stored.meters.insert(entry.id, entry.clone());
        self.rows.push(TeamRow::Meter(entry));
        Ok(())
    }

    fn delete_meter(&mut self, snapshot: &Snapshot, key: &MeterKey, is_used: bool) -> Decided {
        let Some(old) = snapshot.meter_entry(key.as_str()) else { return unknown("unknown-meter", "meter") };
        let names = |plan: &PlanEntry| plan.spec.limits.iter().any(|limit| limit.meter == key.as_str());
        if let Some(plan) = snapshot.newest_plans().find(|plan| names(plan)) {
            return conflict("meter-in-use", &format!("plan {} limits it: take the limit out first", plan.key));
        } else if is_used {
            let detail = "organizations have overrides, extra quota or credit of it: take that back first";
            return conflict("meter-in-use", detail);
        }
        let entry = MeterEntry { deleted_at: Some(self.now), ..old.clone() };
        self.stored.meters.insert(entry.id, entry.clone());
        self.rows.push(TeamRow::Meter(entry));
        let before = spec_fields(key.as_str(), Some(&old.spec));
        let after = spec_fields::<MeterSpec>(key.as_str(), None);
        Ok((TeamReply::Gone, self.draft("meter.change", "config", before, after)))
    }

    /// Everything that the file names, or nothing: a bad plan refuses the whole file.
    fn apply(&mut self, snapshot: &Snapshot, file: &CatalogueFile) -> Decided {
        let (mut meters, mut plans) = (Vec::new(), Vec::new());
        for (name, spec) in &file.meters {
            let key = MeterKey::new(name).or_else(|e| refuse(&format!("meters.{name}: {e}")))?;
            let old = snapshot.meter_entry(name);
            if old.is_none_or(|old| old.spec != *spec) {
                self.write_meter(old, &key, spec)?;
                meters.push(name.clone());
            }
        }
        for (name, spec) in &file.plans {
            let key = PlanKey::new(name).or_else(|e| refuse(&format!("plans.{name}: {e}")))?;
            if snapshot.plan_entry(name).is_none_or(|old| old.spec != *spec) {
                self.write_plan(&key, spec)?;
                plans.push(name.clone());
            }
        }
        let prices = self.merge_prices(&file.prices)?;
        self.check()?;
        if meters.is_empty() && plans.is_empty() && prices.is_empty() {
            return Ok((TeamReply::Applied, None));
        }
        let after = Fields::default().with("meters", meters).with("plans", plans);
        let after = if prices.is_empty() { after } else { after.with("prices", prices) };
        Ok((TeamReply::Applied, self.draft("catalog.apply", "config", Fields::default(), after)))
    }
}

fn spec_fields<S: serde::Serialize>(key: &str, spec: Option<&S>) -> Fields {
    let text = spec.and_then(|spec| serde_json::to_string(spec).ok());
    Fields::default().with("key", key).with("definition", text)
}

fn conflict<T>(code: &'static str, detail: &str) -> Result<T, StoreError> {
    Err(StoreError::Catalogue { code, status: 409, detail: detail.to_owned() })
}

fn unknown<T>(code: &'static str, what: &str) -> Result<T, StoreError> {
    Err(StoreError::Catalogue { code, status: 404, detail: format!("there is no such {what}") })
}

fn refuse<T>(detail: &str) -> Result<T, StoreError> {
    Err(StoreError::Catalogue { code: "invalid-catalogue", status: 422, detail: detail.to_owned() })
}

fn unprocessable(error: Invalid) -> StoreError {
    StoreError::Catalogue { code: "invalid-catalogue", status: 422, detail: error.to_string() }
}
