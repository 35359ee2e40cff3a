//! Work that stands alone in its commit: under the lock of the team's row, so that one node at a time does it.

use std::collections::BTreeSet;
use std::sync::Arc;

use metergate_rules::id::OrganizationId;

use super::Shared;
use super::turn::{Held, SHORTLY, Turn};
use crate::store::alone::{Alone, decide_alone};
use crate::store::batch::{Batch, Failure, Stop};
use crate::store::block::Block;
use crate::store::decided::Decided;
use crate::store::error::{EngineError, unreadable};
use crate::store::outbox::keep_outbox;
use crate::store::postgres::lock::{Locking, TeamRow};
use crate::store::postgres::write::{Changed, Commit};
use crate::store::postgres::{BEGIN, Postgres};
use crate::store::remade::Remade;
use crate::store::rows::Rows as _;
use crate::store::{Receipt, StoreError, Work};

/// Blocks that are read for rows that were made before them; where more have come, the reader goes on first.
const MOST_LATER: u64 = 256;

/// What a caller is told.
type Told = Result<Receipt, StoreError>;

impl Shared {
    /// Does work that stands alone.
    pub(super) fn change(&mut self, work: &Work) -> Result<Turn<Told>, Failure> {
        let session = self.connected()?;
        let done = match work {
            Work::Replace(remade) => self.replace(&session, remade),
            Work::Retain => self.retain(&session).map(|gone| Turn::Done(Ok(Receipt::Upkeep(gone)))),
            Work::Keep(name, value) => keep(&session, name, value).map(|()| Turn::Done(Ok(Receipt::Upkeep(1)))),
            Work::Outbox(work) => keep_outbox(&session, work).map(|receipt| Turn::Done(Ok(receipt))),
            work => self.change_on(&session, work),
        };
        self.session = Some(session);
        done
    }

    fn change_on(&mut self, session: &Postgres, work: &Work) -> Result<Turn<Told>, Failure> {
        session.begin(BEGIN);
        session.later(SHORTLY, Vec::new());
        let ids = self.memory.also.clone();
        let held = self.hold(session, (&ids, &[]), TeamRow::Locked, Locking::Skips)?;
        if !held.skipped.is_empty() {
            session.roll_back();
            return Ok(Turn::PutOff);
        }
        let batch = Batch::new(&mut self.ledger, session, &self.settings, held.now);
        let now = match decide_alone(work, batch) {
            Ok(Alone::Now(now)) => *now,
            Ok(Alone::Before(answer)) => {
                session.roll_back();
                return Ok(Turn::Done(Ok(Receipt::Answered { answer, replayed: true })));
            }
            Err(Stop::Request(error)) => {
                session.roll_back();
                return Ok(Turn::Done(Err(error)));
            }
            Err(Stop::Batch(failure)) => return Err(failure),
        };
        self.commit(session, &held, now.decided)?;
        self.put_in_force(now.force);
        Ok(Turn::Done(Ok(now.receipt)))
    }

    /// Puts rows made again in the place of those that are stored.
    fn replace(&mut self, session: &Postgres, remade: &Remade) -> Result<Turn<Told>, Failure> {
        session.begin(BEGIN);
        let organization = remade.organization();
        let held = self.hold(session, (&BTreeSet::from([organization]), &[]), TeamRow::Seen, Locking::Skips)?;
        let Some((version, last)) = held.locked.get(&organization).copied() else {
            session.roll_back();
            // Deleted since the rows were made again, or another node holds it.
            return Ok(if held.skipped.is_empty() { Turn::Done(Ok(Receipt::Upkeep(0))) } else { Turn::PutOff });
        };
        if last.saturating_sub(remade.held()) > MOST_LATER {
            session.roll_back();
            return Ok(Turn::Done(Err(StoreError::Changed)));
        }
        let mut remade = remade.clone();
        if remade.held() < last {
            let later = usize::try_from(MOST_LATER).unwrap_or(usize::MAX);
            for (sequence, data) in session.own_blocks_in(organization, remade.held() + 1..=last, later)? {
                let broken = |error| unreadable(format!("block {sequence} of organization {organization}"), error);
                let records = Block::read(&data).and_then(|block| block.of(organization)).map_err(broken)?;
                records.iter().for_each(|(_, record)| remade.add_later(record));
            }
        }
        session.name([organization]);
        if let Some(carried) = self.ledger.carried.remove(&organization) {
            session.add_to_rollups(organization, version, carried.rollups(organization))?;
        }
        let written = session.replace_rollups(remade.rows())?;
        self.raise_version(session, organization, &held)?;
        Ok(Turn::Done(Ok(Receipt::Upkeep(written as u64))))
    }
}

impl Shared {
    /// Commits with a new version of an account, by which all nodes see that they know its rollups no more, and which carries
    /// nothing for them.
    fn raise_version(
        &mut self,
        session: &Postgres,
        organization: OrganizationId,
        held: &Held,
    ) -> Result<(), EngineError> {
        let (seen, last) = held.locked.get(&organization).copied().unzip();
        let Some(account) = self.ledger.accounts.get(&organization).map(Arc::clone) else {
            return Err(unreadable("an account", "it is not there although it is locked"));
        };
        let (sequence, head) = (last.unwrap_or(0), self.head_of(&Decided::nothing(held.now), organization));
        let carried = Arc::default();
        let changed = vec![Changed { account, carried, seen, sequence, head, block: None, listed: false }];
        let commit = Commit { at: held.now, changed, ..Commit::default() };
        session.write(&commit)?;
        self.memory.remembered.lock().committed(&commit.changed, None);
        Ok(())
    }
}

/// Puts a single value in the place of what is stored under its name.
fn keep(session: &Postgres, name: &str, value: &str) -> Result<(), Failure> {
    session.begin(BEGIN);
    session.put_setting(name, value)?;
    Ok(session.commit()?)
}
