//! Sizes as people type them: a number of bytes, or of larger steps, such as `10 GB`.

use super::Amount;
use super::amount::ONE;
use super::quantity::is_bytes;
use crate::typed::number::ungrouped;

/// The steps that a size can be typed in, the largest first, each with how many times 1,024 it is more than a byte.
const STEPS: [(&str, u32); 5] = [("PB", 5), ("TB", 4), ("GB", 3), ("MB", 2), ("KB", 1)];

/// A number, and the letters behind it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    (text[..at].trim_end(), &text[at..])
}

/// Why it is not clear which number somebody has typed, with a unit or without; nothing where it is, or where it is none at all.
pub(crate) fn unclear(text: &str) -> Option<&'static str> {
    ungrouped(split(text).0).err()
}

impl Amount {
    /// What somebody has typed as a quantity of a meter, thousands grouped or not. Of bytes it may have its unit (`10 GB`, `1.5 mb`, `512 bytes`), in steps of
    /// 1,024 and rounded down to whole bytes. `None` where it is no number, or the unit is not the meter's.
    pub fn typed(text: &str, unit: &str) -> Option<Self> {
        let read = |text: &str| Self::parse(&ungrouped(text).ok()?);
        let (number, step) = split(text);
        if step.is_empty() || !is_bytes(unit) {
            return read(text);
        }
        let (number, step) = (read(number)?, step.to_ascii_uppercase());
        let times = match step.as_str() {
            "B" | "BYTE" | "BYTES" => 0,
            step => STEPS.iter().find(|(name, _)| *name == step)?.1,
        };
        let bytes = number.billionths().checked_mul(1_024_i128.pow(times))? / ONE;
        i64::try_from(bytes).ok().map(Self::whole)
    }

    /// As a field shows it, so that what nobody touches comes back as it was: bytes in the largest step of which they are whole.
    pub fn to_type(self, unit: &str) -> String {
        let whole = self.billionths() / ONE;
        let steps = STEPS.iter().filter(|_| is_bytes(unit) && whole != 0 && self.billionths() % ONE == 0);
        let sized = steps.map(|(name, times)| (name, 1_024_i128.pow(*times)));
        match sized.into_iter().find(|(_, size)| whole % size == 0) {
            Some((name, size)) => format!("{} {name}", whole / size),
            None => self.plain(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_typed_with_their_unit_and_nothing_else_is() {
        #[rustfmt::skip]
        let cases = [ // typed, unit of the meter, what it is
            ("10 GB",         "byte", Some("10737418240")),
            (" 1.5mb ",       "byte", Some("1572864")),
            ("0.1 KB",        "byte", Some("102")), // a tenth of a kilobyte is 102.4 bytes
            ("512 bytes",     "byte", Some("512")),
            ("512",           "byte", Some("512")),
            ("-2 kb",         "byte", Some("-2048")),
            ("9000 PB",       "byte", None), // more than a quantity can be
            ("10 GiB",        "byte", None),
            ("GB",            "byte", None),
            ("10 GB",         "call", None),
            ("10 calls",      "call", None),
            ("12.5",          "call", Some("12.5")),
            ("1,500,000",     "call", Some("1500000")),
            ("1 500.5",       "call", Some("1500.5")),
            ("1,024 MB",      "byte", Some("1073741824")),
            ("2\u{a0}KB",      "byte", Some("2048")),
            ("1,5 GB",        "byte", None), // one and a half, or fifteen?
            ("1,5",           "call", None),
            ("many",          "byte", None),
        ];
        for (typed, unit, expected) in cases {
            assert_eq!(Amount::typed(typed, unit).map(Amount::plain).as_deref(), expected, "{typed} of {unit}");
        }
    }

    #[test]
    fn a_field_shows_bytes_in_the_largest_step_of_which_they_are_whole() {
        #[rustfmt::skip]
        let cases = [
            ("10737418240", "byte", "10 GB"), ("5242880000", "byte", "5000 MB"), ("1536", "byte", "1536"),
            ("2048", "byte", "2 KB"), ("0", "byte", "0"), ("-1048576", "byte", "-1 MB"), ("10737418240", "call", "10737418240"),
        ];
        for (bytes, unit, shown) in cases {
            let amount = Amount::parse(bytes).unwrap();
            assert_eq!(amount.to_type(unit), shown);
            assert_eq!(Amount::typed(shown, unit), Some(amount), "{shown} comes back as it was");
        }
    }
}
