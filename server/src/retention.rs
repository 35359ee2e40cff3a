//! The audit log is kept for good, or for a set time: older entries go into a file, and once that is on disk the chains begin
//! behind them (O6).
//!
//! In this order: the file, an entry of the team's chain that says who had it made, and of each chain an entry that says where
//! it begins. What ends in between has dropped nothing that is not in a file, and the next time begins anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use metergate_rules::audit::Hash;
use metergate_rules::time::{DAY, Time};
use tokio::sync::{Semaphore, watch};

use crate::catalogue::change::{TeamAfter, TeamCommand, TeamReply, TeamRequest};
use crate::store::audit::{Archive, ArchiveError, Archived};
use crate::store::reader::{ReadError, View};
use crate::store::{Answer, Port, Receipt, ReceiptKey, Store, StoreError};

/// The name of the folder in the data folder, unless another one is set.
pub const FOLDER: &str = "audit";
/// Chains that begin later in one commit.
const AT_ONCE: usize = 50;

/// What was dropped, and where it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Entries from before this.
    pub until: Time,
    /// Chains that begin later.
    pub chains: u64,
    /// Entries that went.
    pub entries: u64,
    /// The file that they are in; nothing where there were none.
    pub file: Option<String>,
    /// Its SHA-256.
    pub sha256: Hash,
    /// Chains that do not verify and of which nothing went; 100 at most.
    pub broken: Vec<String>,
}

impl Pruned {
    fn of(until: Time, archived: &Archived) -> Self {
        Self {
            until,
            chains: archived.cuts.len() as u64,
            entries: archived.cuts.iter().map(|cut| cut.entries).sum(),
            file: archived.file.as_ref().map(|file| file.display().to_string()),
            sha256: archived.cuts.first().map_or_else(Hash::default, |cut| cut.file),
            broken: archived.broken.clone(),
        }
    }
}

/// Who has it done, and how to answer.
pub struct Asked {
    /// For the audit log.
    pub actor: Arc<str>,
    /// Why; empty without a reason.
    pub reason: String,
    /// The key under which it may be repeated.
    pub receipt: Option<ReceiptKey>,
    /// Makes the answer.
    pub respond: Arc<dyn Fn(&Pruned) -> Answer + Send + Sync>,
}

/// Exports what is from before a time and drops it. The answer, and whether it was given before under the same key.
///
/// # Errors
/// [`StoreError`] where the log cannot be read, the file cannot be written, the store takes nothing now or is being stopped.
/// What was dropped before that is in a file.
pub async fn prune(
    store: &Store,
    port: &Port,
    folder: &Path,
    until: Time,
    asked: Asked,
    stop: &watch::Receiver<bool>,
) -> Result<(Answer, bool), StoreError> {
    let archived = export(store, folder, until, stop).await?;
    crate::dies_at!("audit-exported");
    let respond = asked.respond;
    let request = TeamRequest {
        actor: asked.actor,
        reason: asked.reason,
        receipt: asked.receipt,
        command: TeamCommand::Prune(Pruned::of(until, &archived)),
        only_if_version: None,
        respond: Arc::new(move |after: &TeamAfter<'_>| match after.reply {
            TeamReply::Pruned(pruned) => respond(pruned),
            _ => Answer { status: 500, body: Vec::new(), version: None },
        }),
    };
    let receipt = store.change_team(port, request).await?;
    crate::dies_at!("audit-prune-noted");
    // Also where it was answered before: then it was cut off behind its answer.
    for some in archived.cuts.chunks(AT_ONCE) {
        if *stop.borrow() {
            return Err(StoreError::Unavailable);
        }
        store.cut(port, some.to_vec()).await?;
    }
    match receipt {
        Receipt::Answered { answer, replayed } => Ok((answer, replayed)),
        _ => Err(StoreError::Internal),
    }
}

/// Writes the file, each step on a snapshot of its own: entries from before a time are never changed.
async fn export(
    store: &Store,
    folder: &Path,
    until: Time,
    stop: &watch::Receiver<bool>,
) -> Result<Archived, StoreError> {
    let folder = folder.to_owned();
    let failed = |error: std::io::Error| ReadError::from(ArchiveError::from(error));
    let mut archive = store.reader().read(move |_| Archive::begin(&folder, until).map_err(failed)).await?;
    while !*stop.borrow() {
        let step = move |view: &View<'_>| Ok((archive.step(view.rows())?, archive));
        let (more, written) = store.reader().read(step).await?;
        archive = written;
        if !more {
            return store.reader().read(move |_| archive.finish().map_err(failed)).await;
        }
    }
    Err(StoreError::Unavailable)
}

/// For how long the audit log is kept, where it is not for good.
pub struct Retention {
    /// In microseconds.
    pub keep: i64,
    /// Where the files go.
    pub folder: PathBuf,
    /// One file is written at a time.
    pub alone: Arc<Semaphore>,
}

impl Retention {
    /// Drops what is too old by the beginning of the day, UTC, where that was not done before. `done` is what it was last done
    /// for.
    ///
    /// # Errors
    /// As [`prune`] says; the next call tries again.
    pub async fn apply(
        &self,
        store: &Store,
        port: &Port,
        done: &mut Option<Time>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), StoreError> {
        let until = store.now().floor(DAY).plus(-self.keep);
        let (false, Ok(_alone)) = (*done == Some(until), self.alone.try_acquire()) else { return Ok(()) };
        let asked = Asked {
            actor: Arc::from("system"),
            reason: String::new(),
            receipt: None,
            respond: Arc::new(|pruned| {
                if !pruned.broken.is_empty() {
                    tracing::error!(chains = ?pruned.broken, "chains of the audit log do not verify, and are kept whole");
                }
                Answer { status: 204, body: Vec::new(), version: None }
            }),
        };
        prune(store, port, &self.folder, until, asked, stop).await?;
        *done = Some(until);
        Ok(())
    }
}
