//! The forms of everything that pages change: what each asks, and what it says will happen. `server/http/pages/action.rs` says
//! which call of the API each becomes.

use std::collections::BTreeMap;

use crate::answers::{Grant, Meter, Organization, Plan, Quota, unit_of};
use crate::form::{Field, Kind};
use crate::format::{Amount, Zone, is_bytes, plural};

pub mod entry;
pub mod notifications;
pub mod organization;
pub mod people;
pub mod plan;
pub mod team;
pub mod webhooks;

/// Windows as the API names them, and as people do.
pub(crate) const WINDOWS: [(&str, &str); 6] = [
    ("billingPeriod", "Billing period"),
    ("month", "Calendar month"),
    ("lifetime", "Lifetime"),
    ("day", "Day"),
    ("hour", "Hour"),
    ("minute", "Minute"),
];

/// Roles, the least first.
const ROLES: [(&str, &str); 4] = [("viewer", "Viewer"), ("editor", "Editor"), ("admin", "Admin"), ("owner", "Owner")];

/// A window as people call it.
pub(crate) fn window_name(window: &str) -> &str {
    WINDOWS.iter().find(|(key, _)| *key == window).map_or(window, |(_, name)| name)
}

/// The organization that something is done to.
#[derive(Clone, Debug)]
pub struct About {
    /// The organization.
    pub organization: Organization,
    /// Its limits.
    pub quota: Quota,
    /// Its credit.
    pub grants: Vec<Grant>,
    /// All meters.
    pub meters: Vec<Meter>,
    /// All plans, in their newest version.
    pub plans: Vec<Plan>,
    /// What the address says of what is meant, such as a meter.
    pub chosen: BTreeMap<String, String>,
    /// The address of the organization's page.
    pub base: String,
    /// Now, RFC 3339.
    pub now: String,
}

impl About {
    pub(crate) fn chosen(&self, name: &str) -> &str {
        self.chosen.get(name).map_or("", String::as_str)
    }

    /// Whether it is done at the dashboard.
    pub fn is_admin(&self) -> bool {
        self.base.starts_with("/admin")
    }

    /// The organization's key, as part of a path.
    pub fn key(&self) -> &str {
        &self.organization.key
    }

    /// Its name for people.
    pub fn name(&self) -> &str {
        &self.organization.name
    }

    pub(crate) fn zone(&self) -> Zone {
        Zone::new(&self.organization.time_zone)
    }

    pub(crate) fn meter(&self, key: &str) -> Option<&Meter> {
        self.meters.iter().find(|meter| meter.key == key)
    }

    /// A meter's name for people.
    pub(crate) fn meter_name<'a>(&'a self, key: &'a str) -> &'a str {
        self.meter(key).map_or(key, |meter| &meter.name)
    }

    /// A quantity of a meter, with its unit.
    pub(crate) fn amount(&self, meter: &str, amount: Amount) -> String {
        self.meter(meter).map_or_else(|| amount.to_string(), |meter| amount.in_unit(&meter.unit))
    }

    /// What is counted of a meter; nothing where it is not known.
    pub(crate) fn unit(&self, meter: &str) -> &str {
        unit_of(&self.meters, meter)
    }

    /// A quantity of whichever of these meters is chosen beside it.
    fn quantity_field(&self, name: &str, label: &str, takes: impl Fn(&Meter) -> bool) -> Field {
        if !self.meters.iter().any(|meter| is_bytes(&meter.unit) && takes(meter)) {
            return Field::amount(name, label);
        }
        Field::new(name, label, Kind::Size).hint("Of storage with its unit, such as 10 GB.")
    }

    /// Which of the meters.
    fn meter_field(&self, takes: impl Fn(&Meter) -> bool) -> Field {
        let meters = self.meters.iter().filter(|meter| takes(meter));
        // A unit that the name says already is not said again.
        let called = |meter: &Meter| match plural(&meter.unit) {
            unit if unit.is_empty() || unit.eq_ignore_ascii_case(&meter.name) => meter.name.clone(),
            unit => format!("{} ({unit})", meter.name),
        };
        let choices = meters.map(|meter| (meter.key.as_str(), called(meter)));
        Field::select("meter", "Meter", choices).value(self.chosen("meter"))
    }
}
