//! Connections to read with: a few, each for one read at a time.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Address, Postgres};
use crate::store::error::EngineError;
use crate::store::open::Outdated;

/// Connections of a node to read with, at most.
const MOST: usize = 8;
/// How long a read waits until one is free.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a report sees is one instant.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The connections.
pub(in crate::store) struct Pool {
    address: Address,
    outdated: Outdated,
    kept: Mutex<Kept>,
    free: Condvar,
}

#[derive(Default)]
struct Kept {
    idle: Vec<Postgres>,
    open: usize,
}

impl Pool {
    /// None yet. Nothing is read any more once the database must not be used.
    pub(in crate::store) fn new(address: Address, outdated: Outdated) -> Self {
        Self { address, outdated, kept: Mutex::default(), free: Condvar::new() }
    }

    /// How one connects.
    pub(in crate::store) const fn address(&self) -> &Address {
        &self.address
    }

    /// Closes those that nobody uses.
    pub(in crate::store) fn close(&self) {
        let mut kept = self.kept.lock();
        kept.open -= kept.idle.len();
        kept.idle.clear();
    }

    /// Reads at one snapshot. Called on a thread that may wait.
    pub(in crate::store) fn read<T, E: From<EngineError>>(
        &self,
        read: impl FnOnce(&Postgres) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(why) = &*self.outdated.borrow() {
            return Err(EngineError::Unusable(why.clone()).into());
        }
        let lent = self.lend()?;
        let Some(session) = &lent.session else {
            return Err(EngineError::Unreachable("no connection".to_owned()).into());
        };
        let result = read(session);
        session.roll_back();
        result
    }

    /// A connection in a snapshot. One that has been kept may have ended meanwhile: then the next is taken.
    fn lend(&self) -> Result<Lent<'_>, EngineError> {
        loop {
            let kept = self.take()?;
            let mut lent = Lent { pool: self, session: None };
            let is_new = kept.is_none();
            let session = kept.map_or_else(|| Postgres::connect(&self.address), Ok)?;
            session.begin(SNAPSHOT);
            let begun = session.begun();
            lent.session = Some(session);
            match begun {
                Ok(()) => return Ok(lent),
                Err(error) if is_new => return Err(error),
                Err(error) => {
                    if let Some(session) = &lent.session {
                        session.give_up();
                    }
                    // Who hears nothing on one connection would hear nothing on the others either.
                    if lent.session.as_ref().is_some_and(Postgres::is_silent) {
                        self.close();
                        return Err(error);
                    }
                }
            }
        }
    }

    /// One that is kept, or leave to open one.
    fn take(&self) -> Result<Option<Postgres>, EngineError> {
        let mut kept = self.kept.lock();
        while kept.idle.is_empty() && kept.open >= MOST {
            if self.free.wait_for(&mut kept, PATIENCE).timed_out() {
                return Err(EngineError::Unreachable("all connections to read with are in use".to_owned()));
            }
        }
        let idle = kept.idle.pop();
        kept.open += usize::from(idle.is_none());
        Ok(idle)
    }
}

/// A connection until it is given back.
struct Lent<'p> {
    pool: &'p Pool,
    session: Option<Postgres>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut kept = self.pool.kept.lock();
        match self.session.take() {
            Some(session) if !session.is_broken() && !std::thread::panicking() => kept.idle.push(session),
            _ => kept.open -= 1,
        }
        self.pool.free.notify_one();
    }
}
