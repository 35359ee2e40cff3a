//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header): a quoted string; the bare form too.

use axum::http::HeaderMap;
use metergate_rules::id::IdempotencyKey;
use sha2::{Digest, Sha256};

use super::error::ApiError;
use crate::store::ReceiptKey;

/// The key of a request, where it has one.
///
/// # Errors
/// 422 where the header is no key.
pub fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let wrong = || ApiError::invalid("Idempotency-Key", "Send 1 to 255 characters, such as \"8e03978e-40d5\".");
    let text = value.to_str().map_err(|_| wrong())?.trim();
    let bare = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or_else(wrong)?.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.to_owned(),
    };
    IdempotencyKey::new(&bare).map(Some).map_err(|_| wrong())
}

/// The key of a request with what it is used for: `parts` tell one request from another.
///
/// # Errors
/// 422 where the header is no key.
pub fn receipt(headers: &HeaderMap, route: &'static str, parts: &[&[u8]]) -> Result<Option<ReceiptKey>, ApiError> {
    Ok(key(headers)?.map(|key| receipt_of(key, route, parts)))
}

/// A key with what it is used for.
pub fn receipt_of(key: IdempotencyKey, route: &'static str, parts: &[&[u8]]) -> ReceiptKey {
    ReceiptKey { route, key, fingerprint: fingerprint(parts) }
}

fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_taken_quoted_and_bare() {
        let cases = [("\"a-1\"", Some("a-1")), ("a-1", Some("a-1")), ("\"a", None), ("\"\"", None), ("", None)];
        for (text, expected) in cases {
            let headers = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), text.parse().unwrap())]);
            let found = key(&headers).ok().flatten();
            assert_eq!(found.as_ref().map(IdempotencyKey::as_str), expected, "{text:?}");
        }
        assert!(key(&HeaderMap::new()).unwrap().is_none());
    }
}
