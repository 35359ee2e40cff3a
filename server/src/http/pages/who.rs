//! By whom entries of the audit log are and what they are about, as far as whoever reads them may know: themselves, administrators
//! where they are one, members of the organization where they may see those; meters and plans by their names.

use axum::http::StatusCode;
use metergate_pages::answers::{AuditEntry, Member, Organization, Paged, Standings, User};
use metergate_pages::audit::{AuditFilter, Found};
use metergate_pages::format::Zone;
use metergate_pages::organizations::in_query;
use metergate_pages::who::Names;

use super::admin::shown;
use super::trouble::Trouble;
use super::visit::{Visit, in_path};

/// Entries in a page of the log.
const ROWS: u32 = 50;

/// A page of a log. `org` is the key of the organization that it is of; none of the team's.
pub(super) async fn entries(
    visit: &Visit,
    org: Option<&str>,
    filter: &AuditFilter,
    zone: &Zone,
) -> Result<Found, Trouble> {
    let (filter, names) = by_address(visit, org, filter.clone(), known(visit).await?).await?;
    let path =
        org.map_or_else(|| "/v1/audit-log".to_owned(), |org| format!("/v1/organizations/{}/audit-log", in_path(org)));
    let cursor = visit.query("cursor").map_or_else(String::new, |cursor| format!("&cursor={}", in_query(cursor)));
    let found = visit.api.get(&format!("{path}?limit={ROWS}&{}{cursor}", filter.asked(zone))).await;
    let (page, error): (Paged<AuditEntry>, _) = shown(found)?;
    let named: Vec<String> = page.data.iter().flat_map(AuditEntry::actors).collect();
    let names = with_members(visit, org, names, named.iter().map(String::as_str)).await?;
    let names = if page.data.is_empty() { names } else { with_things(visit, org, names).await? };
    let names = names.with_plans_of(&page.data);
    Ok(Found { page, names, error })
}

/// With the names of what entries are about: operators see all of it, members what concerns their organization.
pub(super) async fn with_things(visit: &Visit, org: Option<&str>, names: Names) -> Result<Names, Trouble> {
    let api = &visit.api;
    if visit.me().operator {
        let names = names.with_meters(api.all("/v1/meters").await?).with_plans(&api.all("/v1/plans").await?);
        return Ok(match org {
            Some(_) => names,
            None => names.with_endpoints(&api.all("/v1/webhook-endpoints").await?),
        });
    }
    let Some(org) = org.map(in_path) else { return Ok(names) };
    let organization: Organization = api.get(&format!("/v1/organizations/{org}")).await?;
    let standings: Standings = api.get(&format!("/v1/organizations/{org}/usage?numbers=string")).await?;
    Ok(names.with_meters(standings.known()).with_plan(&organization.plan, &organization.plan_name))
}

/// Those whom somebody knows wherever they look.
pub(super) async fn known(visit: &Visit) -> Result<Names, Trouble> {
    let names = Names::default().with_users(&visit.me().user);
    if !visit.me().operator {
        return Ok(names);
    }
    let administrators: Vec<User> = visit.api.all("/v1/administrators").await?;
    Ok(names.with_users(&administrators))
}

/// With those among actors who are members of an organization.
pub(super) async fn with_members<'a>(
    visit: &Visit,
    org: Option<&str>,
    mut names: Names,
    actors: impl IntoIterator<Item = &'a str>,
) -> Result<Names, Trouble> {
    let Some(org) = org else { return Ok(names) };
    for id in names.unknown(actors) {
        let path = format!("/v1/organizations/{}/members/{}", in_path(org), in_path(&id));
        if let Some(member) = seen::<Member>(visit.api.get(&path).await)? {
            names = names.with_member(&member);
        }
    }
    Ok(names)
}

/// What is looked for, with the user in place of their address, as the log knows them.
async fn by_address(
    visit: &Visit,
    org: Option<&str>,
    mut filter: AuditFilter,
    mut names: Names,
) -> Result<(AuditFilter, Names), Trouble> {
    if !filter.actor.contains('@') {
        return Ok((filter, names));
    }
    if let Some(org) = org {
        let path = format!("/v1/organizations/{}/members?search={}", in_path(org), in_query(&filter.actor));
        let found: Option<Paged<Member>> = seen(visit.api.get(&path).await)?;
        names = found.iter().flat_map(|page| &page.data).fold(names, Names::with_member);
    }
    if let Some(actor) = names.actor_of(&filter.actor) {
        filter.actor = actor;
    }
    Ok((filter, names))
}

/// Nothing where whoever looks may not see it, or it is gone.
fn seen<T>(found: Result<T, Trouble>) -> Result<Option<T>, Trouble> {
    match found {
        Err(Trouble::Refused(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN, _)) => Ok(None),
        found => found.map(Some),
    }
}
