//! What would have been refused.

use serde::Deserialize;

use crate::format::Amount;

/// What would have been refused under a changed plan, and what was.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIf {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) summary: String,
    pub(crate) replayed: u64,
    pub(crate) refused_organizations: u64,
    pub(crate) calls: u64,
    pub(crate) facts: u64,
    pub(crate) refused: u64,
    pub(crate) refused_before: u64,
    pub(crate) allowed: u64,
    pub(crate) beyond: u64,
    pub(crate) cost: Option<Amount>,
    pub(crate) cost_before: Option<Amount>,
    pub(crate) cost_after: Option<Amount>,
    pub(crate) meters: Vec<WhatIfMeter>,
    pub(crate) limits: Vec<WhatIfLimit>,
    pub(crate) days: Vec<WhatIfDay>,
    pub(crate) estimate: Option<WhatIfEstimate>,
    pub(crate) late: Option<WhatIfLate>,
    pub(crate) organizations: Vec<WhatIfOrganization>,
    pub(crate) more_organizations: u64,
}

/// One meter.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfMeter {
    pub(crate) meter: String,
    pub(crate) overage: Amount,
    pub(crate) overage_before: Amount,
}

/// One limit, or what else refuses.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfLimit {
    pub(crate) meter: String,
    pub(crate) window: Option<String>,
    pub(crate) reason: String,
    pub(crate) refused: u64,
    pub(crate) refused_quantity: Amount,
    pub(crate) refused_before: u64,
    pub(crate) allowed: u64,
}

/// One day.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfDay {
    pub(crate) start: String,
    pub(crate) refused: u64,
    pub(crate) refused_before: u64,
}

/// What is estimated, where raw records are gone.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfEstimate {
    pub(crate) until: String,
    pub(crate) refused: u64,
    pub(crate) days: Vec<WhatIfDay>,
    pub(crate) left_out: Vec<String>,
}

/// What was told too late for a limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfLate {
    pub(crate) facts: u64,
    pub(crate) meters: Vec<WhatIfLateMeter>,
    pub(crate) left_out: Vec<String>,
    pub(crate) earlier: u64,
    pub(crate) earliest_at: Option<String>,
    pub(crate) latest_at: Option<String>,
}

/// One meter of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfLateMeter {
    pub(crate) meter: String,
    pub(crate) facts: u64,
    pub(crate) quantity: Amount,
    pub(crate) beyond: u64,
    pub(crate) beyond_quantity: Amount,
}

/// One organization.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfOrganization {
    pub(crate) organization: String,
    pub(crate) name: String,
    pub(crate) plan: String,
    pub(crate) refused: u64,
    pub(crate) refused_before: u64,
    pub(crate) allowed: u64,
    pub(crate) beyond: u64,
    pub(crate) cost: Option<Amount>,
    pub(crate) cost_before: Option<Amount>,
    pub(crate) cost_after: Option<Amount>,
    pub(crate) first_refused_at: Option<String>,
    pub(crate) last_refused_at: Option<String>,
    pub(crate) refused_estimated: u64,
    pub(crate) late_facts: u64,
    pub(crate) late_beyond: u64,
}

/// Long work.
#[derive(Clone, Debug, Deserialize)]
pub struct Job<T> {
    /// Its id.
    pub id: String,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// How far it is.
    pub progress: JobProgress,
    /// What it has made, once it is done.
    #[serde(default = "Option::default")]
    pub result: Option<T>,
    /// Why it has made nothing, once it has failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// How far long work is.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct JobProgress {
    /// Done so far.
    pub done: u64,
    /// To be done; 0 as long as that is not known.
    pub total: u64,
}
