//! A new organization: its trial and its first windows begin with it (P2, P4).

use std::sync::Arc;

use crate::account::{OpenWindows, Profile, Status, TrialState};
use crate::audit::{Draft, Fields};
use crate::catalogue::Catalogue;
use crate::command::NewOrganization;
use crate::due::status_name;
use crate::outcome::{Change, Outcome, Reply, What};
use crate::period::{self, Anchor, Grid};
use crate::plan::{Cycle, Plan};
use crate::time::{DAY, Span, Time};

use super::{Problem, entry};

/// Creates an organization at `now`. Its trial begins then; its billing periods are counted from the use that creates it, so
/// that what a client reports some seconds after it happened counts in the first of them.
///
/// # Errors
/// [`Problem::UnknownPlan`] if its plan is not in the catalogue.
pub fn create(new: &NewOrganization, catalogue: &Catalogue, now: Time) -> Result<Outcome, Problem> {
    let plan = catalogue.plan(new.plan).ok_or(Problem::UnknownPlan)?;
    let profile = Profile { created_at: now, ..new.profile.clone() };
    let trial = plan.trial.as_ref().map(|t| TrialState { ends_at: now.plus(i64::from(t.days) * DAY), over: false });
    let status = if trial.is_some() { Status::Trial } else { Status::Active };
    let begins = new.first_used.map_or(now, |first| first.min(now));
    let (anchor, period) = first_period(plan, &profile, begins, now);
    let (day, month) = (period::day(now, &profile.zone), period::month(now, &profile.zone));
    let after = described(&profile, plan, status, trial);
    let audit = Draft::new(now, "organization.create", "config", Fields::default(), after);
    let change = Change::Created {
        profile: Arc::new(profile),
        plan: plan.id,
        status,
        trial,
        anchor,
        windows: OpenWindows { day, month, period },
    };
    let entries = vec![entry(now, What::Changed(Box::new(change)))];
    Ok(Outcome { entries, reply: Reply::Done, audit: vec![audit] })
}

/// Of an organization that begins at a time, the period that is open at `now`. From sign-up the first one begins at that very
/// instant, and others follow it; from the first of the month it is the month.
pub(super) fn first_period(plan: &Plan, profile: &Profile, begins: Time, now: Time) -> (Anchor, Span) {
    match plan.cycle {
        Cycle::SignUp => {
            let anchor = Anchor::at(begins, &profile.zone);
            let open = Grid { anchor, zone: &profile.zone }.containing(now);
            (anchor, Span { start: open.start.max(begins), ..open })
        }
        Cycle::FirstOfMonth => {
            let anchor = Anchor::date(period::date_of(now, &profile.zone).first_of_month());
            (anchor, Grid { anchor, zone: &profile.zone }.containing(now))
        }
    }
}

fn described(profile: &Profile, plan: &Plan, status: Status, trial: Option<TrialState>) -> Fields {
    Fields::default()
        .with("key", profile.key.as_str())
        .with("name", profile.name.as_str())
        .with("plan", plan.key.as_str())
        .with("planVersion", plan.version)
        .with("status", status_name(status))
        .with("trialEndsAt", trial.map(|trial| trial.ends_at))
        .with("timeZone", profile.zone.name())
}
