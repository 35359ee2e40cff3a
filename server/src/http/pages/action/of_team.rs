//! What operators change that is the team's.

use axum::body::Body;
use axum::extract::Path;
use axum::http::Response;
use metergate_pages::form::Form;
use metergate_pages::frame::Place;

use super::super::sent::{Sent, Typed};
use super::super::trouble::Trouble;
use super::super::visit::{AtDashboard, Visit};
use super::team_calls::{ACTIONS, Action, form, taken};
use super::{send, show as shown, webhook_calls};

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
    Ok(form.back(action.back))
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
    let typed = match action.word {
        "plan" => sent.typed.measured(&sent.visit.api.all("/v1/meters").await?),
        _ => sent.typed.clone(),
    };
    match (action.call)(&typed) {
        Ok(call) => {
            let call = if form.has_version() { call.only_if(sent.typed.word("version")) } else { call };
            send(&sent, form, &call, action.then(&sent.typed), action.place).await
        }
        Err(problem) => Ok(super::unsent(&sent.visit.frame, form, &sent.typed, &problem, action.place)),
    }
}
