//! Exact quantities.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A quantity on one meter, in that meter's smallest unit: calls, bytes, thousandths of a credit.
///
/// Between 0 and `i64::MAX`, the largest integer that SQLite and PostgreSQL both keep exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantity(i64);

/// Why a text is not a quantity of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// Not a decimal number.
    #[error("not a decimal number")]
    NotANumber,
    /// Below zero.
    #[error("below zero; corrections are made by adjustments")]
    Negative,
    /// Zero where it makes no sense: a limit, credit.
    #[error("must be above zero")]
    Zero,
    /// More decimal places than the meter has.
    #[error("more decimal places than the meter's {0}")]
    TooFine(u8),
    /// Above `i64::MAX` of the meter's smallest unit, or more than a counter has room for: what was counted before has taken it.
    #[error("too large: above 9223372036854775807 of the meter's smallest unit, alone or with what was counted before")]
    TooLarge,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One of the smallest unit.
    pub const ONE: Self = Self(1);
    /// The largest quantity.
    pub const MAX: Self = Self(i64::MAX);

    /// So many of the meter's smallest unit.
    ///
    /// # Errors
    /// [`InvalidQuantity::Negative`] below zero.
    pub const fn new(units: i64) -> Result<Self, InvalidQuantity> {
        if units < 0 { Err(InvalidQuantity::Negative) } else { Ok(Self(units)) }
    }

    /// So many of the meter's smallest unit; what is below zero becomes zero.
    pub const fn at_least_zero(units: i64) -> Self {
        if units < 0 { Self(0) } else { Self(units) }
    }

    /// The number of the meter's smallest units.
    pub const fn units(self) -> i64 {
        self.0
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or nothing where it would pass [`Quantity::MAX`].
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The sum, kept at [`Quantity::MAX`]: for limits, where more than the largest quantity is as good as it.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left when `other` is taken away, at least zero.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self::at_least_zero(self.0.saturating_sub(other.0))
    }

    /// Reads a decimal text exactly, as JSON writes numbers: `12`, `0.5`, `1.50`, `2e3`.
    ///
    /// # Errors
    /// [`InvalidQuantity`] where the text is no number, is negative, has more than `decimals` places or is too large.
    pub fn parse(text: &str, decimals: u8) -> Result<Self, InvalidQuantity> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = split_exponent(digits)?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || mantissa.ends_with('.') {
            return Err(InvalidQuantity::NotANumber);
        }
        let units = scale(whole, fraction, exponent, decimals)?;
        if negative && units != 0 { Err(InvalidQuantity::Negative) } else { Ok(Self(units)) }
    }

    /// The quantity as decimal text for a meter with so many decimal places.
    pub const fn display(self, decimals: u8) -> Decimal {
        Decimal { units: self.0 as i128, decimals }
    }
}

fn split_exponent(digits: &str) -> Result<(&str, i32), InvalidQuantity> {
    let Some((mantissa, exponent)) = digits.split_once(['e', 'E']) else { return Ok((digits, 0)) };
    let sign_ok = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if sign_ok.is_empty() || !sign_ok.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidQuantity::NotANumber);
    }
    Ok((mantissa, exponent.parse().unwrap_or(if exponent.starts_with('-') { i32::MIN } else { i32::MAX })))
}

/// `whole.fraction × 10^exponent` in units of `10^-decimals`.
fn scale(whole: &str, fraction: &str, exponent: i32, decimals: u8) -> Result<i64, InvalidQuantity> {
    let digits = whole.bytes().chain(fraction.bytes());
    let fraction_places = i32::try_from(fraction.len()).map_err(|_| InvalidQuantity::TooLarge)?;
    // The last digit stands for 10^shift units.
    let shift = exponent.saturating_add(i32::from(decimals)).saturating_sub(fraction_places);
    let count = whole.len() + fraction.len();
    let mut units: i64 = 0;
    for (i, digit) in digits.enumerate() {
        let value = i64::from(digit - b'0');
        let place = i32::try_from(count - 1 - i).unwrap_or(i32::MAX).saturating_add(shift);
        if place < 0 && value != 0 {
            return Err(InvalidQuantity::TooFine(decimals));
        } else if place >= 0 {
            units = units.checked_mul(10).and_then(|u| u.checked_add(value)).ok_or(InvalidQuantity::TooLarge)?;
        }
    }
    // What stands to the right of the last digit; nothing to do for zero, however large the exponent.
    for _ in 0..if units == 0 { 0 } else { shift.max(0) } {
        units = units.checked_mul(10).ok_or(InvalidQuantity::TooLarge)?;
    }
    Ok(units)
}

/// An integer of smallest units, written as decimal text: `Decimal { units: 1250, decimals: 3 }` is `1.25`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// How many of the smallest unit; negative for adjustments.
    pub units: i128,
    /// Decimal places of the meter, 0 to 9.
    pub decimals: u8,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10u128.pow(u32::from(self.decimals));
        let (whole, part) = (self.units.unsigned_abs() / scale, self.units.unsigned_abs() % scale);
        if self.units < 0 {
            f.write_str("-")?;
        }
        if part == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{part:0>width$}", width = usize::from(self.decimals));
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_is_read_exactly_or_refused() {
        use InvalidQuantity::*;
        let cases = [
            ("0", 0, Ok(0)),
            ("12", 0, Ok(12)),
            ("1.5", 3, Ok(1500)),
            ("1.50", 1, Ok(15)),
            ("1.55", 1, Err(TooFine(1))),
            ("2e3", 0, Ok(2000)),
            ("2.5e1", 0, Ok(25)),
            ("25E-1", 1, Ok(25)),
            ("25e-1", 0, Err(TooFine(0))),
            ("0e999999999999", 0, Ok(0)),
            ("1e999999999999", 0, Err(TooLarge)),
            ("1e-999999999999", 9, Err(TooFine(9))),
            ("-0", 0, Ok(0)),
            ("-1", 0, Err(Negative)),
            ("9223372036854775807", 0, Ok(i64::MAX)),
            ("9223372036854775808", 0, Err(TooLarge)),
            ("9.223372036854775807", 9, Err(TooFine(9))),
            ("0.000000001", 9, Ok(1)),
            ("007", 0, Ok(7)),
            ("", 0, Err(NotANumber)),
            (".5", 1, Err(NotANumber)),
            ("5.", 1, Err(NotANumber)),
            ("1e", 0, Err(NotANumber)),
            ("1e+-2", 0, Err(NotANumber)),
            ("NaN", 0, Err(NotANumber)),
            ("1_000", 0, Err(NotANumber)),
            ("+1", 0, Err(NotANumber)),
        ];
        for (text, decimals, units) in cases {
            assert_eq!(Quantity::parse(text, decimals).map(Quantity::units), units, "{text:?} with {decimals} places");
        }
    }

    #[test]
    fn quantities_are_written_as_the_shortest_decimal_text() {
        let cases = [(1250, 3, "1.25"), (0, 9, "0"), (7, 0, "7"), (1, 9, "0.000000001"), (-1500, 3, "-1.5")];
        for (units, decimals, text) in cases {
            assert_eq!(Decimal { units, decimals }.to_string(), text);
        }
    }
}
