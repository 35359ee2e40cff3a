//! Meters: what is counted, and how.

use serde::{Deserialize, Serialize};

use crate::id::{EventType, MeterId, MeterKey};
use crate::quantity::Quantity;

/// How a meter's events become one figure for a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Aggregation {
    /// The sum of the quantities.
    Sum,
    /// The number of events.
    Count,
    /// The largest quantity: a peak.
    Max,
    /// The quantity of the latest event: a level, such as bytes stored. Carried into the next window.
    Last,
    /// How many distinct values were seen, exactly.
    UniqueCount,
}

impl Aggregation {
    /// Whether use of a meter adds up, so that it can slide over minutes and hours.
    pub const fn is_rate(self) -> bool {
        matches!(self, Self::Sum | Self::Count)
    }

    /// Whether grants can be drawn: a level or a peak is not used up.
    pub const fn draws_grants(self) -> bool {
        matches!(self, Self::Sum | Self::Count | Self::UniqueCount)
    }
}

/// Something counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// The store's number for it.
    pub id: MeterId,
    /// Its name in every request.
    pub key: MeterKey,
    /// Its name for people.
    pub name: String,
    /// What one is called, such as `token`; for people.
    pub unit: String,
    /// Events of this type count. Several meters may share one.
    pub event_type: EventType,
    /// How events become a figure.
    pub aggregation: Aggregation,
    /// Decimal places of its quantities, 0 to 9; 0 for `count` and `uniqueCount`. Never changes.
    pub decimals: u8,
    /// The property of an event's data that holds the quantity, or the value of a `uniqueCount`.
    pub value_property: String,
    /// Properties to group reports by.
    pub dimensions: Vec<String>,
    /// Whether single decisions are kept. `false` only matters with Redis.
    pub record: bool,
}

/// Decimal places at most, so that a quantity of one still leaves nine billion.
pub const MAX_DECIMALS: u8 = 9;

/// The first 128 bits of a keyed hash of a `uniqueCount` value: the value itself is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueHash(pub [u8; 16]);

/// What one event or decision says to one meter, by the meter's aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// So much more (`sum`), or one more (`count`).
    Add(Quantity),
    /// A peak (`max`).
    Peak(Quantity),
    /// A new level (`last`).
    Level(Quantity),
    /// A value that may be new (`uniqueCount`).
    Value(ValueHash),
    /// A correction: so many of the smallest unit more, or less where it is negative. It is no event.
    Adjust(i64),
    /// An event of so much never was; less than it said, where corrections have taken some of it already.
    Void(Quantity),
    /// An event with this value never was.
    VoidValue(ValueHash),
}

impl Measure {
    /// Whether it takes off what was counted, and gives back what was drawn.
    pub const fn is_less(self) -> bool {
        matches!(self, Self::Adjust(..0) | Self::Void(_) | Self::VoidValue(_))
    }
}

impl Meter {
    /// The measure of a quantity on this meter; `value` is for `uniqueCount` alone.
    pub fn measure(&self, quantity: Quantity, value: Option<ValueHash>) -> Option<Measure> {
        match self.aggregation {
            Aggregation::Sum => Some(Measure::Add(quantity)),
            Aggregation::Count => Some(Measure::Add(Quantity::ONE)),
            Aggregation::Max => Some(Measure::Peak(quantity)),
            Aggregation::Last => Some(Measure::Level(quantity)),
            Aggregation::UniqueCount => value.map(Measure::Value),
        }
    }
}
