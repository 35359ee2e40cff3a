//! The dashboard's pages about what is the team's.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::Path;
use axum::http::{Response, StatusCode};
use metergate_pages::answers::{Key, Organization, Paged, Plan, StripeEvent};
use metergate_pages::catalog::{Meters, PlanPage, Plans};
use metergate_pages::organizations::in_query;
use metergate_pages::people::{FoundKeys, Keys};
use metergate_pages::settings::Settings;
use metergate_pages::subscription::StripeEvents;
use metergate_pages::who::Names;

use super::html;
use super::organization::listed;
use super::trouble::Trouble;
use super::visit::{AtDashboard, in_path, unless};
use super::who;

type Page = Result<Response<Body>, Trouble>;

pub(super) async fn plans(AtDashboard(visit): AtDashboard) -> Page {
    let (plans, meters) = (visit.api.all("/v1/plans").await?, visit.api.all("/v1/meters").await?);
    Ok(html(&Plans::new(visit.frame.clone(), plans, meters)))
}

pub(super) async fn plan(AtDashboard(visit): AtDashboard, Path(key): Path<String>) -> Page {
    let plan: Plan = visit.api.get(&format!("/v1/plans/{}", in_path(&key))).await?;
    Ok(html(&PlanPage::new(visit.frame.clone(), plan, visit.api.all("/v1/meters").await?)))
}

pub(super) async fn meters(AtDashboard(visit): AtDashboard) -> Page {
    Ok(html(&Meters::new(visit.frame.clone(), visit.api.all("/v1/meters").await?)))
}

pub(super) async fn keys(AtDashboard(visit): AtDashboard) -> Page {
    let (search, page) = listed::<Key>(&visit, "/v1/api-keys").await?;
    let mut names = who::known(&visit).await?;
    let bound: BTreeSet<&str> = page.data.iter().filter_map(Key::organization).collect();
    for id in bound {
        let found = visit.api.get::<Organization>(&format!("/v1/organizations/{}", in_path(id))).await;
        names = unless(StatusCode::NOT_FOUND, found)?.iter().fold(names, Names::with_organization);
    }
    Ok(html(&Keys::new(visit.frame.clone(), FoundKeys { page, names }, &search)))
}

pub(super) async fn settings(AtDashboard(visit): AtDashboard) -> Page {
    let settings = visit.api.get("/v1/settings").await?;
    let administrators = visit.api.all("/v1/administrators").await?;
    Ok(html(&Settings::new(visit.frame.clone(), settings, administrators)))
}

pub(super) async fn stripe(AtDashboard(visit): AtDashboard) -> Page {
    let is_all = visit.query("all").is_some();
    let states = if is_all { "" } else { "&state=unmatched&state=failed" };
    let cursor = visit.query("cursor").map_or_else(String::new, |cursor| format!("&cursor={}", in_query(cursor)));
    let page: Paged<StripeEvent> = visit.api.get(&format!("/v1/stripe-events?limit=50{states}{cursor}")).await?;
    Ok(html(&StripeEvents::new(visit.frame.clone(), page, is_all, !cursor.is_empty())))
}
