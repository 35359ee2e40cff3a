//! A turn of the loop: the locks on its accounts, and what holds once they are held.

use metergate_rules::account::Account;
use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use tokio_postgres::Row;
use uuid::Uuid;

use super::ids::Seek;
use super::patience::TURN;
use super::{Of, Postgres, Value, at, bytes_at, number_at, organization_at, uuid};
use crate::faults::planted;
use crate::store::error::{EngineError, unreadable};
use crate::store::ledger::Head;
use crate::store::rollup::Carried;
use crate::store::seal::{seal, unseal};

/// An account that is locked until the transaction ends, or trusted to be as it was.
pub(in crate::store) struct Locked {
    /// Whose.
    pub(in crate::store) organization: OrganizationId,
    /// Rises with every write.
    pub(in crate::store) version: i64,
    /// The last block.
    pub(in crate::store) sequence: u64,
    /// The end of its audit chain.
    pub(in crate::store) head: Head,
    /// The account and what its row carries, unless the version is the one that was known.
    pub(in crate::store) account: Option<(Account, Carried)>,
}

/// What the team's row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Epochs {
    /// Rises with every change of meters, plans, keys and settings.
    pub(in crate::store) catalogue: i64,
    /// Rises with every change of people.
    pub(in crate::store) people: i64,
    /// Whoever knows people as of then or later can be told what has changed since.
    pub(in crate::store) people_kept: i64,
    /// The end of the team's audit chain; it stays so where the row is locked.
    pub(in crate::store) head: Head,
    /// The oldest program that may use the schema, by how many migrations it knows.
    pub(in crate::store) oldest: u32,
    /// What the clock of PostgreSQL said, behind all locks of the same turn.
    pub(in crate::store) now: Time,
}

/// What a turn believes without a look, which must prove to be so when the turn is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Believed {
    /// What the team's row says of catalogue and people.
    pub(in crate::store) epochs: (i64, i64),
    /// What PostgreSQL's clock said when the turn was decided.
    pub(in crate::store) now: Time,
}

/// How the team's row is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum TeamRow {
    /// As it is.
    Seen,
    /// So that nobody changes it until the transaction ends, once those who do have ended.
    Held,
    /// To change it.
    Locked,
}

/// How a turn comes to the accounts on which it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Locking {
    /// Their rows are locked, without those that others hold.
    Skips,
    /// Their rows are locked. Those who hold them are waited for, as long as the session's `lock_timeout` says.
    Waits,
    /// Rows that are not known are locked as with `Skips`. Of the others it is seen at the end whether they are still as they were:
    /// nobody is kept out, and somebody who holds one is waited for then.
    Trusts,
}

/// Data that is known is not sent again.
macro_rules! lock {
    ($lock:literal) => {
        concat!(
            "SELECT a.organization, a.version, a.sequence, a.audit_sequence, a.audit_hash,
                    CASE WHEN a.version IS DISTINCT FROM k.version THEN a.data END
             FROM accounts a JOIN unnest($1::uuid[], $2::bigint[]) AS k(organization, version)
             ON k.organization = a.organization WHERE a.organization = ANY($1::uuid[]) ",
            $lock
        )
    };
}

const SKIP: &str = lock!("FOR UPDATE OF a SKIP LOCKED");
/// In the order of their keys, so that two nodes wait for each other one way only.
const WAIT: &str = lock!("ORDER BY a.organization FOR UPDATE OF a");
/// Nobody is kept out: what a planted bug does.
const SEE: &str = lock!("");

/// By so much, in microseconds, a clock may be set back without a word.
pub(super) const STEPPED: i64 = 10_000;

macro_rules! team {
    ($lock:literal) => {
        concat!(
            "SELECT catalogue, people, audit_sequence, audit_hash,
                    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, people_kept,
                    (SELECT max(oldest) FROM schema_version), current_setting('metergate.session', true)
             FROM team WHERE id = 1 ",
            $lock
        )
    };
}

const SEEN: &str = team!("");
const HELD: &str = team!("FOR SHARE");
const LOCKED: &str = team!("FOR UPDATE");

impl TeamRow {
    const fn sql(self) -> &'static str {
        match self {
            Self::Seen => SEEN,
            Self::Held => HELD,
            Self::Locked => LOCKED,
        }
    }
}

fn locked_of(row: &Row) -> Result<Locked, EngineError> {
    let (organization, version) = (organization_at(row, 0)?, at(row, 1)?);
    let data: Option<&[u8]> = at(row, 5)?;
    let account = data.map(|data| opened(organization, version, data)).transpose()?;
    let head = Head { sequence: number_at(row, 3)?, hash: bytes_at(row, 4)? };
    Ok(Locked { organization, version, sequence: number_at(row, 2)?, head, account })
}

/// The account in a row, and what that carries behind it.
pub(super) fn opened(
    organization: OrganizationId,
    version: i64,
    data: &[u8],
) -> Result<(Account, Carried), EngineError> {
    let broken = |why: &dyn std::fmt::Display| unreadable(format!("the account of organization {organization}"), why);
    let content = unseal(&[organization.bytes(), &version.to_le_bytes()], data).map_err(|error| broken(&error))?;
    let (account, rest) = postcard::take_from_bytes(content).map_err(|error| broken(&error))?;
    let carried = if rest.is_empty() { Ok(Carried::default()) } else { postcard::from_bytes(rest) };
    Ok((account, carried.map_err(|error| broken(&error))?))
}

/// Bytes of an account of a usual size, for which nothing grows while it is written.
const USUAL: usize = 512;

/// What stands in the row of an account.
pub(super) fn closed(account: &Account, carried: &Carried, version: i64) -> Result<Vec<u8>, EngineError> {
    let account_alone = postcard::to_extend(account, Vec::<u8>::with_capacity(USUAL));
    let both = |content: Vec<u8>| if carried.is_empty() { Ok(content) } else { postcard::to_extend(carried, content) };
    let content = account_alone.and_then(both).map_err(|error| unreadable("an account", error))?;
    Ok(seal(&[account.id.bytes(), &version.to_le_bytes()], &content))
}

fn epochs(row: &Row) -> Result<Epochs, EngineError> {
    let head = Head { sequence: number_at(row, 2)?, hash: bytes_at(row, 3)? };
    let (catalogue, people, people_kept) = (at(row, 0)?, at(row, 1)?, at(row, 5)?);
    let oldest = at::<Option<i32>>(row, 6)?.map_or(0, i32::unsigned_abs);
    Ok(Epochs { catalogue, people, people_kept, head, oldest, now: Time::from_micros(at(row, 4)?) })
}

impl Postgres {
    /// Locks accounts, of which those that are in the cache come with the version that is there, reads the team's row and the
    /// time behind the locks, and looks ids up. Accounts that others hold are left out, unless they are waited for. The
    /// transaction sees the rows of these organizations from then on, and of those that are trusted.
    pub(in crate::store) fn take(
        &self,
        (wanted, trusted): (&[(OrganizationId, Option<i64>)], &[Locked]),
        locking: Locking,
        how: TeamRow,
        sought: &[(OrganizationId, u64)],
    ) -> Result<(Vec<Locked>, Epochs), EngineError> {
        let ids: Vec<Uuid> = wanted.iter().map(|(id, _)| uuid(*id)).collect();
        let versions: Vec<Option<i64>> = wanted.iter().map(|(_, version)| *version).collect();
        let seek = Seek::of(sought);
        let mut asked: Vec<(&'static str, Vec<Value<'_>>)> = Vec::new();
        let is_about_some = !wanted.is_empty() || !trusted.is_empty();
        if is_about_some {
            let trusted = trusted.iter().map(|trusted| trusted.organization);
            self.name(wanted.iter().map(|(id, _)| *id).chain(trusted).chain(sought.iter().map(|(id, _)| *id)));
        }
        if !wanted.is_empty() {
            let sql = match locking {
                _ if planted("lock-not-taken") => SEE,
                Locking::Waits => WAIT,
                Locking::Skips | Locking::Trusts => SKIP,
            };
            asked.push((sql, vec![&ids, &versions]));
        }
        asked.push((how.sql(), Vec::new()));
        if is_about_some && !sought.is_empty() {
            asked.push(seek.statement());
        }
        let mut rows = self.together(&asked)?.into_iter();
        let locked = if wanted.is_empty() { Vec::new() } else { rows.next().unwrap_or_default() };
        let team = rows.next().and_then(|mut rows| rows.pop());
        let epochs = self.epochs_of(team)?;
        if let Some(rows) = rows.next() {
            self.take_in_sought(sought, &rows)?;
        }
        let mut locked = locked.iter().map(locked_of).collect::<Result<Vec<_>, _>>()?;
        self.handed.borrow_mut().hold(locked.iter().chain(trusted).map(|one| one.organization));
        if planted("version-ignored") {
            let is_known = |id: OrganizationId| wanted.iter().any(|(known, version)| *known == id && version.is_some());
            locked.iter_mut().filter(|one| is_known(one.organization)).for_each(|one| one.account = None);
        }
        Ok((locked, epochs))
    }

    /// The team's row, and the time behind all locks that were taken before.
    pub(in crate::store) fn epochs(&self, how: TeamRow) -> Result<Epochs, EngineError> {
        let row = self.together(&[(how.sql(), Vec::new())])?.pop().and_then(|mut rows| rows.pop());
        self.epochs_of(row)
    }

    /// Accounts are trusted without a look.
    pub(in crate::store) fn trusts(&self, trusted: &[Locked]) {
        self.handed.borrow_mut().hold(trusted.iter().map(|one| one.organization));
    }

    /// Begins the transaction that was put off, and makes sure that the team's row says what is believed of it.
    ///
    /// # Errors
    /// [`EngineError::Outrun`] where it does not.
    pub(super) fn is_as_believed(&self, believed: &Believed) -> Result<(), EngineError> {
        let Epochs { catalogue, people, oldest, now, .. } = self.epochs(TeamRow::Seen)?;
        let is_now = (-STEPPED..TURN).contains(&now.since(believed.now));
        let is_so = (catalogue, people) == believed.epochs && super::admit(oldest).is_ok() && is_now;
        if is_so || planted("epochs-unseen") { Ok(()) } else { Err(EngineError::Outrun) }
    }

    /// What the team's row says, if this session is the connection's own: else what was read under which role is not known.
    fn epochs_of(&self, row: Option<Row>) -> Result<Epochs, EngineError> {
        let row = row.ok_or_else(|| unreadable("the row of the team", "it is not there"))?;
        self.is_ours(at(&row, 7)?)?;
        epochs(&row)
    }

    /// Of these organizations those that exist, held by others or not.
    pub(in crate::store) fn existing(&self, ids: &[OrganizationId]) -> Result<Vec<OrganizationId>, EngineError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| uuid(*id)).collect();
        let sql = "SELECT organization FROM accounts WHERE organization = ANY($1)";
        let rows = self.rows(Of::Team, sql, &[&ids])?;
        rows.iter().map(|row| organization_at(row, 0)).collect()
    }

    /// Which organizations have these keys.
    pub(in crate::store) fn organizations_of(
        &self,
        keys: &[&str],
    ) -> Result<Vec<(String, OrganizationId)>, EngineError> {
        let sql = "SELECT key, organization FROM organizations WHERE key = ANY($1)";
        let rows = self.rows(Of::Team, sql, &[&keys])?;
        rows.iter().map(|row| Ok((at(row, 0)?, organization_at(row, 1)?))).collect()
    }
}
