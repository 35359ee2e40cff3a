//! What would have been refused under a changed plan or catalogue (O10): past records, replayed by the real rules.
//!
//! Each organization is replayed at one snapshot, one after the other and each in a read of its own, so that nobody else's
//! reading and writing waits longer than for one of them. Of the past each snapshot says the same, since entries are only
//! ever added behind it. Nothing is written.

use std::collections::BTreeSet;

use metergate_rules::id::{OrganizationId, OrganizationRef, PlanKey};
use metergate_rules::period::Zone;
use metergate_rules::time::Time;
use metergate_rules::what_if::{self, Moved};

use crate::backup::Watch;
use crate::catalogue::change::decide;
use crate::catalogue::file::CatalogueFile;
use crate::catalogue::spec::{LimitSpec, PlanSpec};
use crate::catalogue::{Snapshot, TeamCommand};
use crate::store::reader::{ReadError, Reader, View};
use crate::store::rows::{Candidates, Listing};
use crate::store::{Scope, StoreError};

mod as_it_was;
mod body;
mod budget;
mod estimated;
mod found;
mod late;
mod replayed;
mod summary;
mod tally;

pub use as_it_was::AsItWas;
pub use body::{WhatIfDay, WhatIfEstimate, WhatIfLimit, WhatIfMeter, WhatIfOrganization, WhatIfReport};
use budget::Budget;
use found::Found;
pub use late::{WhatIfLate, WhatIfLateMeter};

/// Organizations that are looked up in one read. Each is replayed in a read of its own.
const STEP: usize = 16;
/// The meter of what calls of language models cost.
const COST: &str = "llm_cost";

/// What is changed.
#[derive(Clone, Debug)]
pub enum Changed {
    /// A plan is as defined; without a definition as it is.
    Plan(PlanKey, Option<Box<PlanSpec>>),
    /// These limits take the place of a plan's own on the same meter and window, or stand beside them.
    Limits(PlanKey, Vec<LimitSpec>),
    /// All that a catalogue file names.
    File(CatalogueFile),
}

/// What is asked.
pub struct Question {
    /// Meters and plans, with the change.
    catalogue: Snapshot,
    moved: Moved,
    /// The plans that are changed.
    plans: Vec<String>,
    /// Those whose organizations are replayed: all of them where prices are changed.
    concerned: Vec<String>,
    /// Whether prices are changed, so that all costs are made anew.
    prices_anew: bool,
    /// In what that time brings about the plans differ.
    differing: Vec<AsItWas>,
    organizations: Option<Vec<OrganizationRef>>,
    from: Time,
    to: Time,
    zone: Zone,
    /// Whether quantities are written as strings.
    text: bool,
    /// Whether a catalogue file is asked about.
    is_file: bool,
    /// Whether nobody has chosen the range, so that it is the last month.
    is_last_month: bool,
    /// Seconds in which as many organizations are replayed as may be; without them all are.
    within: Option<u32>,
}

impl Question {
    /// What would have been in `[from, to)`: for all organizations on the plans that are changed, or for some that are named. Where
    /// one plan is changed, those are taken to be on it.
    ///
    /// # Errors
    /// Those of defining the plan or applying the file; [`StoreError::Catalogue`] where there is no such plan.
    pub fn new(
        snapshot: &Snapshot,
        changed: Changed,
        organizations: Option<Vec<OrganizationRef>>,
        (from, to): (Time, Time),
        zone: Zone,
        text: bool,
    ) -> Result<Self, StoreError> {
        if let Changed::Limits(key, limits) = &changed {
            let plan = snapshot.plan_entry(key.as_str());
            if let Some(mut alone) = plan.map(|plan| plan.spec.clone()) {
                // What is wrong with one of them is told by its place among these.
                alone.limits.clone_from(limits);
                decide(snapshot, &TeamCommand::PutPlan(key.clone(), alone), "", to)?;
            }
        }
        let (plans, command) = command(snapshot, changed, organizations.is_some())?;
        let stored = match &command {
            Some(command) => decide(snapshot, command, "", to)?.stored,
            None => snapshot.stored.clone(),
        };
        // It was made ready once when the change was decided.
        let catalogue = Snapshot::new(stored).map_err(|_| StoreError::Internal)?;
        let newest = |key: &String| catalogue.plan_entry(key).map(|entry| (entry.key.clone(), entry.id));
        let followers: Vec<_> = plans.iter().filter_map(newest).collect();
        let is_file = matches!(command, Some(TeamCommand::Apply(_)));
        let moved = match &followers[..] {
            [(_, plan)] if organizations.is_some() && !is_file => Moved::To(*plan),
            _ => Moved::Followers(followers.iter().cloned().collect()),
        };
        let prices_anew = catalogue.stored.prices.prices != snapshot.stored.prices.prices;
        let all = || catalogue.stored.plans.values().map(|plan| plan.key.to_string()).collect::<BTreeSet<_>>();
        let concerned = if prices_anew { all().into_iter().collect() } else { led_to(&catalogue, &plans) };
        let differing = AsItWas::differing(snapshot, &catalogue, &plans, &moved);
        let (is_last_month, within) = (false, None);
        Ok(Self {
            catalogue,
            moved,
            plans,
            concerned,
            prices_anew,
            differing,
            organizations,
            from,
            to,
            zone,
            text,
            is_file,
            is_last_month,
            within,
        })
    }

    /// The same of the last month, as the answer calls it.
    #[must_use]
    pub fn of_last_month(self, is_last_month: bool) -> Self {
        Self { is_last_month, ..self }
    }

    /// The same of as many organizations as are replayed in so many seconds.
    #[must_use]
    pub fn within(self, seconds: Option<u32>) -> Self {
        Self { within: seconds, ..self }
    }

    /// The organizations that are named, where some are.
    pub fn organizations(&self) -> Option<&[OrganizationRef]> {
        self.organizations.as_deref()
    }

    /// Whether trials, periods, days of grace and the plan after a subscription are those of the changed plans.
    const fn in_course(&self) -> bool {
        !self.differing.is_empty()
    }

    /// Whether billing periods begin elsewhere.
    fn has_other_periods(&self) -> bool {
        self.differing.contains(&AsItWas::Cycle)
    }

    /// Whether the file changes nothing for who is on this version, since it is the one that the file leads to.
    fn leaves(&self, plan: metergate_rules::id::PlanId) -> bool {
        let is_there = match &self.moved {
            Moved::Followers(plans) => plans.values().any(|newest| *newest == plan),
            Moved::To(_) => false,
        };
        self.is_file && is_there && !self.prices_anew
    }

    fn is_on(&self, plan: metergate_rules::id::PlanId, key: &str) -> bool {
        self.catalogue.plan_by_id(plan).is_some_and(|entry| entry.key.as_str() == key)
    }
}

/// The plans that are changed, and those to which they led before, where they lead elsewhere now: who came from one of them is there.
fn led_to(catalogue: &Snapshot, plans: &[String]) -> Vec<String> {
    let mut all: Vec<String> = plans.to_vec();
    for newest in plans.iter().filter_map(|key| catalogue.rules.newest_plan(key)) {
        let versions = catalogue.stored.plans.values().filter(|entry| entry.key == newest.key);
        for version in versions.filter_map(|entry| catalogue.rules.plan(entry.id)) {
            what_if::led_to(version, newest, |key| {
                if catalogue.plan_entry(key.as_str()).is_some() && all.iter().all(|known| known != key.as_str()) {
                    all.push(key.to_string());
                }
            });
        }
    }
    all
}

/// The plans that are changed, and the command that changes them; none where nothing has to be.
fn command(
    snapshot: &Snapshot,
    changed: Changed,
    are_named: bool,
) -> Result<(Vec<String>, Option<TeamCommand>), StoreError> {
    let unknown = || StoreError::Problem(metergate_rules::decide::Problem::UnknownPlan);
    let known = |key: &PlanKey| snapshot.plan_entry(key.as_str()).ok_or_else(unknown);
    match changed {
        Changed::File(file) => Ok((file.plans.keys().cloned().collect(), Some(TeamCommand::Apply(file)))),
        Changed::Plan(key, definition) => {
            // Nobody is on a plan that is new; but somebody may be asked about as if they were.
            if definition.is_none() || !are_named {
                known(&key)?;
            }
            let command = definition.map(|spec| TeamCommand::PutPlan(key.clone(), *spec));
            Ok((vec![key.to_string()], command))
        }
        Changed::Limits(key, limits) => {
            let mut spec = known(&key)?.spec.clone();
            for limit in limits {
                let is_same = |own: &&mut LimitSpec| own.meter == limit.meter && own.window == limit.window;
                match spec.limits.iter_mut().find(is_same) {
                    Some(own) => *own = limit,
                    None => spec.limits.push(limit),
                }
            }
            Ok((vec![key.to_string()], Some(TeamCommand::PutPlan(key, spec))))
        }
    }
}

/// Answers a question, on a thread that may wait; `watch` hears how many organizations are done.
///
/// # Errors
/// [`ReadError`] where the store cannot be read, a named organization does not exist, or it is not to go on.
pub fn answer(reader: &Reader, question: &Question, now: Time, watch: &dyn Watch) -> Result<WhatIfReport, ReadError> {
    let (mut found, budget) = (Found::default(), Budget::new(watch, question.within));
    match &question.organizations {
        Some(named) => {
            budget.total(u64::try_from(named.len()).unwrap_or(u64::MAX));
            let mut named_before = BTreeSet::new();
            for organization in named {
                if budget.is_over() {
                    break;
                }
                let looked = reader.read_here(|view| {
                    let account = view.account(Scope::Team, organization)?;
                    // One that is named twice, such as by its key and its id, is one.
                    let is_new = named_before.insert(account.id);
                    is_new.then(|| replayed::look(view, question, account, &|| budget.goes_on())).transpose()
                });
                if let Some(looked) = looked.transpose() {
                    if !budget.takes(&looked) {
                        break;
                    }
                    found.note(question, looked, organization)?;
                }
                budget.advance(1);
            }
        }
        None => {
            budget.total(reader.read_here(|view| followers(view, question))?);
            for plan in &question.concerned {
                on_plan(reader, question, plan, now, &budget, &mut found)?;
            }
        }
    }
    found.unreplayed = budget.left();
    found.shorten();
    Ok(WhatIfReport::of(question, found))
}

/// How many organizations are on the plans, about.
fn followers(view: &View<'_>, question: &Question) -> Result<u64, ReadError> {
    let versions = question.catalogue.stored.plans.values();
    let of_plans = versions.filter(|entry| question.concerned.iter().any(|plan| plan == entry.key.as_str()));
    Ok(view.rows().organizations_on(&of_plans.map(|entry| entry.id).collect::<Vec<_>>())?)
}

fn on_plan(
    reader: &Reader,
    question: &Question,
    plan: &str,
    due: Time,
    budget: &Budget<'_>,
    found: &mut Found,
) -> Result<(), ReadError> {
    let mut after = Some(String::new());
    while let Some(from) = after {
        let asked = Candidates {
            from: Listing::ByKey(&from),
            own: None,
            pattern: None,
            status: None,
            locked: None,
            plan: Some(plan),
            due,
        };
        let rows = reader.read_here(|view| Ok(view.rows().candidates(&asked, STEP)?))?;
        after = rows.last().filter(|_| rows.len() == STEP).map(|(_, key)| key.clone());
        for (id, _) in rows {
            if budget.is_over() {
                return Ok(());
            }
            reader.read_here(|view| one(view, question, plan, id, budget, found))?;
        }
    }
    Ok(())
}

/// Replays one of a plan. What is for tests is none of those who would be refused.
fn one(
    view: &View<'_>,
    question: &Question,
    plan: &str,
    id: OrganizationId,
    budget: &Budget<'_>,
    found: &mut Found,
) -> Result<(), ReadError> {
    let looked = view.account(Scope::Team, &OrganizationRef::Id(id)).and_then(|account| {
        let concerns = question.is_on(account.plan, plan) && !account.profile.test && !question.leaves(account.plan);
        concerns.then(|| replayed::look(view, question, account, &|| budget.goes_on())).transpose()
    });
    match looked.transpose() {
        None | Some(Err(ReadError::Store(StoreError::UnknownOrganization))) => {
            budget.advance(1);
            Ok(())
        }
        Some(looked) if !budget.takes(&looked) => Ok(()),
        Some(looked) => {
            budget.advance(1);
            found.note(question, looked, &OrganizationRef::Id(id))
        }
    }
}

/// It is not to go on.
fn stopped<T>() -> Result<T, ReadError> {
    Err(StoreError::Unavailable.into())
}
