//! A plan as a form: its limits and features in rows. What has no field is carried along as it is.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::window_name;
use crate::answers::{Meter, Plan, name_of};
use crate::form::{BLANK, Change, Field, Form, Row, Section};

mod limit;

use limit::LimitDraft;

/// A definition's members, as they came: no number loses a digit.
type Members = BTreeMap<String, Box<RawValue>>;

/// The members that have fields.
const FIELDS: [&str; 9] =
    ["name", "limits", "features", "trial", "cycle", "otherMeters", "graceDays", "stripePrices", "fallbackPlan"];
/// What the server adds to a definition.
const ADDED: [&str; 3] = ["key", "version", "createdAt"];

/// A plan as somebody types it: texts, so that what is wrong comes back as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanDraft {
    /// Of a new one.
    key: String,
    name: String,
    trial_days: String,
    /// `continue`, `lock`, or `plan`.
    trial_end: String,
    trial_plan: String,
    cycle: String,
    other_meters: String,
    grace_days: String,
    stripe_prices: String,
    fallback_plan: String,
    limits: Vec<LimitDraft>,
    features: Vec<(String, String)>,
    /// What has no field, a JSON object.
    rest: String,
}

/// A member as a text: a string without its quotes, nothing for `null`, else its JSON.
fn text(members: &Members, name: &str) -> String {
    match members.get(name).map_or("null", |raw| raw.get()) {
        "null" => String::new(),
        json if json.starts_with('"') => serde_json::from_str(json).unwrap_or_default(),
        json => json.to_owned(),
    }
}

fn read<T: serde::de::DeserializeOwned + Default>(members: &Members, name: &str) -> T {
    members.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn whole(typed: &str) -> Value {
    typed.parse::<u32>().map_or_else(|_| typed.into(), Value::from)
}

fn parts(typed: &str) -> impl Iterator<Item = &str> {
    typed.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty())
}

impl PlanDraft {
    /// One to begin with.
    pub fn new() -> Self {
        Self::of("{}").with_row("limits")
    }

    /// Of a definition, as the API answers it.
    pub fn of(definition: &str) -> Self {
        let mut members: Members = serde_json::from_str(definition).unwrap_or_default();
        members.retain(|name, _| !ADDED.contains(&name.as_str()));
        let trial: Members = read(&members, "trial");
        let end: Members = read(&trial, "onEnd");
        let features: Members = read(&members, "features");
        let limits: Vec<Members> = read(&members, "limits");
        let prices: Vec<String> = read(&members, "stripePrices");
        let rest: BTreeMap<_, _> = members.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str())).collect();
        Self {
            key: String::new(),
            name: text(&members, "name"),
            trial_days: text(&trial, "days"),
            trial_end: if end.is_empty() { text(&trial, "onEnd") } else { "plan".to_owned() },
            trial_plan: text(&end, "plan"),
            cycle: text(&members, "cycle"),
            other_meters: text(&members, "otherMeters"),
            grace_days: text(&members, "graceDays"),
            stripe_prices: prices.join(", "),
            fallback_plan: text(&members, "fallbackPlan"),
            limits: limits.iter().map(LimitDraft::of).collect(),
            features: features.into_iter().map(|(name, value)| (name, as_typed(value.get()))).collect(),
            rest: serde_json::to_string(&rest).unwrap_or_default(),
        }
    }

    /// As it was typed: names and values.
    pub fn typed(pairs: &[(String, String)]) -> Self {
        let of = |name: &str| {
            pairs.iter().find(|(known, _)| known == name).map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let (limits, features) = (rows(pairs, "limits."), rows(pairs, "features."));
        let limit = |row: &BTreeMap<&str, &str>| LimitDraft::typed(|name| row.get(name).copied().unwrap_or_default());
        let feature = |row: &BTreeMap<&str, &str>| {
            let of = |name: &str| row.get(name).map_or(String::new(), |text: &&str| (*text).to_owned());
            (of("name"), of("value"))
        };
        Self {
            key: of("key"),
            name: of("name"),
            trial_days: of("trial.days"),
            trial_end: of("trial.onEnd"),
            trial_plan: of("trial.plan"),
            cycle: of("cycle"),
            other_meters: of("otherMeters"),
            grace_days: of("graceDays"),
            stripe_prices: of("stripePrices"),
            fallback_plan: of("fallbackPlan"),
            limits: limits.values().map(limit).collect(),
            features: features.values().map(feature).collect(),
            rest: of("rest"),
        }
    }

    /// Without rows that name no meter, or nothing: then rows are numbered as in the definition.
    #[must_use]
    pub fn compact(mut self) -> Self {
        self.limits.retain(|limit| !limit.meter.is_empty());
        self.features.retain(|(name, _)| !name.is_empty());
        self
    }

    /// With an empty row at the end of a section.
    #[must_use]
    pub fn with_row(mut self, section: &str) -> Self {
        match section {
            "limits" => self.limits.push(LimitDraft::default()),
            _ => self.features.push(Default::default()),
        }
        self
    }

    /// The definition, as the API takes it.
    pub fn definition(&self) -> Value {
        let mut body: Map<String, Value> = serde_json::from_str(&self.rest).unwrap_or_default();
        let mut put = |name: &str, typed: &str, value: Value| {
            if !typed.is_empty() {
                body.insert(name.to_owned(), value);
            }
        };
        put("name", &self.name, self.name.as_str().into());
        put("cycle", &self.cycle, self.cycle.as_str().into());
        put("otherMeters", &self.other_meters, self.other_meters.as_str().into());
        put("graceDays", &self.grace_days, whole(&self.grace_days));
        put("fallbackPlan", &self.fallback_plan, self.fallback_plan.as_str().into());
        put("stripePrices", &self.stripe_prices, parts(&self.stripe_prices).collect::<Vec<_>>().into());
        let end = match self.trial_end.as_str() {
            "plan" => json!({"plan": self.trial_plan}),
            end => json!(end),
        };
        put("trial", &self.trial_days, json!({"days": whole(&self.trial_days), "onEnd": end}));
        body.insert("limits".to_owned(), self.limits.iter().map(LimitDraft::definition).collect());
        let feature = |(name, value): &(String, String)| (name.clone(), from_typed(value));
        body.insert("features".to_owned(), Value::Object(self.features.iter().map(feature).collect()));
        body.into()
    }

    /// Where it differs from what is there.
    pub fn differences(&self, there: &Self, meters: &[Meter]) -> Vec<Change> {
        let (there, here) = (there.said(meters), self.said(meters));
        let names: std::collections::BTreeSet<&String> = there.keys().chain(here.keys()).collect();
        let said = |side: &BTreeMap<String, String>, name: &String| {
            side.get(name).filter(|text| !text.is_empty()).cloned().unwrap_or_else(|| "nothing".to_owned())
        };
        let changed = names.into_iter().filter(|name| said(&there, name) != said(&here, name));
        changed.map(|name| Change::new(name.clone(), said(&there, name), said(&here, name))).collect()
    }

    /// Each thing in it, by what people call it.
    fn said(&self, meters: &[Meter]) -> BTreeMap<String, String> {
        let trial = match (self.trial_days.as_str(), self.trial_end.as_str()) {
            ("", _) => String::new(),
            (days, "plan") => format!("{days} days, then plan {}", self.trial_plan),
            (days, end) => format!("{days} days, then {end}"),
        };
        let mut said: BTreeMap<String, String> = [
            ("Name", &self.name),
            ("Trial", &trial),
            ("Billing cycle", &self.cycle),
            ("Other meters", &self.other_meters),
            ("Days of grace", &self.grace_days),
            ("Stripe prices", &self.stripe_prices),
            ("Plan after a subscription", &self.fallback_plan),
            ("Other terms", &self.rest),
        ]
        .map(|(name, text)| (name.to_owned(), text.clone()))
        .into();
        for limit in &self.limits {
            let window = window_name(&limit.window).to_lowercase();
            said.insert(format!("Limit: {}, {window}", name_of(meters, &limit.meter)), limit.said(meters));
        }
        said.extend(self.features.iter().map(|(name, value)| (format!("Feature: {name}"), value.clone())));
        said
    }

    /// The form. `key` is the plan's; of a new one it is asked for.
    pub fn form(&self, key: Option<&str>, meters: &[Meter], plans: &[Plan]) -> Form {
        let form = match key {
            Some(key) => {
                let form = Form::new(format!("Edit plan {key}"), "Save as a new version");
                form.check(super::team::CHECK).field(Field::hidden("key", key))
            }
            None => Form::new("New plan", "Create plan")
                .field(Field::text("key", "Key").value(&self.key).hint("Such as pro.")),
        };
        let ends = [("continue", "It goes on, active"), ("lock", "It is locked"), ("plan", "It moves to another plan")];
        let cycles = [("signUp", "When an organization signs up"), ("firstOfMonth", "On the first of the month")];
        let others_are = [("unlimited", "Counted without limit"), ("none", "Not in the plan")];
        form.say("Every change is a new version. Organizations stay on theirs until they are moved, or until a catalogue is applied.")
            .field(Field::text("name", "Name").value(&self.name).optional())
            .field(Field::amount("trial.days", "Days of trial").value(&self.trial_days).hint("Leave empty: no trial.").optional())
            .field(Field::select("trial.onEnd", "At the end of the trial", ends).value(&self.trial_end).optional())
            .field(
                Field::select("trial.plan", "The plan that it moves to then", others(plans, key, &self.trial_plan))
                    .value(&self.trial_plan)
                    .hint("Where the trial ends in a move to another plan.")
                    .optional(),
            )
            .field(Field::select("cycle", "Billing periods begin", cycles).value(&self.cycle))
            .field(Field::select("otherMeters", "Meters that have no limit here", others_are).value(&self.other_meters))
            .field(
                Field::amount("graceDays", "Days of grace")
                    .value(&self.grace_days)
                    .hint("After a missing payment, before the lock. Leave empty for the usual number.")
                    .optional(),
            )
            .field(
                Field::text("stripePrices", "Stripe prices")
                    .value(&self.stripe_prices)
                    .hint("The ids that stand for this plan, with commas between them.")
                    .optional(),
            )
            .field(
                Field::select("fallbackPlan", "Plan after a subscription", others(plans, key, &self.fallback_plan))
                    .value(&self.fallback_plan)
                    .optional(),
            )
            .field(Field::hidden("rest", &self.rest))
            .section(self.limit_section(meters))
            .section(self.feature_section())
    }

    fn limit_section(&self, meters: &[Meter]) -> Section {
        let rows =
            self.limits.iter().enumerate().map(|(at, limit)| limit.row(&at.to_string(), at + 1, meters)).collect();
        let blank = LimitDraft::default().row(BLANK, self.limits.len() + 1, meters);
        let hint = "Of one meter in one window each; a row without a meter is left out. Gateways answer a refusal with 429 (too many requests) or 402 (payment required). Percentages tell when somebody is told: 80 and 100 where none stand there. A limit of storage may have its unit: 10 GB.";
        Section { name: "limits", title: "Limits", hint, add: "Add a limit", rows, blank }
    }

    fn feature_section(&self) -> Section {
        let row = |at: &str, number: usize, (name, value): &(String, String)| Row {
            legend: format!("Feature {number}"),
            fields: vec![
                Field::text(&format!("features.{at}.name"), "Name").value(name).optional(),
                Field::text(&format!("features.{at}.value"), "Value").value(value).optional(),
            ],
        };
        let rows = self.features.iter().enumerate().map(|(at, one)| row(&at.to_string(), at + 1, one)).collect();
        let blank = row(BLANK, self.features.len() + 1, &Default::default());
        let hint = "On, off or with a value, for your application to read: true, 25, \"gold\", or any JSON. A row without a name is left out.";
        Section { name: "features", title: "Features", hint, add: "Add a feature", rows, blank }
    }
}

/// Plans but for one, and none; the one that is chosen whether there is such a plan or not.
fn others(plans: &[Plan], but: Option<&str>, chosen: &str) -> Vec<(String, String)> {
    let others = plans.iter().filter(|plan| but != Some(plan.key.as_str()));
    let mut others: Vec<_> = others.map(|plan| (plan.key.clone(), plan.title().to_owned())).collect();
    others.insert(0, (String::new(), "–".to_owned()));
    if others.iter().all(|(key, _)| key != chosen) {
        others.push((chosen.to_owned(), chosen.to_owned()));
    }
    others
}

/// The rows of a section, by their numbers: names in the row, and what was typed.
fn rows<'a>(pairs: &'a [(String, String)], prefix: &str) -> BTreeMap<usize, BTreeMap<&'a str, &'a str>> {
    let mut rows: BTreeMap<usize, BTreeMap<&str, &str>> = BTreeMap::new();
    for (name, value) in pairs {
        let Some((at, name)) = name.strip_prefix(prefix).and_then(|rest| rest.split_once('.')) else { continue };
        if let Ok(at) = at.parse() {
            rows.entry(at).or_default().insert(name, value.trim());
        }
    }
    rows
}

/// A feature's value as it is typed: a text without its quotes, unless it would be something else then.
fn as_typed(json: &str) -> String {
    let text: Option<String> = serde_json::from_str(json).ok();
    match text {
        Some(text) if serde_json::from_str::<Value>(&text).is_err() && text.trim() == text && !text.is_empty() => text,
        _ => json.to_owned(),
    }
}

/// What was typed as a value: JSON where it is some, else the text.
fn from_typed(typed: &str) -> Value {
    serde_json::from_str(typed).unwrap_or_else(|_| typed.into())
}

#[cfg(test)]
mod tests;
