//! What goes by itself between turns and without calls: what other nodes have changed is read, and what has been kept for long
//! enough goes, some at a time, by whichever node comes first.

use std::collections::BTreeSet;

use metergate_rules::time::{HOUR, MINUTE, SECOND, Time};

use super::Shared;
use crate::clock::boot;
use crate::store::batch::Failure;
use crate::store::deletion::leaving;
use crate::store::postgres::ids::tend_partitions;
use crate::store::postgres::lock::TeamRow;
use crate::store::postgres::{BEGIN, Postgres};
use crate::store::refusals::Row;

/// While there are calls, a step comes so often, in microseconds.
const EVERY: i64 = SECOND / 5;
/// How often it is looked whether something has been kept for long enough, in microseconds.
const AGED: i64 = HOUR;
/// Steps of blocks that go in one call, at most: a thousand blocks each.
const STEPS: usize = 1_000;

/// When things were done last, since boot.
#[derive(Default)]
pub(super) struct Tending {
    stepped: i64,
    /// When it is looked again whether answers and blocks are old enough to go.
    aged_due: i64,
    /// When it is looked again whether partitions for ids are missing, or are old enough to go.
    partitions_due: i64,
    /// When refusals are handed over again.
    pub(super) handed_due: i64,
    /// Up to which they were handed over.
    pub(super) handed_to: Option<Row>,
}

impl Shared {
    /// While there are calls.
    pub(super) fn tend_between(&mut self) {
        if boot() - self.tending.stepped > EVERY {
            self.tend();
        }
    }

    /// A step. Whether there may be more to do at once.
    pub(super) fn tend(&mut self) -> bool {
        self.tending.stepped = boot();
        match self.again(2, Self::step) {
            Ok(more) => more,
            Err(failure) => {
                self.tell(&failure, "what goes by itself has to wait");
                // Meanwhile those who call are not held up by it.
                self.tending.stepped += SECOND;
                false
            }
        }
    }

    fn step(&mut self) -> Result<bool, Failure> {
        let session = self.connected()?;
        let done = self.step_on(&session);
        self.session = Some(session);
        done
    }

    fn step_on(&mut self, session: &Postgres) -> Result<bool, Failure> {
        session.begin(BEGIN);
        let held = self.hold(session, (&BTreeSet::new(), &[]), TeamRow::Seen, false)?;
        if boot() >= self.tending.partitions_due {
            session.roll_back();
            let forgotten = held.now.plus(-self.settings.keeps_ids());
            let tended = tend_partitions(&self.address, held.now, forgotten)?;
            self.tending.partitions_due = boot() + if tended.is_left { MINUTE } else { AGED };
            return Ok(true);
        }
        if let Some(organization) = session.next_deletion()? {
            return self.forget(session, organization);
        }
        if session.drop_some()? {
            session.commit()?;
            return Ok(true);
        }
        if boot() >= self.tending.aged_due {
            let more = session.forget_answers(held.now.plus(-self.settings.keep_ids))?
                | (session.forget_blocks(self.oldest(held.now))? > 0);
            session.forget_people(held.now.plus(-AGED))?;
            session.commit()?;
            if !more {
                self.tending.aged_due = boot() + AGED;
            }
            return Ok(more);
        }
        session.roll_back();
        Ok(false)
    }

    /// Some of what is left of a deleted organization goes; people and keys first, under the lock of the team's row.
    fn forget(
        &mut self,
        session: &Postgres,
        organization: metergate_rules::id::OrganizationId,
    ) -> Result<bool, Failure> {
        if leaving(organization, &self.ledger, Time::MIN)?.is_some() {
            session.roll_back();
            session.begin(BEGIN);
            let held = self.hold(session, (&BTreeSet::new(), &[]), TeamRow::Locked, false)?;
            match leaving(organization, &self.ledger, held.now)? {
                Some((decided, force)) => {
                    self.commit(session, &held, decided)?;
                    self.put_in_force(force);
                }
                None => session.roll_back(),
            }
            return Ok(true);
        }
        session.forget_some(organization)?;
        session.commit()?;
        Ok(true)
    }

    /// Records from before this go. Those whose ids are still known stay, so that an id answers as before.
    fn oldest(&self, now: Time) -> Time {
        now.plus(-self.settings.keep_records.max(self.settings.keeps_ids()))
    }

    /// Lets go at once what has been kept for long enough. How many partitions of ids and steps of blocks that is.
    pub(super) fn retain(&mut self, session: &Postgres) -> Result<u64, Failure> {
        session.begin(BEGIN);
        let held = self.hold(session, (&BTreeSet::new(), &[]), TeamRow::Seen, false)?;
        session.roll_back();
        let tended = tend_partitions(&self.address, held.now, held.now.plus(-self.settings.keeps_ids()))?;
        let mut gone = tended.dropped;
        for _ in 0..STEPS {
            session.begin(BEGIN);
            let some = session.forget_blocks(self.oldest(held.now))?;
            session.commit()?;
            if some == 0 {
                break;
            }
            gone += 1;
        }
        Ok(gone)
    }
}
