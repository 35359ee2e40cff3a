//! Tokens of sessions and links: `mgs_` and 256 random bits, shown once and kept as a hash.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::{hex, unhex};

/// How every token begins, so that no API key is taken for one.
const PREFIX: &str = "mgs_";

/// SHA-256 of a token. Found by this, a token needs no comparison whose time could tell something of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenHash(pub [u8; 32]);

/// A new token and its hash.
pub fn generate() -> (String, TokenHash) {
    let token = format!("{PREFIX}{}", hex(&crate::random::bytes::<32>()));
    let hash = hash(&token);
    (token, hash)
}

/// The hash of a text that can be a token.
pub fn hash_of(text: &str) -> Option<TokenHash> {
    text.strip_prefix(PREFIX).and_then(unhex::<32>).map(|_| hash(text))
}

fn hash(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_hash_and_nothing_else_has_one() {
        let (token, hash) = generate();
        assert_eq!(hash_of(&token), Some(hash));
        assert_eq!(token.len(), 4 + 64);
        assert_ne!(generate().1, hash);
        for other in ["", "mgs_", &token[..67], &token.to_uppercase(), "mg_000000000000000000000000000000000000"] {
            assert_eq!(hash_of(other), None, "{other}");
        }
    }
}
