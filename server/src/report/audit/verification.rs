//! Whether the audit log is as it was written, and the ends of its chains to keep elsewhere (O7).

use metergate_rules::audit::Hash;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{Report, Timestamp, bad_cursor};
use crate::hex::hex;
use crate::store::audit::{self, Finding, Place, Root, Signed, TEAM, owner};
use crate::store::reader::ReadError;

/// Entries that one call goes through at most.
const MOST_WALKED: usize = 10_000;

/// What came out of going through the audit log, or through a part of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationBody {
    /// Whether nothing was found in this part.
    pub well: bool,
    /// Chains that begin in this part, or were compared.
    pub chains: u64,
    /// Entries that were looked at.
    pub entries: u64,
    /// Chains of these that begin at a checkpoint, since older entries were exported and dropped.
    #[serde(skip_serializing_if = "is_zero")]
    pub checkpoints: u64,
    /// Entries that were dropped behind those checkpoints.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// Ends that were compared and are older than their chain's checkpoint: no entry is left to compare them with.
    #[serde(skip_serializing_if = "is_zero")]
    pub older: u64,
    /// The first thing that is wrong with each chain; 100 at most.
    pub findings: Vec<FindingBody>,
    /// Whether this server has signed the head that was sent; `null` where none was.
    pub signed: Option<bool>,
    /// What to send as `cursor` for the next part; `null` on the last.
    pub next_cursor: Option<String>,
}

/// The first thing that is wrong with a chain.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingBody {
    /// `team`, or the organization's id.
    pub chain: String,
    /// The first entry that does not fit.
    pub seq: u64,
    /// `changed`, `missing`, `cut-off`; `rewritten`: the chain was made anew; `unfounded`: no checkpoint of this
    /// installation says that what is missing at its beginning was exported.
    pub problem: &'static str,
    /// The same in words.
    pub detail: String,
}

impl From<Finding> for FindingBody {
    fn from(Finding { chain, broken }: Finding) -> Self {
        Self { chain: owner(&chain), seq: broken.place(), problem: broken.name(), detail: format!("{broken}.") }
    }
}

/// The ends of all chains in one hash, signed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadBody {
    /// When it was taken.
    pub time: Timestamp,
    /// How many chains there are.
    pub chains: u64,
    /// The end of the team's chain.
    pub team: ChainHeadBody,
    /// SHA-256 over name, place and hash of every chain's last entry, in order of names.
    pub root: String,
    /// HMAC-SHA256 over time, number of chains and root, by a key that only this installation has.
    pub signature: String,
}

/// The end of a chain.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChainHeadBody {
    /// `team`, or the organization's id.
    pub chain: String,
    /// The place of its last entry; 0 without any.
    pub seq: u64,
    /// The hash of that entry.
    pub hash: String,
}

impl ChainHeadBody {
    fn of(chain: &[u8; 16], seq: u64, hash: &Hash) -> Self {
        Self { chain: owner(chain), seq, hash: hex(hash) }
    }
}

/// The end of a chain as somebody noted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Which chain.
    pub chain: [u8; 16],
    /// The place of its last entry then.
    pub seq: u64,
    /// The hash of that entry.
    pub hash: Hash,
}

impl Report<'_> {
    /// Goes through the next entries of all chains.
    ///
    /// # Errors
    /// [`ReadError::Store`] where `after` is no cursor of this walk.
    pub fn audit_walk(&self, after: Option<&[u8]>) -> Result<(VerificationBody, Option<Vec<u8>>), ReadError> {
        let from = match after.map(Place::from_bytes) {
            Some(None) => return bad_cursor(),
            from => from.flatten(),
        };
        let walked = audit::walk(self.view.rows(), from, MOST_WALKED)?;
        let body = VerificationBody::of(walked.findings, walked.chains, walked.entries);
        let body = VerificationBody { checkpoints: walked.checkpoints, dropped: walked.dropped, ..body };
        Ok((body, walked.next.map(Place::to_bytes)))
    }

    /// Compares the ends of chains, as they were noted, with the log.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if it cannot be read.
    pub fn audit_compared(&self, noted: &[Noted]) -> Result<VerificationBody, ReadError> {
        let (mut findings, mut older) = (Vec::new(), 0);
        for Noted { chain, seq, hash } in noted.iter().filter(|noted| noted.seq > 0) {
            findings.extend(audit::compare(self.view.rows(), *chain, *seq, hash)?);
            let begins = audit::beginning(self.view.rows(), *chain)?.ok().flatten();
            older += u64::from(begins.is_some_and(|cut| *seq <= cut.sequence));
        }
        Ok(VerificationBody { older, ..VerificationBody::of(findings, noted.len() as u64, noted.len() as u64) })
    }

    /// The ends of all chains, signed, and each of them.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if the log cannot be read.
    pub fn audit_head(&self, key: &[u8; 16]) -> Result<(HeadBody, Vec<ChainHeadBody>), ReadError> {
        let heads = audit::heads(self.view.rows())?;
        let mut root = Root::default();
        heads.iter().for_each(|(chain, seq, hash)| root.add(chain, *seq, hash));
        let signed = Signed { at: self.now, chains: heads.len() as u64, root: root.finish() };
        let of_team = heads.iter().find(|(chain, ..)| *chain == TEAM);
        let (seq, hash) = of_team.map_or((0, metergate_rules::audit::GENESIS), |(_, seq, hash)| (*seq, *hash));
        let body = HeadBody {
            time: Timestamp(signed.at),
            chains: signed.chains,
            team: ChainHeadBody::of(&TEAM, seq, &hash),
            root: hex(&signed.root),
            signature: signed.signature(key),
        };
        Ok((body, heads.iter().map(|(chain, seq, hash)| ChainHeadBody::of(chain, *seq, hash)).collect()))
    }
}

impl VerificationBody {
    fn of(findings: Vec<Finding>, chains: u64, entries: u64) -> Self {
        let findings: Vec<FindingBody> = findings.into_iter().map(FindingBody::from).collect();
        let well = findings.is_empty();
        let (checkpoints, dropped, older) = (0, 0, 0);
        Self { well, chains, entries, checkpoints, dropped, older, findings, signed: None, next_cursor: None }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
