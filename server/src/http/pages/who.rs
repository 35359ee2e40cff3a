//! By whom entries of the audit log are, as far as whoever reads them may know: themselves, administrators where they are one,
//! members of the organization where they may see those.

use axum::http::StatusCode;
use metergate_pages::answers::{AuditEntry, Member, Paged, User};
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
    let names = with_members(visit, org, names, page.data.iter().flat_map(AuditEntry::actors)).await?;
    Ok(Found { page, names, error })
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
