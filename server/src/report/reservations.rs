//! Where a reservation stands, also once it is over.

use std::fmt;
use std::str::FromStr;

use metergate_rules::decide::Problem;
use metergate_rules::id::{InvalidId, OrganizationId, OrganizationRef, ReservationId};
use metergate_rules::outcome::{Effect, Hold, What};
use metergate_rules::quantity::Quantity;
use metergate_rules::reservation::{Reservation, State};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Report, Timestamp, stored_object};
use crate::http::number::Number;
use crate::store::StoreError;
use crate::store::reader::ReadError;

/// Records that are looked at for one that is over, at most.
const MOST_RECORDS: usize = 200_000;

/// A reservation as callers name it: `<organization id>.<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservationRef {
    /// Whose.
    pub organization: OrganizationId,
    /// Its number within the organization.
    pub number: ReservationId,
}

impl fmt::Display for ReservationRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.organization, self.number.0)
    }
}

impl FromStr for ReservationRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { kind: "reservation id", rule: "as it was answered" };
        let (organization, number) = text.split_once('.').ok_or(invalid)?;
        let number = ReservationId(number.parse().map_err(|_| invalid)?);
        Ok(Self { organization: organization.parse()?, number })
    }
}

/// A reservation.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationDetail {
    /// Its id.
    pub id: String,
    /// `held`, `committed`, `released` or `lapsed`.
    pub state: &'static str,
    /// The organization's key.
    pub organization: String,
    /// The meter's key.
    pub meter: String,
    /// What is held, or was.
    pub quantity: Number,
    /// What was recorded in the end; `null` unless it was committed.
    pub committed: Option<Number>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it lapses, or would have.
    pub expires_at: Timestamp,
    /// What the caller said about it; empty where too much has been recorded since to find it.
    #[schema(value_type = Object)]
    pub properties: Box<RawValue>,
}

/// What the journal says of a reservation that is over.
#[derive(Default)]
struct Found {
    made: Option<(Reservation, String)>,
    ends_at: Option<metergate_rules::time::Time>,
    end: Option<(State, Option<Quantity>)>,
}

impl Found {
    /// Takes what a record says, from the newest to the oldest. Whether older ones can say more.
    fn take(&mut self, what: &What, id: ReservationId) -> bool {
        match what {
            What::Due(Effect::ReservationLapsed(lapsed)) if *lapsed == id => self.end = Some((State::Lapsed, None)),
            What::Reservation(hold) => match &**hold {
                Hold::Settled(settled) if settled.id == id => {
                    self.end = Some((State::Committed, settled.quantity()));
                }
                Hold::Released(released) if *released == id => self.end = Some((State::Released, None)),
                Hold::Extended { id: extended, ends_at } if *extended == id => {
                    self.ends_at.get_or_insert(*ends_at);
                }
                // Numbers rise: whatever is older is about others.
                Hold::Made { reservation: made, properties } if made.id <= id => {
                    self.made = (made.id == id).then(|| (made.clone(), properties.clone()));
                    return false;
                }
                _ => {}
            },
            _ => {}
        }
        true
    }
}

impl Report<'_> {
    /// `GET /v1/reservations/{id}`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is none for this caller, or none that is still remembered.
    pub fn reservation(&self, id: ReservationRef) -> Result<ReservationDetail, ReadError> {
        let current = self.current(&OrganizationRef::Id(id.organization))?;
        let (mut found, mut looked) = (Found::default(), 0);
        if (1..=current.account.reserved).contains(&id.number.0) {
            self.view.records(id.organization, u64::MAX, |_, _, record| {
                looked += 1;
                looked <= MOST_RECORDS && found.take(&record.entry.what, id.number)
            })?;
        }
        let key = &current.account.profile.key;
        if let Some(held) = current.account.reservations.iter().find(|held| held.id == id.number) {
            let properties = found.made.map_or_else(String::new, |(_, properties)| properties);
            return Ok(self.reservation_detail(id, key, (held, &properties), (State::Held, None)));
        }
        let (made, properties) = found.made.ok_or(StoreError::Problem(Problem::UnknownReservation))?;
        let made = Reservation { ends_at: found.ends_at.unwrap_or(made.ends_at), ..made };
        let end = found.end.unwrap_or((State::Lapsed, None));
        Ok(self.reservation_detail(id, key, (&made, &properties), end))
    }

    fn reservation_detail(
        &self,
        id: ReservationRef,
        organization: &metergate_rules::id::OrganizationKey,
        (held, properties): (&Reservation, &str),
        (state, committed): (State, Option<Quantity>),
    ) -> ReservationDetail {
        ReservationDetail {
            id: id.to_string(),
            state: state.as_str(),
            organization: organization.to_string(),
            meter: self.catalogue.meter_key(held.meter).to_owned(),
            quantity: self.number(held.meter, held.quantity),
            committed: committed.map(|quantity| self.number(held.meter, quantity)),
            created_at: Timestamp(held.at),
            expires_at: Timestamp(held.ends_at),
            properties: stored_object(properties),
        }
    }
}
