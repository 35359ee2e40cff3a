//! Reservations: quantity held for a short time before the true quantity is known (D5).

use serde::{Deserialize, Serialize};

use crate::grant::{self, Draw};
use crate::id::{MeterId, ReservationId};
use crate::quantity::Quantity;
use crate::time::{DAY, SECOND, Time};

/// The shortest time to hold in microseconds.
pub const SHORTEST: i64 = SECOND;
/// The longest time to hold, from the reservation or its last extension, in microseconds.
pub const LONGEST: i64 = DAY;
/// Open reservations of one organization at most.
pub const MOST_OPEN: usize = 1000;

/// Bytes of the dimension values of an organization's open reservations at most: its account has all of them, in every commit.
pub const MOST_DIMENSION_BYTES: usize = 256 * 1024;

/// Quantity that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its number within the organization.
    pub id: ReservationId,
    /// The meter.
    pub meter: MeterId,
    /// How much is held, from the base and from grants.
    pub quantity: Quantity,
    /// The part that grants hold.
    pub draws: Vec<Draw>,
    /// The part that went beyond a soft limit when it was made.
    pub overage: Quantity,
    /// When it was made: it counts in the windows that contain this.
    pub at: Time,
    /// When it lapses.
    pub ends_at: Time,
    /// The values of the meter's dimensions; none of what tokens cost, which counts under those that are said in the end.
    pub dimensions: String,
    /// Of tokens: what they are to cost, held on the meter of costs under the same number for the same time, also where that is
    /// nothing. `None` where it was not said.
    pub cost: Option<Box<Self>>,
}

impl Reservation {
    /// What it holds of each meter.
    pub fn parts(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.cost.as_deref())
    }

    /// What it holds of a meter.
    pub fn on(&self, meter: MeterId) -> Option<&Self> {
        self.parts().find(|part| part.meter == meter)
    }

    /// Gives it another number.
    pub fn number(&mut self, id: ReservationId) {
        self.id = id;
        if let Some(cost) = &mut self.cost {
            cost.id = id;
        }
    }

    /// Lets it hold until then.
    pub fn hold_until(&mut self, ends_at: Time) {
        self.ends_at = ends_at;
        if let Some(cost) = &mut self.cost {
            cost.ends_at = ends_at;
        }
    }

    /// What grants hold of the quantity.
    pub fn from_grants(&self) -> Quantity {
        grant::total(&self.draws)
    }
}

/// Where a reservation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It holds.
    Held,
    /// The true quantity was recorded.
    Committed,
    /// It was given back.
    Released,
    /// Its time was up.
    Lapsed,
}

impl State {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Committed => "committed",
            Self::Released => "released",
            Self::Lapsed => "lapsed",
        }
    }
}
