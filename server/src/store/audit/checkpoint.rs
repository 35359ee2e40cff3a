//! Entries of the team's chain that hold the ends of other chains.

use metergate_rules::audit::Hash;
use metergate_rules::audit::actions::CHECKPOINT;
use serde::{Deserialize, Serialize};

use super::{AuditRow, TEAM, chain_owned_by, owner};
use crate::hex::{hex, unhex};

/// The end of a chain at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Which chain.
    pub chain: [u8; 16],
    /// The place of its last entry.
    pub seq: u64,
    /// The hash of that entry.
    pub hash: Hash,
}

/// The ends that have moved since the last time, and a root over all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Chains there are, without the team's.
    pub chains: u64,
    /// [`super::Root`] over their ends, in lower-case hex.
    pub root: String,
    /// The ends that have moved.
    pub ends: Vec<End>,
}

#[derive(Serialize, Deserialize)]
struct Details {
    ends: Vec<WrittenEnd>,
}

#[derive(Serialize, Deserialize)]
struct WrittenEnd {
    chain: String,
    seq: u64,
    hash: String,
}

impl Checkpoint {
    /// The details of its entry.
    pub fn details(&self) -> String {
        let written = |end: &End| WrittenEnd { chain: owner(&end.chain), seq: end.seq, hash: hex(&end.hash) };
        let details = Details { ends: self.ends.iter().map(written).collect() };
        // Texts and a number always have a JSON form.
        serde_json::to_string(&details).unwrap_or_default()
    }
}

impl AuditRow {
    /// The ends of other chains that it holds.
    pub fn ends(&self) -> Vec<End> {
        if self.chain != TEAM || self.action != CHECKPOINT {
            return Vec::new();
        }
        let read =
            |end: WrittenEnd| Some(End { chain: chain_owned_by(&end.chain)?, seq: end.seq, hash: unhex(&end.hash)? });
        let details = serde_json::from_str::<Details>(&self.details);
        details.map_or_else(|_| Vec::new(), |details| details.ends.into_iter().filter_map(read).collect())
    }
}
