//! Rate headers (D10): what is left, in the IETF draft's fields and in the `X-RateLimit` family.
//!
//! `RateLimit-Policy` and `RateLimit` are Lists of Strings with parameters (RFC 9651), after
//! draft-ietf-httpapi-ratelimit-headers-11.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

/// The largest integer in a structured field.
const MAX_INTEGER: i64 = 999_999_999_999_999;
/// `"api_calls-billingPeriod";q=999999999999999;w=86400, `: one entry at its usual longest.
const ENTRY_BYTES: usize = 64;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT_MINUTE: HeaderName = HeaderName::from_static("x-ratelimit-limit-minute");
const REMAINING_MINUTE: HeaderName = HeaderName::from_static("x-ratelimit-remaining-minute");
const LIMIT_DAY: HeaderName = HeaderName::from_static("x-ratelimit-limit-day");
const REMAINING_DAY: HeaderName = HeaderName::from_static("x-ratelimit-remaining-day");

/// Which rate headers are sent: the setting `rate_limit_headers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sent {
    /// Both families.
    #[default]
    Both,
    /// `RateLimit-Policy` and `RateLimit`.
    Ietf,
    /// `X-RateLimit-{Limit,Remaining}-{Minute,Day}`.
    X,
    /// Neither. `Retry-After` is sent all the same.
    None,
}

/// One limit with its state. Unlimited ones are left out by who makes the list.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The meter's key.
    pub meter: &'a str,
    /// The window as on the wire: `minute`, `hour`, `day`, `month`, `billingPeriod` or `lifetime`.
    pub window: &'a str,
    /// The limit in units of the meter.
    pub limit: i64,
    /// What is left of it; below zero counts as zero.
    pub remaining: i64,
    /// Seconds until more is free, rounded up; nothing where that never comes (`lifetime`).
    pub reset_seconds: Option<i64>,
}

impl Policy<'_> {
    /// The window's length in seconds, where it is constant: months and periods have none. A day counts as 24 hours,
    /// though two in a year have 23 and 25 where clocks change.
    fn seconds(&self) -> Option<i64> {
        match self.window {
            "minute" => Some(60),
            "hour" => Some(3_600),
            "day" => Some(86_400),
            _ => None,
        }
    }
}

/// Writes the rate headers of a decision on `meter` (the `X-` family shows only that meter's limits), and
/// `Retry-After` where `retry_after` has seconds.
pub fn write(headers: &mut HeaderMap, sent: Sent, meter: &str, policies: &[Policy<'_>], retry_after: Option<i64>) {
    if matches!(sent, Sent::Both | Sent::Ietf) {
        insert(headers, POLICY, policy_value(policies));
        insert(headers, LIMIT, limit_value(policies));
    }
    if matches!(sent, Sent::Both | Sent::X) {
        for policy in policies.iter().filter(|policy| policy.meter == meter) {
            write_x(headers, policy);
        }
    }
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(0)));
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

fn write_x(headers: &mut HeaderMap, policy: &Policy<'_>) {
    let (limit, remaining) = match policy.window {
        "minute" => (LIMIT_MINUTE, REMAINING_MINUTE),
        "day" => (LIMIT_DAY, REMAINING_DAY),
        _ => return,
    };
    headers.insert(limit, HeaderValue::from(policy.limit.max(0)));
    headers.insert(remaining, HeaderValue::from(policy.remaining.max(0)));
}

/// `"api_calls-minute";q=300;w=60, …`: the same for every answer with these limits, so it may be kept and used again.
/// Nothing without limits.
pub fn policy_value(policies: &[Policy<'_>]) -> Option<HeaderValue> {
    list(policies, |text, policy| {
        integer(text, ";q=", policy.limit);
        policy.seconds().into_iter().for_each(|seconds| integer(text, ";w=", seconds));
    })
}

/// `"api_calls-minute";r=295;t=37, …`. Nothing without limits.
pub fn limit_value(policies: &[Policy<'_>]) -> Option<HeaderValue> {
    list(policies, |text, policy| {
        integer(text, ";r=", policy.remaining);
        policy.reset_seconds.into_iter().for_each(|seconds| integer(text, ";t=", seconds));
    })
}

fn list(policies: &[Policy<'_>], parameters: impl Fn(&mut String, &Policy<'_>)) -> Option<HeaderValue> {
    let mut text = String::with_capacity(policies.len() * ENTRY_BYTES);
    for policy in policies {
        text.push_str(if text.is_empty() { "\"" } else { ", \"" });
        text.push_str(policy.meter);
        text.push('-');
        text.push_str(policy.window);
        text.push('"');
        parameters(&mut text, policy);
    }
    // Meter keys and windows need no escapes; from anything else no broken header is made.
    if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
}

fn integer(text: &mut String, name: &str, value: i64) {
    text.push_str(name);
    text.push_str(itoa::Buffer::new().format(value.clamp(0, MAX_INTEGER)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfv::{BareItem, List, ListEntry, Parser};

    fn policy(window: &str, limit: i64, remaining: i64, reset_seconds: Option<i64>) -> Policy<'_> {
        Policy { meter: "api_calls", window, limit, remaining, reset_seconds }
    }

    /// A structured field as `name key=value …`, read by a parser that is not ours.
    fn read(value: &HeaderValue) -> Vec<String> {
        let list: List = Parser::new(value.as_bytes()).parse().unwrap();
        let entry = |entry: &ListEntry| {
            let ListEntry::Item(item) = entry else { panic!("an item") };
            let BareItem::String(name) = &item.bare_item else { panic!("a string") };
            item.params.iter().fold(name.as_str().to_owned(), |text, (key, value)| {
                let BareItem::Integer(number) = value else { panic!("an integer") };
                format!("{text} {}={}", key.as_str(), i64::from(*number))
            })
        };
        list.iter().map(entry).collect()
    }

    #[test]
    fn the_fields_are_those_of_the_conventions() {
        let policies = [policy("minute", 300, 295, Some(37)), policy("day", 50_000, 49_995, Some(3_600))];
        let mut headers = HeaderMap::new();
        write(&mut headers, Sent::Both, "api_calls", &policies, None);
        let expected = [
            ("ratelimit-policy", r#""api_calls-minute";q=300;w=60, "api_calls-day";q=50000;w=86400"#),
            ("ratelimit", r#""api_calls-minute";r=295;t=37, "api_calls-day";r=49995;t=3600"#),
            ("x-ratelimit-limit-minute", "300"),
            ("x-ratelimit-remaining-minute", "295"),
            ("x-ratelimit-limit-day", "50000"),
            ("x-ratelimit-remaining-day", "49995"),
        ];
        assert_eq!(headers.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(headers[name], value);
        }
        assert_eq!(read(&headers[POLICY]), ["api_calls-minute q=300 w=60", "api_calls-day q=50000 w=86400"]);
        assert_eq!(read(&headers[LIMIT]), ["api_calls-minute r=295 t=37", "api_calls-day r=49995 t=3600"]);
    }

    #[test]
    fn windows_without_constant_length_have_no_w_and_numbers_stay_within_structured_fields() {
        #[rustfmt::skip]
        let cases = [
            (policy("hour", 5, 5, Some(0)),                        "q=5 w=3600",          "r=5 t=0"),
            (policy("month", 5, -3, Some(1)),                      "q=5",                 "r=0 t=1"),
            (policy("billingPeriod", i64::MAX, i64::MAX, Some(9)), "q=999999999999999",   "r=999999999999999 t=9"),
            (policy("lifetime", 1, 0, None),                       "q=1",                 "r=0"),
        ];
        for (policy, q, r) in cases {
            let name = format!("api_calls-{}", policy.window);
            assert_eq!(read(&policy_value(&[policy]).unwrap()), [format!("{name} {q}")]);
            assert_eq!(read(&limit_value(&[policy]).unwrap()), [format!("{name} {r}")]);
        }
    }

    #[test]
    fn the_setting_chooses_the_family_and_retry_after_is_always_sent() {
        let policies = [policy("minute", 1, 0, Some(9))];
        let cases =
            [(Sent::Both, true, true), (Sent::Ietf, true, false), (Sent::X, false, true), (Sent::None, false, false)];
        for (sent, ietf, x) in cases {
            let mut headers = HeaderMap::new();
            write(&mut headers, sent, "api_calls", &policies, Some(9));
            assert_eq!(headers.contains_key(LIMIT) && headers.contains_key(POLICY), ietf, "{sent:?}");
            assert_eq!(headers.contains_key(LIMIT_MINUTE), x, "{sent:?}");
            assert_eq!(headers[RETRY_AFTER], "9");
        }
        assert_eq!(serde_json::from_str::<Sent>("\"ietf\"").unwrap(), Sent::Ietf);
    }

    #[test]
    fn no_limits_and_other_meters_limits_write_nothing_of_theirs() {
        let mut headers = HeaderMap::new();
        write(&mut headers, Sent::Both, "tokens", &[], None);
        assert!(headers.is_empty());
        write(&mut headers, Sent::Both, "tokens", &[policy("minute", 1, 1, None)], None);
        assert!(headers.contains_key(LIMIT) && !headers.contains_key(LIMIT_MINUTE));
    }
}
