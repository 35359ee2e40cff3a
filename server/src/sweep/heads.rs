//! The hourly root: the team's chain holds the ends of all others, so that one that is cut off or gone shows (O7).
//!
//! Each time the ends that have moved since the last one are written, with a root over all of them. Nothing but a chain of
//! hashes says so, and no head needs to be kept elsewhere to find it.

use std::collections::HashMap;
use std::sync::Arc;

use metergate_rules::audit::Hash;
use metergate_rules::time::{HOUR, Time};

use crate::catalogue::change::{TeamCommand, TeamRequest};
use crate::hex::hex;
use crate::store::audit::{Checkpoint, End, Root, TEAM};
use crate::store::reader::{ReadError, View};
use crate::store::{Answer, Port, Store, StoreError};

/// How far two roots are apart.
const EVERY: i64 = HOUR;
/// Ends in one entry: about 25 KiB of it.
const AT_ONCE: usize = 250;
/// Entries of the team's chain that are read at once.
const STEP: usize = 200;

/// The places of ends, by chain.
type Held = HashMap<[u8; 16], u64>;

/// What the team's chain holds of the others.
#[derive(Debug, Default)]
pub struct Heads {
    /// Of each chain the place of the last end that is held: 16 + 8 bytes an organization. Nothing before the first look.
    held: Option<Held>,
    /// The time of the last root, of the first entry of all where there is none yet.
    last: Option<Time>,
    /// Where the team's chain began when this was read: ends that it held before that are no longer there.
    begins: u64,
}

impl Heads {
    /// Writes the ends that have moved, where an hour has passed since that was last done. Answers how many.
    ///
    /// # Errors
    /// [`StoreError`] where the log cannot be read, or takes nothing now: the next call goes on from there.
    pub async fn hold(&mut self, store: &Store, port: &Port) -> Result<usize, StoreError> {
        let now = store.now();
        if self.held.is_some() && self.last.is_none_or(|last| now < last.plus(EVERY)) {
            return Ok(0);
        }
        let begins = store.reader().read(first).await?;
        if self.held.is_none() || self.begins != begins {
            let (held, last) = store.reader().read(known).await?;
            (self.held, self.last, self.begins) = (Some(held), last, begins);
        }
        let Some(held) = &mut self.held else { return Ok(0) };
        if self.last.is_none_or(|last| now < last.plus(EVERY)) {
            return Ok(0);
        }
        let ends = store.reader().read(|view| Ok(crate::store::audit::heads(view.rows())?)).await?;
        let (mut root, mut moved, mut chains) = (Root::default(), Vec::new(), 0);
        for (chain, seq, hash) in ends.into_iter().filter(|(chain, ..)| *chain != TEAM) {
            chains += 1;
            root.add(&chain, seq, &hash);
            if held.get(&chain) != Some(&seq) {
                moved.push(End { chain, seq, hash });
            }
        }
        let root = root.finish();
        for some in moved.chunks(AT_ONCE) {
            store.change_team(port, request(chains, &root, some)).await?;
            held.extend(some.iter().map(|end| (end.chain, end.seq)));
        }
        self.last = Some(now);
        Ok(moved.len())
    }
}

/// The place of the first entry of the team's chain.
fn first(view: &View<'_>) -> Result<u64, ReadError> {
    Ok(view.rows().audit_after(TEAM, 0, 1)?.first().map_or(0, |row| row.sequence))
}

/// What the team's chain holds: of each chain the newest end, and when the last was written.
fn known(view: &View<'_>) -> Result<(Held, Option<Time>), ReadError> {
    let (mut held, mut newest, mut first) = (Held::new(), None, None);
    let mut before = u64::MAX;
    loop {
        let rows = view.rows().audit_before(TEAM, before, STEP)?;
        for row in &rows {
            for end in row.ends() {
                newest = newest.or(Some(row.at));
                held.entry(end.chain).or_insert(end.seq);
            }
            (before, first) = (row.sequence, Some(row.at));
        }
        if rows.len() < STEP {
            return Ok((held, newest.or(first)));
        }
    }
}

fn request(chains: u64, root: &Hash, ends: &[End]) -> TeamRequest {
    TeamRequest {
        actor: Arc::from("system"),
        reason: String::new(),
        receipt: None,
        command: TeamCommand::Checkpoint(Checkpoint { chains, root: hex(root), ends: ends.to_vec() }),
        only_if_version: None,
        respond: Arc::new(|_| Answer { status: 204, body: Vec::new(), version: None }),
    }
}
