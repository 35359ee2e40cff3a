//! Stub until the report room lands.
use crate::catalogue::Snapshot;
use metergate_rules::account::Account;
use metergate_rules::time::Time;
use serde::Serialize;
use utoipa::ToSchema;
#[derive(Serialize, ToSchema)]
pub struct OrganizationBody {
    pub id: String,
    pub key: String,
}
impl OrganizationBody {
    pub fn of(a: &Account, _s: &Snapshot) -> Self {
        Self { id: a.id.to_string(), key: a.profile.key.to_string() }
    }
}
#[derive(Serialize, ToSchema)]
pub struct QuotaBody {}
#[derive(Serialize, ToSchema)]
pub struct GrantBody {}
#[derive(Serialize, ToSchema)]
pub struct UsageBody {}
pub fn quota(_: &Account, _: &Snapshot, _: Time, _: bool) -> QuotaBody {
    QuotaBody {}
}
pub fn usage(_: &Account, _: &Snapshot, _: Time, _: bool) -> UsageBody {
    UsageBody {}
}
pub fn last_grant(_: &Account, _: &Snapshot, _: Time) -> GrantBody {
    GrantBody {}
}
