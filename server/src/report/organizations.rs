//! The list of organizations.

use metergate_rules::account::{Account, Status};
use metergate_rules::due::status_name;
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef, PlanKey};

use super::organization::OrganizationBody;
use super::{Listed, Report, bad_cursor};
use crate::store::Scope;
use crate::store::reader::ReadError;

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

/// Organizations that a filter may take, by key. What has fallen due but is not in the row yet may change status, plan and
/// locks (a trial that has just ended), so such rows are looked at in any case.
const CANDIDATES: &str = "
    SELECT o.id, o.key FROM organizations o
    WHERE o.key > ?1
      AND (?2 IS NULL OR o.id = ?2)
      AND (?3 IS NULL OR o.key LIKE ?3 ESCAPE '\\' OR o.name LIKE ?3 ESCAPE '\\')
      AND (((?4 IS NULL OR o.status = ?4)
            AND (?5 IS NULL OR o.locked = ?5)
            AND (?6 IS NULL OR o.plan IN (SELECT id FROM plans WHERE key = ?6)))
           OR (SELECT a.next_due FROM accounts a WHERE a.id = o.id) <= ?7)
    ORDER BY o.key";

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
            Scope::Organization(own) | Scope::Portal { organization: own, .. } => Some(own.0),
            // Nobody but operators lists all.
            Scope::Team | Scope::Member { .. } => None,
        };
        let mut query = self.view.sqlite().connection().prepare_cached(CANDIDATES)?;
        let status = filter.status.map(status_name);
        let plan = filter.plan.as_ref().map(PlanKey::as_str);
        let asked = (after, own, filter.pattern(), status, filter.locked, plan, self.now.micros());
        let mut rows = query.query(asked)?;
        let mut data: Vec<OrganizationBody> = Vec::new();
        while let Some(row) = rows.next()? {
            let account = self.current(&OrganizationRef::Id(OrganizationId(row.get(0)?)))?.account;
            if !filter.takes(&account, self) {
                continue;
            } else if data.len() == limit {
                let next = data.last().map(|last| last.key.clone().into_bytes());
                return Ok(Listed { data, next });
            }
            data.push(OrganizationBody::of(&account, self.catalogue));
        }
        Ok(Listed { data, next: None })
    }

    /// The keys of organizations after one, in order, at most so many.
    pub(super) fn keys_after(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(OrganizationId, OrganizationKey)>, ReadError> {
        let sql = "SELECT id, key FROM organizations WHERE key > ? ORDER BY key LIMIT ?";
        let mut query = self.view.sqlite().connection().prepare_cached(sql)?;
        let mut rows = query.query((after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let key = OrganizationKey::new(&row.get::<_, String>(1)?);
            let key = key.map_err(metergate_rules::decide::Problem::from).map_err(crate::store::StoreError::from)?;
            found.push((OrganizationId(row.get(0)?), key));
        }
        Ok(found)
    }
}
