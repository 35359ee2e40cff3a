//! What operators change that is the team's.

use crate::answers::{Administrator, Meter, Organization, Plan, Settings, User};
use crate::form::{Change, Field, Form, Kind};
use crate::frame::Frame;

/// An organization.
pub fn new_organization(plans: &[Plan]) -> Form {
    let names = plans.iter().map(|plan| (plan.key.as_str(), plan.name.clone().unwrap_or_else(|| plan.key.clone())));
    Form::new("New organization", "Create organization")
        .field(Field::text("name", "Name").most(255))
        .field(Field::text("key", "Key").hint("What your application calls it: letters, digits, dashes."))
        .field(Field::select("plan", "Plan", names).value("free"))
        .field(
            Field::text("timeZone", "Time zone")
                .value("UTC")
                .hint("Such as Europe/Berlin: of its days, months and billing periods."),
        )
        .field(
            Field::check("test", "A test organization").hint("It can have a clock of its own. It stays one for good."),
        )
}

/// What the button says that replays the last month under a plan as it is typed.
pub(super) const CHECK: &str = "Would it refuse anything?";

/// A plan's definition as JSON; [`super::plan::PlanDraft`] is the form with a field for each thing.
pub fn plan_as_json(key: &str, definition: &str) -> Form {
    let title = if key.is_empty() { "New plan".to_owned() } else { format!("Edit plan {key}") };
    let mut form = Form::new(title, "Save as a new version").say(
        "Every change is a new version. Organizations stay on theirs until they are moved, or until a catalogue is applied.",
    );
    form = match key {
        "" => form.field(Field::text("key", "Key").hint("Such as pro.")),
        key => form
            .check(CHECK)
            .field(Field::hidden("key", key))
            .link(format!("/admin/what-if?plan={key}"), "What if? Past usage under other limits"),
    };
    form.field(
        Field::new("definition", "Definition (JSON)", Kind::Area)
            .value(definition)
            .autocomplete("code")
            .hint("As PUT /v1/plans/{key} takes it; /docs has all of it."),
    )
}

/// Organizations that are named before it is said that there are more.
const FEW: usize = 3;

/// The end of a plan; `found` is the plan of this key, where there is still one, and `on_it` the first of those that are on it.
pub fn delete_plan(key: &str, found: Option<&Plan>, on_it: &[Organization]) -> Form {
    let names: Vec<&str> = on_it.iter().take(FEW).map(|organization| organization.name.as_str()).collect();
    let more = if on_it.len() > FEW { " and others" } else { "" };
    let in_the_way = match names.is_empty() {
        true => "It is refused while an organization is on it, or a plan leads to it. No organization is on it now."
            .to_owned(),
        false => format!(
            "It is refused while an organization is on it. Now these are: {}{more}. Move them to another plan first.",
            names.join(", ")
        ),
    };
    Form::new("Delete plan", "Delete plan")
        .of(found.map_or(key, Plan::title))
        .say(in_the_way)
        .change(Change::new(found.map_or(key, Plan::title), "offered", "no longer offered"))
        .danger()
        .field(Field::hidden("key", key))
        .field(Field::reason())
        .link(format!("/admin/organizations?plan={key}"), "Organizations on this plan")
}

/// The end of a meter, and the plans that stand in its way.
pub fn delete_meter(key: &str, found: Option<&Meter>, plans: &[Plan]) -> Form {
    let form = Form::new("Delete meter", "Delete meter").of(found.map_or(key, |meter| &meter.name)).danger();
    let limits = |plan: &&Plan| plan.limits.iter().any(|limit| limit.meter == key);
    let in_the_way: Vec<&str> = plans.iter().filter(limits).map(Plan::title).collect();
    let form = form.say("Nothing is recorded on it from then on. What was recorded stays.");
    let form = match in_the_way.is_empty() {
        true => form,
        false => form.say(format!(
            "It is refused while a plan limits it. These do, so take it out of them first: {}.",
            in_the_way.join(", ")
        )),
    };
    form.field(Field::hidden("key", key)).field(Field::reason())
}

/// How uses become a figure.
const AGGREGATIONS: [(&str, &str); 5] = [
    ("sum", "Sum of quantities"),
    ("count", "Number of events"),
    ("max", "Highest value"),
    ("last", "Last level"),
    ("uniqueCount", "Distinct values"),
];

/// How a meter counts: chosen once, since what is recorded is counted so for good.
fn counting(form: Form, found: Option<&Meter>) -> Form {
    let Some(meter) = found else {
        return form
            .field(Field::select("aggregation", "Aggregation", AGGREGATIONS).value("sum").hint("It stays for good."))
            .field(Field::amount("decimals", "Decimal places").value("0").hint("They stay for good."));
    };
    let known = AGGREGATIONS.iter().find(|(key, _)| *key == meter.aggregation);
    let words = known.map_or(meter.aggregation.as_str(), |(_, words)| words);
    form.say(format!("{words}, with {} decimal places: neither can be changed.", meter.decimals))
        .field(Field::hidden("aggregation", &meter.aggregation))
        .field(Field::hidden("decimals", &meter.decimals.to_string()))
}

/// A meter.
pub fn meter(found: Option<&Meter>) -> Form {
    let of = |read: fn(&Meter) -> String| found.map(read).unwrap_or_default();
    let mut form = match found {
        Some(meter) => Form::new(format!("Edit meter {}", meter.key), "Save").field(Field::hidden("key", &meter.key)),
        None => Form::new("New meter", "Create meter").field(Field::text("key", "Key").hint("Such as api_calls.")),
    };
    form = form.field(Field::text("name", "Name").value(of(|meter| meter.name.clone())).optional()).field(
        Field::text("unit", "Unit").value(of(|meter| meter.unit.clone())).hint("Such as call or byte.").optional(),
    );
    form = counting(form, found)
        .field(
            Field::text("eventType", "Event type")
                .value(of(|meter| meter.event_type.clone()))
                .hint("The type of the events that it counts. Leave empty to use its key.")
                .optional(),
        )
        .field(
            Field::text("valueProperty", "Property with the value")
                .value(of(|meter| meter.value_property.clone()))
                .hint("The property of an event that holds the quantity, or the value that is told apart.")
                .optional(),
        )
        .field(
            Field::text("dimensions", "Dimensions")
                .value(of(|meter| meter.dimensions.join(", ")))
                .hint("Properties to group by, with commas between them.")
                .optional(),
        );
    let is_recorded = found.is_none_or(|meter| meter.record);
    form.field(
        Field::check("record", "Recorded")
            .value(if is_recorded { "true" } else { "" })
            .hint("As is usual: each use is kept. Unchecked, and with Redis configured, limits of a minute or an hour are counted there alone, and nothing is kept."),
    )
}

/// How the team shows itself.
pub fn settings(now: &Settings) -> Form {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Form::new("The team as customers see it", "Save")
        .field(Field::text("teamName", "Team name").value(text(&now.team_name)).optional().most(255))
        .field(Field::text("color", "Colour").value(text(&now.color)).hint("Such as #0a7f5a.").optional())
        .field(
            Field::text("contact", "Contact")
                .value(text(&now.contact))
                .hint("An address or a sentence: whom customers ask, such as when they are locked.")
                .optional()
                .most(255),
        )
        .field(
            Field::amount("bringForwardMonths", "Months between early resets")
                .value(now.bring_forward_months.to_string())
                .hint("Members may bring the next reset forward once in so many months."),
        )
}

/// The picture that stands for the team on every page.
pub fn logo(frame: &Frame) -> Form {
    let form =
        Form::new("Logo", "Save").say("It stands at the top of every page, and in the portal of your customers.");
    let picture = Field::new("logoUrl", "Picture", Kind::File("image/png,image/jpeg,image/webp"))
        .hint("PNG, JPEG or WebP, at most 256 KiB. It is shown 24 pixels high, on a light and on a dark ground.");
    match frame.has_logo() {
        true => {
            form.field(picture.optional()).field(Field::check("remove", "No logo").hint("Takes the present one away."))
        }
        false => form.field(picture),
    }
}

/// Another administrator.
pub fn new_administrator() -> Form {
    Form::new("Add a platform administrator", "Add administrator")
        .say("They sign in by a link, which is shown once for you to pass on.")
        .say("Of somebody who is a member of an organization already, the password and all sessions end at once: the link signs them in, and they need another password after it.")
        .field(Field::new("email", "E-mail address", Kind::Line("email")))
        .field(Field::text("name", "Name").optional())
}

/// The end of somebody's being one, as whoever `me` is sees it.
pub fn remove_administrator(id: &str, administrators: &[Administrator], me: Option<&User>) -> Form {
    let found = administrators.iter().find(|one| one.user.id == id);
    let words = if found.is_some_and(|one| !one.can_sign_in) { "Withdraw invitation" } else { "Remove administrator" };
    let mut form = Form::new(words, words).danger();
    if let Some(administrator) = found {
        form = form.say(match administrator.can_sign_in {
            true => "Their sessions end at once. What they did stays in the audit log.",
            false => "They cannot sign in yet. A link that they have opens nothing any more.",
        });
        if me.is_some_and(|me| me.id == id) {
            form = form.say("This is you: you are signed out at once.");
        }
        if !administrators.iter().any(|other| other.user.id != id && other.comes_in()) {
            form = form.say("Nobody else can sign in as an administrator, so this is refused: add another one first.");
        }
        form = form.change(Change::new(administrator.title(), "administrator", "no access to the dashboard"));
    }
    form.field(Field::hidden("administrator", id)).field(Field::reason())
}

/// A link by which somebody chooses another password; `email` is whose, where that is known.
pub fn password_link(email: &str) -> Form {
    Form::new("Password link", "Make link")
        .say("A link with which a user chooses another password, once, within a day. Pass it on to them and to nobody else.")
        .field(Field::new("email", "E-mail address", Kind::Line("email")).value(email))
}

/// That an entry of an organization's audit log is dealt with.
pub fn resolve(organization: &str, entry: &str) -> Form {
    Form::new("Mark as resolved", "Mark as resolved")
        .say(format!("Entry {entry} of {organization}. The note is an entry of its own."))
        .field(Field::hidden("organization", organization))
        .field(Field::hidden("entry", entry))
        .field(Field::new("note", "Note", Kind::Area))
}
