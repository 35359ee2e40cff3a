//! The thread that reads what commits add to the journals, for all who follow.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::SECOND;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch};

use super::item::{Cursor, Item, Place, items_of};
use super::wanted::{Interest, Wanted};
use super::{ALL, Hub, News};
use crate::clock::boot;
use crate::report::Report;
use crate::store::block::Block;
use crate::store::error::unreadable;
use crate::store::reader::{ReadError, View};
use crate::store::{Scope, Store, StoreError};

mod shared;

use shared::Apart;
pub(super) use shared::MOST_BLOCKS;

/// Events in one piece of news at most.
pub(super) const MOST_ITEMS: usize = 1_000;
/// Records that are read in a turn at most, and bytes of their events: what is more is told to nobody live.
const MOST_RECORDS: usize = 10_000;
const MOST_BYTES: usize = 8 << 20;
/// From one turn to the next at least where commits wake the thread; it rests so many times as long as it worked.
const REST: Duration = Duration::from_millis(50);
const RESTS: u32 = 4;
/// From one turn to the next where the engine is asked, whether anything has happened or not.
const ASKED: Duration = Duration::from_millis(500);
/// How long it sleeps at most: so often it looks whether anybody still follows.
const ASLEEP: Duration = Duration::from_secs(1);
/// After so many microseconds without anybody it ends.
const ALONE: i64 = 5 * SECOND;

/// What the thread has.
pub(super) struct Keeping {
    pub(super) store: Arc<Store>,
    pub(super) slot: Arc<Mutex<Option<Hub>>>,
    pub(super) news: broadcast::Sender<Arc<News>>,
    pub(super) wanted: Arc<Wanted>,
    pub(super) wake: Arc<Notify>,
    pub(super) show: watch::Sender<Option<(Cursor, u64)>>,
}

/// How far it has read.
#[derive(Clone, Debug)]
enum Read {
    /// Nothing yet.
    Nothing,
    /// To this block of the one journal.
    Journal(u64),
    /// Journals that are apart.
    Apart(Box<Apart>),
}

/// What a turn found.
#[derive(Debug, Default)]
pub(in crate::live) struct Found {
    pub(in crate::live) items: Vec<Item>,
    records: usize,
    bytes: usize,
    accounts: HashMap<OrganizationId, Option<Arc<metergate_rules::account::Account>>>,
}

impl Found {
    /// Whether more is not to be read.
    pub(in crate::live) const fn is_full(&self) -> bool {
        self.records > MOST_RECORDS || self.bytes > MOST_BYTES
    }

    /// Takes in what a block has of what is wanted. Organizations that are gone have no events.
    pub(in crate::live) fn take(
        &mut self,
        report: &Report<'_>,
        interest: &Interest,
        sequence: u64,
        data: &[u8],
    ) -> Result<(), ReadError> {
        let broken = |error| unreadable(format!("block {sequence}"), error);
        let block = Block::read(data).map_err(broken)?;
        for run in block.runs().filter(|run| interest.has(run.organization)) {
            let Some(account) = self.account(report.view, run.organization)? else { continue };
            for (offset, record) in run.records().map_err(broken)? {
                self.put(items_of(report, &account, (sequence, offset), &record)?);
                if self.is_full() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes in the events of one record.
    pub(in crate::live) fn put(&mut self, items: Vec<Item>) {
        self.records += 1;
        self.bytes += items.iter().map(|item| item.json.len()).sum::<usize>();
        self.items.extend(items);
    }

    fn account(
        &mut self,
        view: &View<'_>,
        id: OrganizationId,
    ) -> Result<Option<Arc<metergate_rules::account::Account>>, ReadError> {
        if let Some(known) = self.accounts.get(&id) {
            return Ok(known.clone());
        }
        let account = match view.some_account(id) {
            Ok(account) => Some(account),
            Err(ReadError::Store(StoreError::UnknownOrganization)) => None,
            Err(error) => return Err(error),
        };
        self.accounts.insert(id, account.clone());
        Ok(account)
    }
}

/// A turn: what was found, how far it goes, and what was reached before; nothing found where it was too much.
struct Turn {
    read: Read,
    found: Option<Vec<Item>>,
    before: Cursor,
    reached: Cursor,
}

impl Keeping {
    /// Reads until nobody follows any more, or it is told to stop.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let (following, mut read, mut seen) = (self.store.feed().follow(), Read::Nothing, boot());
        while !*stop.borrow() {
            let began = boot();
            let (interest, version) = self.wanted.now();
            let mut rest = match self.turn(read.clone(), interest).await {
                Ok(turn) => {
                    read = turn.read.clone();
                    self.tell(turn, version);
                    REST
                }
                Err(error) => {
                    tracing::warn!(%error, "what has happened cannot be followed now");
                    ASLEEP
                }
            };
            rest = rest.max(Duration::from_micros((boot() - began).unsigned_abs()) * RESTS);
            if self.news.receiver_count() > 0 {
                seen = boot();
            } else if boot() - seen > ALONE && self.ends() {
                return;
            }
            let rested = async {
                if matches!(read, Read::Apart(_)) {
                    let _ = tokio::time::timeout(ASKED.max(rest), self.wake.notified()).await;
                } else {
                    tokio::time::sleep(rest).await;
                    let woken = async {
                        tokio::select! { () = following.grown() => {} () = self.wake.notified() => {} }
                    };
                    let _ = tokio::time::timeout(ASLEEP, woken).await;
                }
            };
            tokio::select! {
                () = rested => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Ends, unless somebody has come meanwhile.
    fn ends(&self) -> bool {
        let mut slot = self.slot.lock();
        let ends = self.news.receiver_count() == 0;
        // Another thread may have taken the place of this one.
        if ends && slot.as_ref().is_some_and(|hub| Arc::ptr_eq(&hub.wanted, &self.wanted)) {
            *slot = None;
        }
        ends
    }

    async fn turn(&self, read: Read, interest: Interest) -> Result<Turn, StoreError> {
        let (catalogue, now) = (self.store.catalogue(), self.store.now());
        let reading = move |view: &View<'_>| {
            let report = Report { view, catalogue: &catalogue, scope: Scope::Team, now, text: false };
            match (read, view.rows().progress()?) {
                (Read::Apart(apart), Some(progress)) => shared::turn(*apart, &report, &interest, progress),
                (_, Some(progress)) => shared::begin(&report, progress),
                (Read::Journal(from), None) => of_journal(from, &report, &interest),
                (_, None) => begin(view),
            }
        };
        self.store.reader().read(reading).await
    }

    /// Tells all who follow, in pieces.
    fn tell(&self, turn: Turn, version: u64) {
        let Turn { found, before, reached, .. } = turn;
        let told = |news| drop(self.news.send(Arc::new(news)));
        match found {
            None => told(News::Missed),
            Some(items) if items.is_empty() && before == reached => {}
            Some(items) => {
                let mut rest = items.into_iter();
                loop {
                    let items: Vec<Item> = rest.by_ref().take(MOST_ITEMS).collect();
                    if rest.len() == 0 {
                        told(News::Items { items, before, reached });
                        break;
                    }
                    // Only the last piece reaches as far as the turn.
                    told(News::Items { items, before, reached: before });
                }
            }
        }
        self.show.send_replace(Some((reached, version)));
    }
}

fn begin(view: &View<'_>) -> Result<Turn, ReadError> {
    let newest = view.rows().newest_block(ALL)?;
    let reached = Cursor::At(Place::end_of(newest));
    Ok(Turn { read: Read::Journal(newest), found: Some(Vec::new()), before: reached, reached })
}

/// What came after a block of the journal that all have together.
fn of_journal(from: u64, report: &Report<'_>, interest: &Interest) -> Result<Turn, ReadError> {
    let (rows, mut found) = (report.view.rows(), Found::default());
    let newest = rows.newest_block(ALL)?;
    let [before, reached] = [from, newest].map(|block| Cursor::At(Place::end_of(block)));
    let mut is_whole = true;
    for sequence in from + 1..=newest {
        // One that has left the database already is too far behind.
        let data = rows.block(rows.journal_of(ALL), sequence)?;
        is_whole = match data {
            Some(data) => {
                found.take(report, interest, sequence, &data)?;
                !found.is_full()
            }
            None => false,
        };
        if !is_whole {
            break;
        }
    }
    Ok(Turn { read: Read::Journal(newest), found: is_whole.then_some(found.items), before, reached })
}
