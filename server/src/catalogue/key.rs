//! API keys: `mg_`, 160 random bits and a checksum in base 62; found by a part that is no secret, kept as a hash.

use metergate_rules::id::OrganizationId;
pub use metergate_rules::role::KeyScope;
use metergate_rules::time::Time;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 160 bits are at most 27 digits of base 62.
const SECRET_DIGITS: usize = 27;
/// A CRC-32 is at most 6.
const CHECKSUM_DIGITS: usize = 6;
/// The first digits name the key; what is left of the secret still has 100 bits.
const ID_DIGITS: usize = 10;
const PREFIX: &str = "mg_";

/// A key as it is kept: without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The part of the key that is no secret.
    pub id: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// Its name for people and the audit log.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<KeyScope>,
    /// The only organization that exists for it.
    pub organization: Option<OrganizationId>,
    /// When it was made.
    pub created_at: Time,
    /// Who made it, as the audit log names them. It stays in force when they go: it is the organization's, not theirs.
    /// None for one from before this was noted.
    pub created_by: Option<String>,
    /// The key in whose place it was made. Both work until that one ends.
    pub replaces: Option<String>,
    /// From when it is refused.
    pub expires_at: Option<Time>,
    /// Since when it is refused.
    pub revoked_at: Option<Time>,
}

impl ApiKey {
    /// Whether it opens anything at `now`.
    pub fn is_valid(&self, now: Time) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether `secret` is this key, in constant time.
    pub fn matches(&self, secret: &str) -> bool {
        hash(secret).ct_eq(&self.hash).into()
    }
}

/// A new key: its id and the whole of it, which is shown once.
pub fn generate() -> (String, String) {
    let digits = base62(&crate::random::bytes::<20>(), SECRET_DIGITS);
    let checksum = base62(&crc32fast::hash(digits.as_bytes()).to_be_bytes(), CHECKSUM_DIGITS);
    (digits[..ID_DIGITS].to_owned(), format!("{PREFIX}{digits}{checksum}"))
}

/// The id in a key; `None` where the text cannot be a key, a mistyped one included.
pub fn id_of(key: &str) -> Option<&str> {
    let digits = key.strip_prefix(PREFIX)?;
    let (secret, checksum) = digits.split_at_checked(SECRET_DIGITS)?;
    let expected = base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), CHECKSUM_DIGITS);
    (checksum == expected).then(|| &secret[..ID_DIGITS])
}

/// The hash under which a key is kept.
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Big-endian bytes as so many digits of base 62.
fn base62(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![ALPHABET[0]; width];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
    String::from_utf8_lossy(&digits).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_id_and_a_mistyped_one_is_not_looked_up() {
        let (id, key) = generate();
        assert_eq!(id_of(&key), Some(id.as_str()));
        assert_eq!(key.len(), 3 + 27 + 6);
        let mistyped = format!("{}{}", &key[..35], if key.ends_with('0') { '1' } else { '0' });
        for wrong in [mistyped.as_str(), "", "mg_", "mg_ä", &key[..30]] {
            assert_eq!(id_of(wrong), None, "{wrong:?}");
        }
        assert_ne!(generate().1, key);
    }

    #[test]
    fn base_62_has_leading_zeros() {
        assert_eq!(base62(&[0, 61], 3), "00z");
        assert_eq!(base62(&[0, 62], 3), "010");
    }
}
