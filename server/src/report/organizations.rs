//! The list of organizations.

use metergate_rules::account::{Account, Status};
use metergate_rules::due::status_name;
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef, PlanKey};

use super::organization::OrganizationBody;
use super::{Listed, Report, bad_cursor};
use crate::store::Scope;
use crate::store::reader::ReadError;
use crate::store::rows::Candidates;

/// Which organizations.
#[derive(Clone, Debug, Default)]
pub struct OrganizationFilter {
    /// With this status.
    pub status: Option<Status>,
    /// On this plan, in whatever version.
    pub plan: Option<PlanKey>,
    /// Locked, or not.
    pub locked: Option<bool>,
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
    }

    /// The search as a pattern of `LIKE`.
    fn pattern(&self) -> Option<String> {
        let search = self.search.as_deref().filter(|search| !search.is_empty())?;
        Some(search.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_") + "%")
    }
}

/// Rows that are read at once.
const STEP: usize = 200;

impl Report<'_> {
    /// `GET /v1/organizations`: by key.
    ///
    /// # Errors
    /// [`ReadError::Store`] where `after` is no cursor of this list.
    pub fn organizations(
        &self,
        filter: &OrganizationFilter,
        limit: usize,
        after: Option<&[u8]>,
    ) -> Result<Listed<OrganizationBody>, ReadError> {
        let Ok(after) = std::str::from_utf8(after.unwrap_or_default()) else { return bad_cursor() };
        let own = match self.scope {
            Scope::Organization(own) | Scope::Portal { organization: own, .. } => Some(own),
            // Nobody but operators lists all.
            Scope::Team | Scope::Member { .. } => None,
        };
        let (pattern, mut after) = (filter.pattern(), after.to_owned());
        let mut data: Vec<OrganizationBody> = Vec::new();
        loop {
            let asked = Candidates {
                after: &after,
                own,
                pattern: pattern.as_deref(),
                status: filter.status.map(status_name),
                locked: filter.locked,
                plan: filter.plan.as_ref().map(PlanKey::as_str),
                due: self.now,
            };
            let some = self.view.rows().candidates(&asked, STEP)?;
            let Some((_, last)) = some.last() else { break };
            after.clone_from(last);
            for (id, _) in &some {
                let account = self.current(&OrganizationRef::Id(*id))?.account;
                if !filter.takes(&account, self) {
                    continue;
                } else if data.len() == limit {
                    let next = data.last().map(|last| last.key.clone().into_bytes());
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
