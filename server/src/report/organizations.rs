//! The list of organizations.

use metergate_rules::account::{Account, LockCause, Status};
use metergate_rules::due::status_name;
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef, PlanKey};

use super::organization::OrganizationBody;
use super::{Listed, Report, bad_cursor, text_of};
use crate::store::Scope;
use crate::store::reader::ReadError;
use crate::store::rows::{Candidates, Listing};

/// Which organizations.
#[derive(Clone, Debug, Default)]
pub struct OrganizationFilter {
    /// With this status.
    pub status: Option<Status>,
    /// On this plan, in whatever version.
    pub plan: Option<PlanKey>,
    /// Locked, or not.
    pub locked: Option<bool>,
    /// With a lock of this cause.
    pub locked_by: Option<LockCause>,
    /// Whose key or name begins so; of ASCII letters in either case.
    pub search: Option<String>,
}

impl OrganizationFilter {
    /// Whether an organization, as it is now, is among them. The search is left to the database: nothing falls due that
    /// changes a name.
    fn takes(&self, account: &Account, report: &Report<'_>) -> bool {
        let on = |key: &PlanKey| report.catalogue.plan_by_id(account.plan).is_some_and(|plan| plan.key == *key);
        self.status.is_none_or(|status| account.status == status)
            && self.plan.as_ref().is_none_or(on)
            && self.locked.is_none_or(|locked| locked != account.locks.is_empty())
            && self.locked_by.is_none_or(|cause| account.lock(cause).is_some())
    }

    /// The search as a pattern of `LIKE`.
    fn pattern(&self) -> Option<String> {
        let search = self.search.as_deref().filter(|search| !search.is_empty())?;
        Some(search.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_") + "%")
    }
}

/// Rows that are read at once.
const STEP: usize = 200;

/// In which order organizations are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By key.
    #[default]
    Key,
    /// The newest first.
    NewestFirst,
}

/// Where in that order a page is.
enum Place {
    Key(String),
    Newest(Option<OrganizationId>),
}

impl Sort {
    /// Where a page begins that a cursor leads to; nothing where it is no cursor of this order.
    fn place(self, after: Option<&[u8]>) -> Option<Place> {
        Some(match (self, after) {
            (Self::Key, after) => Place::Key(text_of(after.unwrap_or_default())?.to_owned()),
            (Self::NewestFirst, None) => Place::Newest(None),
            (Self::NewestFirst, Some(id)) => Place::Newest(Some(OrganizationId(id.try_into().ok()?))),
        })
    }

    /// What leads to the page after one that ends here.
    fn cursor(self, last: &OrganizationBody) -> Option<Vec<u8>> {
        match self {
            Self::Key => Some(last.key.clone().into_bytes()),
            Self::NewestFirst => match last.id.parse().ok()? {
                OrganizationRef::Id(id) => Some(id.0.to_vec()),
                OrganizationRef::Key(_) => None,
            },
        }
    }
}

impl Place {
    fn listing(&self) -> Listing<'_> {
        match self {
            Self::Key(after) => Listing::ByKey(after),
            Self::Newest(before) => Listing::NewestFirst(*before),
        }
    }

    fn after(&self, id: OrganizationId, key: &str) -> Self {
        match self {
            Self::Key(_) => Self::Key(key.to_owned()),
            Self::Newest(_) => Self::Newest(Some(id)),
        }
    }
}

impl Report<'_> {
    /// `GET /v1/organizations`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where `after` is no cursor of this list.
    pub fn organizations(
        &self,
        filter: &OrganizationFilter,
        sort: Sort,
        limit: usize,
        after: Option<&[u8]>,
    ) -> Result<Listed<OrganizationBody>, ReadError> {
        let Some(mut place) = sort.place(after) else { return bad_cursor() };
        let own = match self.scope {
            Scope::Organization(own) | Scope::Portal { organization: own, .. } => Some(own),
            // Nobody but operators lists all.
            Scope::Team | Scope::Member { .. } => None,
        };
        let pattern = filter.pattern();
        let mut data: Vec<OrganizationBody> = Vec::new();
        loop {
            let asked = Candidates {
                from: place.listing(),
                own,
                pattern: pattern.as_deref(),
                status: filter.status.map(status_name),
                locked: filter.locked.or(filter.locked_by.map(|_| true)),
                plan: filter.plan.as_ref().map(PlanKey::as_str),
                due: self.now,
            };
            let some = self.view.rows().candidates(&asked, STEP)?;
            let Some((id, key)) = some.last() else { break };
            place = place.after(*id, key);
            for (id, _) in &some {
                let account = self.current(&OrganizationRef::Id(*id))?.account;
                if !filter.takes(&account, self) {
                    continue;
                } else if data.len() == limit {
                    let next = data.last().and_then(|last| sort.cursor(last));
                    return Ok(Listed { data, next });
                }
                data.push(OrganizationBody::of(&account, self.catalogue));
            }
            if some.len() < STEP {
                break;
            }
        }
        Ok(Listed { data, next: None })
    }

    /// The keys of organizations after one, in order, at most so many.
    pub(super) fn keys_after(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(OrganizationId, OrganizationKey)>, ReadError> {
        let named = |(id, key): (OrganizationId, String)| {
            let key = OrganizationKey::new(&key).map_err(metergate_rules::decide::Problem::from);
            Ok((id, key.map_err(crate::store::StoreError::from)?))
        };
        self.view.rows().keys_after(after, limit)?.into_iter().map(named).collect()
    }
}
