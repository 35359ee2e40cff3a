//! What members do to their organization. The API says whether they may; of what is an operator's there is nothing here.

use axum::body::Body;
use axum::extract::Path;
use axum::http::Response;
use metergate_pages::frame::Place;

use super::super::sent::{Sent, Typed};
use super::super::trouble::Trouble;
use super::super::visit::{Visit, in_path};
use super::calls::{ACTIONS, Action, Whose};
use super::{about, cycle, following, send, show as shown};

fn action(word: &str, is_operator: bool) -> Result<&'static Action, Trouble> {
    let found = ACTIONS.iter().find(|action| action.word == word);
    found.filter(|action| is_operator || action.whose == Whose::Members).ok_or_else(Trouble::not_found)
}

fn base(org: &str) -> String {
    format!("/organizations/{}/settings", in_path(org))
}

/// The form of an action.
pub(in super::super) async fn show(
    mut visit: Visit,
    Path((org, word)): Path<(String, String)>,
) -> Result<Response<Body>, Trouble> {
    let action = action(&word, visit.me().operator)?;
    let about = about::read(&visit, &org, base(&org), action.needs, &Typed::default()).await?;
    following::may(&visit, &about, action)?;
    visit.0.frame.organization = Some(about.key().to_owned());
    let form = action.shown(&about).back(following::back(&base(&org), action));
    if action.word == cycle::WORD {
        return cycle::show(&visit, &about, form, Place::OwnSettings).await;
    }
    Ok(shown(&visit, super::previewed(&visit, form), Place::OwnSettings))
}

/// The same, sent.
pub(in super::super) async fn sent(
    Path((org, word)): Path<(String, String)>,
    mut sent: Sent,
) -> Result<Response<Body>, Trouble> {
    let action = action(&word, sent.visit.me().operator)?;
    let about = about::read(&sent.visit, &org, base(&org), action.needs, &sent.typed).await?;
    sent.visit.0.frame.organization = Some(about.key().to_owned());
    let form = action.shown(&about).back(following::back(&base(&org), action));
    if let Some(problem) = following::unconfirmed(action, &form, &about, &sent.typed) {
        return Ok(super::unsent(&sent.visit.frame, form, &sent.typed, &problem, Place::OwnSettings));
    }
    let counted = match sent.typed.counted(&form) {
        Ok(counted) => counted,
        Err(problem) => return Ok(super::unsent(&sent.visit.frame, form, &sent.typed, &problem, Place::OwnSettings)),
    };
    let call = action.asked(&about, &counted.measured(&about.meters));
    let then = following::then(action, &about, &sent.typed);
    if action.word == cycle::WORD {
        return cycle::sent(&sent, &about, form, &call, then, Place::OwnSettings).await;
    }
    send(&sent, form, &call, then, Place::OwnSettings).await
}
