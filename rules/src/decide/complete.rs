//! Completing what has been recorded (M8): how long it took and how it ended is often known only later.

use crate::account::Account;
use crate::command::Completion;
use crate::id::MeterId;
use crate::outcome::{Completed, Outcome, Reply, Use, VoidedEvent, What};
use crate::time::Time;
use crate::timing::Timed;

use super::{Problem, entry};

/// A record that is to be completed, as the store found it.
#[derive(Clone, Debug)]
pub struct Completable {
    /// Where it stands.
    pub event: VoidedEvent,
    /// What it did to each meter.
    pub uses: Vec<Use>,
    /// What is known of how it ended.
    pub known: Completion,
    /// What is said now.
    pub said: Completion,
    /// How often something was said before.
    pub completed: u8,
}

/// Adds what was not known; what was is never changed. Nothing is counted.
pub(super) fn complete(account: &Account, asked: &Completable, now: Time) -> Result<Outcome, Problem> {
    let VoidedEvent { sequence, offset, .. } = asked.event;
    let is_of = |event: &&VoidedEvent| (event.sequence, event.offset) == (sequence, offset);
    let void: Vec<Option<MeterId>> = account.voided.iter().filter(is_of).map(|event| event.meter).collect();
    // Of a decision on several meters each is void by itself, and what is said of one is said of all.
    if void.contains(&None) || void.contains(&asked.event.meter) {
        return Err(Problem::AlreadyVoid);
    }
    let outcome = Completion {
        duration_ms: filled(asked.known.duration_ms, asked.said.duration_ms)?,
        status: filled(asked.known.status, asked.said.status)?,
    };
    let is_new = outcome != asked.known;
    let is_timed = asked.known.duration_ms.is_none();
    let stands = |used: &&Use| !void.contains(&Some(used.meter));
    let uses: Vec<Use> = asked.uses.iter().filter(stands).cloned().collect();
    let timed = if is_timed { Timed::of(outcome, &uses) } else { None };
    let completed = Completed { sequence, offset, step: asked.completed, outcome, timed };
    let entries = if is_new { vec![entry(now, What::Completed(Box::new(completed)))] } else { Vec::new() };
    Ok(Outcome { entries, reply: Reply::Completed { outcome, is_new }, audit: Vec::new() })
}

fn filled<T: PartialEq>(known: Option<T>, said: Option<T>) -> Result<Option<T>, Problem> {
    match (known, said) {
        (Some(known), Some(said)) if known != said => Err(Problem::AlreadyComplete),
        (known, said) => Ok(known.or(said)),
    }
}
