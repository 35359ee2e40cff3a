//! The id of one HTTP request: it stands in the log, in `X-Request-Id` and in a problem's `instance`.

use std::cell::Cell;
use std::fmt;

use axum::http::{HeaderMap, HeaderName};

/// The header that carries a request's id, both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of one request: 1 to 64 of `A-Z a-z 0-9 . _ -`, so that it can stand in a URN, a header and a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Given);

/// Ours stays two numbers until somebody reads it, because most answers never show it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    ByCaller(Box<str>),
    ByUs { prefix: u64, number: u64 },
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Given::ByCaller(text) => f.write_str(text),
            Given::ByUs { prefix, number } => write!(f, "{prefix:016x}-{number:x}"),
        }
    }
}

/// Hands out request ids. Each core has its own, so no two of them may share a prefix.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u64,
    next: Cell<u64>,
}

impl RequestIds {
    /// Ids that begin with `prefix`: a random number for each core and start.
    pub const fn new(prefix: u64) -> Self {
        Self { prefix, next: Cell::new(0) }
    }

    /// The caller's `X-Request-Id` where it can be used as it is, else the next of ours.
    pub fn of(&self, headers: &HeaderMap) -> RequestId {
        match headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|text| is_usable(text)) {
            Some(text) => RequestId(Given::ByCaller(text.into())),
            None => self.next(),
        }
    }

    /// The next of our own ids.
    pub fn next(&self) -> RequestId {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        RequestId(Given::ByUs { prefix: self.prefix, number })
    }
}

fn is_usable(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_id_is_kept_where_it_is_safe_and_ours_counts_up() {
        let ids = RequestIds::new(0xab);
        let cases = [
            (Some("0192f3a4-5b6c-7d8e"), "0192f3a4-5b6c-7d8e"),
            (None, "00000000000000ab-0"),
            (Some("a b"), "00000000000000ab-1"),
            (Some("\"><script>"), "00000000000000ab-2"),
            (Some(""), "00000000000000ab-3"),
        ];
        for (given, expected) in cases {
            let mut headers = HeaderMap::new();
            given.map(|text| headers.insert(X_REQUEST_ID, text.parse().unwrap()));
            assert_eq!(ids.of(&headers).to_string(), expected);
        }
        let long = HeaderMap::from_iter([(X_REQUEST_ID, "x".repeat(65).parse().unwrap())]);
        assert_eq!(ids.of(&long).to_string(), "00000000000000ab-4");
    }
}
