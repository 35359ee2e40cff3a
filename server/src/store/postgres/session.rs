//! Whether a connection is one session of PostgreSQL. A pooler that lends sessions by the transaction or the statement gives the
//! next one to somebody else, and with it all that a node has set for itself: the role, how durable commits are, time limits,
//! locks, prepared statements. Most of that goes wrong without a word, so nothing is done over such a pooler.
//!
//! Each connection carries a mark of its own, a setting of the session. At a start two connections look for theirs in turns,
//! so that sessions that are lent must be mixed up. Every turn of a loop looks again, so that a pooler that comes later is
//! found out before anything is committed.

use tokio_postgres::SimpleQueryMessage;

use super::{Address, Postgres};
use crate::store::error::EngineError;

/// How often two connections look for their marks. In every second round one of them has a transaction open meanwhile, so that
/// its session is lent to nobody else.
const ROUNDS: usize = 4;
/// How connections come to have a mark, and what is looked at. Of a session that has none, nothing or an empty text.
const MARK: &str = "SET metergate.session";
const MARKED: &str = "SELECT current_setting('metergate.session', true)";

/// A mark that no other connection has.
pub(super) fn mark() -> String {
    crate::hex::hex(&crate::random::bytes::<8>())
}

/// Makes sure that connections to this address are sessions. `owner` is one of them.
///
/// # Errors
/// [`EngineError::Pooled`] where they are not; [`EngineError::Unreachable`] where there is no second one.
pub(super) fn check(owner: &Postgres, address: &Address) -> Result<(), EngineError> {
    let other = Postgres::connect_as_owner(address)?;
    owner.soon(|owner| owner.run(&owner.marking()))?;
    other.soon(|other| other.run(&other.marking())).map_err(|error| match error {
        EngineError::Unreachable(_) if other.is_silent() => EngineError::Unreachable(
            "it answers one connection of this node and not a second one beside it: if a pooler stands in between, its pool is \
             too small (docs/scaling.md says how many connections a node uses)"
                .to_owned(),
        ),
        error => error,
    })?;
    for round in 0..ROUNDS {
        let has_transaction = round % 2 == 1;
        if has_transaction {
            other.run("BEGIN")?;
        }
        [&other, owner, owner, &other].into_iter().try_for_each(Postgres::keeps_its_mark)?;
        if has_transaction {
            other.run("ROLLBACK")?;
        }
    }
    Ok(())
}

impl Postgres {
    /// The statement by which the session has the mark of this connection.
    pub(super) fn marking(&self) -> String {
        format!("{MARK} = '{}'", self.mark)
    }

    /// Asks for the mark.
    ///
    /// # Errors
    /// [`EngineError::Pooled`] where it is not the one of this connection.
    pub(in crate::store) fn keeps_its_mark(&self) -> Result<(), EngineError> {
        let told = self.soon(|session| session.wait(session.client.simple_query(MARKED)))?;
        let mark = told.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        self.is_ours(mark)
    }

    /// Whether this is the mark of this connection.
    ///
    /// # Errors
    /// [`EngineError::Pooled`] where it is not.
    pub(super) fn is_ours(&self, mark: Option<&str>) -> Result<(), EngineError> {
        if mark == Some(&*self.mark) { Ok(()) } else { Err(EngineError::Pooled) }
    }
}
