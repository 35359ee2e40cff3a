//! What an organization may do: the features of its plan, and its limits with their use (D12).

use std::collections::BTreeMap;

use metergate_rules::due::status_name;
use metergate_rules::id::OrganizationRef;
use metergate_rules::meter::Meter;
use metergate_rules::plan::Enforcement;
use metergate_rules::window::Window;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::figures::Figures;
use super::organization::plan_of;
use super::{Current, Report, Timestamp};
use crate::http::number::Number;
use crate::store::StoreError;
use crate::store::reader::ReadError;

/// Features and limits.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entitlements {
    /// The organization's key.
    pub organization: String,
    /// The key of its plan.
    pub plan: String,
    /// The version of the plan.
    pub plan_version: u32,
    /// `trial`, `active`, `past_due` or `canceled`.
    pub status: &'static str,
    /// Whether a lock stops consumption.
    pub locked: bool,
    /// When the next billing period begins.
    pub next_reset_date: Timestamp,
    /// On/off and valued entitlements of the plan's version.
    #[schema(value_type = Object)]
    pub features: BTreeMap<String, serde_json::Value>,
    /// The limits by meter, shortest window first.
    pub limits: Vec<EntitledLimit>,
}

/// A limit with its use.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntitledLimit {
    /// The meter's key.
    pub meter: String,
    /// The window.
    #[schema(value_type = String, example = "billingPeriod")]
    pub window: Window,
    /// The limit with extra quota and credit; `null` if unlimited.
    pub limit: Option<Number>,
    /// All use in the window.
    pub used: Number,
    /// What may still be used; `null` if unlimited.
    pub remaining: Option<Number>,
    /// Whether it never refuses.
    pub unlimited: bool,
    /// `hard` refuses, `soft` allows and counts overage.
    #[schema(value_type = String, example = "hard")]
    pub enforcement: Enforcement,
    /// When more becomes free, if time frees any.
    pub resets_at: Option<Timestamp>,
}

impl Entitlements {
    /// The entity tag with its quotation marks: the same for the same content, for `ETag` and `If-None-Match`.
    ///
    /// # Errors
    /// [`StoreError::Internal`] if the content cannot be written; a defect.
    pub fn entity_tag(&self) -> Result<String, StoreError> {
        let content = serde_json::to_vec(self).map_err(|_| StoreError::Internal)?;
        let hash = Sha256::digest(content);
        let half = hash.iter().take(16).fold(0, |bits: u128, byte| bits << 8 | u128::from(*byte));
        Ok(format!("\"{half:032x}\""))
    }
}

impl Report<'_> {
    /// `GET /v1/organizations/{org}/entitlements`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller.
    pub fn entitlements(&self, organization: &OrganizationRef) -> Result<Entitlements, ReadError> {
        let current = self.current(organization)?;
        let account = &current.account;
        let (plan, plan_version) = plan_of(account, self.catalogue);
        let features = self.catalogue.plan_by_id(account.plan).map(|plan| plan.spec.features.clone());
        Ok(Entitlements {
            organization: account.profile.key.to_string(),
            plan,
            plan_version,
            status: status_name(account.status),
            locked: !account.locks.is_empty(),
            next_reset_date: Timestamp(account.windows.period.end),
            features: features.unwrap_or_default(),
            limits: self.meters_of(&current).into_iter().flat_map(|m| self.entitled_limits(&current, m)).collect(),
        })
    }

    fn entitled_limits(&self, current: &Current<'_>, meter: &Meter) -> Vec<EntitledLimit> {
        let number = |quantity| self.number(meter.id, quantity);
        let body = |figures: Figures| EntitledLimit {
            meter: meter.key.to_string(),
            window: figures.window,
            limit: figures.limit().map(number),
            used: number(figures.used),
            remaining: figures.remaining().map(number),
            unlimited: figures.is_unlimited(),
            enforcement: figures.in_force.map(|in_force| in_force.enforcement).unwrap_or_default(),
            resets_at: figures.resets_at.map(Timestamp),
        };
        Figures::limited(current, meter).into_iter().map(body).collect()
    }
}
