//! The portal: opened by somebody who is signed in, or by a link that the application has minted.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::SET_COOKIE;
use axum::http::request::Parts;
use axum::http::{Method, Response};
use metergate_pages::alone::AloneForm;
use metergate_pages::answers::{Organization, Standings};
use metergate_pages::forms::entry;
use metergate_pages::frame::Place;
use metergate_pages::organization::Head;
use metergate_pages::portal::{Billing, BillingParts, Portal};
use serde_json::{Value, json};

use super::action::once;
use super::api::Call;
use super::html;
use super::organization::use_of;
use super::sent::{Sent, SentByAnybody};
use super::trouble::{Trouble, see_other};
use super::visit::{Anybody, Pages, Visit, in_path};

type Page = Result<Response<Body>, Trouble>;

/// The organization that somebody wants to see: the one that is named, else their own.
pub(super) async fn seen(visit: &mut Visit) -> Result<Organization, Trouble> {
    let me = visit.me();
    let own = me.organization.as_deref().or_else(|| me.organizations.first().map(|own| own.key.as_str()));
    let org = match visit.query("org").or(own) {
        Some(org) => in_path(org),
        // Operators who are in none look at organizations in the dashboard.
        None if me.operator => return Err(Trouble::Go("/admin/organizations".to_owned())),
        None => return Err(Trouble::Go("/nowhere".to_owned())),
    };
    let organization: Organization = visit.api.get(&format!("/v1/organizations/{org}")).await?;
    visit.0.frame.organization = Some(organization.key.clone());
    Ok(organization)
}

fn head(visit: &Visit, organization: Organization) -> Head {
    let role = visit.frame.role_in(&organization.key).map(str::to_owned);
    Head::new(&visit.frame, organization, "/portal".to_owned(), role.as_deref(), "")
}

/// A visit with a link, which is opened by a button; or by somebody who is here already.
pub(super) enum Coming {
    WithLink(Box<Anybody>, String),
    Known(Box<Visit>),
}

impl FromRequestParts<Pages> for Coming {
    type Rejection = Trouble;
    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Trouble> {
        let visitor = Anybody::from_request_parts(parts, pages).await?;
        if let Some(token) = visitor.query("token").map(str::to_owned) {
            return Ok(Self::WithLink(Box::new(visitor), token));
        }
        Ok(Self::Known(Box::new(Visit::from_request_parts(parts, pages).await?)))
    }
}

pub(super) async fn usage(coming: Coming) -> Page {
    let mut visit = match coming {
        Coming::WithLink(visitor, token) => {
            let form = entry::open_portal(&token, !visitor.frame.csrf.is_empty()).to("/portal").once(once());
            let frame = visitor.frame.clone().at("Usage and billing", Place::None);
            return Ok(html(&AloneForm::new(frame, form, None)));
        }
        Coming::Known(visit) => *visit,
    };
    let organization = seen(&mut visit).await?;
    let parts = use_of(&visit, &organization).await?;
    let head = head(&visit, organization);
    Ok(html(&Portal::new(visit.frame.clone(), head, parts)))
}

/// Opens a link: the cookie is that of a session in this one organization from now on.
pub(super) async fn open(SentByAnybody { visitor, typed }: SentByAnybody) -> Page {
    let body = json!({"token": typed.word("token")});
    let answer = visitor.api.ask(&Call::new(Method::POST, "/v1/portal-sessions", body), None).await?;
    if !answer.status.is_success() {
        return Err(Trouble::refused(answer.status, answer.problem()));
    }
    let mut response = see_other("/portal");
    for cookie in answer.headers.get_all(SET_COOKIE) {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
    Ok(response)
}

pub(super) async fn billing(mut visit: Visit) -> Page {
    let organization = seen(&mut visit).await?;
    let (api, key) = (&visit.api, in_path(&organization.key));
    let standings: Standings = api.get(&format!("/v1/organizations/{key}/usage?numbers=string")).await?;
    let parts = BillingParts {
        meters: standings.known(),
        standings,
        grants: api.all(&format!("/v1/organizations/{key}/grants?numbers=string")).await?,
        cycle: api.get(&format!("/v1/organizations/{key}/billing-cycle")).await?,
        subscription: api.get(&format!("/v1/organizations/{key}/subscription")).await?,
    };
    let head = head(&visit, organization);
    Ok(html(&Billing::new(visit.frame.clone(), head, parts)))
}

/// Sends whoever may to Stripe's page for their subscription.
pub(super) async fn manage(sent: Sent) -> Page {
    pay(sent, "portal", Value::Null).await
}

/// Sends whoever may to where a plan is paid for.
pub(super) async fn upgrade(sent: Sent) -> Page {
    let plan = json!({"plan": sent.typed.word("plan")});
    pay(sent, "checkout", plan).await
}

async fn pay(sent: Sent, way: &str, body: Value) -> Page {
    let mut visit = sent.visit;
    let organization = seen(&mut visit).await?;
    let path = format!("/v1/organizations/{}/subscription/{way}", in_path(&organization.key));
    let answer = visit.api.ask(&Call::new(Method::POST, path, body), None).await?;
    if !answer.status.is_success() {
        return Err(Trouble::refused(answer.status, answer.problem()));
    }
    let made: Value = answer.read()?;
    Ok(see_other(made["url"].as_str().unwrap_or("/portal/billing")))
}
