//! What would have been refused under other limits.

use askama::Template;

use crate::answers::{JobProgress, LimitSpec, Meter, Plan, WhatIf, WhatIfDay, WhatIfLimit, name_of, unit_of};
use crate::chart::{self, Bars, Row, Step};
use crate::form::{Field, Form, Kind};
use crate::format::{self, Amount, Markup, Zone, is_bytes};
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

/// What is asked: the limits of a plan, each to be changed, and of when.
pub fn form(plan: &Plan, meters: &[Meter], from: &str, to: &str) -> Form {
    let mut form = Form::new("What if?", "Replay")
        .to(format!("/admin/what-if?plan={}", crate::organizations::in_query(&plan.key)))
        .say("Change what you have in mind: nothing here is saved, and nothing of it is recorded.");
    for limit in &plan.limits {
        let label = format!("{}, {}", name_of(meters, &limit.meter), window_name(&limit.window).to_lowercase());
        let unit = unit_of(meters, &limit.meter);
        let soft = if limit.enforcement.as_deref() == Some("soft") { "soft: counts overage" } else { "" };
        let unit = if is_bytes(unit) { "such as 10 GB" } else { unit };
        let hint = [unit, soft].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        form = form.field(
            Field::text(&field_of(&limit.meter, &limit.window), &label)
                .value(typed(limit, unit_of(meters, &limit.meter)))
                .hint(hint),
        );
    }
    let names = meters.iter().map(|meter| (meter.key.as_str(), meter.name.as_str()));
    form.field(Field::select("moreMeter", "Another limit on", std::iter::once(("", "none")).chain(names)).optional())
        .field(Field::select("moreWindow", "In a", WINDOWS).value("billingPeriod").optional())
        .field(Field::text("moreMax", "Of at most").hint("Digits, of storage such as 10 GB, or unlimited.").optional())
        .field(
            Field::text("organizations", "Organizations alone")
                .hint("Keys with commas between them, as if they were on this plan. Empty: all that are on it.")
                .optional(),
        )
        .field(Field::new("from", "From", Kind::Line("date")).value(from).hint("In UTC."))
        .field(Field::new("to", "To and with", Kind::Line("date")).value(to))
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
        Self { frame: frame.at("What if", Place::WhatIf), plans, meters, chosen, form, shown }
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

    fn relative(&self, time: &str) -> Markup {
        format::relative_tag(time, &self.frame.now, &Zone::utc())
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
            .chain(report.days.iter().map(of("was refused", |day| day.refused_before)))
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
