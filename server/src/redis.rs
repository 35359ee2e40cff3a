//! Redis: it decides what needs no record, and spares the record work. What must not be lost is never there.
//!
//! - [`address`]: where it is. [`link`]: a connection that works. Scripts run by their hashes.
//! - [`rates`]: minutes and hours of meters of which nothing is recorded. [`accounts`]: whose limits those are.
//! - [`marks`]: refusals that need not be decided again for a moment.
//!
//! Every key has the organization in its hash tag, so all keys of one decision are on one server of a cluster. Nothing that
//! arrives twice counts twice: an answer is kept under the operation's own number for as long as the operation may count, which
//! is a second by the clock of Redis; what comes later is refused.

use std::fmt::Arguments;

use metergate_rules::id::OrganizationId;

pub mod accounts;
pub mod address;
pub mod link;
pub mod marks;
mod near;
pub mod rates;
mod script;

pub use link::{DEADLINE, Gone, Link};

/// A script refused what it was sent for its age.
const TOO_LATE: i64 = 2;

/// The key of something of an organization's.
fn key_of(prefix: &str, organization: OrganizationId, what: Arguments<'_>) -> String {
    format!("{prefix}:{{{organization}}}:{what}")
}

fn garbled(text: &str) -> Gone {
    tracing::error!(text, "what a script answered makes no sense");
    Gone
}
