//! One organization, its limits, credit and use.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Meter;
use crate::format::{Amount, Markup, escape};
use crate::progress::{Progress, Standing};

/// A half-open span of time.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Period {
    /// Its first instant.
    pub start: String,
    /// The first instant after it.
    pub end: String,
}

/// A lock.
#[derive(Clone, Debug, Deserialize)]
pub struct Lock {
    pub(crate) cause: String,
    pub(crate) reason: Option<String>,
    pub(crate) since: String,
}

/// A change of plan that waits for its time.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledPlan {
    pub(crate) plan_name: String,
    pub(crate) version: u32,
    pub(crate) at: String,
}

/// An organization.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Organization {
    pub(crate) id: String,
    /// Its key.
    pub key: String,
    pub(crate) name: String,
    /// The key of its plan.
    pub plan: String,
    /// The plan's name for people.
    pub plan_name: String,
    pub(crate) plan_version: u32,
    pub(crate) status: String,
    pub(crate) trial_ends_at: Option<String>,
    /// The IANA name of its zone.
    pub time_zone: String,
    pub(crate) locked: bool,
    pub(crate) locks: Vec<Lock>,
    /// Its open billing period.
    pub current_period: Period,
    pub(crate) scheduled_plan: Option<ScheduledPlan>,
    pub(crate) next_reset_date: String,
    pub(crate) created_at: String,
    pub(crate) metadata: Value,
    pub(crate) test: bool,
    /// What its own clock shows, where it has one.
    pub clock: Option<String>,
}

impl Organization {
    /// Whether a lock stops its consumption.
    pub const fn is_locked(&self) -> bool {
        self.locked
    }

    /// Whether its trial is over, and has locked it.
    pub(crate) fn is_trial_over(&self) -> bool {
        self.locks.iter().any(|lock| lock.cause == "trial")
    }
}

/// One meter of an organization in its open period, and what it is.
#[derive(Clone, Debug, Deserialize)]
pub struct MeterStanding {
    #[serde(flatten)]
    standing: Standing,
    name: String,
    unit: String,
    aggregation: String,
    dimensions: Vec<String>,
}

impl MeterStanding {
    /// Its name for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a level, which stands and is not counted in a period.
    pub(crate) fn is_level(&self) -> bool {
        self.aggregation == "last"
    }

    /// What was used on the dates that are shown above its bar, where its counter says something else: it began before them where the
    /// cycle was moved, or after them where it was reset. Levels are of no dates.
    pub(crate) fn on_dates(&self, used: Amount) -> Option<Markup> {
        let differs = !self.is_level() && used != self.standing.used;
        let used = escape(&used.in_unit(&self.unit));
        let line = format!(r#"<p><strong>{used}</strong> on these dates. The counter began at another time:</p>"#);
        differs.then(|| Markup::of(line))
    }

    /// Its bar.
    pub(crate) fn progress(&self) -> Markup {
        let is_distinct = self.aggregation == "uniqueCount";
        let (standing, name, unit) = (&self.standing, self.name.as_str(), self.unit.as_str());
        Progress { standing, name, unit, is_level: self.is_level(), is_distinct }.markup()
    }
}

impl std::ops::Deref for MeterStanding {
    type Target = Standing;
    fn deref(&self) -> &Standing {
        &self.standing
    }
}

impl Standings {
    /// What these meters are: of the team's others whoever looks may know nothing.
    pub fn known(&self) -> Vec<Meter> {
        let known = |one: &MeterStanding| {
            Meter::known(&one.standing.meter, &one.name, &one.unit, &one.aggregation, &one.dimensions)
        };
        self.meters.iter().map(known).collect()
    }
}

/// All meters of an organization.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standings {
    /// The meters, by key.
    pub meters: Vec<MeterStanding>,
}

/// A limit in force.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaLimit {
    /// Where it stands.
    #[serde(flatten)]
    pub standing: Standing,
    pub(crate) source: String,
    pub(crate) enforcement: String,
    pub(crate) until: Option<String>,
    pub(crate) resets_at: Option<String>,
}

impl std::ops::Deref for QuotaLimit {
    type Target = Standing;
    fn deref(&self) -> &Standing {
        &self.standing
    }
}

/// The extra quota of one meter.
#[derive(Clone, Debug, Deserialize)]
pub struct Extra {
    pub(crate) meter: String,
    pub(crate) quantity: Amount,
}

/// All limits of an organization.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Quota {
    pub(crate) limits: Vec<QuotaLimit>,
    pub(crate) extra: Vec<Extra>,
}

/// Credit.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    pub(crate) id: u64,
    pub(crate) meter: String,
    pub(crate) amount: Amount,
    pub(crate) used: Amount,
    pub(crate) held: Amount,
    pub(crate) remaining: Amount,
    pub(crate) lost: Amount,
    pub(crate) reason: String,
    pub(crate) priority: i64,
    pub(crate) state: String,
    pub(crate) expires_at: Option<String>,
    pub(crate) created_at: String,
}

/// Use in one step of time.
#[derive(Clone, Debug, Deserialize)]
pub struct UsageRow {
    pub(crate) organization: String,
    #[serde(default)]
    pub(crate) meter: String,
    pub(crate) start: String,
    pub(crate) value: Amount,
    #[serde(default)]
    pub(crate) group: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub(crate) other: bool,
}

/// The billing cycle, and the next resets.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cycle {
    pub(crate) billing_cycle_start_date: String,
    pub(crate) time_zone: String,
    pub(crate) current_period: Period,
    pub(crate) next_reset_date: String,
    pub(crate) resets: Vec<String>,
}
