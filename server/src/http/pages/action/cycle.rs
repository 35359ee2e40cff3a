//! The dialog "Update Billing Cycle": a form that shows what a date would change before it is sent.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use metergate_pages::answers::Cycle;
use metergate_pages::cycle::CycleDialog;
use metergate_pages::form::Form;
use metergate_pages::frame::Place;
use metergate_pages::organization::Head;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::api::Call;
use super::super::html;
use super::super::sent::Sent;
use super::super::trouble::Trouble;
use super::super::visit::{Visit, in_path};
use super::about::About;
use super::{Then, again, done, once};

/// The action's word.
pub(super) const WORD: &str = "cycle";
/// The name of the date in the form, in the address of a preview, and in the API.
const DATE: &str = "billingCycleStartDate";

/// The dialog, with what its date would change: that in the address, or the one that it begins with.
pub(super) async fn show(visit: &Visit, about: &About, form: Form, place: Place) -> Result<Response<Body>, Trouble> {
    let path = format!("/v1/organizations/{}/billing-cycle", in_path(about.key()));
    let date = visit.query(DATE).map(str::to_owned);
    let mut form = form.once(once());
    let mut preview = None;
    let begins = form.value_of(DATE).map(str::to_owned).filter(|begins| !begins.is_empty());
    let is_own = date.is_none();
    if let Some(typed) = &date {
        form = form.with(|name| (name == DATE).then(|| typed.clone()));
    }
    if let Some(date) = date.or(begins) {
        let asked = format!("{path}?{DATE}={}", utf8_percent_encode(&date, NON_ALPHANUMERIC));
        match visit.api.get::<Cycle>(&asked).await {
            Ok(cycle) => preview = Some(cycle),
            // Nobody has typed the date that the form begins with: what is wrong with that is said when it is sent.
            Err(Trouble::Refused(status, _)) if status.is_client_error() && is_own => {}
            Err(Trouble::Refused(status, problem)) if status.is_client_error() => form = form.refused(&problem),
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(page(visit, about, form, preview, place))
}

/// The same, sent: where it is refused it comes back as it was.
pub(super) async fn sent(
    sent: &Sent,
    about: &About,
    form: Form,
    call: &Call,
    then: Then,
    place: Place,
) -> Result<Response<Body>, Trouble> {
    let answer = sent.visit.api.ask(call, sent.typed.once()).await?;
    match answer.status {
        status if status.is_success() => Ok(done(&sent.visit.frame, &answer, then, place)),
        StatusCode::UNAUTHORIZED => Err(Trouble::refused(answer.status, answer.problem())),
        status => {
            let mut response = page(&sent.visit, about, again(form, &sent.typed, &answer), None, place);
            *response.status_mut() = status;
            Ok(response)
        }
    }
}

fn page(visit: &Visit, about: &About, form: Form, preview: Option<Cycle>, place: Place) -> Response<Body> {
    let frame = visit.frame.clone();
    let role = frame.role_in(about.key()).map(str::to_owned);
    let head = Head::new(&frame, about.organization.clone(), about.base.clone(), role.as_deref(), "cycle");
    html(&CycleDialog::new(frame, head, form, preview, place))
}
