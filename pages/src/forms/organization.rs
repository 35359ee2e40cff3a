//! What operators do to an organization.

use super::{About, WINDOWS, window_name};
use crate::answers::{Meter, Plan, QuotaLimit};
use crate::form::{Change, Field, Form, Kind};
use crate::format;
use crate::typed::{civil, civil_date};

fn adds_up(aggregation: &str) -> bool {
    matches!(aggregation, "sum" | "count")
}

/// Counters to zero.
pub fn reset(about: &About) -> Form {
    let (start, end) = (&about.organization.current_period.start, &about.organization.current_period.end);
    let period = format::days(start, end, &about.zone(), about.zone().year(&about.now));
    let every = std::iter::once(("", "All meters".to_owned()));
    let meters = about.meters.iter().map(|meter| (meter.key.as_str(), meter.name.clone()));
    let mut form = Form::new("Reset quota", "Reset quota")
        .previews("Nothing of this was used: there is nothing to reset.")
        .say(format!(
            "Counters of the billing period ({period}) and of the calendar month begin again at zero, now. Reports and charts keep \
             what was used; levels, reserved quantity and credit stay."
        ))
        .danger();
    let (meter, with_day) = (about.chosen("meter"), about.chosen("withDay") == "true");
    let is_reset = |window: &str| matches!(window, "billingPeriod" | "month") || (with_day && window == "day");
    let is_meant = |key: &str| meter.is_empty() || key == meter;
    let counted = |limit: &&QuotaLimit| is_reset(&limit.window) && is_meant(&limit.meter) && !limit.used.is_zero();
    for limit in about.quota.limits.iter().filter(counted) {
        let what = format!("{}, {}", about.meter_name(&limit.meter), window_name(&limit.window).to_lowercase());
        form = form.change(Change::new(what, about.amount(&limit.meter, limit.used), "0"));
    }
    form.field(Field::select("meter", "Meters", every.chain(meters)).value(meter).optional().previewed())
        .field(Field::check("withDay", "The counters of the day, too").value(about.chosen("withDay")).previewed())
        .field(Field::reason())
}

/// A standing addition.
pub fn extra(about: &About) -> Form {
    let mut form = Form::new("Set extra quota", "Set extra quota").previews("No extra quota is set on it now.").say(
        "A standing addition to a meter's limit in the billing period, on top of the plan. It is set, not added to what is there: 0 takes it away.",
    );
    // Which meter is meant may still be to be chosen.
    let meter = about.chosen("meter");
    for extra in about.quota.extra.iter().filter(|extra| meter.is_empty() || extra.meter == meter) {
        let (name, now) = (about.meter_name(&extra.meter), about.amount(&extra.meter, extra.quantity));
        form = form.change(Change::now(format!("{name}, extra"), now));
    }
    form.field(about.meter_field(|_| true).previewed())
        .field(about.quantity_field("quantity", "Extra quota", |_| true))
        .field(Field::reason())
}

/// Credit.
pub fn grant(about: &About) -> Form {
    Form::new("Grant credit", "Grant credit")
        .say("Credit is used once the plan and extra quota are, and kept over billing periods until it is used or expires.")
        .field(about.meter_field(|meter| adds_up(&meter.aggregation)))
        .field(about.quantity_field("amount", "Amount", |meter| adds_up(&meter.aggregation)))
        .field(
            Field::new("expiresAt", "Expires", Kind::Line("datetime-local"))
                .hint(format!("In {}. What is not used by then is gone.", about.organization.time_zone))
                .optional(),
        )
        .field(Field::amount("priority", "Priority").hint("Lower is used first.").value("0").optional())
        .field(Field::reason())
}

/// Credit that is taken back.
pub fn void_grant(about: &About) -> Form {
    let id = about.chosen("grant");
    let mut form = Form::new("Void grant", "Void grant").danger();
    form = match about.grants.iter().find(|grant| grant.id.to_string() == id) {
        Some(grant) => form
            .say(format!("“{}”. What was used of it stays used; the rest can no longer be used.", grant.reason))
            .change(Change::new(
                format!("{} left of it", about.meter_name(&grant.meter)),
                about.amount(&grant.meter, grant.remaining),
                "0",
            )),
        None => form.say("There is no such grant, or it is long over."),
    };
    form.field(Field::hidden("grant", id)).field(Field::reason())
}

/// Another plan, and what that changes.
pub fn plan(about: &About) -> Form {
    let chosen = about.plans.iter().find(|plan| plan.key == about.chosen("plan"));
    let names = about.plans.iter().map(|plan| (plan.key.as_str(), plan.title()));
    let organization = &about.organization;
    let mut form = Form::new("Change plan", "Change plan")
        .previews(match chosen {
            Some(_) => "It is the plan that the organization has, in this version.",
            None => "Choose another plan to see what it changes.",
        })
        .say(format!("Now on {} (version {}).", organization.plan_name, organization.plan_version))
        .say("Limits follow the new plan at once, or at the end of the billing period. Counters keep what was used.");
    if let Some(plan) = chosen {
        form = plan_changes(about, plan).into_iter().fold(form, Form::change);
    }
    form.field(
        Field::select("plan", "Plan", names)
            .value(chosen.map_or(organization.plan.as_str(), |plan| &plan.key))
            .previewed(),
    )
    .field(
        Field::select("at", "When", [("now", "Now"), ("periodEnd", "At the end of the billing period")]).value("now"),
    )
    .field(Field::check("keepOverrides", "Keep the overrides of this organization").value("true").previewed())
    .field(Field::reason())
}

/// What is different on another plan, or on another version of the same.
fn plan_changes(about: &About, plan: &Plan) -> Vec<Change> {
    let organization = &about.organization;
    let keeps = about.chosen("preview").is_empty() || about.chosen("keepOverrides") == "true";
    let mut changes = Vec::new();
    if (&plan.key, plan.version) != (&organization.plan, organization.plan_version) {
        let named = |name: &str, version| format!("{name}, version {version}");
        let now = named(&organization.plan_name, organization.plan_version);
        changes.push(Change::new("Plan", now, named(plan.title(), plan.version)));
    }
    let limits = &about.quota.limits;
    let is_kept = |limit: &QuotaLimit| limit.source == "override" && keeps;
    for new in &plan.limits {
        let old = limits.iter().find(|old| old.meter == new.meter && old.window == new.window);
        let before = old.map_or_else(|| "no limit".to_owned(), |old| shown(about, old));
        let after = new.max().map_or_else(|| "unlimited".to_owned(), |max| about.amount(&new.meter, max));
        if before != after && !old.is_some_and(is_kept) {
            changes.push(Change::new(limit_name(about, &new.meter, &new.window), before, after));
        }
    }
    let none = if plan.other_meters.as_deref() == Some("none") { "not in the plan" } else { "no limit" };
    let names = |old: &QuotaLimit| plan.limits.iter().any(|new| new.meter == old.meter && new.window == old.window);
    for gone in limits.iter().filter(|old| !is_kept(old) && !names(old)) {
        changes.push(Change::new(limit_name(about, &gone.meter, &gone.window), shown(about, gone), none));
    }
    changes
}

/// A level stands, in no window.
fn limit_name(about: &About, meter: &str, window: &str) -> String {
    if about.meter(meter).is_some_and(|meter| meter.aggregation == "last") {
        return about.meter_name(meter).to_owned();
    }
    format!("{}, {}", about.meter_name(meter), window_name(window).to_lowercase())
}

fn shown(about: &About, limit: &QuotaLimit) -> String {
    limit.base.map_or_else(|| "unlimited".to_owned(), |base| about.amount(&limit.meter, base))
}

/// A limit of the organization's own.
pub fn set_override(about: &About) -> Form {
    let (meter, window) = (about.chosen("meter"), about.chosen("window"));
    let now = about.quota.limits.iter().find(|limit| limit.meter == meter && limit.window == window);
    let mut form = Form::new("Override a limit", "Override limit")
        .previews("Nothing limits this now.")
        .say("A limit for this organization in place of its plan's, from now on, until a date if one is given.");
    if let Some(limit) = now {
        form = form.change(Change::now(limit_name(about, meter, window), shown(about, limit)));
    }
    let value = now.and_then(|limit| limit.base).map(|base| base.to_type(about.unit(meter))).unwrap_or_default();
    let max = about.quantity_field("max", "Limit", |_| true).value(value);
    form.field(about.meter_field(|_| true).previewed())
        .field(
            Field::select("window", "Window", WINDOWS)
                .value(if window.is_empty() { "billingPeriod" } else { window })
                .previewed(),
        )
        .field(max.optional())
        .field(Field::check("unlimited", "Unlimited").hint("In place of a limit."))
        .field(
            Field::select("enforcement", "At the limit", [("hard", "Refuse"), ("soft", "Allow, and count as overage")])
                .value(now.map_or("hard", |limit| &limit.enforcement)),
        )
        .field(
            Field::new("until", "Until", Kind::Line("datetime-local"))
                .hint(format!("In {}; the plan's limit holds again after it.", about.organization.time_zone))
                .optional(),
        )
        .field(Field::reason())
}

/// The plan's limit again.
pub fn clear_override(about: &About) -> Form {
    let (meter, window) = (about.chosen("meter"), about.chosen("window"));
    let now = about.quota.limits.iter().find(|limit| limit.meter == meter && limit.window == window);
    let mut form =
        Form::new("Remove override", "Remove override").say("The limit of the plan holds again, at once.").danger();
    if let Some(limit) = now {
        form = form.change(Change::new(limit_name(about, meter, window), shown(about, limit), "the plan's"));
    }
    form.field(Field::hidden("meter", meter)).field(Field::hidden("window", window)).field(Field::reason())
}

/// A lock.
pub fn lock(about: &About) -> Form {
    Form::new("Lock organization", "Lock organization")
        .say(format!(
            "{} can use nothing more from now on, and its members can only read. Events that report what has happened are still recorded.",
            about.organization.name
        ))
        .danger()
        .field(Field::reason())
}

/// The end of every lock.
pub fn unlock(about: &About) -> Form {
    let mut form =
        Form::new("Unlock organization", "Unlock organization").say("Every lock is lifted, whatever its cause.");
    for lock in &about.organization.locks {
        let since = format::moment(&lock.since, &about.zone());
        let why = lock.reason.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        let by = crate::organizations::cause_name(&lock.cause);
        form = form.change(Change::new(format!("Lock by {by}"), format!("since {since}{why}"), "lifted"));
    }
    form.field(Field::reason())
}

/// Another end of the trial.
pub fn trial(about: &About) -> Form {
    let ends = about.organization.trial_ends_at.as_deref().unwrap_or("");
    let mut form =
        Form::new("Move the end of the trial", "Move trial").say("A lock that the trial's end brought is lifted.");
    if !ends.is_empty() {
        form = form.change(Change::now("Trial ends now", format::moment(ends, &about.zone())));
    }
    let at =
        Field::new("endsAt", "Ends", Kind::Line("datetime-local")).value(civil(ends, &about.organization.time_zone));
    form.field(at.hint(format!("In {}.", about.organization.time_zone))).field(Field::reason())
}

/// A correction of what was recorded.
pub fn adjust(about: &About) -> Form {
    let at = Field::new("time", "Time of what is corrected", Kind::Line("datetime-local"));
    let mut form = Form::new("Correct usage", "Correct usage")
        .previews("Choose a meter to see what is counted now.")
        .say("The quantity is added to what was recorded, or taken from it where it is negative. Of a level, such as storage, it is the true level. Charts, reports and open counters follow.");
    let meter = about.chosen("meter");
    for limit in about.quota.limits.iter().filter(|limit| limit.meter == meter) {
        let what = format!("{}, used", limit_name(about, meter, &limit.window));
        form = form.change(Change::now(what, about.amount(meter, limit.used)));
    }
    let takes = |meter: &Meter| adds_up(&meter.aggregation) || meter.aggregation == "last";
    form.field(about.meter_field(takes).previewed())
        .field(about.quantity_field("quantity", "Quantity", takes))
        .field(at.hint(format!("In {}. Leave empty for now.", about.organization.time_zone)).optional())
        .field(Field::reason())
}

/// Another time on the clock of a test organization.
pub fn clock(about: &About) -> Form {
    let organization = &about.organization;
    let now = organization.clock.as_deref().unwrap_or(&about.now);
    Form::new("Move the clock", "Move clock")
        .say("Everything that time causes until then happens: resets, the end of a trial, expiries, lapses.")
        .change(Change::now("Its clock shows", format::moment(now, &about.zone())))
        .field(Field::new("now", "Time", Kind::Line("datetime-local")).value(civil(now, &organization.time_zone)))
        .field(Field::reason())
}

/// Name, key and zone.
pub fn profile(about: &About) -> Form {
    let organization = &about.organization;
    let mut form =
        Form::new("Change organization", "Save").field(Field::text("name", "Name").value(&organization.name).most(255));
    if about.is_admin() {
        let key = Field::text("key", "Key").value(&organization.key);
        form = form.field(key.hint("What your application calls it. Its id stays."));
    }
    form.field(
        Field::text("timeZone", "Time zone")
            .value(&organization.time_zone)
            .hint("Such as Europe/Berlin: of its days, months and billing periods. Counters are carried over."),
    )
}

/// The end of an organization.
pub fn delete(about: &About) -> Form {
    let organization = &about.organization;
    Form::new("Delete organization", "Delete for good")
        .say(format!(
            "{} is gone at once, with its usage, limits, credit, members and keys. Its audit log stays verifiable, without personal data. \
             This cannot be undone.",
            organization.name
        ))
        .danger()
        .field(Field::text("confirm", "Type its key to go on").hint(format!("The key is {}.", organization.key)))
        .field(Field::reason())
}

/// A link into its portal.
pub fn portal(about: &About) -> Form {
    Form::new("Link into the portal", "Make link").say(format!(
        "Whoever opens the link sees the usage and billing of {} for an hour, and can change nothing. It opens once, within 15 minutes.",
        about.organization.name
    ))
}

/// Another day from which billing periods are counted.
pub fn cycle(about: &About) -> Form {
    let organization = &about.organization;
    let value = civil_date(&organization.current_period.start, &organization.time_zone);
    Form::new("Update Billing Cycle", "Update Billing Cycle").field(
        Field::new("billingCycleStartDate", "Billing cycle starts on", Kind::Line("date"))
            .value(value)
            .hint(format!("Midnight in {}.", organization.time_zone)),
    )
}

/// That an entry of the audit log is dealt with.
pub fn resolve(about: &About) -> Form {
    Form::new("Mark as resolved", "Mark as resolved")
        .say(format!("Entry {}. The note is an entry of its own.", about.chosen("entry")))
        .field(Field::hidden("entry", about.chosen("entry")))
        .field(Field::new("note", "Note", Kind::Area))
}
