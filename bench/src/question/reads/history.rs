//! Use in the past, recorded through the API, and the queries that read it.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::error::BenchError;
use crate::request::organization_key;
use crate::setup::{Target, array};
use crate::workload::Kind;

/// A year of the first organization, by day, on so many meters, so many events a day.
const DAYS: u64 = 365;
const YEAR_METERS: u64 = 10;
const A_DAY: u64 = 4;
/// A month of so many organizations, on as many meters, an event a day.
const BULK_DAYS: u64 = 30;
const ORGANIZATIONS: u64 = 100;
const METERS: u64 = 100;
/// Events in a batch.
const BATCH: u64 = 10_000;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Use up to the day before a day.
#[derive(Clone, Copy)]
pub(super) struct History {
    today: Timestamp,
    organizations: u64,
}

/// One event of it.
struct Event {
    organization: u64,
    meter: u64,
    days_ago: u64,
    hour: u64,
}

impl History {
    /// Up to this day, in a store of so many organizations.
    pub(super) fn until_today(organizations: u64) -> Self {
        let now = Timestamp::now().as_second();
        let today = Timestamp::from_second(now - now.rem_euclid(DAY.as_secs())).unwrap_or_default();
        Self { today, organizations }
    }

    /// How many events it has.
    pub(super) const fn events(&self) -> u64 {
        YEAR_METERS * DAYS * A_DAY + ORGANIZATIONS * METERS * BULK_DAYS
    }

    /// Rows of [`Self::year`].
    pub(super) const fn year_rows(&self) -> usize {
        (YEAR_METERS * DAYS) as usize
    }

    /// Rows of [`Self::bulk`].
    pub(super) const fn bulk_rows(&self) -> usize {
        (ORGANIZATIONS * METERS) as usize
    }

    /// The key of an organization.
    pub(super) fn organization(&self, number: u64) -> String {
        organization_key(number, self.organizations)
    }

    /// The first organization's year by day over some meters.
    pub(super) fn year(&self) -> String {
        let meters: String = (0..YEAR_METERS).map(|number| format!("&meter={}", meter(number))).collect();
        let (from, to) = (self.days_ago(DAYS), self.today);
        format!("/v1/usage?organization={}&from={from}&to={to}&granularity=day{meters}", self.organization(0))
    }

    /// A month in total, of many organizations on many meters.
    pub(super) fn bulk(&self) -> String {
        let organizations = (0..ORGANIZATIONS).map(|number| format!("&organization={}", self.organization(number)));
        let meters = (0..METERS).map(|number| format!("&meter={}", meter(number)));
        let (from, to) = (self.days_ago(BULK_DAYS), self.today);
        let named: String = organizations.chain(meters).collect();
        format!("/v1/usage?from={from}&to={to}&granularity=total{named}")
    }

    /// Makes the meters and records every event.
    pub(super) async fn record(self, target: &Target) -> Result<(), BenchError> {
        for number in 0..METERS {
            let definition = json!({"aggregation": "sum"});
            target.call("PUT", &format!("/v1/meters/{}", meter(number)), &definition).await?;
        }
        let body = move |part: u64| {
            let numbers = part * BATCH..((part + 1) * BATCH).min(self.events());
            array(numbers, |text, number| self.write(text, number))
        };
        target.send_parts(Kind::Events, self.events().div_ceil(BATCH), body).await
    }

    fn write(&self, text: &mut String, number: u64) {
        let Event { organization, meter: of, days_ago, hour } = event(number);
        let time = self.days_ago(days_ago) + SignedDuration::from_hours(hour.cast_signed());
        let _ = write!(
            text,
            r#"{{"specversion":"1.0","id":"r-{number}","source":"/bench/reads","type":"{}","subject":"{}","time":"{time}","data":{{"quantity":3}}}}"#,
            meter(of),
            self.organization(organization),
        );
    }

    fn days_ago(&self, days: u64) -> Timestamp {
        self.today - SignedDuration::from_hours(24 * days.cast_signed())
    }
}

fn meter(number: u64) -> String {
    format!("m{number:02}")
}

/// The event of this number: first the one organization's year, then everybody's month.
const fn event(number: u64) -> Event {
    let year = YEAR_METERS * DAYS * A_DAY;
    if number < year {
        let (meter, rest) = (number / (DAYS * A_DAY), number % (DAYS * A_DAY));
        return Event { organization: 0, meter, days_ago: 1 + rest / A_DAY, hour: 2 + 5 * (rest % A_DAY) };
    }
    let number = number - year;
    let (organization, rest) = (number / (METERS * BULK_DAYS), number % (METERS * BULK_DAYS));
    Event { organization, meter: rest / BULK_DAYS, days_ago: 1 + rest % BULK_DAYS, hour: 12 }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_that_is_asked_for_has_an_event() {
        let history = History::until_today(1000);
        let (mut year, mut bulk) = (HashSet::new(), HashSet::new());
        for number in 0..history.events() {
            let Event { organization, meter, days_ago, hour } = event(number);
            assert!((1..=DAYS).contains(&days_ago) && hour < 24);
            if organization == 0 && meter < YEAR_METERS {
                year.insert((meter, days_ago));
            }
            bulk.insert((organization, meter));
        }
        assert_eq!((year.len(), bulk.len()), (history.year_rows(), history.bulk_rows()));
        assert!(history.bulk().contains("&organization=org-00099&meter=m00"));
        assert_eq!(history.year().matches("&meter=").count(), 10);
    }
}
