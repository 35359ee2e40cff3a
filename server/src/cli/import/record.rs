//! The record that the server keeps of an import.

use serde::{Deserialize, Serialize};

use super::super::client::{Client, segment};
use super::rows::Rows;

/// How many rows are done, and the digest of those rows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    rows_done: u64,
    digest: String,
}

/// Where an import begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With the first row: nothing is known of this source.
    Anew,
    /// After so many rows, which are the ones that were done.
    After(u64),
    /// The file does not begin with the rows that were done.
    Another,
}

impl Record {
    /// The record of what was read from `rows`.
    pub(super) fn of(rows: &Rows) -> Self {
        Self { rows_done: rows.done(), digest: rows.digest() }
    }

    /// The server's record; nothing where it has none.
    pub(super) fn read(client: &Client, source: &str) -> anyhow::Result<Option<Self>> {
        let path = path(source);
        let answer = client.find(&path)?;
        Ok(answer.map(|body| client.read(&path, &body)).transpose()?)
    }

    pub(super) fn write(&self, client: &Client, source: &str) -> anyhow::Result<()> {
        client.put(&path(source), self)?;
        Ok(())
    }

    /// Reads past the rows that are done, and says whether they are the same.
    pub(super) fn compare(&self, rows: &mut Rows) -> anyhow::Result<Start> {
        while rows.done() < self.rows_done && rows.next()?.is_some() {}
        Ok(if *self == Self::of(rows) { Start::After(self.rows_done) } else { Start::Another })
    }
}

fn path(source: &str) -> String {
    format!("/v1/imports/{}", segment(source))
}
