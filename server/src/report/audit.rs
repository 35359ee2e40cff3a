//! The audit log as callers read it (O6).

use std::collections::BTreeMap;

use metergate_rules::audit::actions::{is_meant, is_own};
use metergate_rules::id::OrganizationRef;
use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Listed, Report, Timestamp, bad_cursor, stored_object};
use crate::catalogue::Snapshot;
use crate::hex::hex;
use crate::store::audit::{AuditRow, Cut, TEAM, beginning, chain_of};
use crate::store::reader::{ReadError, View};
use crate::store::{Scope, StoreError};

mod csv;
mod verification;

pub use csv::csv;
pub use verification::{ChainHeadBody, FindingBody, HeadBody, Noted, VerificationBody};

/// Entries that are looked at for one page at most.
const MOST_READ: usize = 5_000;
/// Entries that are read at once.
const STEP: usize = 200;

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntryBody {
    /// Its place in its chain, the organization's or the team's, from 1.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To which kind of thing.
    pub category: String,
    /// What stood before.
    #[schema(value_type = Object)]
    pub before: Box<RawValue>,
    /// What stands now.
    #[schema(value_type = Object)]
    pub after: Box<RawValue>,
    /// What else there is to say.
    #[schema(value_type = Object)]
    pub details: Box<RawValue>,
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// How it was dealt with, where it was.
    pub resolved: Option<ResolutionBody>,
    /// The hash that the next entry carries, in hexadecimal digits.
    pub hash: String,
    /// Whether what may be personal was forgotten, since the organization was deleted. The entry is in its chain as it was.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// The names of the plans that an entry of Metergate's own says something of, by their keys, also of those that were deleted
    /// since: whoever reads a log may see no other plan than their own.
    #[serde(rename = "planNames", skip_serializing_if = "BTreeMap::is_empty")]
    pub plan_names: BTreeMap<String, String>,
}

/// That an entry was dealt with.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResolutionBody {
    /// When.
    pub at: Timestamp,
    /// Who says so.
    pub by: String,
    /// What became of it.
    pub note: String,
}

/// Where a log begins of which older entries were exported and dropped.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BeginningBody {
    /// The place of its first entry that is kept.
    pub seq: u64,
    /// What was dropped is from before this.
    pub until: Timestamp,
    /// The hash of the last entry that was dropped, in hexadecimal digits: the chain goes on from it.
    pub hash: String,
    /// SHA-256 of the file that the last ones were exported to, in hexadecimal digits.
    pub file: String,
}

impl From<Cut> for BeginningBody {
    fn from(cut: Cut) -> Self {
        Self { seq: cut.sequence + 1, until: Timestamp(cut.until), hash: hex(&cut.hash), file: hex(&cut.file) }
    }
}

impl AuditEntryBody {
    /// An entry, with the one that says how it was dealt with.
    pub fn of(row: AuditRow, resolution: Option<AuditRow>) -> Self {
        Self {
            seq: row.sequence,
            time: Timestamp(row.at),
            before: stored_object(&row.before),
            after: stored_object(&row.after),
            details: stored_object(&row.details),
            redacted: row.redacted.is_some(),
            actor: if row.redacted.is_some() { "redacted".to_owned() } else { row.actor },
            action: row.action,
            category: row.category,
            reason: Some(row.reason).filter(|reason| !reason.is_empty()),
            resolved: resolution.and_then(ResolutionBody::of),
            hash: hex(&row.hash),
            plan_names: BTreeMap::new(),
        }
    }

    /// A stored entry.
    pub(super) fn stored(view: &View<'_>, catalogue: &Snapshot, row: AuditRow) -> Result<Self, ReadError> {
        let resolution = view.rows().audit_resolution(row.chain, row.sequence)?;
        let plan_names = plan_names(&row, catalogue);
        Ok(Self { plan_names, ..Self::of(row, resolution) })
    }
}

/// The names of the plans on either side of an entry. None of what the application writes: it may name any plan, and whoever reads
/// it would learn what that is called.
fn plan_names(row: &AuditRow, catalogue: &Snapshot) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        plan: Option<String>,
        scheduled_plan: Option<String>,
    }
    if !is_own(&row.action) {
        return BTreeMap::new();
    }
    let sides = [&row.before, &row.after].into_iter().filter_map(|side| serde_json::from_str::<Named>(side).ok());
    let keys = sides.flat_map(|named| [named.plan, named.scheduled_plan]).flatten();
    keys.filter_map(|key| Some((key.clone(), catalogue.plan_title(&key)?.to_owned()))).collect()
}

impl ResolutionBody {
    fn of(row: AuditRow) -> Option<Self> {
        let note = row.note()?;
        Some(Self { at: Timestamp(row.at), by: row.actor, note })
    }
}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// By this actor.
    pub actor: Option<String>,
    /// Of this action, under either of its names.
    pub action: Option<String>,
    /// Of this category.
    pub category: Option<String>,
    /// Not before this.
    pub from: Option<Time>,
    /// Before this.
    pub to: Option<Time>,
}

impl AuditFilter {
    fn takes(&self, row: &AuditRow) -> bool {
        self.actor.as_ref().is_none_or(|actor| *actor == row.actor)
            && self.action.as_ref().is_none_or(|asked| is_meant(&row.action, asked))
            && self.category.as_ref().is_none_or(|category| *category == row.category)
            && self.to.is_none_or(|to| row.at < to)
            && !self.is_before(row)
    }

    fn is_before(&self, row: &AuditRow) -> bool {
        self.from.is_some_and(|from| row.at < from)
    }
}

impl Report<'_> {
    /// The audit log of an organization, or the team's own: newest first. A page may be short, or empty, though more
    /// follows: so many entries were looked at.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller, or `after` is no cursor of this list.
    pub fn audit(
        &self,
        organization: Option<&OrganizationRef>,
        filter: &AuditFilter,
        limit: usize,
        after: Option<&[u8]>,
    ) -> Result<Listed<AuditEntryBody>, ReadError> {
        let Asked { chain, in_order, is_deleted } = self.chain(organization)?;
        let Ok(mut before) = after.map_or(Ok(u64::MAX), |bytes| bytes.try_into().map(u64::from_be_bytes)) else {
            return bad_cursor();
        };
        let (mut data, mut read) = (Vec::new(), 0);
        while data.len() < limit && read < MOST_READ {
            let rows = self.view.rows().audit_before(chain, before, STEP)?;
            read += rows.len();
            let is_last = rows.len() < STEP;
            for row in rows {
                let row = if is_deleted { row.redact() } else { row };
                if data.len() == limit {
                    return Ok(Listed { data, next: Some(before.to_be_bytes().to_vec()) });
                } else if in_order && filter.is_before(&row) {
                    return Ok(Listed { data, next: None });
                }
                before = row.sequence;
                if filter.takes(&row) {
                    data.push(AuditEntryBody::stored(self.view, self.catalogue, row)?);
                }
            }
            if is_last {
                return Ok(Listed { data, next: None });
            }
        }
        Ok(Listed { data, next: Some(before.to_be_bytes().to_vec()) })
    }

    /// Where such a log begins, if not with its first entry.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller.
    pub fn audit_begins(&self, organization: Option<&OrganizationRef>) -> Result<Option<BeginningBody>, ReadError> {
        let chain = self.chain(organization)?.chain;
        Ok(beginning(self.view.rows(), chain)?.ok().flatten().map(BeginningBody::from))
    }

    /// The chain of an organization also where it is deleted: for operators, who name it by its id.
    fn chain(&self, organization: Option<&OrganizationRef>) -> Result<Asked, ReadError> {
        match (organization, self.scope) {
            (Some(organization), scope) => match (self.view.account(scope, organization), organization) {
                (Ok(account), _) => {
                    Ok(Asked { chain: chain_of(account.id), in_order: !account.profile.test, is_deleted: false })
                }
                (Err(ReadError::Store(StoreError::UnknownOrganization)), OrganizationRef::Id(id))
                    if scope == Scope::Team
                        && !self.view.rows().audit_before(chain_of(*id), u64::MAX, 1)?.is_empty() =>
                {
                    Ok(Asked { chain: chain_of(*id), in_order: false, is_deleted: true })
                }
                (Err(error), _) => Err(error),
            },
            (None, Scope::Team) => Ok(Asked { chain: TEAM, in_order: true, is_deleted: false }),
            (None, _) => Err(StoreError::UnknownOrganization.into()),
        }
    }
}

/// The chain that is asked for.
struct Asked {
    chain: [u8; 16],
    /// Whether its times never run back: a test organization's clock can be set to an earlier time.
    in_order: bool,
    /// Whether its organization is deleted.
    is_deleted: bool,
}
