//! What is asked of the engine itself: whether it is shared, single values, whose turn it is.

use super::error::EngineError;
use super::job::{Job, Turn};
use super::open::{Engine, Store, upkept};
use super::postgres::{Of, Postgres, at};
use super::sqlite::Sqlite;
use super::{Port, StoreError, Work};

/// The first half of the keys of locks on work.
const JOBS: i32 = 0x6d67;

/// Steps in which what was kept for long enough goes, at most, in one call: a thousand blocks each.
const STEPS: usize = 1_000;

/// PostgreSQL asks whether the machine of the node that has a turn is still there, so that one that has gone without a word
/// loses it within a minute, not within two hours.
const ASKS: &str = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

impl Store {
    /// Whether other nodes may have the same record.
    pub const fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// A single stored value. Waits for the engine.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn setting(&self, name: &str) -> Result<Option<String>, EngineError> {
        use super::rows::Rows as _;
        match &self.engine {
            Engine::Embedded(folder) => Sqlite::open(folder)?.setting(name),
            Engine::Postgres(pool) => pool.read(|session| session.setting(name)),
        }
    }

    /// Keeps a single value unless there is one, and answers the one that is kept. Waits for the engine.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be written.
    pub fn keep_setting(&self, name: &str, value: &str) -> Result<String, EngineError> {
        match &self.engine {
            Engine::Embedded(folder) => {
                let sqlite = Sqlite::open(folder)?;
                if let Some(kept) = sqlite.setting(name)? {
                    return Ok(kept);
                }
                sqlite.set_setting(name, value)?;
                Ok(value.to_owned())
            }
            Engine::Postgres(pool) => Postgres::connect(pool.address())?.keep_setting(name, value),
        }
    }

    /// Lets go what has been kept for long enough. How many files or steps they are. Where the record is PostgreSQL, whatever
    /// else waits comes between two steps.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn retain(&self, port: &Port) -> Result<u64, StoreError> {
        let mut gone = upkept(port.call(Work::Retain).await)?;
        let (mut steps, mut more) = (1, gone > 0 && self.is_shared());
        while more && steps < STEPS {
            let some = upkept(port.call(Work::Retain).await)?;
            (steps, gone, more) = (steps + 1, gone + some, some > 0);
        }
        Ok(gone)
    }

    /// The turn to do some work, unless another node has it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the engine cannot be asked.
    pub async fn turn(&self, job: Job) -> Result<Option<Turn>, StoreError> {
        let Engine::Postgres(pool) = &self.engine else { return Ok(Some(Turn::of(None))) };
        let address = pool.address().clone();
        let take = move || {
            let session = Postgres::connect(&address)?;
            // Not every system can: then it is as it would be without.
            if let Err(error) = session.run(ASKS) {
                tracing::debug!(%error, "PostgreSQL does not ask after the node");
            }
            let row = session.row(Of::Team, "SELECT pg_try_advisory_lock($1, $2)", &[&JOBS, &(job as i32)])?;
            let is_ours = row.map_or(Ok(false), |row| at(&row, 0))?;
            Ok::<_, EngineError>(is_ours.then(|| Turn::of(Some(session))))
        };
        match tokio::task::spawn_blocking(take).await {
            Ok(taken) => taken.map_err(|error| {
                tracing::warn!(%error, "whose turn it is cannot be asked");
                StoreError::from(&error)
            }),
            Err(_) => Err(StoreError::Internal),
        }
    }
}

impl Turn {
    const fn of(held: Option<Postgres>) -> Self {
        Self { held }
    }

    /// The same where it still is this node's: PostgreSQL gives it to another one when it restarts, or ends the session.
    pub async fn still(self) -> Option<Self> {
        let Some(session) = self.held else { return Some(Self::of(None)) };
        let look = move || session.run("SELECT 1").is_ok().then(|| Self::of(Some(session)));
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }
}
