//! What would have been refused under other limits.

use askama::Template;

use crate::answers::{JobProgress, LimitSpec, Meter, Plan, WhatIf, WhatIfDay, WhatIfLimit, name_of, unit_of};
use crate::chart::{self, Bars, Row, Step};
use crate::form::{Change, Field, Form, Kind};
use crate::format::{self, Amount, Markup, Zone};
use crate::forms::{WINDOWS, window_name};
use crate::frame::{Frame, Place};
use crate::range;

/// What a field of a limit begins with; meter and window follow, with a dot between them.
const LIMIT: &str = "limit.";
/// What is typed where nothing is limited.
pub const UNLIMITED: &str = "unlimited";

/// The field of a limit.
pub fn field_of(meter: &str, window: &str) -> String {
    format!("{LIMIT}{meter}.{window}")
}

/// What is asked: the limits of a plan, each to be changed, one more, and of whom and when.
pub fn form(plan: &Plan, meters: &[Meter], from: &str, to: &str) -> Form {
    let mut form = Form::new("What if?", "Replay")
        .to(format!("/admin/what-if?plan={}", crate::organizations::in_query(&plan.key)))
        .say("Change what you have in mind: nothing here is saved, and nothing of it is recorded.");
    let limits = ("Limits", "A number, or unlimited. Of storage with its unit, such as 10 GB.");
    for limit in &plan.limits {
        let (name, window) = (name_of(meters, &limit.meter), window_name(&limit.window).to_lowercase());
        // A level stands, in no window.
        let is_level = meters.iter().any(|meter| meter.key == limit.meter && meter.aggregation == "last");
        let label = if is_level { name.to_owned() } else { format!("{name}, {window}") };
        let is_soft = limit.enforcement.as_deref() == Some("soft");
        form = form.field(
            Field::text(&field_of(&limit.meter, &limit.window), &label)
                .value(typed(limit, unit_of(meters, &limit.meter)))
                .hint(if is_soft { "Soft: counts overage" } else { "" })
                .group(limits.0, limits.1)
                .number(),
        );
    }
    let more = ("One more limit", "In place of the plan's on the same meter and window, or beside them.");
    let names = meters.iter().map(|meter| (meter.key.as_str(), meter.name.as_str()));
    let meter = Field::select("moreMeter", "Meter", std::iter::once(("", "none")).chain(names)).optional();
    let window = Field::select("moreWindow", "Window", WINDOWS).value("billingPeriod").optional();
    let whom = (
        "Whom and when",
        "Without organizations: all that are on this plan. With them: these alone, as if they were on it.",
    );
    let organizations = Field::text("organizations", "Only these organizations").optional();
    [meter, window, Field::text("moreMax", "Maximum").optional().number()]
        .into_iter()
        .map(|field| field.group(more.0, more.1))
        .chain(
            [
                organizations.hint("Keys, with commas between them."),
                Field::new("from", "From (UTC)", Kind::Line("date")).value(from),
                Field::new("to", "To, included (UTC)", Kind::Line("date")).value(to),
            ]
            .map(|field| field.group(whom.0, whom.1)),
        )
        .fold(form, Form::field)
}

/// What of the limits was changed for it, as it was and as it is asked about.
fn tried(form: &Form, meters: &[Meter]) -> Vec<Change> {
    let rest = ["moreMeter", "moreWindow", "moreMax", "organizations", "from", "to"];
    let labels: Vec<&str> = form
        .fields
        .iter()
        .filter(|field| rest.contains(&field.name.as_str()))
        .map(|field| field.label.as_str())
        .collect();
    let of_limits = form.differences().iter().filter(|change| !labels.contains(&change.what.as_str()));
    let value = |name: &str| form.value_of(name).map(str::trim).filter(|value| !value.is_empty());
    let more = value("moreMeter").zip(value("moreMax")).map(|(meter, max)| {
        let window = window_name(value("moreWindow").unwrap_or("billingPeriod")).to_lowercase();
        Change::new(format!("{}, {window}", name_of(meters, meter)), "one more limit", max)
    });
    of_limits.cloned().chain(more).collect()
}

/// A limit's maximum as it is typed.
fn typed(limit: &LimitSpec, unit: &str) -> String {
    limit.max().map_or_else(|| UNLIMITED.to_owned(), |max| max.to_type(unit))
}

/// The days that are replayed where nobody says: the last thirty.
pub fn days(now: &str) -> (String, String) {
    let (from, _) = range::last_days(&Zone::utc(), now, 30);
    let date = |time: &str| time.get(..10).unwrap_or_default().to_owned();
    (date(&from), date(now))
}

/// What there is to see beside the form.
pub enum Shown {
    /// Nothing was asked yet.
    Nothing,
    /// It is being worked out.
    Going(JobProgress),
    /// Why it is not known.
    Failed(String),
    /// What would have been.
    Report(Box<WhatIf>),
}

/// The page.
#[derive(Template)]
#[template(path = "what_if.html")]
pub struct WhatIfPage {
    frame: Frame,
    plans: Vec<Plan>,
    meters: Vec<Meter>,
    /// The key of the plan that is asked about; empty without one.
    chosen: String,
    form: Form,
    shown: Shown,
    /// Where the same is asked again.
    link: Option<String>,
}

impl WhatIfPage {
    /// The page.
    pub fn new(
        frame: Frame,
        plans: Vec<Plan>,
        meters: Vec<Meter>,
        (chosen, form): (Option<String>, Form),
        shown: Shown,
    ) -> Self {
        let chosen = chosen.unwrap_or_default();
        Self { frame: frame.at("What if", Place::WhatIf), plans, meters, chosen, form, shown, link: None }
    }

    /// With the address that asks the same again, for others.
    #[must_use]
    pub fn linked(self, link: Option<String>) -> Self {
        Self { link, ..self }
    }

    /// The name of the plan that is asked about.
    fn title(&self) -> &str {
        self.plans.iter().find(|plan| plan.key == self.chosen).map_or(&self.chosen, Plan::title)
    }

    /// The name of an organization's plan.
    fn plan_name<'a>(&'a self, key: &'a str) -> &'a str {
        self.plans.iter().find(|plan| plan.key == key).map_or(key, Plan::title)
    }

    fn tried(&self) -> Vec<Change> {
        tried(&self.form, &self.meters)
    }

    /// Whether something of that time came too late for a limit.
    fn is_late(&self, report: &WhatIf) -> bool {
        report.late.as_ref().is_some_and(|late| late.facts > 0)
    }

    /// Whether anything was charged for language models, or would have been.
    fn is_priced(&self, report: &WhatIf) -> bool {
        [report.cost, report.cost_before, report.cost_after].into_iter().flatten().any(|cost| !cost.is_zero())
    }

    fn dollars(&self, cost: &Option<Amount>) -> String {
        let shown = |cost: Amount| match cost.is_negative() {
            true => format!("−${}", cost.magnitude()),
            false => format!("${cost}"),
        };
        cost.map_or_else(|| "–".to_owned(), shown)
    }

    fn going(&self) -> Option<&JobProgress> {
        if let Shown::Going(progress) = &self.shown { Some(progress) } else { None }
    }

    fn failed(&self) -> Option<&str> {
        if let Shown::Failed(why) = &self.shown { Some(why) } else { None }
    }

    fn report(&self) -> Option<&WhatIf> {
        if let Shown::Report(report) = &self.shown { Some(report) } else { None }
    }

    fn count(&self, number: &u64) -> String {
        Amount::whole(i64::try_from(*number).unwrap_or(i64::MAX)).to_string()
    }

    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        name_of(&self.meters, key)
    }

    fn amount(&self, meter: &str, amount: &Amount) -> String {
        amount.in_unit(unit_of(&self.meters, meter))
    }

    /// A limit as people call it, or what else refuses.
    fn limit(&self, limit: &WhatIfLimit) -> String {
        match (&limit.window, limit.reason.as_str()) {
            (Some(window), _) => window_name(window).to_owned(),
            (None, "not-entitled") => "not in the plan".to_owned(),
            (None, reason) => reason.replace('-', " "),
        }
    }

    fn moment(&self, time: &str) -> Markup {
        format::moment_tag(time, &Zone::utc())
    }

    fn date(&self, time: &str) -> Markup {
        format::date_tag(time, &Zone::utc())
    }

    /// Meters of which use would have gone beyond a limit, or did.
    fn overages(&self) -> Vec<&crate::answers::WhatIfMeter> {
        let all = self.report().map_or(&[][..], |report| &report.meters);
        all.iter().filter(|meter| !meter.overage.is_zero() || !meter.overage_before.is_zero()).collect()
    }

    fn chart(&self, report: &WhatIf) -> Markup {
        let zone = Zone::utc();
        let whole = |number: u64| Amount::whole(i64::try_from(number).unwrap_or(i64::MAX));
        let of = |group: &'static str, read: fn(&WhatIfDay) -> u64| {
            move |day: &'_ WhatIfDay| (day.start.clone(), group, read(day))
        };
        let estimated = report.estimate.as_ref().map_or(&[][..], |estimate| &estimate.days);
        let days: Vec<_> = report
            .days
            .iter()
            .map(of("would have been refused", |day| day.refused))
            .chain(report.days.iter().map(of("were refused", |day| day.refused_before)))
            .chain(estimated.iter().map(of("estimated", |day| day.refused)))
            .filter(|(_, _, number)| *number > 0)
            .collect();
        let rows: Vec<_> =
            days.iter().map(|(start, group, number)| Row { start, group, value: whole(*number) }).collect();
        let (start, end) = range::whole_days(&zone, &report.from, &report.to);
        let frame = chart::Frame {
            id: "refusals",
            title: "Refusals by day",
            start: &start,
            end: &end,
            zone: &zone,
            now: &self.frame.now,
            unit: "request",
        };
        Bars { frame, step: Step::Day, additive: true, rows: &rows }.markup()
    }
}
