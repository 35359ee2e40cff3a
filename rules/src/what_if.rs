//! What would have happened under other terms: an organization's past entries, decided anew by the real rules (O10).
//!
//! A replay has an account of its own, made as the organization stood at first. Calls are asked again and may be refused;
//! facts are recorded again and may go beyond a limit. What time, operators and members brought about (days, periods, trials,
//! locks, grants, overrides, resets, moves to other plans) happens as it did, so that the terms alone differ, or where the terms
//! say otherwise as they have it (`course.rs`). What was refused then stays refused or passes now, and is used then. Under the
//! terms that were in force the same comes out.

use std::collections::{HashMap, HashSet};

use crate::account::{Account, OpenWindows, Scheduled};
use crate::apply::apply;
use crate::catalogue::Catalogue;
use crate::command::{Command, Commit, Completion, Consume, Event, Item, Reserve};
use crate::decide::{Problem, decide};
use crate::id::{PlanId, PlanKey, ReservationId};
use crate::meter::Measure;
use crate::outcome::{
    Asked, Change, Decided, Effect, Entry, Hold, PlanState, Recorded, Reply, Settled, Use, VoidedEvent, What,
};
use crate::price::LlmUse;
use crate::quantity::Quantity;
use crate::reservation::Reservation;
use crate::subscription::Subscribed;
use crate::time::Time;
use crate::window::{Window, WindowSet};

mod begin;
mod course;
mod estimate;
mod finding;
mod late;
mod priced;
mod taken_back;
mod values;

pub use begin::{led_to, needed_from};
pub use estimate::{Estimate, Estimated};
pub use finding::{Fate, Finding, Kind, Part};
use finding::{asked_of_cost, fact, refused_by_cost};
pub use late::Late;
pub use priced::Charged;
use values::Values;

/// Other terms.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// The meters and plans that are asked about; it has every version that an organization was on.
    pub catalogue: &'a Catalogue,
    /// Who is on which of them.
    pub moved: &'a Moved,
}

/// Who is on which version of a plan.
#[derive(Clone, Debug)]
pub enum Moved {
    /// Whoever is on some version of such a plan is on this one.
    Followers(HashMap<PlanKey, PlanId>),
    /// Everybody is on this one, all the time.
    To(PlanId),
}

impl Terms<'_> {
    /// The version in whose place another one is.
    pub fn plan(&self, on: PlanId) -> PlanId {
        match self.moved {
            Moved::To(plan) => *plan,
            Moved::Followers(plans) => {
                self.catalogue.plan(on).and_then(|plan| plans.get(&plan.key)).copied().unwrap_or(on)
            }
        }
    }

    fn state(&self, state: &PlanState) -> PlanState {
        PlanState { plan: self.plan(state.plan), ..state.clone() }
    }
}

/// An organization under other terms.
#[derive(Debug)]
pub struct Replay<'a> {
    account: Account,
    /// The version that it was on in truth.
    was_on: PlanId,
    /// The organization as it was, where what time brings about follows from these terms.
    was: Option<Box<Account>>,
    terms: Terms<'a>,
    /// Where the events stand of which it is known that they become void.
    voids: HashSet<(u64, u32)>,
    /// Those of them that would not have happened.
    undone: HashSet<(u64, u32)>,
    /// What the others would have done.
    done: HashMap<(u64, u32), Vec<Use>>,
    values: Values,
    /// When it stood so.
    since: Time,
    /// What the use at hand says of a language model's tokens, where that is priced anew.
    said: Option<Box<LlmUse>>,
    prices_anew: bool,
    /// What those events cost anew of which it is known that they become void.
    costs: HashMap<(u64, u32), Quantity>,
    /// What was charged, and what would have been.
    charged: Charged,
}

impl<'a> Replay<'a> {
    /// Of an organization as it stood, with all entries from before and no other. `voided` are those of its events that have
    /// become void since, as far as that is known.
    pub fn new(mut account: Account, terms: Terms<'a>, voided: &[VoidedEvent]) -> Self {
        let was_on = account.plan;
        account.plan = terms.plan(account.plan);
        if let Some(scheduled) = &mut account.scheduled {
            scheduled.plan = terms.plan(scheduled.plan);
        }
        Self {
            since: account.time,
            account,
            was_on,
            was: None,
            terms,
            voids: voided.iter().map(|event| (event.sequence, event.offset)).collect(),
            undone: HashSet::new(),
            done: HashMap::new(),
            values: Values::default(),
            said: None,
            prices_anew: false,
            costs: HashMap::new(),
            charged: Charged::default(),
        }
    }

    /// The organization as it would stand.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The windows that were open in truth after the last entry.
    pub fn was_open(&self) -> &OpenWindows {
        &self.was.as_deref().unwrap_or(&self.account).windows
    }

    /// The same, for keeping.
    pub fn into_account(self) -> Account {
        self.account
    }

    /// Takes the next entry, with its place in the journal: block and offset. What it says of a call or a fact.
    ///
    /// # Errors
    /// [`Problem`] where it makes no sense under these terms, such as on a meter or a plan that they do not have.
    pub fn take(&mut self, place: (u64, u32), entry: &Entry) -> Result<Option<Finding>, Problem> {
        self.charged.was += self.cost_of(entry.what.uses());
        if self.was.is_none() {
            return self.take_each(place, entry);
        }
        self.settle(entry.at)?;
        let found = match &entry.what {
            What::Due(effect) => {
                self.due_in_course(effect);
                None
            }
            What::Changed(change) => {
                self.change_in_course(entry, change)?;
                None
            }
            _ => self.take_each(place, entry)?,
        };
        if let Some(was) = &mut self.was {
            apply(was, entry);
            self.was_on = was.plan;
        }
        Ok(found)
    }

    fn take_each(&mut self, place: (u64, u32), entry: &Entry) -> Result<Option<Finding>, Problem> {
        match &entry.what {
            What::Decided(decided) => self.decided(place, entry.at, decided),
            What::Recorded(recorded) => self.recorded(place, entry.at, recorded).map(Some),
            What::Reservation(hold) => self.reservation(place, entry, hold),
            What::Changed(change) => self.changed(entry, change).map(|()| None),
            What::Due(effect) => {
                self.due(entry, effect);
                Ok(None)
            }
            What::Noticed(_) => {
                apply(&mut self.account, entry);
                Ok(None)
            }
            What::Image(_) | What::Completed(_) => Ok(None),
        }
    }

    fn decided(&mut self, place: (u64, u32), at: Time, decided: &Decided) -> Result<Option<Finding>, Problem> {
        let was_allowed = decided.refused.is_empty();
        let asked: Vec<Asked> =
            if was_allowed { decided.uses.iter().map(asked).collect() } else { decided.refused.clone() };
        if asked.is_empty() {
            return Ok(None);
        }
        let command = Command::Consume(Consume {
            items: items(&asked),
            llm: self.charged(&asked)?,
            properties: String::new(),
            outcome: Completion::default(),
        });
        let (seen, spans) = self.values.of(&self.account, &command, &asked);
        let outcome = decide(&self.account, &command, &seen, true, self.terms.catalogue, at)?;
        let Reply::Decided(verdicts) = &outcome.reply else { return Err(Problem::Inconsistent("no decision")) };
        let is_allowed = verdicts.iter().all(|verdict| verdict.reason.is_none());
        self.values.note(&spans, &asked, &seen, at, (was_allowed, is_allowed));
        let kept = decided.verdicts.as_deref().unwrap_or_default();
        let anew = verdicts.iter().find_map(|verdict| verdict.cost.as_ref()).filter(|_| self.said.is_some());
        let part = |(i, one): (usize, &Asked)| Part {
            meter: one.item.meter,
            measure: match (one.follows, anew) {
                (Some(_), Some(anew)) => Measure::Add(anew.cost.charged()),
                _ => one.item.measure,
            },
            was: decided.uses.get(i).map_or_else(|| Fate::of(kept, one), |used| Fate::beyond(used.overage)),
            is: Fate::of(verdicts, one),
        };
        let parts = asked.iter().enumerate().map(part).collect();
        self.fold(&outcome.entries);
        self.keep(place, &outcome.entries);
        if was_allowed && !is_allowed {
            self.undo(place);
        }
        Ok(Some(Finding { at, kind: Kind::Decision, was_allowed, is_allowed, parts, is_undone: false }))
    }

    fn recorded(&mut self, place: (u64, u32), at: Time, recorded: &Recorded) -> Result<Finding, Problem> {
        let asked: Vec<Asked> = recorded.uses.iter().map(asked).collect();
        let told = &recorded.event;
        // Whatever stood in it beside its measures decides nothing, and may be long.
        let event = Event {
            id: told.id.clone(),
            source: told.source.clone(),
            event_type: told.event_type.clone(),
            time: told.time,
            data: String::new(),
            items: items(&asked),
            llm: self.charged(&asked)?,
            outcome: told.outcome,
            calls: None,
        };
        let command = Command::Record(event);
        let (seen, spans) = self.values.of(&self.account, &command, &asked);
        let outcome = decide(&self.account, &command, &seen, true, self.terms.catalogue, at)?;
        self.values.note(&spans, &asked, &seen, told.time.unwrap_or(at), (true, true));
        self.fold(&outcome.entries);
        self.keep(place, &outcome.entries);
        Ok(fact(at, &recorded.uses, &outcome.entries))
    }

    fn reservation(&mut self, place: (u64, u32), entry: &Entry, hold: &Hold) -> Result<Option<Finding>, Problem> {
        match hold {
            Hold::Made { reservation, .. } => self.made(entry.at, reservation).map(Some),
            Hold::Settled(settled) => self.settled(place, entry.at, settled).map(Some),
            // Of one that would not have been made there is nothing to take.
            Hold::Extended { .. } | Hold::Released(_) => {
                apply(&mut self.account, entry);
                Ok(None)
            }
        }
    }

    fn made(&mut self, at: Time, held: &Reservation) -> Result<Finding, Problem> {
        let (meter, measure) = (held.meter, Measure::Add(held.quantity));
        let item = Item { meter, measure, dimensions: held.dimensions.clone() };
        let (ttl, llm) = (held.ends_at.since(held.at), self.charged(&asked_of_cost(held))?);
        let asked = Reserve { item, ttl, properties: String::new(), llm };
        let outcome = decide(&self.account, &Command::Reserve(asked), &[], false, self.terms.catalogue, at)?;
        let Reply::Reserved(reserved) = outcome.reply else { return Err(Problem::Inconsistent("no reservation")) };
        let is_allowed = reserved.reservation.is_some();
        for mut entry in outcome.entries.into_iter().filter(|entry| !matches!(entry.what, What::Noticed(_))) {
            // Under the number that it had: what follows is said of that.
            if let What::Reservation(hold) = &mut entry.what
                && let Hold::Made { reservation, .. } = &mut **hold
            {
                reservation.number(held.id);
            }
            apply(&mut self.account, &entry);
        }
        // What of it goes beyond a limit is said once it is used.
        let passed = reserved.verdict.limits.iter().filter(|limit| limit.violated).map(|limit| limit.window).collect();
        let is = Fate { reason: reserved.verdict.reason, passed, overage: Quantity::ZERO };
        let tokens = Part { meter, measure, was: Fate::default(), is };
        let parts = std::iter::once(tokens).chain(refused_by_cost(&reserved.verdict)).collect();
        Ok(Finding { at, kind: Kind::Reservation, was_allowed: true, is_allowed, parts, is_undone: false })
    }

    fn settled(&mut self, place: (u64, u32), at: Time, settled: &Settled) -> Result<Finding, Problem> {
        if !self.holds(settled.id) {
            self.undo(place);
            return Ok(Finding { is_undone: true, ..fact(at, &settled.uses, &[]) });
        }
        let (Some(quantity), Some(used)) = (settled.quantity(), settled.uses.first()) else {
            return Err(Problem::NotReservable);
        };
        let meter = self.terms.catalogue.meter(used.meter).ok_or(Problem::UnknownMeter)?;
        let asked: Vec<Asked> = settled.uses.iter().map(asked).collect();
        let commit = Command::Commit(Commit {
            id: settled.id,
            quantity: quantity.display(meter.decimals).to_string().into(),
            outcome: settled.outcome,
            calls: None,
            properties: String::new(),
            llm: self.charged(&asked)?,
        });
        let outcome = decide(&self.account, &commit, &[], false, self.terms.catalogue, at)?;
        self.fold(&outcome.entries);
        self.keep(place, &outcome.entries);
        Ok(fact(at, &settled.uses, &outcome.entries))
    }

    /// What was to be told has been told, and is folded as it was.
    fn fold(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| !matches!(entry.what, What::Noticed(_))) {
            self.charged.is += self.cost_of(entry.what.uses());
            apply(&mut self.account, entry);
        }
    }

    fn holds(&self, id: ReservationId) -> bool {
        self.account.reservations.iter().any(|held| held.id == id)
    }

    /// What operators and members changed happens as it did, but that a plan is the one in whose place another is.
    fn changed(&mut self, entry: &Entry, change: &Change) -> Result<(), Problem> {
        let changed = match change {
            Change::Plan(state) => {
                self.was_on = state.plan;
                Change::Plan(self.terms.state(state))
            }
            Change::Scheduled(scheduled) => {
                Change::Scheduled(Scheduled { plan: self.terms.plan(scheduled.plan), ..*scheduled })
            }
            Change::Subscribed(after) => {
                self.was_on = after.plan;
                let scheduled =
                    after.scheduled.map(|change| Scheduled { plan: self.terms.plan(change.plan), ..change });
                let plan = self.terms.plan(after.plan);
                Change::Subscribed(Box::new(Subscribed { plan, scheduled, ..(**after).clone() }))
            }
            Change::Corrected(correction) => return self.corrected(entry, correction),
            _ => {
                apply(&mut self.account, entry);
                return Ok(());
            }
        };
        apply(&mut self.account, &Entry { at: entry.at, what: What::Changed(Box::new(changed)) });
        Ok(())
    }

    fn due(&mut self, entry: &Entry, effect: &Effect) {
        let what = match effect {
            Effect::TrialEnded { status, lock, plan: Some(plan) } => {
                self.was_on = *plan;
                let plan = Some(self.terms.plan(*plan));
                What::Due(Effect::TrialEnded { status: *status, lock: lock.clone(), plan })
            }
            Effect::PlanChanged(state) => {
                self.was_on = state.plan;
                What::Due(Effect::PlanChanged(self.terms.state(state)))
            }
            _ => return self.passes(entry),
        };
        self.passes(&Entry { at: entry.at, what });
    }

    fn passes(&mut self, entry: &Entry) {
        apply(&mut self.account, entry);
        self.values.forget_before(&self.account);
    }
}

/// What is asked for again that was used.
fn asked(used: &Use) -> Asked {
    let counted: WindowSet = Window::COUNTED.into_iter().collect();
    let seen = match used.measure {
        Measure::Value(_) => counted.without(used.windows).without(used.ahead),
        _ => WindowSet::NONE,
    };
    let item = Item { meter: used.meter, measure: used.measure, dimensions: used.dimensions.clone() };
    Asked { item, seen, follows: used.follows }
}

/// What somebody asked for; what it costs follows by itself.
fn items(asked: &[Asked]) -> Vec<Item> {
    asked.iter().filter(|one| one.follows.is_none()).map(|one| one.item.clone()).collect()
}
