//! Plans and meters.

use askama::Template;
use serde_json::Value;

use crate::answers::{LimitSpec, Meter, Plan, name_of, unit_of};
use crate::format::{self, Markup, Zone, is_bytes};
use crate::forms::{WINDOWS, window_name};
use crate::frame::{Frame, Place};

/// All plans, side by side.
#[derive(Template)]
#[template(path = "plans.html")]
pub struct Plans {
    frame: Frame,
    plans: Vec<Plan>,
    meters: Vec<Meter>,
}

impl Plans {
    /// The page.
    pub fn new(frame: Frame, plans: Vec<Plan>, meters: Vec<Meter>) -> Self {
        Self { frame: frame.at("Plans", Place::Plans), plans, meters }
    }

    /// Every limit that some plan has: meter and window, of each meter the shortest window first.
    fn rows(&self) -> Vec<(&str, &str)> {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for limit in self.plans.iter().flat_map(|plan| &plan.limits) {
            let row = (limit.meter.as_str(), limit.window.as_str());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        let length = |window: &str| WINDOWS.iter().rev().position(|(known, _)| *known == window);
        rows.sort_by_key(|(meter, window)| (*meter, length(window)));
        rows
    }

    /// What is counted in a row, where its name does not say that; of bytes each figure says it.
    fn unit(&self, row: &(&str, &str)) -> Option<String> {
        let unit = unit_of(&self.meters, row.0);
        let plural = format::plural(unit);
        (!unit.is_empty() && !is_bytes(unit) && !plural.eq_ignore_ascii_case(self.name(row.0))).then_some(plural)
    }

    fn cell(&self, plan: &Plan, row: &(&str, &str)) -> String {
        let found = plan.limits.iter().find(|limit| (limit.meter.as_str(), limit.window.as_str()) == *row);
        match found {
            Some(limit) => {
                let unit = unit_of(&self.meters, row.0);
                limit.max().map_or_else(|| "unlimited".to_owned(), |max| max.bare(unit))
            }
            None if plan.other_meters.as_deref() == Some("none") && !has(plan, row.0) => "not in the plan".to_owned(),
            None => "–".to_owned(),
        }
    }

    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        name_of(&self.meters, key)
    }

    fn window<'a>(&self, row: &(&'a str, &'a str)) -> &'a str {
        window_of(&self.meters, row.0, row.1)
    }
}

/// A level stands, in no window.
fn window_of<'a>(meters: &[Meter], meter: &str, window: &'a str) -> &'a str {
    let is_level = meters.iter().any(|known| known.key == meter && known.aggregation == "last");
    if is_level { "At any time" } else { window_name(window) }
}

fn has(plan: &Plan, meter: &str) -> bool {
    plan.limits.iter().any(|limit| limit.meter == meter)
}

fn amount(meters: &[Meter], limit: &LimitSpec) -> String {
    let unit = unit_of(meters, &limit.meter);
    limit.max().map_or_else(|| "unlimited".to_owned(), |max| max.in_unit(unit))
}

/// One plan.
#[derive(Template)]
#[template(path = "plan.html")]
pub struct PlanPage {
    frame: Frame,
    plan: Plan,
    meters: Vec<Meter>,
}

impl PlanPage {
    /// The page.
    pub fn new(frame: Frame, plan: Plan, meters: Vec<Meter>) -> Self {
        Self { frame: frame.at(format!("Plan {}", plan.title()), Place::Plans), plan, meters }
    }

    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        name_of(&self.meters, key)
    }

    fn amount(&self, limit: &LimitSpec) -> String {
        amount(&self.meters, limit)
    }

    fn window<'a>(&self, limit: &'a LimitSpec) -> &'a str {
        window_of(&self.meters, &limit.meter, &limit.window)
    }

    fn trial(&self) -> String {
        let Some(trial) = &self.plan.trial else { return "none".to_owned() };
        let then = match (trial.on_end.as_str(), trial.on_end["plan"].as_str()) {
            (Some("continue"), _) => "then it continues".to_owned(),
            (Some("lock"), _) => "then it locks".to_owned(),
            (_, Some(plan)) => format!("then it moves to {plan}"),
            _ => String::new(),
        };
        format!("{}, {then}", format::count(u64::from(trial.days), "day"))
    }

    /// What a feature says, as people write it.
    fn feature(&self, value: &Value) -> String {
        match value {
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    fn created(&self) -> Markup {
        format::date_tag(&self.plan.created_at, &Zone::utc())
    }
}

/// All meters.
#[derive(Template)]
#[template(path = "meters.html")]
pub struct Meters {
    frame: Frame,
    meters: Vec<Meter>,
}

impl Meters {
    /// The page.
    pub fn new(frame: Frame, meters: Vec<Meter>) -> Self {
        Self { frame: frame.at("Meters", Place::Meters), meters }
    }

    fn aggregation(&self, meter: &Meter) -> &'static str {
        match meter.aggregation.as_str() {
            "sum" => "sum of quantities",
            "count" => "number of events",
            "max" => "highest value",
            "last" => "last level",
            _ => "distinct values",
        }
    }
}
