//! What an organization has used, and what can be done about it.

use std::collections::BTreeMap;

use askama::Template;

use super::Head;
use crate::answers::{Meter, MeterStanding, Organization, Standings, UsageRow};
use crate::chart::{self, Bars, Row, Step};
use crate::format::{Amount, Markup, Zone};
use crate::frame::{Frame, Place};
use crate::organizations::in_query;
use crate::range;

/// The spans that a chart can show, as an address and as people call them.
pub(crate) const RANGES: [(&str, &str); 3] = [("period", "this period"), ("30d", "30 days"), ("12m", "12 months")];

/// Which figures a chart shows.
#[derive(Clone, Debug)]
pub struct Choice {
    meter: Option<Meter>,
    group: String,
    range: &'static str,
    from: String,
    to: String,
}

impl Choice {
    /// Of what the address asks for what can be had: else the first meter that was used, by day, in the billing period.
    pub fn new(
        organization: &Organization,
        meters: &[Meter],
        standings: &Standings,
        asked: impl Fn(&str) -> Option<String>,
        now: &str,
    ) -> Self {
        let named = |key: &str| meters.iter().find(|meter| meter.key == key).cloned();
        let used = standings.meters.iter().filter(|standing| !standing.used.is_zero()).map(|standing| &standing.meter);
        let first = used.chain(standings.meters.iter().map(|standing| &standing.meter)).find_map(|key| named(key));
        let meter = asked("meter").and_then(|key| named(&key)).or(first);
        let group = asked("by").filter(|by| meter.as_ref().is_some_and(|meter| meter.dimensions.contains(by)));
        let range = match asked("range").as_deref() {
            Some("30d") => "30d",
            Some("12m") => "12m",
            _ => "period",
        };
        let zone = Zone::new(&organization.time_zone);
        let period = &organization.current_period;
        let (from, to) = match range {
            "30d" => range::last_days(&zone, now, 30),
            "12m" => range::last_months(&zone, now, 12),
            _ => range::whole_days(&zone, &period.start, &period.end),
        };
        Self { meter, group: group.unwrap_or_default(), range, from, to }
    }

    fn step(&self) -> Step {
        if self.range == "12m" { Step::Month } else { Step::Day }
    }

    /// What to ask the API for; nothing where there is no meter.
    pub fn query(&self, organization: &Organization) -> Option<String> {
        let meter = self.meter.as_ref()?;
        let granularity = if self.step() == Step::Month { "month" } else { "day" };
        let by = if self.group.is_empty() { String::new() } else { format!("&groupBy={}", in_query(&self.group)) };
        let (from, to, key) = (in_query(&self.from), in_query(&self.to), in_query(&organization.key));
        let meter = in_query(&meter.key);
        Some(format!(
            "/v1/usage?organization={key}&meter={meter}&from={from}&to={to}&granularity={granularity}{by}&numbers=string"
        ))
    }

    /// The chart of these figures.
    pub fn chart(&self, rows: &[UsageRow], zone: &Zone, now: &str) -> Markup {
        let Some(meter) = &self.meter else { return Markup::default() };
        let group = |row: &UsageRow| match row.group.get(&self.group) {
            _ if row.other => "other".to_owned(),
            Some(Some(value)) => value.clone(),
            Some(None) => format!("no {}", self.group),
            None => String::new(),
        };
        let groups: Vec<String> = rows.iter().map(group).collect();
        let pairs = rows.iter().zip(&groups);
        let rows: Vec<_> = pairs.map(|(row, group)| Row { start: &row.start, group, value: row.value }).collect();
        let by = if self.group.is_empty() { String::new() } else { format!(" by {}", self.group) };
        let title = format!("{}{by}", meter.name);
        let unit = if meter.aggregation == "count" { "event" } else { &meter.unit };
        let frame =
            chart::Frame { id: "usage-chart", title: &title, start: &self.from, end: &self.to, zone, now, unit };
        let additive = matches!(meter.aggregation.as_str(), "sum" | "count");
        Bars { frame, step: self.step(), additive, rows: &rows }.markup()
    }

    pub(crate) fn is_meter(&self, key: &str) -> bool {
        self.meter.as_ref().is_some_and(|meter| meter.key == key)
    }

    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    pub(crate) const fn range(&self) -> &str {
        self.range
    }

    pub(crate) fn dimensions(&self) -> &[String] {
        self.meter.as_ref().map_or(&[], |meter| &meter.dimensions)
    }
}

/// What to ask the API for: what was used on the dates of the billing period that is shown. Where the cycle was moved into the past
/// they are others than those of the counters, and cards say both.
pub fn on_dates(organization: &Organization) -> String {
    let period = &organization.current_period;
    let (from, to) = range::whole_days(&Zone::new(&organization.time_zone), &period.start, &period.end);
    let (from, to, key) = (in_query(&from), in_query(&to), in_query(&organization.key));
    format!("/v1/usage?organization={key}&from={from}&to={to}&granularity=total&numbers=string")
}

/// What an organization has used, as its own tab and the portal show it.
pub struct UsageParts {
    /// Where each meter stands.
    pub standings: Standings,
    /// What each meter used on the dates of the period.
    pub on_dates: Vec<UsageRow>,
    /// Which figures the chart shows.
    pub choice: Choice,
    /// The figures.
    pub rows: Vec<UsageRow>,
    /// Charts of the use against limits, with the forecast.
    pub forecasts: Vec<Markup>,
}

impl UsageParts {
    /// Meters with bars: those that are limited, or that were used.
    pub(crate) fn cards(&self) -> Vec<(&MeterStanding, Markup)> {
        let used: BTreeMap<&str, Amount> = self.on_dates.iter().map(|row| (row.meter.as_str(), row.value)).collect();
        let on_dates = |one: &MeterStanding| used.get(one.meter.as_str()).copied().unwrap_or_default();
        let is_counted = |one: &MeterStanding| !one.used.is_zero() || !one.held.is_zero() || !on_dates(one).is_zero();
        let is_shown = |one: &&MeterStanding| one.limit.is_some() || is_counted(one);
        let card = |one: &MeterStanding| {
            let on_dates = one.on_dates(on_dates(one));
            let (on_dates, bar) = (on_dates.unwrap_or_default(), one.progress());
            Markup::of(format!("{}{}", on_dates.as_str(), bar.as_str()))
        };
        self.standings.meters.iter().filter(is_shown).map(|one| (one, card(one))).collect()
    }

    pub(crate) fn chart(&self, head: &Head) -> Markup {
        self.choice.chart(&self.rows, &head.zone(), head.now())
    }
}

/// The tab.
#[derive(Template)]
#[template(path = "organization/usage.html")]
pub struct UsageTab {
    frame: Frame,
    head: Head,
    parts: UsageParts,
}

impl UsageTab {
    /// The page.
    pub fn new(frame: Frame, head: Head, parts: UsageParts, place: Place) -> Self {
        let title = format!("{} · Usage", head.organization.name);
        Self { frame: frame.at(title, place), head, parts }
    }
}
