//! Binary mode: attributes in `ce-` headers, percent-encoded; the body is the data.

use std::borrow::Cow;

use axum::http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use super::element::{Attribute, Draft};

/// Whether the headers carry an event.
pub(super) fn has_attributes(headers: &HeaderMap) -> bool {
    headers.contains_key("ce-specversion") || headers.contains_key("ce-id")
}

/// The event in the headers with the body as its data.
pub(super) fn parse<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Draft<'a> {
    let (data, unreadable) = match data(body) {
        Ok(data) => (data, None),
        Err(why) => (None, Some(Cow::Borrowed(why))),
    };
    let extra = headers.iter().filter(|(name, _)| name.as_str().starts_with("ce-"));
    let bytes = extra.map(|(name, value)| name.as_str().len() - 3 + value.len()).sum::<usize>() + body.len();
    let attribute = |name| attribute(headers, name);
    Draft {
        id: attribute("ce-id"),
        source: attribute("ce-source"),
        kind: attribute("ce-type"),
        subject: attribute("ce-subject"),
        spec_version: attribute("ce-specversion"),
        time: attribute("ce-time"),
        data,
        bytes,
        unreadable,
    }
}

/// The body as JSON; nothing where it is empty or `null`.
fn data(body: &[u8]) -> Result<Option<&RawValue>, &'static str> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(body).map_err(|_| "The body, which is the event's data, must be JSON.")
}

fn attribute<'a>(headers: &'a HeaderMap, name: &str) -> Attribute<'a> {
    let Some(value) = headers.get_all(name).iter().next_back() else { return Attribute::Absent };
    match std::str::from_utf8(value.as_bytes()).ok().and_then(decoded) {
        Some(text) => Attribute::Text(text),
        None => Attribute::NotText,
    }
}

/// Without surrounding quotes and percent signs, as the HTTP binding §3.1.3.2 says to read a header.
fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return percent_decode_str(value).decode_utf8().ok();
    };
    let mut plain = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next()? } else { c });
    }
    percent_decode_str(&plain).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()))
}
