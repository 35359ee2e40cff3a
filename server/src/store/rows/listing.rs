//! What lists of organizations ask an engine for.

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;

/// An order of organizations, and where a page of it begins.
#[derive(Clone, Copy, Debug)]
pub enum Listing<'a> {
    /// By key, after this one.
    ByKey(&'a str),
    /// The newest first, before this one. Ids rise with the time at which they were given.
    NewestFirst(Option<OrganizationId>),
}

/// Organizations that a filter may take. What has fallen due but is not in the row yet may change status, plan and locks (a
/// trial that has just ended), so such rows are among them in any case.
#[derive(Clone, Debug)]
pub struct Candidates<'a> {
    /// From where on, in which order.
    pub from: Listing<'a>,
    /// This one alone.
    pub own: Option<OrganizationId>,
    /// Whose key or name is like this pattern of `LIKE` with `\` before what stands for itself; of ASCII letters in either
    /// case.
    pub pattern: Option<&'a str>,
    /// With this status.
    pub status: Option<&'a str>,
    /// Locked, or not.
    pub locked: Option<bool>,
    /// On this plan, in whatever version.
    pub plan: Option<&'a str>,
    /// Something has fallen due by then.
    pub due: Time,
}
