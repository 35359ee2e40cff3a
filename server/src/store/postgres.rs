//! PostgreSQL as the record that several nodes share: one connection, asked by one thread at a time.
//!
//! Each connection has a runtime of its own, on which whoever asks it waits: the writer's thread, or one that reads. So the
//! rules and reports ask as they ask SQLite. Statements are prepared once, and those that need not wait for each other go
//! out together.
//!
//! A transaction sees the rows of the organizations that it has named (the policies of `0001_start.sql`), or of all where it
//! has said so. `Of` says it for every statement, so that no statement can forget it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use metergate_rules::id::OrganizationId;
use tokio::runtime::Runtime;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Config, Row, Statement};
use uuid::Uuid;

use super::error::{EngineError, unreadable};
use crate::faults::planted;

/// Values for a statement that goes out later.
macro_rules! owned {
    ($($value:expr),+) => {
        vec![$(Box::new($value) as Owned),+]
    };
}

pub(super) mod accounts;
mod at_once;
mod audit;
pub(super) mod durable;
mod error;
mod forget;
pub(super) mod ids;
mod kept;
pub(super) mod listen;
pub(super) mod lock;
mod messages;
mod migrate;
pub(super) mod moving;
mod outbox;
mod patience;
mod people;
pub(super) mod pool;
mod reading;
mod refusals;
mod remade;
mod reports;
mod rollups;
mod session;
mod stripe;
mod team;
mod tls;
pub(super) mod write;

pub use migrate::VERSION as SCHEMA;
pub(super) use migrate::{admit, prepare};

/// A value for a statement that goes out later.
pub(super) type Owned = Box<dyn ToSql + Sync + Send>;

/// A value for a statement.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);

/// Whose rows a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// One organization's.
    One(OrganizationId),
    /// Of all, or of those of which it is not known yet whose they are.
    Team,
}

/// A statement that goes out later.
struct Later {
    sql: &'static str,
    values: Vec<Owned>,
    /// How many rows it must find or write, unless somebody was in the way.
    exactly: Option<u64>,
}

impl Later {
    fn found(&self, rows: u64) -> Result<(), EngineError> {
        let Some(expected) = self.exactly.filter(|expected| rows != *expected) else { return Ok(()) };
        Err(EngineError::Contended(format!("{rows} rows of {expected} were as they had been: {}", self.sql.trim())))
    }
}

/// What the transaction sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Reach {
    /// Nothing, as at its beginning.
    #[default]
    Nothing,
    /// These organizations.
    Those(BTreeSet<OrganizationId>),
    /// All.
    Team,
}

/// A connection, in a transaction or not.
pub struct Postgres {
    runtime: Option<Runtime>,
    client: Client,
    /// By which it is known whether the session is this connection's.
    mark: String,
    statements: RefCell<HashMap<&'static str, Statement>>,
    /// What goes out before the next statement, together with it.
    waiting: RefCell<Vec<Later>>,
    reach: RefCell<Reach>,
    ids: RefCell<ids::Sought>,
    handed: RefCell<refusals::HandedOver>,
    /// Rows as it wrote them last, over all transactions.
    kept: RefCell<kept::Kept>,
    broken: Cell<bool>,
    /// How long whoever asks waits for an answer.
    patience: Cell<Duration>,
    /// Whether somebody has waited for an answer in vain.
    silent: Cell<bool>,
    /// When the transaction must be over, in microseconds since boot.
    until: Cell<i64>,
    /// Whether a statement of the transaction failed, so that PostgreSQL would take back all of it.
    failed: Cell<bool>,
}

/// What PostgreSQL knows a `uuid` by.
pub(super) const fn uuid(id: OrganizationId) -> Uuid {
    Uuid::from_bytes(id.0)
}

/// A column of a row.
pub(super) fn at<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, EngineError> {
    row.try_get(column).map_err(|error| unreadable("a row", error))
}

/// A column with an organization.
pub(super) fn organization_at(row: &Row, column: usize) -> Result<OrganizationId, EngineError> {
    at::<Uuid>(row, column).map(|id| OrganizationId(id.into_bytes()))
}

/// A column with a number that is not below zero.
pub(super) fn number_at(row: &Row, column: usize) -> Result<u64, EngineError> {
    at::<i64>(row, column).map(i64::unsigned_abs)
}

/// A column with so many bytes.
pub(super) fn bytes_at<const N: usize>(row: &Row, column: usize) -> Result<[u8; N], EngineError> {
    let bytes: &[u8] = at(row, column)?;
    bytes.try_into().map_err(|_| unreadable("a row", format!("{} bytes stand where {N} should", bytes.len())))
}

/// As many rows as somebody wants.
pub(super) fn most(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// Where the database is, and how one connects to it.
#[derive(Clone)]
pub(super) struct Address {
    config: Config,
    tls: tls::Tls,
}

/// Where the database is.
///
/// # Errors
/// [`EngineError::Unusable`] where the URL is none, or asks for what cannot be.
pub(super) fn address(url: &str) -> Result<Address, EngineError> {
    let (url, tls) = tls::of(url).map_err(|why| EngineError::Unusable(format!("the database URL: {why}")))?;
    let mut config: Config = url.parse().map_err(|_| {
        let form = "postgresql://user:password@host/database";
        EngineError::Unusable(format!("the database URL cannot be read: it must be {form}"))
    })?;
    config
        .connect_timeout(patience::CONNECT)
        .tcp_user_timeout(patience::ANSWER)
        .keepalives_idle(Duration::from_secs(10));
    if config.get_application_name().is_none() {
        config.application_name("metergate");
    }
    Ok(Address { config, tls })
}

impl Postgres {
    /// Connects as whoever the URL names, to whom everything belongs.
    fn connect_as_owner(address: &Address) -> Result<Self, EngineError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| EngineError::Unusable(format!("no runtime for a connection: {error}")))?;
        let Address { config, tls } = address;
        let connecting = async { tokio::time::timeout(patience::CONNECT, config.connect(tls.clone())).await };
        let (client, connection) = match runtime.block_on(connecting) {
            Ok(connected) => connected?,
            Err(_) => return Err(EngineError::Unreachable("PostgreSQL does not answer".to_owned())),
        };
        runtime.spawn(async move { drop(connection.await) });
        Ok(Self {
            runtime: Some(runtime),
            client,
            mark: session::mark(),
            statements: RefCell::default(),
            waiting: RefCell::default(),
            reach: RefCell::default(),
            ids: RefCell::default(),
            handed: RefCell::default(),
            kept: RefCell::default(),
            broken: Cell::new(false),
            patience: Cell::new(patience::ANSWER),
            silent: Cell::new(false),
            until: Cell::new(i64::MAX),
            failed: Cell::new(false),
        })
    }

    /// Whether it must not be asked any more: somebody gave up waiting on it, or it has ended.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get() || self.client.is_closed()
    }

    /// It must not be asked any more.
    pub(super) fn give_up(&self) {
        self.broken.set(true);
    }

    /// Statements without values, one after the other.
    pub(super) fn run(&self, sql: &str) -> Result<(), EngineError> {
        self.wait(self.client.batch_execute(sql))
    }

    fn prepared(&self, sql: &'static str) -> Result<Statement, EngineError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.wait(self.client.prepare(sql))?;
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }

    /// A statement of which nothing is to be heard goes out before the next one, together with it.
    pub(super) fn later(&self, sql: &'static str, values: Vec<Owned>) {
        self.waiting.borrow_mut().push(Later { sql, values, exactly: None });
    }

    /// The same. Whatever it goes out with fails with [`EngineError::Contended`] where it does not find or write just so many rows.
    pub(super) fn later_exactly(&self, rows: usize, sql: &'static str, values: Vec<Owned>) {
        self.waiting.borrow_mut().push(Later { sql, values, exactly: Some(rows as u64) });
    }

    /// Sends statements together, behind what waits to go out, and waits for the rows of all. The first that fails tells
    /// why: those behind it fail only because it did.
    pub(super) fn together(&self, asked: &[(&'static str, Vec<Value<'_>>)]) -> Result<Vec<Vec<Row>>, EngineError> {
        let before = std::mem::take(&mut *self.waiting.borrow_mut());
        self.send(&before, asked).inspect_err(|_| self.failed.set(true))
    }

    fn send(&self, before: &[Later], asked: &[(&'static str, Vec<Value<'_>>)]) -> Result<Vec<Vec<Row>>, EngineError> {
        let waited = before.iter().map(|later| (later.sql, later.values.len()));
        let owned = before.iter().flat_map(|later| &later.values).map(|value| &**value as Value<'_>);
        let given = asked.iter().flat_map(|(_, values)| values.iter().copied());
        let values: Vec<Value<'_>> = owned.chain(given).collect();
        let mut rest = values.as_slice();
        let (mut prepared, mut parts) = (Vec::new(), Vec::new());
        for (sql, count) in waited.chain(asked.iter().map(|(sql, values)| (*sql, values.len()))) {
            let (own, others) = rest.split_at(count);
            rest = others;
            prepared.push(self.prepared(sql)?);
            parts.push(own);
        }
        let each = prepared.iter().zip(parts).map(|(one, values)| async move {
            let mut stream = std::pin::pin!(self.client.query_raw(one, values.iter().copied()).await?);
            let rows: Vec<Row> = stream.as_mut().try_collect().await?;
            Ok::<_, tokio_postgres::Error>((rows, stream.rows_affected().unwrap_or(0)))
        });
        let each: Vec<_> = each.collect();
        let answered = self.wait(async { Ok(futures_util::future::join_all(each).await) })?;
        let answered = answered.into_iter().map(|done| Ok(done?)).collect::<Result<Vec<_>, EngineError>>()?;
        before.iter().zip(&answered).try_for_each(|(later, (_, affected))| later.found(*affected))?;
        Ok(answered.into_iter().skip(before.len()).map(|(rows, _)| rows).collect())
    }

    /// What the transaction must say before a statement about these rows, if it has not said so.
    fn naming(&self, of: Of) -> Option<(String, &'static str)> {
        let mut reach = self.reach.borrow_mut();
        let (next, told) = match (of, &*reach) {
            (Of::Team, Reach::Team) => return None,
            (Of::One(id), Reach::Those(named)) if named.contains(&id) => return None,
            (Of::Team, _) => (Reach::Team, (String::new(), "on")),
            (Of::One(id), _) => (Reach::Those(BTreeSet::from([id])), (id.to_string(), "")),
        };
        *reach = next;
        Some(told)
    }

    /// The rows of a statement.
    pub(super) fn rows(&self, of: Of, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, EngineError> {
        if let Some((named, team)) = self.naming(of) {
            self.later(NAME, vec![Box::new(named), Box::new(team)]);
        }
        Ok(self.together(&[(sql, values.to_vec())])?.pop().unwrap_or_default())
    }

    /// The only row of a statement, if there is one.
    pub(super) fn row(&self, of: Of, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>, EngineError> {
        Ok(self.rows(of, sql, values)?.into_iter().next())
    }

    /// From now on the transaction sees the rows of these organizations, beside others at most that it has named together with
    /// them.
    pub(super) fn name(&self, organizations: impl IntoIterator<Item = OrganizationId>) {
        let named: BTreeSet<_> = organizations.into_iter().collect();
        if matches!(&*self.reach.borrow(), Reach::Those(seen) if named.is_subset(seen)) {
            return;
        }
        let list = named.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        self.later(NAME, vec![Box::new(list), Box::new("")]);
        *self.reach.borrow_mut() = Reach::Those(named);
    }

    /// Begins a transaction with the next statement. It sees nothing yet.
    pub(super) fn begin(&self, begin: &'static str) {
        *self.reach.borrow_mut() = Reach::Nothing;
        self.ids.borrow_mut().clear();
        self.handed.borrow_mut().clear();
        self.failed.set(false);
        self.waiting.borrow_mut().clear();
        self.until.set(patience::end_of(begin));
        self.later(begin, Vec::new());
    }

    /// Makes what the transaction did durable.
    ///
    /// # Errors
    /// [`EngineError::Unknown`] where nobody can say whether it is.
    pub(super) fn commit(&self) -> Result<(), EngineError> {
        if !self.waiting.borrow().is_empty() {
            self.together(&[])?;
        }
        // PostgreSQL answers the COMMIT of a transaction that failed as if it were none.
        if self.failed.get() {
            return Err(EngineError::Postgres("a statement of the transaction failed".to_owned()));
        }
        *self.reach.borrow_mut() = Reach::Nothing;
        self.leave_time_to_commit();
        match self.end_of(self.answered(self.client.batch_execute("COMMIT"))) {
            Err(EngineError::Unknown(_)) if planted("answer-before-commit") => Ok(()),
            committed => committed,
        }
    }

    /// Nothing of the transaction has happened. Where that cannot be said to PostgreSQL the connection is of no use any more,
    /// and its end says so.
    pub(super) fn roll_back(&self) {
        *self.reach.borrow_mut() = Reach::Nothing;
        // Perhaps it has not begun yet.
        let is_begun = self.waiting.take().first().is_none_or(|first| first.sql != BEGIN);
        if is_begun && !self.is_broken() && self.run("ROLLBACK").is_err() {
            self.broken.set(true);
        }
    }
}

/// A transaction of the loop: each statement sees what is committed when it begins.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Says whose rows the transaction sees. The names, which may be many, are not sent back.
const NAME: &str = "
    SELECT set_config('metergate.organizations', $1, true) IS NULL, set_config('metergate.team', $2, true) IS NULL";

impl Drop for Postgres {
    fn drop(&mut self) {
        // A runtime must not be waited for where others are running.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
