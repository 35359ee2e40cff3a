//! Billing periods and calendar windows, counted in an organization's time zone.
//!
//! All of them are made the same way: a civil date-time has one instant (in a gap of the zone the instant after it by
//! the offset before, in an overlap the first, as RFC 5545 has it), those instants are the boundaries, and a span
//! reaches from the last boundary not after a time to the next one. So spans are half-open and never empty, and they
//! tile from [`Time::MIN`] to [`Time::MAX`]. [`Time::MAX`] itself is put into the last span.
//!
//! The zone data is the release compiled in with `jiff`; what is installed on the machine is never read.

mod anchor;
mod calendar;
mod zone;

use jiff::civil::DateTime;

use crate::time::{DAY, Span, Time};

pub use anchor::{Anchor, InvalidAnchor};
pub use calendar::{date_of, day, hour, month, start_of_date};
pub use jiff::civil::Date;
pub use zone::{InvalidZone, Zone};

/// The last instant that a span can contain.
const LAST: Time = Time::from_micros(Time::MAX.micros() - 1);

/// The billing boundaries of one anchor in one zone.
///
/// Two neighbours are at least 28 civil days apart and no offset reaches 26 hours, so they are never out of order.
///
/// ```
/// # use metergate_rules::period::{Anchor, Grid, Zone};
/// let (anchor, zone) = ("2025-01-31".parse::<Anchor>()?, Zone::new("Europe/Berlin")?);
/// let grid = Grid { anchor, zone: &zone };
/// assert_eq!(grid.boundary(1).to_string(), "2025-02-27T23:00:00Z"); // 28 February
/// assert_eq!(grid.boundary(2).to_string(), "2025-03-30T22:00:00Z"); // 31 March, in summer time
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Grid<'a> {
    /// What boundary 0 is.
    pub anchor: Anchor,
    /// Where months are counted.
    pub zone: &'a Zone,
}

impl<'a> Grid<'a> {
    /// The anchor and `k` calendar months, at most the month's last day, kept between [`Time::MIN`] and [`Time::MAX`].
    pub fn boundary(&self, k: i64) -> Time {
        let moved = jiff::Span::new().try_months(k).and_then(|months| self.anchor.0.checked_add(months));
        match moved {
            Ok(civil) => self.zone.instant(civil),
            Err(_) if k < 0 => Time::MIN,
            Err(_) => Time::MAX,
        }
    }

    /// The number of the last boundary that is not after `t`.
    pub fn index_at(&self, t: Time) -> i64 {
        let t = t.min(LAST);
        let month = |civil: DateTime| i64::from(civil.year()) * 12 + i64::from(civil.month());
        // One more than the wall shows: a clock set back over midnight has passed a boundary of the next month.
        let mut k = month(self.zone.wall(t)) - month(self.anchor.0) + 1;
        while self.boundary(k) > t {
            k -= 1;
        }
        k
    }

    /// The period that contains `t`.
    pub fn containing(&self, t: Time) -> Span {
        let k = self.index_at(t);
        Span { start: self.boundary(k), end: self.boundary(k + 1) }
    }

    /// The first boundary after `t`: the next reset.
    pub fn after(&self, t: Time) -> Time {
        self.containing(t).end
    }

    /// All boundaries after `t` and before [`Time::MAX`], in order.
    pub fn following(self, t: Time) -> impl Iterator<Item = Time> + use<'a> {
        let next = self.index_at(t) + 1;
        (next..).map(move |k| self.boundary(k)).take_while(|boundary| *boundary < Time::MAX)
    }
}

/// A subscription's period as the periods that usage is counted in; made by [`cut`].
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    subscription: Span,
    months: Option<Grid<'a>>,
}

/// Cuts a subscription's period that is longer than 32 days into months counted from its start. The last piece ends
/// with the subscription's period, so it can be shorter than a month.
pub fn cut(subscription: Span, zone: &Zone) -> Cut<'_> {
    let long = subscription.end.since(subscription.start) > 32 * DAY;
    let months = long.then(|| Grid { anchor: Anchor::at(subscription.start, zone), zone });
    Cut { subscription, months }
}

impl Cut<'_> {
    /// The piece that contains `t`; the first before the subscription's period, the last from its end on.
    pub fn containing(&self, t: Time) -> Span {
        let Span { start, end } = self.subscription;
        let Some(months) = self.months else { return self.subscription };
        let month = months.containing(t.clamp(start, end.plus(-1)));
        Span { start: month.start.max(start), end: month.end.min(end) }
    }
}
