//! Which engine a suite is about, and a PostgreSQL database for one test.

use std::sync::atomic::{AtomicU32, Ordering};

use metergate::config::Secret;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::servers;

/// What keeps the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// SQLite in a folder.
    Embedded,
    /// PostgreSQL, on the server of the tests.
    Postgres,
}

/// A database of its own, which goes with this.
pub(crate) struct Database {
    name: String,
    url: String,
    server: String,
}

impl Database {
    /// Made on the server that all tests share.
    pub(crate) fn new() -> Self {
        Self::on(servers::postgres())
    }

    /// Made on this server.
    pub(crate) fn on(server: String) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let url = with_database(&server, &name);
        Stranger::come(&server).does(&format!("CREATE DATABASE {name}"));
        Self { name, url, server }
    }

    /// Its URL for the settings.
    pub(crate) fn secret(&self) -> Secret {
        Secret::new(self.url.clone())
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Does what an operator could.
    pub(crate) fn run(&self, sql: &str) {
        Stranger::come(&self.url).does(sql);
    }

    /// A figure.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let stranger = Stranger::come(&self.url);
        stranger.does("SET search_path = metergate");
        stranger.sees(sql)
    }

    /// The same as the program's role sees it, in a transaction that begins with `naming`.
    pub(crate) fn as_app(&self, naming: &str, sql: &str) -> i64 {
        let app = Stranger::come(&self.url);
        app.does(&format!("BEGIN; SET LOCAL ROLE metergate_app; {naming}"));
        app.sees(sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        Stranger::come(&self.server).does(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

fn connect(url: &str) -> Result<(Runtime, Client), tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls))?;
    runtime.spawn(async move { drop(connection.await) });
    Ok((runtime, client))
}

/// Somebody else in a database, who does there what the program does not expect. What they began ends with this.
pub(crate) struct Stranger(Runtime, Client);

impl Stranger {
    /// Connects; `None` where that is not possible now.
    pub(crate) fn try_to_come(url: &str) -> Option<Self> {
        connect(url).ok().map(|(runtime, client)| Self(runtime, client))
    }

    pub(crate) fn come(url: &str) -> Self {
        let (runtime, client) = connect(url).expect("PostgreSQL answers");
        Self(runtime, client)
    }

    /// Does something.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub(crate) fn try_to_do(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.0.block_on(self.1.batch_execute(sql))
    }

    pub(crate) fn does(&self, sql: &str) {
        self.try_to_do(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// A figure.
    pub(crate) fn sees(&self, sql: &str) -> i64 {
        self.0.block_on(self.1.query_one(sql, &[])).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }
}

/// The same server, and another database on it.
fn with_database(url: &str, name: &str) -> String {
    let (address, options) = url.split_once('?').map_or((url, String::new()), |(url, rest)| (url, format!("?{rest}")));
    let (scheme, rest) = address.split_once("://").expect("a URL");
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}/{name}{options}")
}
