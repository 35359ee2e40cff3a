//! Where an organization stands in its current period (O1).

use metergate_rules::id::OrganizationRef;
use metergate_rules::meter::{Aggregation, Meter};
use metergate_rules::window::Window;
use serde::Serialize;
use utoipa::ToSchema;

use super::figures::Figures;
use super::{Current, Period, Report, Timestamp};
use crate::http::number::Number;
use crate::store::reader::ReadError;

/// Every meter's use against its period limit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The organization's key.
    pub organization: String,
    /// The billing period that is open.
    pub current_period: Period,
    /// When the next one begins.
    pub next_reset_date: Timestamp,
    /// Whether a lock stops consumption.
    pub locked: bool,
    /// By key: the meters that the plan or an override names, that credit was given on, or that have been used.
    pub meters: Vec<MeterStanding>,
}

/// One meter against its period limit: that of the billing period, else of the month, else of the lifetime.
///
/// Where the window has a limit, `limit` = `base` + `extra` + `granted`, and unless the base is overdrawn, by facts or by a
/// limit that was lowered, `limit` = `used` + `held` + `remaining`. How the figures follow from each other then, too, is what
/// `explain` shows.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeterStanding {
    /// The meter's key.
    pub meter: String,
    /// Its name for people.
    pub name: String,
    /// What it counts, such as `token`.
    pub unit: String,
    /// `sum`, `count`, `max`, `last` or `uniqueCount`.
    #[schema(value_type = String, example = "sum")]
    pub aggregation: Aggregation,
    /// The properties by which its use can be grouped.
    pub dimensions: Vec<String>,
    /// The window that the figures are of: `billingPeriod`, `month` or `lifetime`.
    #[schema(value_type = String, example = "billingPeriod")]
    pub window: Window,
    /// All use in the window, from the base and from grants.
    pub used: Number,
    /// What reservations hold.
    pub held: Number,
    /// The limit with extra quota and credit; `null` where nothing limits the window.
    pub limit: Option<Number>,
    /// What may still be used; `null` where nothing limits the window.
    pub remaining: Option<Number>,
    /// What was used beyond the limit.
    pub overage: Number,
    /// What override or plan allow; `null` where nothing limits the window.
    pub base: Option<Number>,
    /// The standing addition for this organization.
    pub extra: Number,
    /// What grants gave since the counter began and can still give.
    pub granted: Number,
    /// Nothing limits the window: its limit says so, or it has none. Shorter windows may have limits of their own.
    pub unlimited: bool,
    /// Whether the plan lets the organization use the meter at all.
    pub entitled: bool,
}

impl Report<'_> {
    /// `GET /v1/organizations/{org}/usage`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller.
    pub fn standing(&self, organization: &OrganizationRef) -> Result<Standing, ReadError> {
        let current = self.current(organization)?;
        let account = &current.account;
        Ok(Standing {
            organization: account.profile.key.to_string(),
            current_period: account.shown_period().into(),
            next_reset_date: Timestamp(account.windows.period.end),
            locked: !account.locks.is_empty(),
            meters: self.meters_of(&current).into_iter().map(|meter| self.meter_standing(&current, meter)).collect(),
        })
    }

    fn meter_standing(&self, current: &Current<'_>, meter: &Meter) -> MeterStanding {
        let figures = Figures::of_period(current, meter);
        let number = |quantity| self.number(meter.id, quantity);
        let entitled = Self::is_entitled(current, meter);
        MeterStanding {
            meter: meter.key.to_string(),
            name: meter.name.clone(),
            unit: meter.unit.clone(),
            aggregation: meter.aggregation,
            dimensions: meter.dimensions.clone(),
            window: figures.window,
            used: number(figures.used),
            held: number(figures.held),
            limit: figures.limit().map(number),
            remaining: figures.remaining().map(number),
            overage: number(figures.overage()),
            base: figures.max().map(number),
            extra: number(figures.extra),
            granted: number(figures.granted()),
            unlimited: figures.is_unlimited() || (entitled && figures.limit().is_none()),
            entitled,
        }
    }
}
