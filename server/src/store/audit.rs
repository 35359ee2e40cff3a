//! Entries of the audit log as they are stored, and the check of a chain.

use metergate_rules::audit::actions::{CHECKPOINT, RESOLVE};
use metergate_rules::audit::{Commitments, Draft, GENESIS, Hash, Object, Sealed, commitments, seal, seal_committed};
use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;

use super::ledger::Head;

mod archive;
mod chain;
mod checkpoint;
mod cut;
mod root;
mod walk;

pub use archive::{Archive, ArchiveError, Archived, EndLine, EntryLine, Line};
pub use chain::{Begun, Chain};
pub use checkpoint::{Checkpoint, End};
pub(super) use cut::key;
pub use cut::{Cut, beginning};
pub use root::{Root, Signed};
pub use walk::{Finding, Place, Walked, compare, heads, walk};
pub(super) use walk::{held, without_chain};

/// The team's own chain.
pub const TEAM: [u8; 16] = [0; 16];

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// An organization's id, or [`TEAM`].
    pub chain: [u8; 16],
    /// Its place in the chain, from 1.
    pub sequence: u64,
    /// When.
    pub at: Time,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To which kind of thing.
    pub category: String,
    /// What stood before: a JSON object.
    pub before: String,
    /// What stands now: a JSON object.
    pub after: String,
    /// What else there is to say: a JSON object.
    pub details: String,
    /// Why; empty without a reason.
    pub reason: String,
    /// Random bytes for the hashes of what may be personal.
    pub salt: [u8; 16],
    /// Its hash.
    pub hash: Hash,
    /// All that is left of what may be personal, once the organization is deleted: then the texts are empty.
    pub redacted: Option<Commitments>,
}

impl AuditRow {
    /// The hash that an entry with this content has after `previous`.
    pub fn sealed(&self, previous: &Hash) -> Hash {
        match &self.redacted {
            Some(left) => seal_committed(previous, &self.content(), left),
            None => seal(previous, &self.content()),
        }
    }

    /// Forgets what may be personal; its hash stays what it is. Where its chain begins has to be known later too, and says
    /// nothing of anybody.
    #[must_use]
    pub fn redact(self) -> Self {
        if self.action == CHECKPOINT {
            return self;
        }
        let left = self.redacted.unwrap_or_else(|| commitments(&self.content()));
        let (empty, nothing) = (|| "{}".to_owned(), String::new());
        Self {
            actor: nothing.clone(),
            before: empty(),
            after: empty(),
            details: empty(),
            reason: nothing,
            salt: [0; 16],
            redacted: Some(left),
            ..self
        }
    }

    fn content(&self) -> Sealed<'_> {
        Sealed {
            chain: &self.chain,
            seq: self.sequence,
            at: self.at,
            action: &self.action,
            category: &self.category,
            actor: &self.actor,
            before: &self.before,
            after: &self.after,
            details: &self.details,
            reason: &self.reason,
            salt: &self.salt,
        }
    }

    /// The entry that follows `head`.
    pub(super) fn after(head: Head, chain: [u8; 16], draft: &Draft, actor: &str, reason: &str) -> Self {
        let actor = if draft.by_system { "system" } else { actor };
        let mut row = Self {
            chain,
            sequence: head.sequence + 1,
            at: draft.at,
            actor: actor.to_owned(),
            action: draft.action.to_string(),
            category: draft.category.to_string(),
            before: json(&draft.before),
            after: json(&draft.after),
            details: json(&draft.details),
            reason: reason.to_owned(),
            salt: crate::random::bytes(),
            hash: GENESIS,
            redacted: None,
        };
        row.hash = row.sealed(&head.hash);
        row
    }

    /// The place of the entry of its chain that it marks as dealt with.
    pub fn resolves(&self) -> Option<u64> {
        #[derive(serde::Deserialize)]
        struct Details {
            seq: u64,
        }
        let details = (self.action == RESOLVE).then(|| serde_json::from_str::<Details>(&self.details).ok());
        details.flatten().map(|details| details.seq)
    }

    /// What it says of the entry that it marks as dealt with.
    pub fn note(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct After {
            note: String,
        }
        self.resolves()?;
        serde_json::from_str::<After>(&self.after).ok().map(|after| after.note)
    }

    /// The end of the chain after this entry.
    pub(super) const fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash }
    }
}

fn json(object: &Object) -> String {
    match object {
        Object::Fields(fields) => serde_json::to_string(fields).unwrap_or_else(|_| "{}".to_owned()),
        Object::Text(text) => text.clone(),
    }
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry is missing, or stands twice, or out of order.
    #[error("entry {expected} is missing: entry {found} stands in its place")]
    Missing {
        /// The place that should follow.
        expected: u64,
        /// The place that does.
        found: u64,
    },
    /// An entry, or the one before it, is not what was written.
    #[error("entry {0} does not match its hash: it was changed, or an entry before it was")]
    Changed(u64),
    /// The chain ends before an entry that it had.
    #[error("entry {expected} is gone: the chain ends at entry {found}, so it was cut off")]
    CutOff {
        /// The place of an entry that is known from elsewhere.
        expected: u64,
        /// The place of the last entry; 0 without any.
        found: u64,
    },
    /// An entry has another hash than it had: the chain was made anew.
    #[error("entry {0} has another hash than it had: the chain up to it was written anew")]
    Rewritten(u64),
    /// It is said to begin behind an entry, and no entry of its own says so as this installation would.
    #[error("the entries up to {0} are gone, and no checkpoint of this installation says that they were exported")]
    Unfounded(u64),
}

impl Broken {
    /// The place of the first entry that does not fit.
    pub const fn place(&self) -> u64 {
        match self {
            Self::Missing { expected, .. } | Self::CutOff { expected, .. } => *expected,
            Self::Changed(place) | Self::Rewritten(place) | Self::Unfounded(place) => *place,
        }
    }

    /// What became of it, in a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Changed(_) => "changed",
            Self::CutOff { .. } => "cut-off",
            Self::Rewritten(_) => "rewritten",
            Self::Unfounded(_) => "unfounded",
        }
    }
}

/// Checks a chain in order from its first entry. Answers the hash of its end.
///
/// # Errors
/// [`Broken`] names the first entry that does not fit.
pub fn verify<'a>(rows: impl IntoIterator<Item = &'a AuditRow>) -> Result<(u64, Hash), Broken> {
    let head = rows.into_iter().try_fold(Head::EMPTY, follow)?;
    Ok((head.sequence, head.hash))
}

/// The end of a chain after the entry that follows `head`.
///
/// # Errors
/// [`Broken`] if this entry does not.
pub(super) fn follow(head: Head, row: &AuditRow) -> Result<Head, Broken> {
    if row.sequence != head.sequence + 1 {
        return Err(Broken::Missing { expected: head.sequence + 1, found: row.sequence });
    }
    if row.sealed(&head.hash) != row.hash {
        return Err(Broken::Changed(row.sequence));
    }
    Ok(row.head())
}

/// Bytes of a column that has always so many. Where they are not, somebody has changed them: then they are zeros, and their entry
/// does not match its hash, which whoever verifies the chain finds.
pub(super) fn fixed<const N: usize>(stored: &[u8]) -> [u8; N] {
    stored.try_into().unwrap_or([0; N])
}

/// Whose chain it is: `team`, or an organization's id.
pub fn owner(chain: &[u8; 16]) -> String {
    if *chain == TEAM { "team".to_owned() } else { OrganizationId(*chain).to_string() }
}

/// The chain of an [`owner`].
pub fn chain_owned_by(owner: &str) -> Option<[u8; 16]> {
    if owner == "team" { Some(TEAM) } else { owner.parse().ok().map(chain_of) }
}

/// The chain of an organization.
pub const fn chain_of(organization: OrganizationId) -> [u8; 16] {
    organization.0
}
