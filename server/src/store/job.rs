//! Work that goes by itself, of which one node does each kind at a time.

use super::postgres::Postgres;

/// While this lives no other node does the same work.
pub struct Turn {
    pub(super) held: Option<Postgres>,
}

/// Work that one node does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// What falls due by time alone, the roots of the audit log, the end of its older entries.
    Sweep = 1,
    /// Mails that wait are sent.
    Mail = 2,
    /// Rollups compared with the records.
    Rollups = 3,
    /// What Stripe told is applied, and Stripe is asked.
    Stripe = 5,
    /// Webhooks that wait are sent.
    Outbox = 4,
}
