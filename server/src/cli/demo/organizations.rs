//! The made-up organizations.

use metergate_rules::time::{DAY, Time};
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
    /// The plan with which it signs up.
    pub(super) plan: &'static str,
    pub(super) zone: &'static str,
    pub(super) rhythm: Rhythm,
    /// How many days ago it signs up.
    pub(super) since: u16,
    /// How many days ago it stopped using anything; 0 where it goes on.
    pub(super) until: u16,
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
    ($($key:literal $name:literal $plan:ident $zone:literal $rhythm:ident $since:literal $until:literal $began:literal: $calls:literal $conversations:literal $tokens:literal $users:literal $megabytes:literal, $weight:literal;)+) => {
        &[$(Profile {
            key: $key, name: $name, plan: stringify!($plan), zone: $zone, rhythm: Rhythm::$rhythm, since: $since, until: $until, began: $began,
            calls: $calls, conversations: $conversations, tokens: $tokens, users: $users, megabytes: $megabytes, weight: $weight,
        }),+]
    };
}

/// All of them. Figures fit the shipped plans: `pixelpress` is close to its limit, `saltmarsh` beyond it, `lumen` draws on credit,
/// the trial of `bluebird` is about to end, and that of `quarry` has.
#[rustfmt::skip]
pub(super) const ALL: &[Profile] = profiles! {
    // key          name                     plan       zone                  rhythm since until began: calls convs tokens users MB, weight
    "northwind"    "Northwind Traders"      pro        "Europe/Berlin"       Office   80 0  550: 14000  260   13000    34 21000, 12;
    "globex"       "Globex Logistics"       enterprise "America/New_York"    Office   87 0  700: 82000 1400  310000    58 96000, 16;
    "helios"       "Helios Energy"          enterprise "Asia/Tokyo"          Steady   71 0  800: 64000  900  190000    41 71000, 12;
    "lumen"        "Lumen Health"           pro        "America/Los_Angeles" Office   84 0  750:  9500  190   31000    27 18000, 8;
    "tandem"       "Tandem Travel"          pro        "Asia/Kolkata"        Evening  75 0  650: 11000  240   12500    30 14500, 8;
    "kestrel"      "Kestrel Analytics"      free       "Europe/London"       Office   58 0  400:  5200   26    2600    14  3900, 6;
    "brightside"   "Brightside Learning"    starter    "Australia/Sydney"    Evening  45 0  500:  3900   24    2400    19  3100, 6;
    "orchard"      "Orchard & Co"           starter    "America/Sao_Paulo"   Office   79 2 1150:  2600   17    1700     8  2200, 3;
    "pixelpress"   "Pixelpress Studio"      free       "Europe/Paris"        Evening  56 0  800:  1900    3     360     5   430, 20;
    "saltmarsh"    "Saltmarsh Ferries"      free       "Pacific/Auckland"    Steady   85 0  900:   700    3     480     3   210, 10;
    "bluebird"     "Bluebird Robotics"      trial      "America/Chicago"     Office   27 0  100:   900    3     250     6    70, 10;
    "quarry"       "Quarry Insurance"       trial      "UTC"                 Office   34 4  200:   400    2     120     4    35, 2;
};

impl Profile {
    /// When it signs up, in a history of so many days that ends at `now`.
    pub(super) fn signs_up(&self, now: Time, days: u16) -> Time {
        now.plus(-i64::from(self.since.min(days)) * DAY)
    }

    /// Whether it uses anything in the hour that begins then.
    pub(super) fn is_there(&self, hour: Time, now: Time, days: u16) -> bool {
        hour >= self.signs_up(now, days) && hour < now.plus(-i64::from(self.until) * DAY)
    }

    /// Creates it, as of now by the server's clock, unless it is there.
    pub(super) fn create(&self, client: &Client) -> anyhow::Result<()> {
        let Self { key, name, plan, zone, .. } = self;
        let body = json!({"key": key, "name": name, "plan": plan, "timeZone": zone});
        match client.post("/v1/organizations", &body) {
            Err(failure) if failure.status() == Some(409) => {}
            created => drop(created?),
        }
        Ok(())
    }
}
