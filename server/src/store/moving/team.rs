//! What is the team's, as it is moved.

use std::collections::BTreeMap;

use metergate_rules::time::Time;

use super::{Moving, SETTINGS};
use crate::catalogue::change::{EndpointRow, TeamRow};
use crate::store::audit::TEAM;
use crate::store::error::EngineError;

/// Events of Stripe's that go out together: those that wait have their payloads.
const TOGETHER: u64 = 100;

impl Moving<'_> {
    /// What is the team's.
    pub(super) fn team(&mut self, now: Time) -> Result<(), EngineError> {
        for name in SETTINGS {
            if let Some(value) = self.sqlite.setting(name)? {
                self.target.keep_setting(name, &value)?;
            }
        }
        let stored = self.sqlite.stored()?;
        let meters = stored.meters.into_values().map(TeamRow::Meter);
        let plans = stored.plans.into_values().map(TeamRow::Plan);
        let keys = stored.keys.into_values().map(TeamRow::Key);
        let prices = self.sqlite.price_versions()?.into_iter().map(TeamRow::Prices);
        let endpoints = stored.endpoints.into_values();
        let endpoints = endpoints.map(|entry| TeamRow::Endpoint(EndpointRow { entry, begins_anew: false }));
        let settings = [TeamRow::Settings(stored.settings)];
        let rows: Vec<_> = meters.chain(plans).chain(keys).chain(prices).chain(endpoints).chain(settings).collect();
        let people = self.sqlite.people()?;
        self.moved.people = self.target.put_team(&rows, people.rows(), self.sqlite.audit_head(TEAM)?, now)?;
        let mut query =
            self.sqlite.connection().prepare("SELECT source, rows_done, digest, updated_at FROM imports")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (source, digest): (String, String) = (row.get(0)?, row.get(2)?);
            self.target.put_import(&source, row.get(1)?, &digest, row.get(3)?)?;
        }
        let mut put = 0_u64;
        self.sqlite.each_stripe_event(|event| {
            self.target.put_event(&event);
            put += 1;
            if put.is_multiple_of(TOGETHER) { self.target.flush() } else { Ok(()) }
        })?;
        self.target.flush()?;
        self.target.put_derived(BTreeMap::new(), self.sqlite.totals()?)
    }
}
