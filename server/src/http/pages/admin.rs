//! The dashboard's pages about all organizations, and the team's audit log.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use metergate_pages::answers::{Fleet, Head, Organization, Paged, UsageRow, Verification};
use metergate_pages::audit::{Audit, AuditFilter, Verify};
use metergate_pages::format::Zone;
use metergate_pages::organizations::{Filter, Lately, Organizations, in_query};
use metergate_pages::overview::Overview;

use super::html;
use super::trouble::Trouble;
use super::visit::{AtDashboard, Visit, unless};
use super::who;

type Page = Result<Response<Body>, Trouble>;

/// Organizations in a list of the overview, and in a page of the list.
const LEADING: u32 = 8;
const ROWS: u32 = 50;
/// Parts in which the chains of the audit log are verified for one page.
const MOST_PARTS: usize = 200;

pub(super) async fn overview(AtDashboard(visit): AtDashboard) -> Page {
    let fleet: Fleet = visit.api.get(&format!("/v1/fleet?limit={LEADING}&numbers=string")).await?;
    let meters = visit.api.all("/v1/meters").await?;
    let endpoints = visit.api.all("/v1/webhook-endpoints").await?;
    let page = Overview::new(visit.frame.clone(), fleet, meters, visit.query("meter"));
    let plans = visit.api.all("/v1/plans").await?;
    Ok(html(&page.with_webhooks(endpoints).with_plans(plans)))
}

pub(super) async fn organizations(AtDashboard(visit): AtDashboard) -> Page {
    let text = |name: &str| visit.query(name).unwrap_or_default().to_owned();
    let filter = Filter {
        search: text("search"),
        status: text("status"),
        plan: text("plan"),
        locked: text("locked"),
        sort: text("sort"),
        meter: text("meter"),
        is_later: visit.query("cursor").is_some(),
    };
    let cursor = visit.query("cursor").map_or_else(String::new, |cursor| format!("&cursor={}", in_query(cursor)));
    let path = format!("/v1/organizations?limit={ROWS}&{}{cursor}", filter.asked());
    let (page, error) = shown(visit.api.get::<Paged<Organization>>(&path).await)?;
    let plans = visit.api.all("/v1/plans").await?;
    let mut lately = Lately::new(visit.api.all("/v1/meters").await?, &filter.meter, &visit.frame.now);
    if let Some(path) = lately.query(&page) {
        // One of them may be gone since it was listed: then there are no lines.
        let found = unless(StatusCode::NOT_FOUND, visit.api.get::<Paged<UsageRow>>(&path).await)?;
        lately = lately.with(found.map_or_else(Vec::new, |found| found.data));
    }
    Ok(html(&Organizations::new(visit.frame.clone(), page, plans, filter, lately, error)))
}

/// A list, or nothing and why what is looked for cannot be.
pub(super) fn shown<T>(found: Result<Paged<T>, Trouble>) -> Result<(Paged<T>, Option<String>), Trouble> {
    let nothing = || Paged { data: Vec::new(), next_cursor: None };
    match found {
        Ok(page) => Ok((page, None)),
        Err(Trouble::Refused(StatusCode::UNPROCESSABLE_ENTITY, problem)) => {
            let faults: Vec<_> = problem.errors.iter().map(|fault| fault.detail.clone()).collect();
            Ok((nothing(), Some(if faults.is_empty() { problem.detail } else { faults.join(" ") })))
        }
        Err(Trouble::Refused(StatusCode::NOT_FOUND, _)) => {
            Ok((nothing(), Some("There is no such organization.".to_owned())))
        }
        Err(trouble) => Err(trouble),
    }
}

/// What of a log is looked for.
pub(super) fn filter(visit: &Visit) -> AuditFilter {
    let text = |name: &str| visit.query(name).unwrap_or_default().to_owned();
    AuditFilter {
        organization: text("organization"),
        actor: text("actor"),
        action: text("action"),
        category: text("category"),
        from: text("from"),
        to: text("to"),
        is_later: visit.query("cursor").is_some(),
    }
}

pub(super) async fn audit(AtDashboard(visit): AtDashboard) -> Page {
    let filter = filter(&visit);
    let org = Some(filter.organization.as_str()).filter(|key| !key.is_empty());
    let found = who::entries(&visit, org, &filter, &Zone::utc()).await?;
    Ok(html(&Audit::new(visit.frame.clone(), found, filter)))
}

/// Verifies every chain, part after part.
pub(super) async fn verify(AtDashboard(visit): AtDashboard) -> Page {
    let mut whole: Option<Verification> = None;
    let mut next = Some(String::new());
    for _ in 0..MOST_PARTS {
        let Some(cursor) = next.take() else { break };
        let query = if cursor.is_empty() { String::new() } else { format!("?cursor={}", in_query(&cursor)) };
        let part: Verification = visit.api.get(&format!("/v1/audit-log/verify{query}")).await?;
        next = part.next_cursor.clone();
        whole = Some(match whole {
            Some(whole) => whole.and(part),
            None => part,
        });
    }
    if next.is_some() {
        return Err(Trouble::too_long());
    }
    let head: Head = visit.api.get("/v1/audit-log/head").await?;
    let verification = whole.ok_or_else(Trouble::broken)?;
    Ok(html(&Verify::new(visit.frame.clone(), verification, head)))
}
