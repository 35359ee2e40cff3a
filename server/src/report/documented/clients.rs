//! `/api/admin/clients`: generations, storage and credit of an organization.

use metergate_rules::id::OrganizationRef;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::organization::plan_of;
use super::super::{Current, Report, Timestamp};
use super::audit::{ClientEntry, newest};
use super::{Figure, key_of};
use crate::catalogue::Snapshot;
use crate::http::number::Number;
use crate::store::reader::ReadError;

/// Bytes in the megabyte of a storage quota (O4).
pub const MEGABYTE: i64 = 1_048_576;
/// The places that a byte has in megabytes: 2^-20 is 5^20 / 10^20.
const PLACES: u8 = 20;
/// Entries of the audit log that are shown.
const SHOWN: usize = 10;

/// What a client may use. The figures are those of generations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientQuota {
    /// The organization's key.
    pub client_id: String,
    /// Its plan's key.
    pub plan: String,
    /// What plan or override allow in the billing period; `null` is unlimited.
    pub monthly_generation_limit: Option<Number>,
    /// What plan or override allow to be stored, in 1,048,576 bytes; `null` is unlimited.
    pub storage_quota_mb: Option<Number>,
    /// The standing addition.
    pub extra: Number,
    /// What credit gave in this period and can still give.
    pub granted: Number,
    /// The limit with what is extra and granted; `null` is unlimited.
    pub effective_limit: Option<Number>,
    /// What was used in the billing period.
    pub used: Number,
    /// What may still be used; `null` is unlimited.
    pub remaining: Option<Number>,
    /// When the next billing period begins.
    pub next_reset_date: Timestamp,
}

/// What a client used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientUsage {
    /// Generations in the billing period.
    pub generations: Number,
    /// Bytes stored now.
    pub storage_bytes: Number,
}

/// A client's quota, its use, and what was last changed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientBody {
    /// What it may use.
    pub quota: ClientQuota,
    /// What it used.
    pub usage: ClientUsage,
    /// The last 10 entries of its audit log, newest first.
    pub audit_log: Vec<ClientEntry>,
}

/// Generations after credit was given or use was reset.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditState {
    /// What was used in the billing period.
    pub used: Number,
    /// The limit with what is extra and granted; `null` is unlimited.
    pub limit: Option<Number>,
    /// What may still be used; `null` is unlimited.
    pub remaining: Option<Number>,
}

impl ClientQuota {
    /// Of an organization as it is now.
    pub(crate) fn of(current: &Current<'_>, catalogue: &Snapshot) -> Self {
        let generations = Figure::of(current, catalogue, "generations");
        Self {
            client_id: key_of(current),
            plan: plan_of(&current.account, catalogue).0,
            monthly_generation_limit: generations.base,
            storage_quota_mb: Figure::of(current, catalogue, "storage_bytes").base.map(megabytes),
            extra: generations.extra,
            granted: generations.granted,
            effective_limit: generations.limit,
            used: generations.used,
            remaining: generations.remaining,
            next_reset_date: Timestamp(current.account.windows.period.end),
        }
    }
}

/// Bytes in megabytes, exactly.
fn megabytes(bytes: Number) -> Number {
    Number { units: bytes.units * 5_i128.pow(u32::from(PLACES)), decimals: bytes.decimals + PLACES, text: bytes.text }
}

impl CreditState {
    /// Of an organization as it is now.
    pub(crate) fn of(current: &Current<'_>, catalogue: &Snapshot) -> Self {
        let Figure { used, limit, remaining, .. } = Figure::of(current, catalogue, "generations");
        Self { used, limit, remaining }
    }
}

impl Report<'_> {
    /// `GET /api/admin/clients/{id}/quota`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller.
    pub fn client(&self, organization: &OrganizationRef) -> Result<ClientBody, ReadError> {
        let current = self.current(organization)?;
        let used = |key| Figure::of(&current, self.catalogue, key).used;
        let rows = newest(self.view, current.account.id, SHOWN)?;
        Ok(ClientBody {
            quota: ClientQuota::of(&current, self.catalogue),
            usage: ClientUsage { generations: used("generations"), storage_bytes: used("storage_bytes") },
            audit_log: rows.into_iter().map(|row| ClientEntry::of(row, key_of(&current))).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn megabytes_are_exact() {
        let cases = [(524_288_000, "500"), (1_572_864, "1.5"), (1, "0.00000095367431640625"), (0, "0")];
        for (units, expected) in cases {
            let bytes = |units| Number { units, decimals: 0, text: false };
            assert_eq!(serde_json::to_string(&megabytes(bytes(units))).unwrap(), expected);
            assert_eq!(megabytes(bytes(i128::from(i64::MAX))).to_string(), "8796093022207.99999904632568359375");
        }
    }
}
