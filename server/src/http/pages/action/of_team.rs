//! What operators change that is the team's.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{Method, Response, StatusCode};
use metergate_pages::answers::Problem;
use metergate_pages::form::Form;
use metergate_pages::frame::Place;
use metergate_pages::organizations::in_query;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::api::Call;
use super::super::sent::{Sent, Typed};
use super::super::trouble::Trouble;
use super::super::visit::{AtDashboard, Visit, in_path};
use super::team_calls::{ACTIONS, Action, form, taken};
use super::{following, send, show as shown, webhook_calls};
use crate::hex::hex;

/// Seconds in which the last month is replayed before a plan is saved, and for which the page waits at most.
const WITHIN: u32 = 15;
const LONGEST_WAIT: u32 = 25;

fn action(word: &str) -> Result<&'static Action, Trouble> {
    let mut actions = ACTIONS.iter().chain(&webhook_calls::ACTIONS);
    actions.find(|action| action.word == word).ok_or_else(Trouble::not_found)
}

/// The form of an action, with what is there already.
async fn made(visit: &Visit, action: &Action, typed: &Typed) -> Result<Form, Trouble> {
    let form = match action.place {
        Place::Webhooks => webhook_calls::form(visit, action, typed).await?,
        _ => form(visit, action, typed).await?,
    };
    let back = back(&form, action);
    // Of these the API has no version: what stood in the form is one.
    let edits = match action.word {
        "settings" | "webhook" => true,
        "meter" => visit.query("key").is_some(),
        _ => false,
    };
    let version = edits.then(|| hex(&Sha256::digest(form.stands())));
    let form = if edits { form.of_version(version) } else { form };
    Ok(form.back(back))
}

/// The page of what it is done to, where that has one.
fn back(form: &Form, action: &Action) -> String {
    let named = |name: &str| form.value_of(name).filter(|value| !value.is_empty()).map(in_path);
    let page = match (action.word, action.place) {
        ("delete-plan", _) => named("key").map(|key| format!("{}/{key}", action.back)),
        (_, Place::Webhooks) => named("endpoint").map(|endpoint| format!("{}/{endpoint}", action.back)),
        _ => None,
    };
    page.unwrap_or_else(|| action.back.to_owned())
}

/// The form of an action.
pub(in super::super) async fn show(
    AtDashboard(visit): AtDashboard,
    Path(word): Path<String>,
) -> Result<Response<Body>, Trouble> {
    let action = action(&word)?;
    let form = made(&visit, action, &Typed::default()).await?;
    Ok(shown(&visit, form, action.place))
}

/// The same, sent.
pub(in super::super) async fn sent(Path(word): Path<String>, sent: Sent) -> Result<Response<Body>, Trouble> {
    if !sent.visit.me().operator {
        return Err(Trouble::not_found());
    }
    let action = action(&word)?;
    let form = made(&sent.visit, action, &sent.typed).await?;
    // A form that wants another row is shown with it, and nothing is asked of the API.
    if sent.typed.text("add").is_some() {
        return Ok(shown(&sent.visit, form, action.place));
    }
    if let Some(problem) = taken(&sent.visit, action, &sent.typed).await? {
        return Ok(super::unsent(&sent.visit.frame, form, &sent.typed, &problem, action.place));
    }
    if action.word != "plan" && form.has_version() && form.version() != sent.typed.text("version") {
        let filled = form.clone().with(|name| sent.typed.raw(name).map(str::to_owned));
        // What is there already, such as by the first of two clicks, overwrites nothing.
        if filled.stands() != form.stands() {
            let mut response = shown(&sent.visit, filled.overtaken(), action.place);
            *response.status_mut() = StatusCode::PRECONDITION_FAILED;
            return Ok(response);
        }
    }
    if let Some(fault) = following::unsaid(&form, &sent.typed) {
        let problem = Problem { errors: vec![fault], ..Problem::default() };
        return Ok(super::unsent(&sent.visit.frame, form, &sent.typed, &problem, action.place));
    }
    let counted = match sent.typed.counted(&form) {
        Ok(counted) => counted,
        Err(problem) => return Ok(super::unsent(&sent.visit.frame, form, &sent.typed, &problem, action.place)),
    };
    let typed = match action.word {
        "plan" => counted.measured(&sent.visit.api.all("/v1/meters").await?),
        _ => counted,
    };
    match (action.call)(&typed) {
        Ok(call) if action.word == "plan" && sent.typed.text("check").is_some() => {
            checked(&sent, form, &call, action.place).await
        }
        Ok(call) => {
            let is_of_api = action.word == "plan" && form.has_version();
            let call = if is_of_api { call.only_if(sent.typed.word("version")) } else { call };
            send(&sent, form, &call, action.then(&sent.typed), action.place).await
        }
        Err(problem) => Ok(super::unsent(&sent.visit.frame, form, &sent.typed, &problem, action.place)),
    }
}

/// A plan's form with what it would have refused in the last month; nothing is saved.
async fn checked(sent: &Sent, form: Form, call: &Call, place: Place) -> Result<Response<Body>, Trouble> {
    let question = json!({"plan": sent.typed.word("key"), "definition": call.body, "withinSeconds": WITHIN});
    let path = format!("/v1/what-if?numbers=string&wait={LONGEST_WAIT}");
    let asked = Call::new(Method::POST, path, question);
    let answer = sent.visit.api.ask(&asked, None).await?;
    let form = form.with(|name| sent.typed.raw(name).map(str::to_owned));
    let note = match answer.status {
        StatusCode::OK => answer.read::<Value>()?["summary"].as_str().unwrap_or_default().to_owned(),
        StatusCode::ACCEPTED => {
            let (plan, job) = (in_query(&sent.typed.word("key")), answer.read::<Value>()?["id"].clone());
            let href = format!("/admin/what-if?plan={plan}&job={}", in_query(job.as_str().unwrap_or_default()));
            let note = "It takes too long to be said here.";
            return Ok(shown(&sent.visit, form.note(note).link(href, "See the answer once it is there"), place));
        }
        StatusCode::UNAUTHORIZED => return Err(Trouble::refused(answer.status, answer.problem())),
        status => {
            let mut problem = answer.problem();
            for fault in &mut problem.errors {
                fault.pointer = fault.pointer.replacen("#/definition/", "#/", 1);
            }
            let mut response = shown(&sent.visit, form.refused(&problem), place);
            *response.status_mut() = status;
            return Ok(response);
        }
    };
    Ok(shown(&sent.visit, form.note(note), place))
}
