//! What the summaries of all organizations come to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;

use metergate_rules::account::LockCause;
use metergate_rules::due::status_name;
use metergate_rules::id::{MeterId, OrganizationId, PlanId};
use metergate_rules::quantity::Quantity;
use metergate_rules::time::Time;

use super::summary::{Summary, Tight};
use crate::store::totals::Totals;

/// Organizations in one list at most.
pub const MOST_LISTED: usize = 100;
/// From how much of a limit on an organization is close to it, in hundredths of a percent.
const CLOSE: u32 = 8_000;

/// The first organizations of an order, and how many belong in it. Of equals the one with the smaller id comes first.
#[derive(Clone, Debug)]
pub struct Top<K> {
    /// How many there are in all.
    pub total: u64,
    first: BTreeSet<(K, OrganizationId)>,
    /// The last of the first, once there are enough.
    worst: Option<(K, OrganizationId)>,
}

impl<K> Default for Top<K> {
    fn default() -> Self {
        Self { total: 0, first: BTreeSet::new(), worst: None }
    }
}

impl<K: Ord + Copy> Top<K> {
    fn put(&mut self, key: K, organization: OrganizationId) {
        self.total += 1;
        let entry = (key, organization);
        if self.worst.is_some_and(|worst| worst <= entry) {
            return;
        }
        self.first.insert(entry);
        if self.first.len() > MOST_LISTED {
            self.first.pop_last();
        }
        if self.first.len() == MOST_LISTED {
            self.worst = self.first.last().copied();
        }
    }

    /// The first of them in order.
    pub fn iter(&self) -> impl Iterator<Item = (K, OrganizationId)> {
        self.first.iter().copied()
    }
}

/// All organizations at one time.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Everything that was acknowledged by then is in it.
    pub as_of: Time,
    /// Whether every organization is in it.
    pub complete: bool,
    /// Organizations that are not in it, since their account is damaged.
    pub unreadable: u64,
    /// Organizations in it, those for tests too.
    pub organizations: u64,
    /// Those for tests. They are in no other figure and in no list.
    pub tests: u64,
    /// By status.
    pub by_status: BTreeMap<&'static str, u64>,
    /// By version of a plan.
    pub by_plan: BTreeMap<PlanId, u64>,
    /// By cause of a lock; one with several counts in each.
    pub by_cause: BTreeMap<LockCause, u64>,
    /// By what is used of the limit of which most is.
    pub close: Top<Reverse<u32>>,
    /// The limits of those in [`Self::close`].
    pub limits: HashMap<OrganizationId, Tight>,
    /// The last locked first.
    pub locked: Top<Reverse<Time>>,
    /// The next end of a trial first.
    pub in_trial: Top<Time>,
    /// By use of each meter in the open billing period.
    pub by_use: BTreeMap<MeterId, Top<Reverse<Quantity>>>,
    /// By refused decisions since [`Self::refused_since`].
    pub refused: Top<Reverse<u64>>,
    /// Since when refusals have been counted.
    pub refused_since: Time,
    /// What all used together; nothing where it is damaged.
    pub usage: Option<Totals>,
}

impl Overview {
    pub(super) fn new(as_of: Time, complete: bool, unreadable: u64, usage: Option<Totals>) -> Self {
        Self {
            as_of,
            complete,
            unreadable,
            organizations: 0,
            tests: 0,
            by_status: BTreeMap::new(),
            by_plan: BTreeMap::new(),
            by_cause: BTreeMap::new(),
            close: Top::default(),
            limits: HashMap::new(),
            locked: Top::default(),
            in_trial: Top::default(),
            by_use: BTreeMap::new(),
            refused: Top::default(),
            refused_since: as_of,
            usage,
        }
    }

    pub(super) fn take_in<S: BuildHasher>(&mut self, all: &HashMap<OrganizationId, Summary, S>) {
        for (id, one) in all {
            self.organizations += 1;
            if one.test {
                self.tests += 1;
                continue;
            }
            *self.by_status.entry(status_name(one.status)).or_default() += 1;
            *self.by_plan.entry(one.plan).or_default() += 1;
            one.causes().for_each(|cause| *self.by_cause.entry(cause).or_default() += 1);
            self.list(*id, one);
        }
        let limit = |(_, id): (_, OrganizationId)| Some((id, all.get(&id)?.tight?));
        self.limits = self.close.iter().filter_map(limit).collect();
    }

    fn list(&mut self, id: OrganizationId, one: &Summary) {
        if let Some(share) = one.tight.map(|tight| tight.share()).filter(|share| *share >= CLOSE) {
            self.close.put(Reverse(share), id);
        }
        if let Some(since) = one.locked_since {
            self.locked.put(Reverse(since), id);
        }
        if let Some(ends) = one.trial_ends {
            self.in_trial.put(ends, id);
        }
        for (meter, used) in &one.used {
            self.by_use.entry(*meter).or_default().put(Reverse(*used), id);
        }
    }

    pub(super) fn refused_most<S: BuildHasher>(
        &mut self,
        (since, refused): (Time, HashMap<OrganizationId, u64>),
        all: &HashMap<OrganizationId, Summary, S>,
    ) {
        self.refused_since = since;
        let real = |id: &OrganizationId| all.get(id).is_some_and(|one| !one.test);
        refused.iter().filter(|(id, _)| real(id)).for_each(|(id, count)| self.refused.put(Reverse(*count), *id));
    }
}
