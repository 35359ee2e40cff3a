//! Credit that was given to an organization, and what became of it.

use metergate_rules::grant::{Ended, Grant};
use metergate_rules::id::{GrantId, OrganizationRef};
use metergate_rules::quantity::Quantity;
use metergate_rules::time::Time;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Listed, Report, Timestamp, bad_cursor};
use crate::catalogue::Snapshot;
use crate::http::number::Number;
use crate::store::reader::ReadError;

/// Where a grant is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum GrantState {
    /// It cannot be drawn yet.
    Pending,
    /// It can be drawn.
    Active,
    /// All of it was drawn.
    Exhausted,
    /// Its time ran out.
    Expired,
    /// An operator took it back.
    Voided,
}

/// Credit on one meter. `amount` = `used` + `held` + `remaining` + `lost`, always.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantBody {
    /// Its number within the organization.
    pub id: u32,
    /// The meter's key.
    pub meter: String,
    /// What was given.
    pub amount: Number,
    /// What has been drawn.
    pub used: Number,
    /// What reservations hold.
    pub held: Number,
    /// What is left to draw, now or once it has begun.
    pub remaining: Number,
    /// What was left when it expired or was voided.
    pub lost: Number,
    /// Where it is in its life. Only an `active` one lifts a limit.
    pub state: GrantState,
    /// Why it was given.
    pub reason: String,
    /// Lower is drawn first.
    pub priority: i32,
    /// From when it can be drawn.
    pub starts_at: Timestamp,
    /// Until when, exclusively; `null`: until it is used.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub voided_at: Option<Timestamp>,
    /// When it was given.
    pub created_at: Timestamp,
}

fn state(grant: &Grant, now: Time) -> GrantState {
    match grant.ended {
        Some(Ended::Voided(_)) => GrantState::Voided,
        Some(Ended::Expired(_)) => GrantState::Expired,
        None if grant.used >= grant.amount => GrantState::Exhausted,
        None if grant.expires_at.is_some_and(|end| end <= now) => GrantState::Expired,
        None if now < grant.starts_at => GrantState::Pending,
        None => GrantState::Active,
    }
}

impl GrantBody {
    /// A grant as it is at `now`; `text` writes quantities as strings.
    pub fn of(grant: &Grant, catalogue: &Snapshot, now: Time, text: bool) -> Self {
        let decimals = catalogue.decimals(grant.meter);
        let number = |quantity: Quantity| Number { units: i128::from(quantity.units()), decimals, text };
        let state = state(grant, now);
        let left = grant.left();
        let is_over = matches!(state, GrantState::Expired | GrantState::Voided);
        Self {
            id: grant.id.0,
            meter: catalogue.meter_key(grant.meter).to_owned(),
            amount: number(grant.amount),
            used: number(grant.used),
            held: number(grant.held),
            remaining: number(if is_over { Quantity::ZERO } else { left }),
            lost: number(if is_over { left } else { Quantity::ZERO }),
            state,
            reason: grant.reason.clone(),
            priority: grant.priority,
            starts_at: Timestamp(grant.starts_at),
            expires_at: grant.expires_at.map(Timestamp),
            voided_at: match grant.ended {
                Some(Ended::Voided(at)) => Some(Timestamp(at)),
                _ => None,
            },
            created_at: Timestamp(grant.created_at),
        }
    }
}

impl Report<'_> {
    /// `GET /v1/organizations/{org}/grants`: newest first.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller, or `after` is no cursor of this list.
    pub fn grants(
        &self,
        organization: &OrganizationRef,
        limit: usize,
        after: Option<&[u8]>,
    ) -> Result<Listed<GrantBody>, ReadError> {
        let current = self.current(organization)?;
        let after = match after.map(<[u8; 4]>::try_from) {
            None => GrantId(u32::MAX),
            Some(Ok(bytes)) => GrantId(u32::from_be_bytes(bytes)),
            Some(Err(_)) => return bad_cursor(),
        };
        let mut older = current.account.grants.iter().rev().filter(|grant| grant.id < after);
        let data: Vec<&Grant> = older.by_ref().take(limit).collect();
        let next = older.next().and(data.last()).map(|last| last.id.0.to_be_bytes().to_vec());
        let body = |grant| GrantBody::of(grant, self.catalogue, current.now, self.text);
        Ok(Listed { data: data.into_iter().map(body).collect(), next })
    }
}
