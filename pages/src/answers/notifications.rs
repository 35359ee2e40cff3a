//! What a member is told by mail.

use serde::Deserialize;

/// What a member is told by mail, as they choose it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notifications {
    /// Where the mails go.
    pub email: String,
    /// Whether they come there.
    pub delivered: bool,
    /// That a limit comes close.
    pub limit_near: bool,
    /// That all of a limit is used.
    pub limit_reached: bool,
    /// That a trial ends.
    pub trial: bool,
    /// That the organization was locked or unlocked.
    pub lock: bool,
    /// That a payment is due.
    pub payment: bool,
    /// That credit ends.
    pub credit: bool,
}
