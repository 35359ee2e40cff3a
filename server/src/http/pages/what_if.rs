//! The dashboard's page that replays past usage under other limits.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use metergate_pages::answers::{Fault, Job, Meter, Plan, Problem, WhatIf};
use metergate_pages::form::Form;
use metergate_pages::organizations::in_query;
use metergate_pages::typed::instant;
use metergate_pages::what_if::{self, Shown, UNLIMITED, WhatIfPage};
use serde_json::{Value, json};

use super::api::{Answer, Api, Call};
use super::html;
use super::sent::{Sent, Typed};
use super::trouble::{Trouble, see_other};
use super::visit::{AtDashboard, Visit, in_path, unless};

type Page = Result<Response<Body>, Trouble>;

/// Seconds that a page waits for the answer before it shows how far it is.
const WAIT: u32 = 8;
/// Between two looks at a job meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
const PATH: &str = "/admin/what-if";
/// What is asked beside the plan's own limits.
const REST: [&str; 6] = ["moreMeter", "moreWindow", "moreMax", "organizations", "from", "to"];

/// What every form of it needs.
struct About {
    plans: Vec<Plan>,
    meters: Vec<Meter>,
    /// The plan that is asked about, as it is shown and as the API says it.
    chosen: Option<(Plan, Value)>,
}

impl About {
    async fn read(visit: &Visit) -> Result<Self, Trouble> {
        let (plans, meters) = (visit.api.all("/v1/plans").await?, visit.api.all("/v1/meters").await?);
        let chosen = match visit.query("plan") {
            None => None,
            Some(key) => {
                let path = format!("/v1/plans/{}", in_path(key));
                Some((visit.api.get(&path).await?, visit.api.get(&path).await?))
            }
        };
        Ok(Self { plans, meters, chosen })
    }

    fn form(&self, visit: &Visit) -> Form {
        let (from, to) = what_if::days(&visit.frame.now);
        let form = self.chosen.as_ref().map(|(plan, _)| what_if::form(plan, &self.meters, &from, &to));
        form.unwrap_or_default()
    }

    fn page(self, visit: &Visit, form: Form, typed: &Typed, shown: Shown) -> Response<Body> {
        let link = matches!(shown, Shown::Report(_)).then(|| self.address(typed, None));
        let key = self.chosen.map(|(plan, _)| plan.key);
        html(&WhatIfPage::new(visit.frame.clone(), self.plans, self.meters, (key, form), shown).linked(link))
    }

    /// The question that stands in an address.
    fn typed(&self, visit: &Visit) -> Typed {
        let own = self.chosen.iter().flat_map(|(_, definition)| limits_of(definition)).filter_map(field);
        let names = own.chain(REST.map(str::to_owned));
        names
            .filter_map(|name| Some((visit.query(&name)?.to_owned(), name)))
            .map(|(value, name)| (name, value))
            .collect()
    }

    /// Asks, and waits for so many seconds.
    async fn ask(&self, api: &Api, typed: &Typed, wait: u32) -> Result<Answer, Trouble> {
        let Some((plan, definition)) = &self.chosen else { return Err(Trouble::not_found()) };
        let path = format!("/v1/what-if?numbers=string&wait={wait}");
        let call = Call::new(Method::POST, path, question(&plan.key, definition, &typed.measured(&self.meters)));
        api.ask(&call, None).await
    }

    /// The address of a question, and of the job that works it out: one that somebody else can open, too.
    fn address(&self, typed: &Typed, job: Option<&str>) -> String {
        let Some((plan, definition)) = &self.chosen else { return PATH.to_owned() };
        let asked = asked(definition, &typed.measured(&self.meters), typed);
        let job = job.map_or_else(String::new, |job| format!("&job={}", in_query(job)));
        format!("{PATH}?plan={}{asked}&replay=yes{job}", in_query(&plan.key))
    }

    /// Why it was refused, at the fields by their names here.
    fn problem(&self, answer: &Answer, typed: &Typed) -> Problem {
        let mut problem = answer.problem();
        if problem.code == "unknown-organization" {
            let detail = "One of these does not exist: give keys or ids, with commas between them.".to_owned();
            problem.errors = vec![Fault { detail, pointer: "#/organizations".to_owned() }];
        }
        let Some((_, definition)) = &self.chosen else { return problem };
        let names = asked_fields(definition, &typed.measured(&self.meters));
        for fault in &mut problem.errors {
            fault.pointer = at_field(&fault.pointer, &names);
        }
        problem
    }
}

/// The names of the fields in the order in which their limits are asked about: of those that were typed otherwise, then of the new one.
fn asked_fields(definition: &Value, typed: &Typed) -> Vec<String> {
    let changed = limits_of(definition).iter().filter(|limit| changed(limit, typed).is_some()).filter_map(field);
    changed.chain(more(typed).map(|_| "moreMax".to_owned())).collect()
}

/// Where a fault is, by the name of a field: `#/limits/1/max` is at the second of these.
fn at_field(pointer: &str, names: &[String]) -> String {
    let Some(rest) = pointer.strip_prefix("#/limits/") else { return pointer.to_owned() };
    let (index, member) = rest.split_once('/').unwrap_or((rest, ""));
    let name = index.parse::<usize>().ok().and_then(|index| names.get(index));
    match (name.map(String::as_str), member) {
        (None, _) => pointer.to_owned(),
        (Some("moreMax"), "meter") => "#/moreMeter".to_owned(),
        (Some("moreMax"), "window") => "#/moreWindow".to_owned(),
        (Some(name), _) => format!("#/{name}"),
    }
}

/// The form; where the address has a question, or a job that works one out, the answer too, or how far it is.
pub(super) async fn show(AtDashboard(visit): AtDashboard) -> Page {
    let about = About::read(&visit).await?;
    let typed = about.typed(&visit);
    let form = about.form(&visit).with(|name| typed.raw(name).map(str::to_owned));
    let is_asked = about.chosen.is_some() && visit.query("replay").is_some();
    let job = match visit.query("job") {
        Some(id) => job(&visit, id).await?,
        None => None,
    };
    let shown = match (job, visit.query("job")) {
        (Some(Job { result: Some(report), .. }), _) => Shown::Report(Box::new(report)),
        (Some(Job { error: Some(why), .. }), _) => Shown::Failed(why),
        (Some(Job { progress, .. }), _) => Shown::Going(progress),
        // Somebody else's, or long ago: the question stands in the address.
        (None, _) if is_asked => return asked_again(&visit, about, form, &typed).await,
        (None, Some(_)) => Shown::Failed("The server no longer knows of it: replay it again.".to_owned()),
        (None, None) => Shown::Nothing,
    };
    Ok(about.page(&visit, form, &typed, shown))
}

/// A job, once it has ended or has been waited for as long as a page does; nothing where it is not known.
async fn job(visit: &Visit, id: &str) -> Result<Option<Job<WhatIf>>, Trouble> {
    let path = format!("/v1/jobs/{}", in_path(id));
    let mut waited = Duration::ZERO;
    loop {
        let found = unless(StatusCode::NOT_FOUND, visit.api.get::<Job<WhatIf>>(&path).await)?;
        let is_going = found.as_ref().is_some_and(|job| job.result.is_none() && job.error.is_none());
        if !is_going || waited >= Duration::from_secs(WAIT.into()) {
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
        waited = waited.saturating_add(PAUSE);
    }
}

/// The question of the address, asked anew.
async fn asked_again(visit: &Visit, about: About, form: Form, typed: &Typed) -> Page {
    let answer = about.ask(&visit.api.opened(), typed, 0).await?;
    match answer.status {
        // Loaded again, the address shows what that job has made.
        StatusCode::ACCEPTED => Ok(see_other(&about.address(typed, Some(&answer.read::<Job<WhatIf>>()?.id)))),
        // A link on another site has led here: whoever has come sends the form, which is as it was.
        StatusCode::FORBIDDEN => Ok(about.page(visit, form, typed, Shown::Nothing)),
        _ => refused(visit, about, form, typed, &answer),
    }
}

/// A question that was sent: it is begun, and then shown under an address of its own.
pub(super) async fn sent(sent: Sent) -> Page {
    if !sent.visit.me().operator {
        return Err(Trouble::not_found());
    }
    let about = About::read(&sent.visit).await?;
    if about.chosen.is_none() {
        return Err(Trouble::not_found());
    }
    if let Err(problem) = sent.typed.counted(&about.form(&sent.visit)) {
        let form = about.form(&sent.visit).with(|name| sent.typed.raw(name).map(str::to_owned)).refused(&problem);
        let mut response = about.page(&sent.visit, form, &sent.typed, Shown::Nothing);
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(response);
    }
    let answer = about.ask(&sent.visit.api, &sent.typed, 0).await?;
    if answer.status == StatusCode::ACCEPTED {
        let job: Job<WhatIf> = answer.read()?;
        return Ok(see_other(&about.address(&sent.typed, Some(&job.id))));
    }
    let form = about.form(&sent.visit).with(|name| sent.typed.raw(name).map(str::to_owned));
    refused(&sent.visit, about, form, &sent.typed, &answer)
}

/// The form with why it was refused.
fn refused(visit: &Visit, about: About, form: Form, typed: &Typed, answer: &Answer) -> Page {
    if answer.status == StatusCode::UNAUTHORIZED {
        return Err(Trouble::refused(answer.status, answer.problem()));
    }
    let form = form.refused(&about.problem(answer, typed));
    let mut response = about.page(visit, form, typed, Shown::Nothing);
    *response.status_mut() = answer.status;
    Ok(response)
}

/// What was typed otherwise than it stands there, as the rest of an address, so that the answer stands beside its question.
fn asked(definition: &Value, measured: &Typed, typed: &Typed) -> String {
    let own = limits_of(definition).iter();
    let limits = own.filter(|limit| changed(limit, measured).is_some()).filter_map(field);
    let given = limits.chain(REST.map(str::to_owned)).filter_map(|name| Some((typed.text(&name)?.to_owned(), name)));
    given.map(|(value, name)| format!("&{}={}", in_query(&name), in_query(&value))).collect()
}

fn limits_of(definition: &Value) -> &[Value] {
    definition["limits"].as_array().map_or(&[][..], Vec::as_slice)
}

/// The one more limit, where one was typed.
fn more(typed: &Typed) -> Option<Value> {
    let (meter, max) = (typed.text("moreMeter")?, typed.text("moreMax")?);
    let window = typed.text("moreWindow").unwrap_or("billingPeriod");
    Some(with_max(json!({"meter": meter, "window": window}), max))
}

fn field(limit: &Value) -> Option<String> {
    Some(what_if::field_of(limit["meter"].as_str()?, limit["window"].as_str()?))
}

/// The question: of the plan's limits those that were typed otherwise, and the one that is new.
fn question(plan: &str, definition: &Value, typed: &Typed) -> Value {
    let mut limits: Vec<Value> = limits_of(definition).iter().filter_map(|limit| changed(limit, typed)).collect();
    limits.extend(more(typed));
    let day = |name: &str| typed.text(name).map(|date| instant(date, "UTC"));
    let mut question = json!({"plan": plan});
    let Some(members) = question.as_object_mut() else { return question };
    if !limits.is_empty() {
        members.insert("limits".to_owned(), limits.into());
    }
    let named = typed.text("organizations").unwrap_or_default().split(',').map(str::trim);
    let named: Vec<&str> = named.filter(|name| !name.is_empty()).collect();
    if !named.is_empty() {
        members.insert("organizations".to_owned(), json!(named));
    }
    members.extend(day("from").map(|from| ("from".to_owned(), from.into())));
    // The day that is typed is in the range, and its end the beginning of the next.
    members.extend(day("to").map(|to| ("to".to_owned(), day_after(&to).into())));
    question
}

fn changed(limit: &Value, typed: &Typed) -> Option<Value> {
    let max = typed.text(&field(limit)?)?;
    let is_unlimited = limit["unlimited"] == true;
    let same = if is_unlimited { max == UNLIMITED } else { limit["max"].to_string().trim_matches('"') == max };
    (!same).then(|| with_max(limit.clone(), max))
}

fn with_max(mut limit: Value, max: &str) -> Value {
    if let Some(members) = limit.as_object_mut() {
        members.remove("max");
        members.remove("unlimited");
        match max {
            UNLIMITED => members.insert(UNLIMITED.to_owned(), true.into()),
            max => members.insert("max".to_owned(), max.into()),
        };
    }
    limit
}

/// A day after an instant.
pub(super) fn day_after(start: &str) -> String {
    let start = start.parse::<metergate_rules::time::Time>();
    start.map_or_else(|_| "?".to_owned(), |start| start.plus(metergate_rules::time::DAY).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_otherwise_is_asked_and_nothing_else() {
        let definition = json!({"limits": [
            {"meter": "calls", "window": "minute", "max": 60, "enforcement": "hard"},
            {"meter": "tokens", "window": "billingPeriod", "unlimited": true, "enforcement": "soft"},
            {"meter": "messages", "window": "day", "max": 5, "enforcement": "soft", "status": 402},
        ]});
        let typed = Typed::of(&[
            ("limit.calls.minute", "60"),
            ("limit.tokens.billingPeriod", "7"),
            ("limit.messages.day", "unlimited"),
            ("moreMeter", "calls"),
            ("moreWindow", "hour"),
            ("moreMax", "9"),
            ("organizations", "a, b,"),
            ("from", "2026-11-01"),
            ("to", "2026-11-27"),
        ]);
        let expected = json!({"plan": "pro", "organizations": ["a", "b"], "from": "2026-11-01T00:00:00Z", "to": "2026-11-28T00:00:00Z",
        "limits": [
            {"meter": "tokens", "window": "billingPeriod", "max": "7", "enforcement": "soft"},
            {"meter": "messages", "window": "day", "unlimited": true, "enforcement": "soft", "status": 402},
            {"meter": "calls", "window": "hour", "max": "9"},
        ]});
        assert_eq!(question("pro", &definition, &typed), expected);
        let expected = "&limit.tokens.billingPeriod=7&limit.messages.day=unlimited&moreMeter=calls&moreWindow=hour&moreMax=9&organizations=a%2C%20b%2C&from=2026-11-01&to=2026-11-27";
        assert_eq!(asked(&definition, &typed, &typed), expected, "the answer of a job stands beside what was asked");
        assert_eq!(question("pro", &definition, &Typed::default()), json!({"plan": "pro"}));
    }
}
