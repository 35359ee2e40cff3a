//! The dashboard's page that replays past usage under other limits.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use metergate_pages::answers::{Job, Meter, Plan, WhatIf};
use metergate_pages::form::Form;
use metergate_pages::organizations::in_query;
use metergate_pages::typed::instant;
use metergate_pages::what_if::{self, Shown, UNLIMITED, WhatIfPage};
use serde_json::{Value, json};

use super::api::{Answer, Call};
use super::html;
use super::sent::{Sent, Typed};
use super::trouble::{Trouble, see_other};
use super::visit::{AtDashboard, Visit, in_path, unless};

type Page = Result<Response<Body>, Trouble>;

/// Seconds that a page waits for the answer before it shows how far it is.
const WAIT: u32 = 8;

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

    fn page(self, visit: &Visit, form: Form, shown: Shown) -> Response<Body> {
        let key = self.chosen.map(|(plan, _)| plan.key);
        html(&WhatIfPage::new(visit.frame.clone(), self.plans, self.meters, (key, form), shown))
    }
}

/// The form; where it is being worked out, how far that is, and then the answer.
pub(super) async fn show(AtDashboard(visit): AtDashboard) -> Page {
    let about = About::read(&visit).await?;
    let shown = match visit.query("job") {
        None => Shown::Nothing,
        Some(id) => {
            let found = visit.api.get::<Job<WhatIf>>(&format!("/v1/jobs/{}", in_path(id))).await;
            match unless(StatusCode::NOT_FOUND, found)? {
                None => Shown::Failed("The server no longer knows of it: replay it again.".to_owned()),
                Some(Job { result: Some(report), .. }) => Shown::Report(Box::new(report)),
                Some(Job { error: Some(why), .. }) => Shown::Failed(why),
                Some(Job { progress, .. }) => Shown::Going(progress),
            }
        }
    };
    let form = about.form(&visit).with(|name| visit.query(name).map(str::to_owned));
    Ok(about.page(&visit, form, shown))
}

/// What was asked, and the answer.
pub(super) async fn sent(sent: Sent) -> Page {
    if !sent.visit.me().operator {
        return Err(Trouble::not_found());
    }
    let about = About::read(&sent.visit).await?;
    let Some((plan, definition)) = &about.chosen else { return Err(Trouble::not_found()) };
    let path = format!("/v1/what-if?numbers=string&wait={WAIT}");
    let measured = sent.typed.measured(&about.meters);
    let call = Call::new(Method::POST, path, question(&plan.key, definition, &measured));
    let answer = sent.visit.api.ask(&call, None).await?;
    let form = about.form(&sent.visit).with(|name| sent.typed.raw(name).map(str::to_owned));
    match answer.status {
        StatusCode::OK => {
            let report: WhatIf = answer.read()?;
            Ok(about.page(&sent.visit, form, Shown::Report(Box::new(report))))
        }
        StatusCode::ACCEPTED => {
            let job: Job<WhatIf> = answer.read()?;
            let (plan, asked) = (in_query(&plan.key), asked(definition, &measured, &sent.typed));
            Ok(see_other(&format!("/admin/what-if?plan={plan}&job={}{asked}", in_query(&job.id))))
        }
        StatusCode::UNAUTHORIZED => Err(Trouble::refused(answer.status, answer.problem())),
        status => {
            let form = form.refused(&problem(&answer));
            let mut response = about.page(&sent.visit, form, Shown::Nothing);
            *response.status_mut() = status;
            Ok(response)
        }
    }
}

/// What was typed otherwise than it stands there, as the rest of an address, so that the answer stands beside its question.
fn asked(definition: &Value, measured: &Typed, typed: &Typed) -> String {
    let own = definition["limits"].as_array().map_or(&[][..], Vec::as_slice);
    let limits = own.iter().filter(|limit| changed(limit, measured).is_some()).filter_map(field);
    let rest = ["moreMeter", "moreWindow", "moreMax", "organizations", "from", "to"].map(str::to_owned);
    let given = limits.chain(rest).filter_map(|name| Some((typed.text(&name)?.to_owned(), name)));
    given.map(|(value, name)| format!("&{}={}", in_query(&name), in_query(&value))).collect()
}

fn field(limit: &Value) -> Option<String> {
    Some(what_if::field_of(limit["meter"].as_str()?, limit["window"].as_str()?))
}

/// Why it was refused, at the fields by their names here.
fn problem(answer: &Answer) -> metergate_pages::answers::Problem {
    let mut problem = answer.problem();
    if problem.code == "unknown-organization" {
        let detail = "One of these does not exist: give keys or ids, with commas between them.".to_owned();
        problem.errors = vec![metergate_pages::answers::Fault { detail, pointer: "#/organizations".to_owned() }];
    }
    problem
}

/// The question: of the plan's limits those that were typed otherwise, and the one that is new.
fn question(plan: &str, definition: &Value, typed: &Typed) -> Value {
    let own = definition["limits"].as_array().map_or(&[][..], Vec::as_slice);
    let mut limits: Vec<Value> = own.iter().filter_map(|limit| changed(limit, typed)).collect();
    if let (Some(meter), Some(max)) = (typed.text("moreMeter"), typed.text("moreMax")) {
        let window = typed.text("moreWindow").unwrap_or("billingPeriod");
        limits.push(with_max(json!({"meter": meter, "window": window}), max));
    }
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
