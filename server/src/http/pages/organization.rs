//! The pages of one organization: for operators below `/admin`, for its members below `/organizations`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::Response;
use metergate_pages::answers::{
    Explanation, Forecast, Invitation, Key, Meter, Organization, Paged, Standings, UsageRow,
};
use metergate_pages::audit::AuditTab;
use metergate_pages::cycle::CycleTab;
use metergate_pages::format::Zone;
use metergate_pages::frame::Place;
use metergate_pages::organization::{
    Choice, Explain, Head, LimitsParts, LimitsTab, UsageParts, UsageTab, forecasts, on_dates,
};
use metergate_pages::organizations::in_query;
use metergate_pages::people::{FoundKeys, Invited, KeysTab, MembersTab, Search};
use metergate_pages::subscription::SubscriptionTab;
use metergate_pages::typed::instant;
use serde::de::DeserializeOwned;

use super::html;
use super::trouble::Trouble;
use super::visit::{AtDashboard, Visit, in_path};
use super::who;

type Page = Result<Response<Body>, Trouble>;

/// One organization as somebody sees it.
struct Seen {
    visit: Visit,
    organization: Organization,
    /// The address of its page.
    base: String,
    place: Place,
}

impl Seen {
    async fn by_operator(visit: Visit, org: &str) -> Result<Self, Trouble> {
        let organization: Organization = visit.api.get(&format!("/v1/organizations/{}", in_path(org))).await?;
        let base = format!("/admin/organizations/{}", in_path(&organization.key));
        Ok(Self { visit, organization, base, place: Place::Organizations })
    }

    async fn by_member(mut visit: Visit, org: &str) -> Result<Self, Trouble> {
        let organization: Organization = visit.api.get(&format!("/v1/organizations/{}", in_path(org))).await?;
        let base = format!("/organizations/{}/settings", in_path(&organization.key));
        visit.0.frame.organization = Some(organization.key.clone());
        Ok(Self { visit, organization, base, place: Place::OwnSettings })
    }

    fn path(&self, below: &str) -> String {
        format!("/v1/organizations/{}{below}", in_path(&self.organization.key))
    }

    fn head(&self, tab: &'static str) -> Head {
        let frame = &self.visit.frame;
        let role = frame.role_in(&self.organization.key);
        Head::new(frame, self.organization.clone(), self.base.clone(), role, tab)
    }

    async fn usage(self) -> Page {
        let parts = use_of(&self.visit, &self.organization).await?;
        Ok(html(&UsageTab::new(self.visit.frame.clone(), self.head(""), parts, self.place)))
    }

    async fn tab(self, tab: &str) -> Page {
        match tab {
            "limits" => self.limits().await,
            "cycle" => {
                let cycle = self.visit.api.get(&self.path("/billing-cycle")).await?;
                Ok(html(&CycleTab::new(self.visit.frame.clone(), self.head("cycle"), cycle, self.place)))
            }
            "subscription" => {
                let subscription = self.visit.api.get(&self.path("/subscription")).await?;
                let head = self.head("subscription");
                Ok(html(&SubscriptionTab::new(self.visit.frame.clone(), head, subscription, self.place)))
            }
            "members" => {
                let (search, page) = listed(&self.visit, &self.path("/members")).await?;
                let invited = if search.is_later { Invited::default() } else { self.invited(&search).await? };
                let frame = self.visit.frame.clone();
                Ok(html(&MembersTab::new(frame, self.head("members"), page, invited, &search, self.place)))
            }
            "keys" => {
                let (search, page) = listed::<Key>(&self.visit, &self.path("/api-keys")).await?;
                let (org, names) = (Some(self.organization.key.as_str()), who::known(&self.visit).await?);
                let makers = page.data.iter().filter_map(Key::maker);
                let names = who::with_members(&self.visit, org, names, makers).await?;
                let found = FoundKeys { page, names };
                Ok(html(&KeysTab::new(self.visit.frame.clone(), self.head("keys"), found, &search, self.place)))
            }
            "audit" => self.audit().await,
            "explain" => self.explain().await,
            _ => Err(Trouble::not_found()),
        }
    }

    /// The meters that its plan names, that were used, or on which it has credit.
    async fn meters(&self) -> Result<Vec<Meter>, Trouble> {
        let standings: Standings = self.visit.api.get(&self.path("/usage?numbers=string")).await?;
        Ok(standings.known())
    }

    /// Who is invited, and by whom.
    async fn invited(&self, search: &Search) -> Result<Invited, Trouble> {
        let path = self.path(&format!("/invitations?limit={ROWS}&{}", search.query()));
        let Paged { data: invitations, next_cursor } = self.visit.api.get::<Paged<Invitation>>(&path).await?;
        let (org, names) = (Some(self.organization.key.as_str()), who::known(&self.visit).await?);
        let names = who::with_members(&self.visit, org, names, invitations.iter().map(Invitation::by)).await?;
        Ok(Invited { invitations, names, is_more: next_cursor.is_some() })
    }

    async fn limits(self) -> Page {
        let api = &self.visit.api;
        let parts = LimitsParts {
            meters: self.meters().await?,
            quota: api.get(&self.path("/quota?numbers=string")).await?,
            grants: api.get(&self.path(&format!("/grants?numbers=string&limit={ROWS}{}", cursor(&self.visit)))).await?,
            is_later: self.visit.query("cursor").is_some(),
        };
        Ok(html(&LimitsTab::new(self.visit.frame.clone(), self.head("limits"), parts, self.place)))
    }

    async fn audit(self) -> Page {
        let mut filter = super::admin::filter(&self.visit);
        filter.organization.clear();
        let zone = Zone::new(&self.organization.time_zone);
        let found = who::entries(&self.visit, Some(&self.organization.key), &filter, &zone).await?;
        Ok(html(&AuditTab::new(self.visit.frame.clone(), self.head("audit"), found, filter, self.place)))
    }

    async fn explain(self) -> Page {
        let mut asked = vec!["numbers=string".to_owned()];
        asked.extend(self.visit.query("meter").map(|meter| format!("meter={}", in_query(meter))));
        let at = self.visit.query("at").map(|at| instant(at, &self.organization.time_zone));
        asked.extend(at.iter().map(|at| format!("at={}", in_query(at))));
        let explanation: Explanation = self.visit.api.get(&self.path(&format!("/explain?{}", asked.join("&")))).await?;
        let names = who::known(&self.visit).await?;
        let (org, named) = (Some(self.organization.key.as_str()), explanation.actors().collect::<Vec<_>>());
        let names = who::with_members(&self.visit, org, names, named.iter().map(String::as_str)).await?;
        let names = explanation.naming(who::with_things(&self.visit, org, names).await?);
        let (meters, head, frame) = (self.meters().await?, self.head(""), self.visit.frame.clone());
        Ok(html(&Explain::new(frame, head, (explanation, names), meters, at.is_some(), self.place)))
    }
}

/// Rows in a page of a list.
const ROWS: u32 = 50;

/// Where a list goes on, as the rest of a query.
fn cursor(visit: &Visit) -> String {
    visit.query("cursor").map_or_else(String::new, |cursor| format!("&cursor={}", in_query(cursor)))
}

/// The page of a list that an address asks for, of what it looks for.
pub(super) async fn listed<T: DeserializeOwned>(visit: &Visit, path: &str) -> Result<(Search, Paged<T>), Trouble> {
    let search = visit.query("search").unwrap_or_default().to_owned();
    let search = Search { search, is_later: visit.query("cursor").is_some() };
    let page = visit.api.get(&format!("{path}?limit={ROWS}&{}{}", search.query(), cursor(visit))).await?;
    Ok((search, page))
}

/// Reads what was used.
pub(super) async fn use_of(visit: &Visit, organization: &Organization) -> Result<UsageParts, Trouble> {
    let api = &visit.api;
    let key = in_path(&organization.key);
    let standings: Standings = api.get(&format!("/v1/organizations/{key}/usage?numbers=string")).await?;
    let meters = standings.known();
    let asked = |name: &str| visit.query(name).map(str::to_owned);
    let now = organization.clock.as_deref().unwrap_or(&visit.frame.now);
    let choice = Choice::new(organization, &meters, &standings, asked, now);
    let rows = match choice.query(organization) {
        Some(path) => api.get::<Paged<UsageRow>>(&path).await?.data,
        None => Vec::new(),
    };
    let on_dates = api.get::<Paged<UsageRow>>(&on_dates(organization)).await?.data;
    let forecast: Forecast = api.get(&format!("/v1/organizations/{key}/forecast?numbers=string")).await?;
    let zone = Zone::new(&organization.time_zone);
    let forecasts = forecasts(&forecast, &meters, &zone, now, organization.is_locked());
    Ok(UsageParts { standings, on_dates, choice, rows, forecasts })
}

pub(super) async fn usage(AtDashboard(visit): AtDashboard, Path(org): Path<String>) -> Page {
    Seen::by_operator(visit, &org).await?.usage().await
}

pub(super) async fn tab(AtDashboard(visit): AtDashboard, Path((org, tab)): Path<(String, String)>) -> Page {
    Seen::by_operator(visit, &org).await?.tab(&tab).await
}

pub(super) async fn own_usage(visit: Visit, Path(org): Path<String>) -> Page {
    Seen::by_member(visit, &org).await?.usage().await
}

pub(super) async fn own_tab(visit: Visit, Path((org, tab)): Path<(String, String)>) -> Page {
    Seen::by_member(visit, &org).await?.tab(&tab).await
}

/// `/dashboard/settings?org=`: to where the organization's settings are for whoever asks.
pub(super) async fn dashboard_settings(visit: Visit) -> Page {
    let org =
        visit.query("org").map(str::to_owned).or_else(|| visit.me().organizations.first().map(|own| own.key.clone()));
    let Some(org) = org else { return Err(Trouble::not_found()) };
    let organization: Organization = visit.api.get(&format!("/v1/organizations/{}", in_path(&org))).await?;
    let key = in_path(&organization.key);
    Err(Trouble::Go(if visit.me().operator {
        format!("/admin/organizations/{key}#overrides")
    } else {
        format!("/organizations/{key}/settings")
    }))
}
