//! Decisions as JSON text. They are most of what leaves, so their members are written straight, and not name by name
//! through a serializer; what they are is said by [`DecisionBody`], and a test holds the two together.

use std::io::Write as _;
use std::ops::Range;

use metergate_rules::time::Time;
use serde::Serialize;

use super::{DecisionBody, DecisionRef, LimitBody};

/// Times that are looked for among those written last: limits over the same windows end at the same times.
const REMEMBERED: usize = 4;

/// JSON text that grows.
#[derive(Default)]
pub struct Text {
    bytes: Vec<u8>,
    /// Times with where they stand in `bytes`.
    times: Vec<(Time, Range<usize>)>,
}

impl Text {
    /// With room for so many decisions.
    pub fn for_decisions(decisions: usize) -> Self {
        Self { bytes: Vec::with_capacity(decisions.saturating_mul(768)), times: Vec::new() }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes JSON as it stands.
    pub fn raw(&mut self, json: &str) {
        self.bytes.extend_from_slice(json.as_bytes());
    }

    /// Writes any value.
    ///
    /// # Errors
    /// If it cannot be JSON.
    pub fn value(&mut self, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
        serde_json::to_writer(&mut self.bytes, value)
    }

    /// Writes a decision.
    ///
    /// # Errors
    /// None that is known.
    pub fn decision(&mut self, body: &DecisionBody<'_>) -> serde_json::Result<()> {
        self.raw(if body.allowed { "{\"allowed\":true,\"reason\":" } else { "{\"allowed\":false,\"reason\":" });
        self.value(&body.reason)?;
        self.raw(",\"organization\":");
        self.value(body.organization)?;
        self.raw(",\"meter\":");
        self.value(body.meter)?;
        self.raw(",\"id\":");
        self.id(body.id)?;
        self.raw(",\"quantity\":");
        self.value(&body.quantity)?;
        self.raw(",\"overage\":");
        self.value(&body.overage)?;
        if let Some(cost) = &body.cost {
            self.raw(",\"cost\":");
            self.value(cost)?;
        }
        if let Some(why) = body.unpriced {
            self.raw(",\"unpriced\":");
            self.value(why)?;
        }
        self.raw(",\"limits\":[");
        for (i, limit) in body.limits.iter().enumerate() {
            self.raw(if i == 0 { "{" } else { ",{" });
            self.limit(limit)?;
        }
        self.raw(if body.degraded { "],\"degraded\":true" } else { "]" });
        if let Some(seconds) = body.retry_after_seconds {
            self.raw(",\"retryAfterSeconds\":");
            self.value(&seconds)?;
        }
        self.raw("}");
        Ok(())
    }

    fn limit(&mut self, limit: &LimitBody<'_>) -> serde_json::Result<()> {
        if let Some(meter) = limit.meter {
            self.raw("\"meter\":");
            self.value(meter)?;
            self.raw(",");
        }
        // Windows and enforcements are words of ours: nothing in them is escaped.
        self.raw("\"window\":\"");
        self.raw(limit.window);
        self.raw("\",\"enforcement\":\"");
        self.raw(limit.enforcement);
        self.raw("\",\"limit\":");
        self.value(&limit.limit)?;
        self.raw(",\"used\":");
        self.value(&limit.used)?;
        self.raw(",\"held\":");
        self.value(&limit.held)?;
        self.raw(",\"remaining\":");
        self.value(&limit.remaining)?;
        self.raw(",\"resetsAt\":");
        match limit.resets_at {
            Some(time) => self.time(time)?,
            None => self.raw("null"),
        }
        self.raw("}");
        Ok(())
    }

    fn id(&mut self, id: DecisionRef<'_>) -> serde_json::Result<()> {
        match id {
            DecisionRef::Place(place) => {
                write!(self.bytes, "\"{}-{}\"", place.sequence, place.offset).map_err(serde_json::Error::io)
            }
            DecisionRef::Given(id) => self.value(id),
            DecisionRef::Nowhere => self.value(&()),
        }
    }

    fn time(&mut self, time: Time) -> serde_json::Result<()> {
        if let Some((_, written)) = self.times.iter().rev().take(REMEMBERED).find(|(known, _)| *known == time) {
            self.bytes.extend_from_within(written.clone());
            return Ok(());
        }
        let start = self.bytes.len();
        write!(self.bytes, "\"{time}\"").map_err(serde_json::Error::io)?;
        self.times.push((time, start..self.bytes.len()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::number::Number;
    use crate::store::Place;

    #[test]
    fn decisions_are_written_as_their_bodies_say() {
        let number = |units, decimals, text| Number { units, decimals, text };
        let limit = |meter, window, resets_at| LimitBody {
            meter,
            window,
            enforcement: "hard",
            limit: number(i128::from(i64::MAX), 0, false),
            used: number(1250, 3, false),
            held: number(0, 0, true),
            remaining: number(-7, 0, false),
            resets_at,
        };
        let at = |micros| Some(Time::from_micros(micros));
        let limits = [
            vec![],
            vec![limit(None, "minute", at(1_795_345_560_000_001)), limit(Some("a\"b"), "day", None)],
            vec![limit(None, "hour", at(0)), limit(None, "day", at(60)), limit(None, "month", at(0))],
        ];
        let ids =
            [DecisionRef::Given("ü\n\\"), DecisionRef::Place(Place { sequence: 7, offset: 40 }), DecisionRef::Nowhere];
        let (mut text, mut expected) = (Text::for_decisions(3), Vec::new());
        for (i, (limits, id)) in limits.into_iter().zip(ids).enumerate() {
            let body = DecisionBody {
                allowed: i == 0,
                reason: (i > 0).then_some("quota-exceeded"),
                organization: "acme/\"1\"",
                meter: "api_calls",
                id,
                quantity: number(1, 0, false),
                overage: number(0, 9, true),
                cost: (i == 0).then(|| number(4_500_000, 9, false)),
                unpriced: (i == 1).then_some("unknown-model"),
                limits,
                degraded: i == 1,
                retry_after_seconds: (i > 1).then_some(37),
            };
            text.decision(&body).unwrap();
            serde_json::to_writer(&mut expected, &body).unwrap();
        }
        assert_eq!(String::from_utf8(text.into_bytes()).unwrap(), String::from_utf8(expected).unwrap());
    }
}
