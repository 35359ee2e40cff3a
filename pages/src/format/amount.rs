//! An exact decimal, as the API writes it.

use std::fmt;
use std::iter::Sum;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// Decimal places that a meter can have at most.
const PLACES: usize = 9;
/// One, in billionths.
pub(super) const ONE: i128 = 1_000_000_000;
/// Digits before the point that are read: more than the largest quantity has, and few enough that a thousand million of them
/// still add up and multiply within an `i128`.
const WHOLE_DIGITS: usize = 19;

/// An exact quantity of a meter, in the meter's unit; below zero after adjustments.
///
/// As text it is grouped: `1,234.5`. It reads from JSON text (`"1234.5"`) and from whole JSON numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A whole number.
    pub const fn whole(number: i64) -> Self {
        Self(number as i128 * ONE)
    }

    /// Reads `1234`, `-3`, `0.25`: at most 19 digits before the point and 9 after it, no exponent. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let readable = |part: &str, most| (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !readable(whole, WHOLE_DIGITS) || !readable(fraction, PLACES) {
            return None;
        }
        let billionths: i128 = format!("{fraction:0<PLACES$}").parse().ok()?;
        Some(Self(sign * (whole.parse::<i128>().ok()? * ONE + billionths)))
    }

    /// Billionths of the unit.
    pub(crate) const fn billionths(self) -> i128 {
        self.0
    }

    /// From billionths of the unit.
    pub(crate) const fn of_billionths(billionths: i128) -> Self {
        Self(billionths)
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether this is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Without its sign.
    #[must_use]
    pub const fn magnitude(self) -> Self {
        Self(self.0.abs())
    }

    /// The sum, kept within what can be written.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, kept within what can be written.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Of a limit, in whole per cent and rounded down: 100 only when the limit is reached, 0 below zero. A limit of nothing is
    /// always reached.
    pub fn percent_of(self, limit: Self) -> u32 {
        if limit.0 <= 0 {
            return 100;
        }
        u32::try_from(self.0.max(0) * 100 / limit.0).unwrap_or(u32::MAX)
    }

    /// Without grouping and with an ASCII sign, for machines: `-1234.5`.
    pub fn plain(self) -> String {
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude / ONE.unsigned_abs(), magnitude % ONE.unsigned_abs());
        let sign = if self.0 < 0 { "-" } else { "" };
        let text = format!("{sign}{whole}.{fraction:0PLACES$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::exact(*self))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// Reads an [`Amount`] from what the API sends.
struct Reader;

impl Visitor<'_> for Reader {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal number as text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
        Amount::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
        Ok(Amount::whole(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
        i64::try_from(number).map(Amount::whole).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_is_read_and_written_exactly() {
        #[rustfmt::skip]
        let cases = [ // text, as a machine reads it, as people read it
            ("0", "0", "0"),
            ("-0", "0", "0"),
            ("1234567.50", "1234567.5", "1,234,567.5"),
            ("-3", "-3", "\u{2212}3"),
            ("-0.25", "-0.25", "\u{2212}0.25"),
            ("0.000000001", "0.000000001", "0.000000001"),
            ("9223372036854775807", "9223372036854775807", "9,223,372,036,854,775,807"),
            ("9223372036.854775807", "9223372036.854775807", "9,223,372,036.854775807"),
            ("100", "100", "100"),
            ("1000", "1000", "1,000"),
        ];
        for (text, plain, grouped) in cases {
            let amount = Amount::parse(text).unwrap_or_else(|| panic!("{text} is a number"));
            assert_eq!((amount.plain().as_str(), amount.to_string().as_str()), (plain, grouped), "{text}");
            assert_eq!(Amount::parse(plain), Some(amount), "{plain} reads back");
        }
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "+1",
            "--1",
            "1e3",
            "1,000",
            " 1",
            "NaN",
            "0.0000000001",
            "１",
            "12345678901234567890",
        ] {
            assert_eq!(Amount::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn it_reads_from_texts_and_whole_numbers_of_json() {
        let read = |json| serde_json::from_str::<Amount>(json).map_err(|_| "refused");
        assert_eq!(read("\"12.5\""), Ok(Amount::parse("12.5").unwrap()));
        assert_eq!(read("12"), Ok(Amount::whole(12)));
        assert_eq!(read("-12"), Ok(Amount::whole(-12)));
        assert_eq!(read("12.5"), Err("refused"), "a float is not exact");
        assert_eq!(read("\"many\""), Err("refused"));
    }

    #[test]
    fn per_cent_is_rounded_down_and_full_only_when_full() {
        #[rustfmt::skip]
        let cases = [ // used, limit, per cent
            ("0", "10", 0),
            ("-5", "10", 0),
            ("9999", "10000", 99),
            ("9999.999999999", "10000", 99),
            ("10000", "10000", 100),
            ("12500", "10000", 125),
            ("0", "0", 100),
            ("9223372036854775807", "9223372036854775807", 100),
            ("9223372036854775807", "0.000000001", u32::MAX),
        ];
        for (used, limit, percent) in cases {
            let amounts = Amount::parse(used).zip(Amount::parse(limit));
            assert_eq!(amounts.map(|(used, limit)| used.percent_of(limit)), Some(percent), "{used} of {limit}");
        }
    }
}
