//! The made-up organizations.

use serde_json::json;

use super::super::client::Client;

/// When an organization's people are there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rhythm {
    /// Offices: weekdays from 8 to 18.
    Office,
    /// People at home: evenings, more at weekends.
    Evening,
    /// Machines: day and night.
    Steady,
}

/// An organization and what it uses on a usual day at the end of its history.
pub(super) struct Profile {
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) plan: &'static str,
    pub(super) zone: &'static str,
    pub(super) rhythm: Rhythm,
    /// Thousandths of its use today that it began with: 600 grew by two thirds, 1100 shrank.
    pub(super) began: u64,
    pub(super) calls: u64,
    pub(super) conversations: u64,
    pub(super) tokens: u64,
    pub(super) users: u64,
    pub(super) megabytes: u64,
    /// How often live traffic is its, beside the others.
    pub(super) weight: u64,
}

macro_rules! profiles {
    ($($key:literal $name:literal $plan:ident $zone:literal $rhythm:ident $began:literal: $calls:literal $conversations:literal $tokens:literal $users:literal $megabytes:literal, $weight:literal;)+) => {
        &[$(Profile {
            key: $key, name: $name, plan: stringify!($plan), zone: $zone, rhythm: Rhythm::$rhythm, began: $began,
            calls: $calls, conversations: $conversations, tokens: $tokens, users: $users, megabytes: $megabytes, weight: $weight,
        }),+]
    };
}

/// All of them. Figures fit the shipped plans; `pixelpress`, `saltmarsh` and `bluebird` live close to their limits.
#[rustfmt::skip]
pub(super) const ALL: &[Profile] = profiles! {
    // key          name                     plan       zone                  rhythm began: calls convs tokens users MB, weight
    "northwind"    "Northwind Traders"      pro        "Europe/Berlin"       Office   550: 14000  260   13000    34 21000, 12;
    "globex"       "Globex Logistics"       enterprise "America/New_York"    Office   700: 82000 1400  310000    58 96000, 16;
    "helios"       "Helios Energy"          enterprise "Asia/Tokyo"          Steady   800: 64000  900  190000    41 71000, 12;
    "lumen"        "Lumen Health"           pro        "America/Los_Angeles" Office   450:  9500  190   11500    27 18000, 8;
    "tandem"       "Tandem Travel"          pro        "Asia/Kolkata"        Evening  650: 11000  240   12500    30 14500, 8;
    "kestrel"      "Kestrel Analytics"      starter    "Europe/London"       Office   400:  5200   26    2600    14  3900, 6;
    "brightside"   "Brightside Learning"    starter    "Australia/Sydney"    Evening  500:  3900   24    2400    19  3100, 6;
    "orchard"      "Orchard & Co"           starter    "America/Sao_Paulo"   Office  1150:  2600   17    1700     8  2200, 4;
    "pixelpress"   "Pixelpress Studio"      free       "Europe/Paris"        Evening  600:  1900    3     290     5   430, 20;
    "saltmarsh"    "Saltmarsh Ferries"      free       "Pacific/Auckland"    Steady   900:   700    3     270     3   210, 10;
    "bluebird"     "Bluebird Robotics"      trial      "America/Chicago"     Office   100:   900    3     250     6    70, 10;
    "quarry"       "Quarry Insurance"       trial      "UTC"                 Office   200:   400    2     120     4    35, 2;
};

/// Creates those that are not there yet.
pub(super) fn create(client: &Client) -> anyhow::Result<()> {
    for Profile { key, name, plan, zone, .. } in ALL {
        let body = json!({"key": key, "name": name, "plan": plan, "timeZone": zone});
        match client.post("/v1/organizations", &body) {
            Err(failure) if failure.status() == Some(409) => {}
            created => drop(created?),
        }
    }
    Ok(())
}
