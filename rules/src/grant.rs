//! Grants: credit on one meter, used only after the base is.

use serde::{Deserialize, Serialize};

use crate::id::{GrantId, MeterId};
use crate::notice::OfGrant;
use crate::quantity::Quantity;
use crate::time::Time;

/// Credit on one meter for one organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its number within the organization.
    pub id: GrantId,
    /// The meter it lifts.
    pub meter: MeterId,
    /// What was given.
    pub amount: Quantity,
    /// What has been drawn.
    pub used: Quantity,
    /// What reservations hold of it.
    pub held: Quantity,
    /// Lower is drawn first.
    pub priority: i32,
    /// From when it can be drawn.
    pub starts_at: Time,
    /// Until when, exclusively; without one it lasts until used.
    pub expires_at: Option<Time>,
    /// When it was given.
    pub created_at: Time,
    /// How it ended, where it has.
    pub ended: Option<Ended>,
    /// Why it was given.
    pub reason: String,
    /// What others were told of it.
    pub told: OfGrant,
}

/// How the remainder of a grant was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// Its time ran out.
    Expired(Time),
    /// An operator took it back.
    Voided(Time),
}

/// So much taken from one grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The grant it comes from.
    pub grant: GrantId,
    /// How much.
    pub quantity: Quantity,
}

impl Grant {
    /// Whether its time was up at `now`, or it was taken back: nothing returns to it.
    pub fn is_over(&self, now: Time) -> bool {
        self.ended.is_some() || self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether it can be drawn from at `now`.
    pub fn is_open(&self, now: Time) -> bool {
        self.ended.is_none() && self.starts_at <= now && self.expires_at.is_none_or(|end| now < end)
    }

    /// What can be drawn at `now`.
    pub fn available(&self, now: Time) -> Quantity {
        if self.is_open(now) { self.left() } else { Quantity::ZERO }
    }

    /// What is neither used nor held.
    pub const fn left(&self) -> Quantity {
        self.amount.minus(self.used).minus(self.held)
    }

    /// The order in which grants are drawn: priority, then earliest expiry, then oldest.
    fn burn_order(&self) -> (i32, Time, Time, GrantId) {
        (self.priority, self.expires_at.unwrap_or(Time::MAX), self.created_at, self.id)
    }
}

/// So much of what was drawn, in the reverse of the order in which grants are drawn.
pub fn last_of(grants: &[Grant], draws: &[Draw], most: Quantity) -> Vec<Draw> {
    let order = |draw: &Draw| grants.iter().find(|grant| grant.id == draw.grant).map(Grant::burn_order);
    let mut draws = draws.to_vec();
    draws.sort_by_key(|draw| std::cmp::Reverse(order(draw)));
    let mut left = most;
    for draw in &mut draws {
        draw.quantity = draw.quantity.min(left);
        left = left.minus(draw.quantity);
    }
    draws.retain(|draw| !draw.quantity.is_zero());
    draws
}

/// All of these together.
pub fn total(draws: &[Draw]) -> Quantity {
    draws.iter().fold(Quantity::ZERO, |sum, draw| sum.saturating_add(draw.quantity))
}

/// What all grants of `meter` can give at `now`.
pub fn available(grants: &[Grant], meter: MeterId, now: Time) -> Quantity {
    let of_meter = grants.iter().filter(|grant| grant.meter == meter);
    of_meter.fold(Quantity::ZERO, |sum, grant| sum.saturating_add(grant.available(now)))
}

/// Which grants give how much of `need`; less than `need` in all where they cannot give it.
pub fn draw(grants: &[Grant], meter: MeterId, need: Quantity, now: Time) -> Vec<Draw> {
    if need.is_zero() {
        return Vec::new();
    }
    let mut open: Vec<&Grant> =
        grants.iter().filter(|grant| grant.meter == meter && !grant.available(now).is_zero()).collect();
    open.sort_by_key(|grant| grant.burn_order());
    let mut need = need;
    let mut draws = Vec::new();
    for grant in open {
        let quantity = grant.available(now).min(need);
        if quantity.is_zero() {
            break;
        }
        need = need.minus(quantity);
        draws.push(Draw { grant: grant.id, quantity });
    }
    draws
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `size/used@expiry!priority+start`, separated by spaces.
    fn grants(text: &str) -> Vec<Grant> {
        let number = |part: &str, sign: char| {
            let from = part.split_once(sign)?.1;
            from.split(|c: char| !c.is_ascii_digit()).next()?.parse::<i64>().ok()
        };
        let parse = |(i, part): (usize, &str)| Grant {
            id: GrantId(u32::try_from(i).unwrap()),
            meter: MeterId(1),
            amount: Quantity::new(part.split('/').next().unwrap().parse().unwrap()).unwrap(),
            used: Quantity::new(number(part, '/').unwrap()).unwrap(),
            held: Quantity::ZERO,
            priority: i32::try_from(number(part, '!').unwrap_or(0)).unwrap(),
            starts_at: Time::from_micros(number(part, '+').unwrap_or(0)),
            expires_at: number(part, '@').map(Time::from_micros),
            created_at: Time::from_micros(i64::try_from(i).unwrap()),
            ended: None,
            reason: String::new(),
            told: OfGrant::default(),
        };
        text.split(' ').enumerate().map(parse).collect()
    }

    #[test]
    fn grants_are_drawn_by_priority_then_expiry_then_age() {
        #[rustfmt::skip]
        let cases = [ // grants, need, now, drawn
            ("10/0@99",            3, 0,  "0:3"),
            ("10/0@99 5/0@50",     7, 0,  "1:5 0:2"),
            ("10/0@99 5/0@50",     7, 50, "0:7"),         // the instant of expiry is too late
            ("10/0 5/0@50",        7, 0,  "1:5 0:2"),     // without expiry last
            ("10/0!1 5/0!0",       7, 0,  "1:5 0:2"),
            ("3/0 3/0 3/0",        7, 0,  "0:3 1:3 2:1"),
            ("10/0+20 5/0",        7, 10, "1:5"),         // not begun
            ("10/9@99 5/4@50",     3, 0,  "1:1 0:1"),     // short
            ("10/0",               0, 0,  ""),
        ];
        for (text, need, now, drawn) in cases {
            let draws = draw(&grants(text), MeterId(1), Quantity::new(need).unwrap(), Time::from_micros(now));
            let shown: Vec<String> = draws.iter().map(|d| format!("{}:{}", d.grant.0, d.quantity.units())).collect();
            assert_eq!(shown.join(" "), drawn, "{need} of {text} at {now}");
        }
        assert!(draw(&grants("10/0"), MeterId(2), Quantity::MAX, Time::default()).is_empty(), "another meter");
    }
}
