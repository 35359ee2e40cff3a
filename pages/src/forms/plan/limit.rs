//! A limit of a plan, as a row of fields.

use serde_json::{Value, json};

use super::{Members, parts, read, text, whole};
use crate::answers::{Meter, unit_of};
use crate::form::{Field, Kind, Row};
use crate::format::{Amount, is_bytes};
use crate::forms::WINDOWS;

/// A limit as somebody types it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LimitDraft {
    pub(super) meter: String,
    pub(super) window: String,
    pub(super) max: String,
    pub(super) is_unlimited: bool,
    pub(super) enforcement: String,
    pub(super) status: String,
    pub(super) thresholds: String,
}

impl LimitDraft {
    pub(super) fn of(members: &Members) -> Self {
        let thresholds: Vec<u32> = read(members, "thresholds");
        let percentages = thresholds.iter().map(u32::to_string).collect::<Vec<_>>();
        Self {
            meter: text(members, "meter"),
            window: text(members, "window"),
            max: text(members, "max"),
            is_unlimited: read(members, "unlimited"),
            enforcement: text(members, "enforcement"),
            status: text(members, "status"),
            thresholds: percentages.join(", "),
        }
    }

    pub(super) fn typed<'a>(of: impl Fn(&str) -> &'a str) -> Self {
        let [meter, window, max, enforcement, status, thresholds] =
            ["meter", "window", "max", "enforcement", "status", "thresholds"].map(|name| of(name).to_owned());
        Self { meter, window, max, is_unlimited: of("unlimited") == "true", enforcement, status, thresholds }
    }

    pub(super) fn definition(&self) -> Value {
        let mut limit = json!({"meter": self.meter, "window": self.window, "enforcement": self.enforcement});
        match (self.is_unlimited, self.max.as_str()) {
            (true, _) => limit["unlimited"] = true.into(),
            (false, "") => {}
            (false, max) => limit["max"] = max.into(),
        }
        if !self.status.is_empty() {
            limit["status"] = whole(&self.status);
        }
        if !self.thresholds.is_empty() {
            limit["thresholds"] =
                parts(&self.thresholds).map(|part| whole(part.trim_end_matches(['%', ' ']))).collect();
        }
        limit
    }

    pub(super) fn said(&self, meters: &[Meter]) -> String {
        let unit = unit_of(meters, &self.meter);
        let size = Amount::typed(&self.max, unit).filter(|_| is_bytes(unit)).map(|size| size.in_unit(unit));
        let max = size.as_deref().unwrap_or(&self.max);
        let most = if self.is_unlimited { "unlimited" } else { max };
        let status = if self.status.is_empty() { String::new() } else { format!(", {}", self.status) };
        let thresholds =
            if self.thresholds.is_empty() { String::new() } else { format!(", told at {} %", self.thresholds) };
        format!("{most} {}{status}{thresholds}", self.enforcement)
    }

    pub(super) fn row(&self, at: &str, number: usize, meters: &[Meter]) -> Row {
        let named = |name: &str| format!("limits.{at}.{name}");
        let mut known: Vec<_> = meters.iter().map(|meter| (meter.key.clone(), meter.name.clone())).collect();
        if !self.meter.is_empty() && meters.iter().all(|meter| meter.key != self.meter) {
            known.push((self.meter.clone(), self.meter.clone()));
        }
        known.insert(0, (String::new(), "– none –".to_owned()));
        let window = if self.window.is_empty() { "billingPeriod" } else { &self.window };
        let statuses = [("", "429"), ("402", "402")];
        // What is no number stays as it was typed.
        let unit = unit_of(meters, &self.meter);
        let max = Amount::parse(&self.max).map_or_else(|| self.max.clone(), |max| max.to_type(unit));
        // What says what is usual is the same as what says nothing.
        let status = if self.status == "429" { "" } else { &self.status };
        Row {
            legend: format!("Limit {number}"),
            fields: vec![
                Field::select(&named("meter"), "Meter", known).value(&self.meter).optional(),
                Field::select(&named("window"), "Window", WINDOWS).value(window),
                Field::new(&named("max"), "Limit", Kind::Size).value(max).optional(),
                Field::check(&named("unlimited"), "Unlimited").value(if self.is_unlimited { "true" } else { "" }),
                Field::select(&named("enforcement"), "At the limit", [("hard", "Refuse"), ("soft", "Count overage")])
                    .value(&self.enforcement),
                Field::select(&named("status"), "HTTP status", statuses).value(status).optional(),
                Field::text(&named("thresholds"), "Notify at %").value(&self.thresholds).optional(),
            ],
        }
    }
}
