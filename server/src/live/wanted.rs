//! Of which organizations somebody wants events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use metergate_rules::id::OrganizationId;
use parking_lot::Mutex;

/// The organizations that one stream is about.
#[derive(Clone, Debug)]
pub enum Interest {
    /// Every one.
    All,
    /// These.
    Some(Arc<HashSet<OrganizationId>>),
}

impl Interest {
    /// In one organization.
    pub fn one(organization: OrganizationId) -> Self {
        Self::Some(Arc::new(HashSet::from([organization])))
    }

    /// Whether an organization is among them.
    pub fn has(&self, organization: OrganizationId) -> bool {
        match self {
            Self::All => true,
            Self::Some(some) => some.contains(&organization),
        }
    }
}

/// What all who follow want together.
#[derive(Debug, Default)]
pub(super) struct Wanted(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    some: HashMap<OrganizationId, usize>,
    /// Rises whenever more is wanted.
    version: u64,
}

impl Wanted {
    /// Somebody wants this, too. From which state on that is so.
    pub(super) fn want(&self, interest: &Interest) -> u64 {
        let mut counts = self.0.lock();
        match interest {
            Interest::All => counts.all += 1,
            Interest::Some(some) => some.iter().for_each(|one| *counts.some.entry(*one).or_default() += 1),
        }
        counts.version += 1;
        counts.version
    }

    /// Somebody wants this no more.
    pub(super) fn release(&self, interest: &Interest) {
        let mut counts = self.0.lock();
        match interest {
            Interest::All => counts.all -= 1,
            Interest::Some(some) => some.iter().for_each(|one| {
                if let Some(count) = counts.some.get_mut(one) {
                    *count -= 1;
                    if *count == 0 {
                        counts.some.remove(one);
                    }
                }
            }),
        }
    }

    /// What is wanted now, and in which state that is.
    pub(super) fn now(&self) -> (Interest, u64) {
        let counts = self.0.lock();
        let some = || Interest::Some(Arc::new(counts.some.keys().copied().collect()));
        (if counts.all > 0 { Interest::All } else { some() }, counts.version)
    }
}
