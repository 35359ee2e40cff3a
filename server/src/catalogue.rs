//! Meters, plans and keys: what belongs to the team, not to an organization. A snapshot behind `arc-swap` that every
//! core reads; changed only through the store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::catalogue::Catalogue;
use metergate_rules::id::{MeterId, MeterKey, PlanId, PlanKey};
use metergate_rules::meter::Meter;
use metergate_rules::plan::{Degraded, Plan};
use metergate_rules::time::Time;

pub mod change;
pub mod endpoint;
pub mod file;
pub mod first_use;
pub mod follow;
pub mod key;
pub mod logo;
pub mod price;
pub mod settings;
pub mod spec;

pub use change::{TeamAfter, TeamCommand, TeamReply, TeamRequest};
use endpoint::{EndpointEntry, EndpointId};
use key::ApiKey;
use price::StoredPrices;
use settings::TeamSettings;
use spec::{Invalid, MeterSpec, PlanSpec};

/// The plan of a new organization for which none is named.
pub const SIGN_UP_PLAN: &str = "free";

/// A meter with its definition.
#[derive(Clone, Debug)]
pub struct MeterEntry {
    /// Its number.
    pub id: MeterId,
    /// Its key.
    pub key: MeterKey,
    /// Its definition as it was written.
    pub spec: MeterSpec,
    /// When it was created.
    pub created_at: Time,
    /// When it was deleted. Its number still stands in the journal.
    pub deleted_at: Option<Time>,
}

/// One version of a plan with its definition.
#[derive(Clone, Debug)]
pub struct PlanEntry {
    /// Its number.
    pub id: PlanId,
    /// The plan's key.
    pub key: PlanKey,
    /// From 1.
    pub version: u32,
    /// Its definition as it was written.
    pub spec: PlanSpec,
    /// When it was made.
    pub created_at: Time,
    /// When the plan was deleted: no organization comes to it any more.
    pub deleted_at: Option<Time>,
}

impl PlanEntry {
    /// Its name for people; its key where it has none.
    pub fn title(&self) -> &str {
        self.spec.name.as_deref().filter(|name| !name.is_empty()).unwrap_or_else(|| self.key.as_str())
    }
}

/// Everything that is the team's, as it is stored.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// All meters, deleted ones too.
    pub meters: BTreeMap<MeterId, MeterEntry>,
    /// All versions of all plans.
    pub plans: BTreeMap<PlanId, PlanEntry>,
    /// All keys, revoked ones too.
    pub keys: BTreeMap<String, ApiKey>,
    /// What language models' tokens cost.
    pub prices: StoredPrices,
    /// What operators change while the server runs.
    pub settings: TeamSettings,
    /// Where the team wants to be told.
    pub endpoints: BTreeMap<EndpointId, EndpointEntry>,
}

/// What is in force, ready to be asked.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// What the rules ask.
    pub rules: Catalogue,
    /// What it was made from.
    pub stored: Stored,
    meter_ids: HashMap<MeterKey, MeterId>,
    newest: HashMap<PlanKey, PlanId>,
    /// Meters that some plan lets pass where they cannot be decided.
    passable: HashSet<MeterId>,
}

impl Snapshot {
    /// Makes ready what is stored.
    ///
    /// # Errors
    /// [`Invalid`] names the definition that makes no sense.
    pub fn new(stored: Stored) -> Result<Self, Invalid> {
        let mut meters: Vec<Meter> = Vec::new();
        for entry in stored.meters.values() {
            meters.push(entry.spec.meter(entry.id, &entry.key)?);
        }
        let living = |meter: &&Meter| stored.meters.get(&meter.id).is_some_and(|entry| entry.deleted_at.is_none());
        let by_key: HashMap<&str, &Meter> =
            meters.iter().filter(living).map(|meter| (meter.key.as_str(), meter)).collect();
        // A version of long ago may name a meter that was deleted since: the newest of that key stands for it.
        let any: HashMap<&str, &Meter> = meters.iter().map(|meter| (meter.key.as_str(), meter)).collect();
        let find = |key: &str| by_key.get(key).or_else(|| any.get(key)).copied();
        let mut plans: Vec<Plan> = Vec::new();
        let mut newest = HashMap::new();
        for entry in stored.plans.values() {
            plans.push(entry.spec.plan(entry.id, &entry.key, entry.version, find)?);
            if entry.deleted_at.is_none() {
                newest.insert(entry.key.clone(), entry.id);
            }
        }
        let meter_ids = by_key.values().map(|meter| (meter.key.clone(), meter.id)).collect();
        let deleted = meters.iter().filter(|meter| !living(meter)).cloned().collect::<Vec<_>>();
        let active = meters.iter().filter(living).cloned().collect::<Vec<_>>();
        let lets_pass = |(meter, policy): &(MeterId, Degraded)| (*policy != Degraded::Deny).then_some(*meter);
        let passable = plans.iter().flat_map(|plan| plan.degraded.iter().filter_map(lets_pass)).collect();
        let rules = Catalogue::new(active, plans)
            .with_deleted(deleted)
            .with_prices(stored.prices.prices.table()?)
            .with_bring_forward_months(stored.settings.bring_forward_months);
        Ok(Self { rules, meter_ids, newest, passable, stored })
    }

    /// The meter of a key, unless deleted.
    pub fn meter(&self, key: &str) -> Option<&Arc<Meter>> {
        self.rules.meter_by_key(key)
    }

    /// Whether some plan lets a meter pass where it cannot be decided.
    pub fn may_pass(&self, meter: MeterId) -> bool {
        self.passable.contains(&meter)
    }

    /// A meter's definition.
    pub fn meter_entry(&self, key: &str) -> Option<&MeterEntry> {
        self.stored.meters.get(self.meter_ids.get(key)?)
    }

    /// The newest version of a plan, unless deleted.
    pub fn plan_entry(&self, key: &str) -> Option<&PlanEntry> {
        self.stored.plans.get(self.newest.get(key)?)
    }

    /// The name for people of a plan, also of one that was deleted: then the one that it had last.
    pub fn plan_title(&self, key: &str) -> Option<&str> {
        let last = || self.stored.plans.values().rfind(|entry| entry.key.as_str() == key);
        self.plan_entry(key).or_else(last).map(PlanEntry::title)
    }

    /// The newest versions of all plans that are not deleted.
    pub fn newest_plans(&self) -> impl Iterator<Item = &PlanEntry> {
        self.newest.values().filter_map(|id| self.stored.plans.get(id))
    }

    /// Whether an organization is on some version of a plan, will come to it, or is in a trial that ends in it.
    pub fn leads_to(&self, account: &Account, key: &PlanKey) -> bool {
        let on = |id: PlanId| self.plan_by_id(id).is_some_and(|plan| plan.key == *key);
        let in_trial = account.trial.is_some_and(|trial| !trial.over);
        let ends_in = |id: PlanId| self.plan_by_id(id).is_some_and(|plan| plan.spec.trial_leads_to(key));
        on(account.plan)
            || account.scheduled.is_some_and(|scheduled| on(scheduled.plan) || ends_in(scheduled.plan))
            || in_trial && ends_in(account.plan)
    }

    /// A version of a plan by its number.
    pub fn plan_by_id(&self, id: PlanId) -> Option<&PlanEntry> {
        self.stored.plans.get(&id)
    }

    /// The decimal places of a meter.
    pub fn decimals(&self, meter: MeterId) -> u8 {
        self.rules.meter(meter).map_or(0, |meter| meter.decimals)
    }

    /// The key of a meter's number, also of a deleted one.
    pub fn meter_key(&self, meter: MeterId) -> &str {
        self.stored.meters.get(&meter).map_or("unknown", |entry| entry.key.as_str())
    }

    /// The API key that `secret` is.
    pub fn api_key(&self, secret: &str, now: Time) -> Option<&ApiKey> {
        let key = self.stored.keys.get(key::id_of(secret)?)?;
        (key.matches(secret) && key.is_valid(now)).then_some(key)
    }
}
