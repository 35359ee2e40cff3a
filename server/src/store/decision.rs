//! What came of a decision, as whoever asked is told.

use metergate_rules::id::{OrganizationId, OrganizationKey};
use metergate_rules::outcome::Verdict;
use metergate_rules::time::Time;

use super::Place;

/// The answer to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedReceipt {
    /// Whose use, by its key.
    pub organization: OrganizationKey,
    /// About each meter, in the order asked.
    pub verdicts: Vec<Verdict>,
    /// Where it stands in the journal; a refusal without id stands nowhere.
    pub place: Option<Place>,
    /// Whether it was decided before, under the same id.
    pub replayed: bool,
    /// When it was answered first.
    pub at: Time,
    /// Of a refusal that nothing keeps: what several nodes need to tell whether it still stands.
    pub seen: Option<Seen>,
    /// Nobody decided it: the record could not be reached, and the policies of its meters let it pass.
    pub degraded: bool,
}

impl DecidedReceipt {
    /// One that stands nowhere in the journal.
    pub const fn new(organization: OrganizationKey, verdicts: Vec<Verdict>, at: Time) -> Self {
        Self { organization, verdicts, place: None, replayed: false, at, seen: None, degraded: false }
    }
}

/// The account on which was decided, where several nodes share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose it is.
    pub organization: OrganizationId,
    /// The version of its row, which rises with every write: no decision of this version is older than what made it.
    pub version: u64,
}
