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
        run(&server, &format!("CREATE DATABASE {name}"));
        Self { name, url, server }
    }

    /// Its URL for the settings.
    pub(crate) fn secret(&self) -> Secret {
        Secret::new(self.url.clone())
    }

    /// Does what an operator could.
    pub(crate) fn run(&self, sql: &str) {
        run(&self.url, sql);
    }

    /// A figure.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let (runtime, client) = connect(&self.url);
        runtime.block_on(client.query_one(sql, &[])).unwrap().get(0)
    }

    /// The same as the program's role sees it, in a transaction that begins with `naming`.
    pub(crate) fn as_app(&self, naming: &str, sql: &str) -> i64 {
        let (runtime, client) = connect(&self.url);
        let begun = format!("BEGIN; SET LOCAL ROLE metergate_app; {naming}");
        runtime.block_on(client.batch_execute(&begun)).unwrap();
        runtime.block_on(client.query_one(sql, &[])).unwrap().get(0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        run(&self.server, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

fn connect(url: &str) -> (Runtime, Client) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls)).expect("PostgreSQL answers");
    runtime.spawn(async move { drop(connection.await) });
    (runtime, client)
}

fn run(url: &str, sql: &str) {
    let (runtime, client) = connect(url);
    runtime.block_on(client.batch_execute(sql)).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// The same server, and another database on it.
fn with_database(url: &str, name: &str) -> String {
    let (address, options) = url.split_once('?').map_or((url, String::new()), |(url, rest)| (url, format!("?{rest}")));
    let (scheme, rest) = address.split_once("://").expect("a URL");
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}/{name}{options}")
}
