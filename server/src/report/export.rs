//! Everything of all organizations, line by line, at one snapshot: to keep a copy of, or to leave with.

use std::collections::BTreeMap;

use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::meter::Meter;
use metergate_rules::time::{DAY, Time};
use serde::Serialize;
use serde_json::value::RawValue;

use super::audit::AuditFilter;
use super::events::EventFilter;
use super::organization::OrganizationBody;
use super::subscription::SubscriptionBody;
use super::{Listed, Report, Timestamp};
use crate::http::number::Number;
use crate::store::error::EngineError;
use crate::store::reader::ReadError;
use crate::store::rollup::{Day, QUARTER, Slot};
use crate::store::rows::RollupRange;

/// Items that are read at once.
const STEP: usize = 200;
/// Bytes of lines that are handed on together, about.
const CHUNK: usize = 64 * 1024;

/// Where the lines go, a chunk at a time.
pub struct Lines<'s> {
    send: &'s mut dyn FnMut(Vec<u8>) -> Result<(), ReadError>,
    chunk: Vec<u8>,
    count: u64,
}

/// A line.
#[derive(Serialize)]
struct Line<'a, T> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<&'a str>,
    data: &'a T,
}

impl<'s> Lines<'s> {
    /// Lines that are handed to `send`.
    pub fn to(send: &'s mut dyn FnMut(Vec<u8>) -> Result<(), ReadError>) -> Self {
        Self { send, chunk: Vec::new(), count: 0 }
    }

    /// Writes one, of an organization where it is of one.
    ///
    /// # Errors
    /// What `send` fails with.
    pub fn put<T: Serialize>(
        &mut self,
        kind: &'static str,
        organization: Option<&str>,
        data: &T,
    ) -> Result<(), ReadError> {
        let written = serde_json::to_writer(&mut self.chunk, &Line { kind, organization, data });
        written.map_err(|error| {
            tracing::error!(%error, kind, "a line of an export cannot be written");
            crate::store::StoreError::Internal
        })?;
        self.chunk.push(b'\n');
        self.count += 1;
        if self.chunk.len() < CHUNK { Ok(()) } else { (self.send)(std::mem::take(&mut self.chunk)) }
    }

    /// Writes the last one, by which a whole export is told from one that was cut off.
    ///
    /// # Errors
    /// What `send` fails with.
    pub fn end(mut self) -> Result<(), ReadError> {
        let lines = self.count;
        self.put("end", None, &End { lines })?;
        (self.send)(self.chunk)
    }
}

#[derive(Serialize)]
struct End {
    /// How many lines stand before this one.
    lines: u64,
}

/// Use of one set of dimension values on one day of UTC.
#[derive(Serialize)]
struct UsageDay {
    meter: String,
    /// Such as `2026-11-27`.
    day: String,
    /// An object; `null` without dimensions, `"other"` beyond the 1,000 sets that are kept of a day.
    dimensions: Option<Box<RawValue>>,
    quarters: Vec<Quarter>,
}

/// A quarter hour of it.
#[derive(Serialize)]
struct Quarter {
    start: Timestamp,
    count: i64,
    sum: Number,
    max: Number,
    /// The level at its end, on a meter that has one.
    last: Option<Number>,
}

impl Report<'_> {
    /// Writes everything of every organization, in the order of their keys, then the team's audit log; with the events
    /// that are still kept where they are asked for.
    ///
    /// # Errors
    /// [`ReadError`] where the store cannot be read; what `lines` fails with.
    pub fn export(&self, with_events: bool, lines: &mut Lines<'_>) -> Result<(), ReadError> {
        let mut after = String::new();
        loop {
            let found = self.keys_after(&after, STEP)?;
            let Some((_, last)) = found.last() else { break };
            after = last.to_string();
            for (id, key) in &found {
                self.export_organization(*id, key, with_events, lines)?;
            }
        }
        pages(|after| self.audit(None, &AuditFilter::default(), STEP, after), |entry| lines.put("audit", None, entry))
    }

    fn export_organization(
        &self,
        id: OrganizationId,
        key: &OrganizationKey,
        with_events: bool,
        lines: &mut Lines<'_>,
    ) -> Result<(), ReadError> {
        let (organization, of) = (OrganizationRef::Id(id), Some(key.as_str()));
        let account = self.current(&organization)?.account;
        lines.put("organization", of, &OrganizationBody::of(&account, self.catalogue))?;
        if account.subscription.is_some() {
            lines.put("subscription", of, &SubscriptionBody::of(&account, self.catalogue, false))?;
        }
        lines.put("quota", of, &self.quota(&organization)?)?;
        pages(|after| self.grants(&organization, STEP, after), |grant| lines.put("grant", of, grant))?;
        for meter in self.catalogue.rules.meters() {
            self.export_usage(id, meter, &mut |day| lines.put("usage", of, day))?;
        }
        let all = AuditFilter::default();
        pages(|after| self.audit(Some(&organization), &all, STEP, after), |entry| lines.put("audit", of, entry))?;
        if with_events {
            let all = EventFilter::default();
            pages(|after| self.events(&organization, &all, STEP, after), |event| lines.put("event", of, event))?;
        }
        Ok(())
    }

    /// The rollups of a meter, each row with what it lacks.
    fn export_usage(
        &self,
        organization: OrganizationId,
        meter: &Meter,
        put: &mut dyn FnMut(&UsageDay) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let range = RollupRange { organization, meter: meter.id, first: i32::MIN, last: i32::MAX, newest_first: false };
        let mut lacking: BTreeMap<(i32, String), Day> = BTreeMap::new();
        for (day, dimensions, slots) in self.view.lacking_rollups(&range)? {
            lacking.entry((day, dimensions)).or_default().merge(&slots);
        }
        self.view.each_rollup(&range, |day, dimensions, data| {
            let mut slots = Day::read(data).map_err(|error| EngineError::Unreadable {
                what: format!("a rollup of organization {organization}"),
                why: error.to_string(),
            })?;
            let key = (day, dimensions.to_owned());
            lacking.remove(&key).iter().for_each(|more| slots.merge(more));
            put(&usage_day(meter, day, dimensions, &slots)).map(|()| true)
        })?;
        lacking.iter().try_for_each(|((day, dimensions), slots)| put(&usage_day(meter, *day, dimensions, slots)))
    }
}

/// Goes through a list page by page.
fn pages<T>(
    page: impl Fn(Option<&[u8]>) -> Result<Listed<T>, ReadError>,
    mut each: impl FnMut(&T) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let Listed { data, next } = page(after.as_deref())?;
        data.iter().try_for_each(&mut each)?;
        after = match next {
            Some(next) => Some(next),
            None => return Ok(()),
        };
    }
}

fn usage_day(meter: &Meter, day: i32, dimensions: &str, slots: &Day) -> UsageDay {
    let start = Time::from_micros(i64::from(day).saturating_mul(DAY));
    let json = match dimensions {
        "" => None,
        text if text.starts_with('{') => Some(text.to_owned()),
        _ => Some("\"other\"".to_owned()),
    };
    UsageDay {
        meter: meter.key.to_string(),
        day: start.to_string().chars().take(10).collect(),
        dimensions: json.and_then(|json| RawValue::from_string(json).ok()),
        quarters: slots.slots().map(|(quarter, slot)| quarter_of(meter, start, quarter, slot)).collect(),
    }
}

fn quarter_of(meter: &Meter, day: Time, quarter: u8, slot: &Slot) -> Quarter {
    let number = |units: i64| Number { units: i128::from(units), decimals: meter.decimals, text: false };
    Quarter {
        start: Timestamp(day.plus(i64::from(quarter) * QUARTER)),
        count: slot.count,
        sum: number(slot.sum),
        max: number(slot.max),
        last: slot.last.map(|(_, level)| number(level)),
    }
}
