//! Plans and meters.

use askama::Template;

use crate::answers::{LimitSpec, Meter, Plan, name_of, unit_of};
use crate::format::{self, Markup, Zone};
use crate::forms::window_name;
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

    /// Every limit that some plan has: meter and window.
    fn rows(&self) -> Vec<(&str, &str)> {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for limit in self.plans.iter().flat_map(|plan| &plan.limits) {
            let row = (limit.meter.as_str(), limit.window.as_str());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows.sort_unstable();
        rows
    }

    fn cell(&self, plan: &Plan, row: &(&str, &str)) -> String {
        let found = plan.limits.iter().find(|limit| (limit.meter.as_str(), limit.window.as_str()) == *row);
        match found {
            Some(limit) => amount(&self.meters, limit),
            None if plan.other_meters.as_deref() == Some("none") && !has(plan, row.0) => "not in the plan".to_owned(),
            None => "–".to_owned(),
        }
    }

    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        name_of(&self.meters, key)
    }

    fn window<'a>(&self, window: &'a str) -> &'a str {
        window_name(window)
    }
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
        window_name(&limit.window)
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
