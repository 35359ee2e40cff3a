//! What goes by itself between turns and without calls: what other nodes have changed is read, by the first loop of a node, and
//! what has been kept for long enough goes, some at a time, by whichever node comes first. That is done by a loop of its own, on
//! a connection of its own: however long a step takes, nobody who decides waits for it.

use std::collections::BTreeSet;
use std::time::Duration;

use metergate_rules::time::{HOUR, MINUTE, SECOND, Time};

use super::Shared;
use crate::clock::boot;
use crate::store::batch::Failure;
use crate::store::deletion::leaving;
use crate::store::error::EngineError;
use crate::store::postgres::durable::{self, Weakness};
use crate::store::postgres::ids::tend_partitions;
use crate::store::postgres::lock::{Locking, TeamRow};
use crate::store::postgres::{BEGIN, Postgres};
use crate::store::refusals::Row;

/// While there are calls, a step comes so often, in microseconds.
const EVERY: i64 = SECOND / 5;
/// The same without calls.
const IDLE: Duration = Duration::from_millis(500);
/// How often it is looked whether something has been kept for long enough, in microseconds.
const AGED: i64 = HOUR;

/// What one of a node's loops is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It decides, does all that is no organization's, and looks for what others have changed of the team's.
    First,
    /// It decides.
    Decides,
    /// It does the upkeep and what goes by itself.
    Upkeep,
}

/// How long a loop without calls rests between two looks.
pub(super) fn idle() -> Duration {
    // As if it never looked: then it has to be told.
    fail::fail_point!("nobody-looks", |_| Duration::from_secs(3600));
    IDLE
}

/// When things were done last, since boot.
#[derive(Default)]
pub(super) struct Tending {
    stepped: i64,
    /// When it is looked again whether the server keeps what it acknowledges, and what was wrong last time.
    durable_due: i64,
    pub(super) weak: Vec<Weakness>,
    /// When it is looked again whether answers and blocks are old enough to go.
    aged_due: i64,
    /// When it is looked again whether partitions for ids are missing, or are old enough to go.
    partitions_due: i64,
    /// When refusals are handed over again.
    pub(super) handed_due: i64,
    /// Up to which they were handed over.
    pub(super) handed_to: Option<Row>,
}

impl Tending {
    /// The connection is new, and so may be the server or its settings. What does the upkeep looks at these.
    pub(super) const fn looks_again(&mut self) {
        self.durable_due = 0;
    }
}

impl Shared {
    /// While there are calls.
    pub(super) fn tend_between(&mut self) {
        if boot() - self.tending.stepped > EVERY {
            self.tend();
        }
    }

    /// A look, or a step. Whether there may be more to do at once.
    pub(super) fn tend(&mut self) -> bool {
        self.tending.stepped = boot();
        let done = match self.role {
            Role::Decides => return false,
            Role::First => self.again(2, Self::look).map(|()| false),
            Role::Upkeep => self.again(2, Self::step),
        };
        match done {
            Ok(more) => more,
            Err(failure) => {
                self.tell(&failure, "what goes by itself has to wait");
                // Meanwhile those who call are not held up by it.
                self.tending.stepped += SECOND;
                false
            }
        }
    }

    /// Loads what others have changed of the team's.
    fn look(&mut self) -> Result<(), Failure> {
        let session = self.connected()?;
        session.begin(BEGIN);
        let seen = self.hold(&session, (&BTreeSet::new(), &[]), TeamRow::Seen, Locking::Skips);
        if seen.is_ok() {
            session.roll_back();
        }
        self.session = Some(session);
        Ok(seen.map(drop)?)
    }

    fn step(&mut self) -> Result<bool, Failure> {
        let session = self.connected()?;
        let done = self.step_on(&session);
        self.session = Some(session);
        done
    }

    fn step_on(&mut self, session: &Postgres) -> Result<bool, Failure> {
        session.begin(BEGIN);
        let held = self.hold(session, (&BTreeSet::new(), &[]), TeamRow::Seen, Locking::Skips)?;
        if boot() >= self.tending.durable_due {
            self.look_whether_durable(session)?;
        }
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

    /// Tells the log where commits are not safe any more, since somebody has changed the server's settings.
    fn look_whether_durable(&mut self, session: &Postgres) -> Result<(), EngineError> {
        let weak = session.weaknesses()?;
        weak.iter().filter(|one| !self.tending.weak.contains(one)).for_each(|one| durable::tell(*one));
        self.tending.weak = weak;
        self.tending.durable_due = boot() + MINUTE;
        Ok(())
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
            let held = self.hold(session, (&BTreeSet::new(), &[]), TeamRow::Locked, Locking::Skips)?;
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

    /// A step in which what has been kept for long enough goes: some blocks, or, where none are left, partitions of ids. How
    /// many of these went; 0 where nothing is left.
    pub(super) fn retain(&mut self, session: &Postgres) -> Result<u64, Failure> {
        fail::fail_point!("retain-step");
        session.begin(BEGIN);
        let held = self.hold(session, (&BTreeSet::new(), &[]), TeamRow::Seen, Locking::Skips)?;
        let some = session.forget_blocks(self.oldest(held.now))?;
        session.commit()?;
        if some > 0 {
            return Ok(1);
        }
        Ok(tend_partitions(&self.address, held.now, held.now.plus(-self.settings.keeps_ids()))?.dropped)
    }
}
