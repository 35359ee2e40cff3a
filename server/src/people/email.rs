//! Addresses by which people sign in.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest address in bytes (RFC 5321), and the longest part before its `@`.
const LONGEST: usize = 254;
const LONGEST_LOCAL: usize = 64;

/// An address, in lower case: two that differ in case alone are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Email(Arc<str>);

/// A text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Send an address such as ada@example.com: at most 254 ASCII characters without spaces; other domains in their xn-- form."
)]
pub struct InvalidEmail;

impl Email {
    /// The address, checked. Other characters than those of ASCII are refused: many of them look alike.
    ///
    /// # Errors
    /// [`InvalidEmail`] where it is none.
    pub fn new(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"@<>\",;:\\".contains(&byte));
        let is_label = |label: &str| {
            let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
        };
        let valid = text.len() <= LONGEST
            && (1..=LONGEST_LOCAL).contains(&local.len())
            && is_plain(local)
            && domain.split('.').all(is_label);
        if valid { Ok(Self(text.to_ascii_lowercase().into())) } else { Err(InvalidEmail) }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_bounded_plain_and_the_same_in_either_case() {
        let long = format!("{}@example.com", "a".repeat(65));
        let longer = format!("a@{}.com", ["b".repeat(62).as_str(); 5].join("."));
        for bad in [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c.de",
            "a@b..c",
            "a@-b.c",
            "ä@b.de",
            "a@bücher.de",
            "a\n@b.de",
            "a@b.de\u{202e}",
            "\u{212a}@b.de",
            "a,b@c.de",
            "<a@b.de>",
            &long,
            &longer,
        ] {
            assert_eq!(Email::new(bad), Err(InvalidEmail), "{bad:?}");
        }
        for good in ["ada@example.com", "a+b@x", "o'neil@a-b.example", "x@xn--bcher-kva.de"] {
            assert_eq!(Email::new(good).unwrap().as_str(), good);
        }
        assert_eq!(Email::new("Ada@Example.COM"), Email::new("ada@example.com"));
    }
}
