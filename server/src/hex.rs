//! Bytes as text.

use std::fmt::Write as _;

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that [`hex`] writes so; nothing where the text is another.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex_all(text)?.try_into().ok()
}

/// The same of any number of bytes.
pub fn unhex_all(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).filter(|_| !digit.is_ascii_uppercase());
    let byte = |pair: &[u8]| u8::try_from(nibble(*pair.first()?)? << 4 | nibble(*pair.get(1)?)?).ok();
    text.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_as_it_is_written_and_nothing_else_is() {
        assert_eq!(unhex::<3>(&hex(&[0, 171, 255])), Some([0, 171, 255]));
        for other in ["", "00ab", "00abf", "00ABff", "00abfg", "00abf\u{e9}"] {
            assert_eq!(unhex::<3>(other), None, "{other}");
            assert!(other.is_empty() || other == "00ab" || unhex_all(other).is_none(), "{other}");
        }
    }
}
