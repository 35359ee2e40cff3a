//! Work that stands alone in its commit: decided on one batch, written, and only then put in force.

use super::audit::Cut;
use super::batch::{Batch, Stop};
use super::decided::Decided;
use super::deletion::decide_deletion;
use super::people::decide_people;
use super::stripe::decide_stripe;
use super::team::decide_team;
use super::{Answer, Receipt, StoreError, Work};
use crate::catalogue::Snapshot;
use crate::people::People;

/// What came of work that stands alone.
pub(super) enum Alone {
    /// It was done before, under its key.
    Before(Answer),
    /// This is to be written.
    Now(Box<Now>),
}

/// What is to be written, and then holds.
pub(super) struct Now {
    /// What the commit writes.
    pub(super) decided: Decided,
    /// What is in force from then on.
    pub(super) force: Force,
    /// What the caller is told.
    pub(super) receipt: Receipt,
}

/// What is in force once a commit is durable; what it does not change is not here.
#[derive(Default)]
pub(super) struct Force {
    /// Meters, plans and keys.
    pub(super) catalogue: Option<Snapshot>,
    /// Everybody.
    pub(super) people: Option<People>,
    /// Chains of the audit log that begin later.
    pub(super) cut: Vec<[u8; 16]>,
}

impl Alone {
    pub(super) fn now(decided: Decided, force: Force, answer: Answer) -> Self {
        Self::Now(Box::new(Now { decided, force, receipt: Receipt::Answered { answer, replayed: false } }))
    }
}

/// Decides work that stands alone.
pub(super) fn decide_alone(work: &Work, batch: Batch<'_>) -> Result<Alone, Stop> {
    match work {
        Work::Team(request) => decide_team(batch, request),
        Work::People(request) => decide_people(batch, request),
        Work::Deletion(request) => decide_deletion(batch, request),
        Work::Cut(cuts) => decide_cut(batch, cuts),
        Work::Stripe(work) => decide_stripe(batch, work),
        Work::Requests(_) | Work::Replace(_) | Work::Retain | Work::Keep(..) | Work::Outbox(_) => {
            Err(StoreError::Internal.into())
        }
    }
}

/// What the log says where it could not be written.
pub(super) const fn unwritten(work: &Work) -> &'static str {
    match work {
        Work::Team(_) => "a change of the catalogue could not be written",
        Work::People(_) => "a change of people could not be written",
        Work::Deletion(_) => "the deletion of an organization could not be written",
        Work::Cut(_) => "the audit log could not be made to begin later",
        Work::Stripe(_) => "what Stripe told could not be written",
        Work::Requests(_) | Work::Replace(_) | Work::Retain | Work::Keep(..) | Work::Outbox(_) => {
            "it could not be written"
        }
    }
}

fn decide_cut(mut batch: Batch<'_>, cuts: &[Cut]) -> Result<Alone, Stop> {
    let cut = batch.begin_later(cuts)?;
    let receipt = Receipt::Upkeep(cut.len() as u64);
    let (decided, force) = (Decided::of(batch), Force { cut, ..Force::default() });
    Ok(Alone::Now(Box::new(Now { decided, force, receipt })))
}
