//! The dashboard's first page: all organizations together.

use askama::Template;

use crate::answers::{Fleet, FleetMeter, InFleet, Meter, Plan, WebhookEndpoint, name_of, unit_of};
use crate::chart::{self, Bars, Row, Step};
use crate::format::{self, Amount, Markup, Zone};
use crate::forms::window_name;
use crate::frame::{Frame, Place};
use crate::range;

/// Days that are shown of what all used.
const DAYS: i64 = 31;

/// The first page.
#[derive(Template)]
#[template(path = "overview.html")]
pub struct Overview {
    frame: Frame,
    fleet: Fleet,
    meters: Vec<Meter>,
    chosen: String,
    /// Webhook endpoints that were disabled by what they answered.
    stopped: Vec<WebhookEndpoint>,
    plans: Vec<Plan>,
}

impl Overview {
    /// The page; `meter` is the one of which use is shown, else the one that is used most.
    pub fn new(frame: Frame, fleet: Fleet, meters: Vec<Meter>, meter: Option<&str>) -> Self {
        let frame = frame.at("Overview", Place::Overview);
        let asked = meter.filter(|key| fleet.meters.iter().any(|meter| meter.meter == *key));
        let events = |meter: &FleetMeter| meter.days.iter().map(|day| day.count).sum::<i64>();
        let busiest = fleet.meters.iter().max_by_key(|meter| events(meter)).map(|meter| meter.meter.as_str());
        let chosen = asked.or(busiest).unwrap_or_default().to_owned();
        Self { frame, fleet, meters, chosen, stopped: Vec::new(), plans: Vec::new() }
    }

    /// With those webhook endpoints of which somebody has to look after.
    #[must_use]
    pub fn with_webhooks(mut self, endpoints: Vec<WebhookEndpoint>) -> Self {
        self.stopped = endpoints.into_iter().filter(WebhookEndpoint::is_stopped).collect();
        self
    }

    /// With the names of plans.
    #[must_use]
    pub fn with_plans(mut self, plans: Vec<Plan>) -> Self {
        self.plans = plans;
        self
    }

    /// A plan's name; its key where it is gone.
    fn plan_name<'a>(&'a self, key: &'a str) -> &'a str {
        self.plans.iter().find(|plan| plan.key == key).map_or(key, Plan::title)
    }

    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        name_of(&self.meters, key)
    }

    fn unit(&self, key: &str) -> &str {
        unit_of(&self.meters, key)
    }

    fn status(&self, status: &str) -> u64 {
        self.fleet.by_status.get(status).copied().unwrap_or(0)
    }

    /// Organizations whose trial is over and has locked them: they keep the status until somebody moves them on. Somebody in a
    /// trial may be locked for another cause.
    fn trials_over(&self) -> u64 {
        self.fleet.by_lock_cause.get("trial").copied().unwrap_or(0)
    }

    fn amount(&self, meter: &str, amount: &Amount) -> String {
        amount.compact(self.unit(meter))
    }

    fn window(&self, one: &InFleet) -> String {
        window_name(&one.window).to_lowercase()
    }

    fn percent(&self, one: &InFleet) -> u32 {
        one.percent.percent_of(Amount::whole(100))
    }

    fn relative(&self, time: &str) -> Markup {
        format::relative_tag(time, &self.frame.now, &Zone::utc())
    }

    fn shown(&self) -> Option<&FleetMeter> {
        self.fleet.meters.iter().find(|meter| meter.meter == self.chosen)
    }

    fn chart(&self) -> Markup {
        let days = self.shown().map_or(&[][..], |meter| &meter.days);
        let starts: Vec<String> = days.iter().map(|day| format!("{}T00:00:00Z", day.date)).collect();
        let value = |day: &crate::answers::FleetDay| day.value.unwrap_or_else(|| Amount::whole(day.count));
        let rows: Vec<_> =
            days.iter().zip(&starts).map(|(day, start)| Row { start, group: "", value: value(day) }).collect();
        let (from, to) = range::last_days(&Zone::utc(), &self.frame.now, DAYS);
        let counts = days.iter().all(|day| day.value.is_none());
        let frame = chart::Frame {
            id: "fleet",
            title: &format!("{}, all organizations", self.name(&self.chosen)),
            start: &from,
            end: &to,
            zone: &Zone::utc(),
            now: &self.frame.now,
            unit: if counts { "event" } else { self.unit(&self.chosen) },
        };
        Bars { frame, step: Step::Day, additive: true, rows: &rows }.markup()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_of_locks_stand_apart_and_plans_by_their_names() {
        let mut fleet = fleet(0, 0);
        fleet.by_lock_cause = [("operator".to_owned(), 1), ("trial".to_owned(), 2)].into();
        fleet.by_plan = [("pro".to_owned(), 3), ("gone".to_owned(), 1)].into();
        let plan = serde_json::json!({"key": "pro", "version": 1, "name": "Professional", "createdAt": ""});
        let page = Overview::new(Frame::nobody(), fleet, Vec::new(), None);
        let page = page.with_plans(vec![serde_json::from_value(plan).unwrap()]).render().unwrap();
        assert!(page.contains("<p>1 by the operator · 2 by the end of the trial</p>"), "{page}");
        assert!(
            page.contains("/admin/plans/pro\">Professional</a>") && page.contains("/admin/plans/gone\">gone</a>"),
            "{page}"
        );
    }

    fn fleet(trial: u64, going_on: u64) -> Fleet {
        let none = serde_json::json!({"total": 0, "data": []});
        let fleet = serde_json::json!({
            "asOf": "2026-11-28T00:00:00Z", "complete": true, "organizations": 9, "testOrganizations": 0, "unreadable": 0,
            "byStatus": {"trial": trial}, "byPlan": {}, "byLockCause": {}, "closeToLimit": none, "locked": none,
            "inTrial": {"total": going_on, "data": []}, "meters": [],
            "refusedMost": {"since": "2026-11-27T00:00:00Z", "total": 0, "data": []},
        });
        serde_json::from_value(fleet).unwrap()
    }

    #[test]
    fn organizations_that_their_trial_has_locked_are_counted_apart() {
        let shown = |trial, going_on, causes: &[(&str, u64)]| {
            let mut fleet = fleet(trial, going_on);
            fleet.by_lock_cause = causes.iter().map(|(cause, count)| ((*cause).to_owned(), *count)).collect();
            let page = Overview::new(Frame::nobody(), fleet, Vec::new(), None);
            page.render().unwrap().replace('\n', "")
        };
        let in_trial = "<dt>trial</dt><dd><a href=\"/admin/organizations?status=trial\">5</a>";
        let over = "<dt>trial over, locked</dt><dd><a href=\"/admin/organizations?locked=trial\">3</a>";
        let page = shown(5, 2, &[("trial", 3), ("operator", 1)]);
        assert!(page.contains(in_trial) && page.contains(over), "{page}");
        // A trial of which a subscription tells, and that an operator has locked, is not over.
        assert!(!shown(2, 1, &[("operator", 1)]).contains("trial over"));
    }
}
