//! Sends the rows, batch by batch.

use std::fmt;

use anyhow::Context as _;
use csv::ByteRecord;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::json;

use super::super::client::{Client, Repeat};
use super::super::folder::bar;
use super::super::screen::{Screen, plain};
use super::event::Template;
use super::record::Record;
use super::rejected::Rejected;
use super::rows::Rows;

/// What became of the rows of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Rows that an earlier run did.
    pub(super) before: u64,
    /// Rows of this run.
    pub(super) rows: u64,
    /// Recorded now.
    pub(super) accepted: u64,
    /// Recorded before.
    pub(super) duplicates: u64,
    /// No event, or refused by the server.
    pub(super) rejected: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, rows, accepted, duplicates, rejected } = self;
        write!(f, "{rows} rows: {accepted} accepted, {duplicates} duplicates, {rejected} rejected")?;
        if *before > 0 { write!(f, " ({before} rows done before)") } else { Ok(()) }
    }
}

impl Tally {
    pub(super) fn json(&self) -> String {
        json!({"rows": self.rows, "accepted": self.accepted, "duplicates": self.duplicates,
               "rejected": self.rejected, "rowsDoneBefore": self.before})
        .to_string()
    }
}

/// The server's word on a batch.
#[derive(Deserialize)]
struct Answer {
    accepted: u64,
    duplicates: u64,
    rejected: Vec<Rejection>,
}

#[derive(Deserialize)]
struct Rejection {
    index: usize,
    reason: String,
    #[serde(default)]
    detail: Option<String>,
}

/// Events to be sent together, with the line and the cells of each.
#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    sent: Vec<(u64, ByteRecord)>,
    rows: u64,
}

/// The largest body of a batch in bytes, well below what servers take.
const LARGEST_BATCH: usize = 4 << 20;

impl Batch {
    fn add(&mut self, event: &[u8], line: u64, cells: ByteRecord) {
        self.body.push(if self.sent.is_empty() { b'[' } else { b',' });
        self.body.extend_from_slice(event);
        self.sent.push((line, cells));
    }
}

/// An import under way.
pub(super) struct Run<'a> {
    client: &'a Client,
    screen: &'a dyn Screen,
    template: Template<'a>,
    rows: Rows,
    most: u64,
    rejected: Rejected,
    tally: Tally,
    bar: ProgressBar,
}

impl<'a> Run<'a> {
    /// An import that goes on after the rows that were read.
    pub(super) fn new(
        client: &'a Client,
        screen: &'a dyn Screen,
        template: Template<'a>,
        rows: Rows,
        most: u64,
        rejected: Rejected,
    ) -> Self {
        let bar = bar(rows.progress().0);
        let tally = Tally { before: rows.done(), ..Tally::default() };
        Self { client, screen, template, rows, most, rejected, tally, bar }
    }

    /// Imports all rows that are left.
    pub(super) fn finish(mut self) -> anyhow::Result<(Tally, Rejected)> {
        let finished = self.send_all();
        self.bar.finish_and_clear();
        if finished.is_err() {
            let done = self.tally.before + self.tally.rows;
            self.screen.note(&format!(
                "stopped after {done} rows; running the same command again goes on from there and counts nothing twice"
            ));
        }
        finished.map(|()| (self.tally, self.rejected))
    }

    fn send_all(&mut self) -> anyhow::Result<()> {
        loop {
            let batch = self.fill()?;
            if batch.rows == 0 {
                return Ok(());
            }
            self.send(&batch)?;
            self.rejected.save()?;
            Record::of(&self.rows).write(self.client, self.template.source)?;
            self.tally.rows += batch.rows;
            self.bar.set_position(self.rows.progress().1);
        }
    }

    /// Reads the next batch: a bounded number of rows, good and bad, and a bounded number of bytes.
    fn fill(&mut self) -> anyhow::Result<Batch> {
        let mut batch = Batch::default();
        while batch.rows < self.most && batch.body.len() < LARGEST_BATCH {
            let Some(row) = self.rows.next()? else { break };
            batch.rows += 1;
            let (line, cells) = (row.line, row.cells.clone());
            match self.template.event(&row) {
                Ok(event) => batch.add(&event, line, cells),
                Err(reason) => self.reject(line, &reason, &cells)?,
            }
        }
        Ok(batch)
    }

    fn send(&mut self, batch: &Batch) -> anyhow::Result<()> {
        if batch.sent.is_empty() {
            return Ok(());
        }
        let body = [batch.body.as_slice(), b"]"].concat();
        let answer = self.client.post_as(PATH, "application/cloudevents-batch+json", &body, Repeat::Safe)?;
        let answer: Answer = self.client.read(PATH, &answer)?;
        self.count(batch, &answer)
    }

    fn count(&mut self, batch: &Batch, answer: &Answer) -> anyhow::Result<()> {
        let (sent, rejected) = (batch.sent.len(), answer.rejected.len());
        let counted = answer.accepted.saturating_add(answer.duplicates);
        let all = usize::try_from(counted).is_ok_and(|counted| counted.saturating_add(rejected) == sent);
        anyhow::ensure!(all, "the server answered for {counted} and {rejected} events, but {sent} were sent");
        for rejection in &answer.rejected {
            let row = batch.sent.get(rejection.index);
            let (line, cells) = row.context("the server rejected an event that was not sent")?;
            let detail = rejection.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            self.reject(*line, &format!("{}{detail}", rejection.reason), cells)?;
        }
        self.tally.accepted += answer.accepted;
        self.tally.duplicates += answer.duplicates;
        Ok(())
    }

    fn reject(&mut self, line: u64, reason: &str, cells: &ByteRecord) -> anyhow::Result<()> {
        self.tally.rejected += 1;
        let reason = plain(reason);
        self.bar.suspend(|| self.screen.note(&format!("line {line}: {reason}")));
        self.rejected.add(line, &reason, cells)
    }
}

const PATH: &str = "/v1/events";
