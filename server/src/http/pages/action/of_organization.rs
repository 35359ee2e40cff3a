//! What operators do to an organization.

use axum::body::Body;
use axum::extract::Path;
use axum::http::Response;
use metergate_pages::frame::Place;

use super::super::sent::{Sent, Typed};
use super::super::trouble::Trouble;
use super::super::visit::{AtDashboard, in_path};
use super::calls::{ACTIONS, Action};
use super::{about, cycle, following, send, show as shown};

fn action(word: &str) -> Result<&'static Action, Trouble> {
    ACTIONS.iter().find(|action| action.word == word).ok_or_else(Trouble::not_found)
}

/// The form of an action.
pub(in super::super) async fn show(
    AtDashboard(visit): AtDashboard,
    Path((org, word)): Path<(String, String)>,
) -> Result<Response<Body>, Trouble> {
    let action = action(&word)?;
    let base = format!("/admin/organizations/{}", in_path(&org));
    let about = about::read(&visit, &org, base.clone(), action.needs, &Typed::default()).await?;
    let form = action.shown(&about).back(following::back(&base, action));
    if action.word == cycle::WORD {
        return cycle::show(&visit, &about, form, Place::Organizations).await;
    }
    Ok(shown(&visit, super::previewed(&visit, form), Place::Organizations))
}

/// The same, sent.
pub(in super::super) async fn sent(
    Path((org, word)): Path<(String, String)>,
    sent: Sent,
) -> Result<Response<Body>, Trouble> {
    if !sent.visit.me().operator {
        return Err(Trouble::not_found());
    }
    let action = action(&word)?;
    let base = format!("/admin/organizations/{}", in_path(&org));
    let about = about::read(&sent.visit, &org, base.clone(), action.needs, &sent.typed).await?;
    let form = action.shown(&about).back(following::back(&base, action));
    if let Some(problem) = following::unconfirmed(action, &form, &about, &sent.typed) {
        return Ok(super::unsent(&sent.visit.frame, form, &sent.typed, &problem, Place::Organizations));
    }
    let counted = match sent.typed.counted(&form) {
        Ok(counted) => counted,
        Err(problem) => {
            return Ok(super::unsent(&sent.visit.frame, form, &sent.typed, &problem, Place::Organizations));
        }
    };
    let call = action.asked(&about, &counted.measured(&about.meters));
    let then = following::then(action, &about, &sent.typed);
    if action.word == cycle::WORD {
        return cycle::sent(&sent, &about, form, &call, then, Place::Organizations).await;
    }
    send(&sent, form, &call, then, Place::Organizations).await
}
