//! CloudEvents 1.0 over HTTP (M1): a body becomes events, each good or rejected by itself.
//!
//! Everything is borrowed from the body where it stands there unescaped, and each element is read in one pass that
//! takes any JSON in any place, so that a wrong one never spoils those beside it.

mod binary;
mod data;
mod element;

use std::borrow::Cow;
use std::io::BufRead;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use metergate_rules::time::Time;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

pub use self::data::{NotAnObject, pick};
use self::element::{Draft, DraftSeed, EventsSeed};
use super::error::ApiError;

/// The most events in one body.
pub const MAX_EVENTS: usize = 10_000;
/// The most bytes in one event: its attributes, their names and its data, without the white space between.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// A list of events, in the order of the body.
pub type Events<'a> = Vec<Result<IncomingEvent<'a>, Rejected>>;

/// An event as it came in.
///
/// `id`, `source` and `kind` have 1 to 255 bytes without control characters (as the rules' `EventId`, `EventSource`
/// and `EventType` ask), and `source` does not begin with `metergate:`.
#[derive(Clone, Debug)]
pub struct IncomingEvent<'a> {
    /// The id, unique within the source.
    pub id: Cow<'a, str>,
    /// Where the event comes from.
    pub source: Cow<'a, str>,
    /// The event type, by which meters choose events.
    pub kind: Cow<'a, str>,
    /// The organization's key or id, not yet checked.
    pub subject: Cow<'a, str>,
    /// When it happened; `None` is now.
    pub time: Option<Time>,
    /// The value and dimensions as they came, any JSON but `null`; read with [`pick`].
    pub data: Option<&'a RawValue>,
}

/// An element of a body that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its place among the elements, from 0; blank lines do not count.
    pub index: usize,
    /// Its id where it has one.
    pub id: Option<String>,
    /// `invalid-event`, `reserved-source` or `too-large`.
    pub reason: &'static str,
    /// What to do about it.
    pub detail: Cow<'static, str>,
}

/// Reads a body in the mode that the headers say: structured, batched, lines, or binary.
///
/// # Errors
/// 400 where the body cannot be split into elements, 413 above [`MAX_EVENTS`], 415 for another content type without
/// `ce-` headers.
pub fn parse<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Result<Events<'a>, ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    let is = |name: &str| media_type.eq_ignore_ascii_case(name);
    if is("application/cloudevents+json") || is("application/cloudevents-batch+json") {
        parse_json(body)
    } else if binary::has_attributes(headers) {
        Ok(vec![binary::parse(headers, body).check(0)])
    } else if is("application/json") {
        parse_json(body)
    } else if is("application/x-ndjson") {
        parse_lines(body)
    } else {
        Err(ApiError::unsupported_media_type(
            "Send application/cloudevents+json, application/cloudevents-batch+json, application/json, \
             application/x-ndjson, or any other type with ce- headers.",
        ))
    }
}

/// One event or an array of them: which of the two is seen, whatever the content type said.
fn parse_json(body: &[u8]) -> Result<Events<'_>, ApiError> {
    // Checked once as a whole, which is much faster than string by string.
    let text = std::str::from_utf8(body).map_err(|_| ApiError::malformed("The body is not UTF-8."))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let mut too_many = false;
    // An event has about 200 bytes; a wrong guess costs a little memory for the time of one request.
    let expected = (text.len() / 192).min(MAX_EVENTS);
    let events = EventsSeed { too_many: &mut too_many, expected }.deserialize(&mut json);
    match events.and_then(|events| json.end().map(|()| events)) {
        Ok(events) => Ok(events),
        Err(_) if too_many => Err(above_max_events()),
        Err(_) => parse_elements(text),
    }
}

/// The careful way, for a body in which reading in one pass got stuck: a number like `1e999` or half a surrogate pair
/// in an attribute is good enough to find the element's end, so only that element is rejected.
fn parse_elements(text: &str) -> Result<Events<'_>, ApiError> {
    let elements: serde_json::Result<Vec<&RawValue>> = match text.trim_ascii_start().bytes().next() {
        Some(b'[') => serde_json::from_str(text),
        Some(b'{') => serde_json::from_str(text).map(|object: &RawValue| vec![object]),
        _ => return Err(ApiError::malformed("The body must be an event or an array of events.")),
    };
    match elements {
        Ok(elements) if elements.len() > MAX_EVENTS => Err(above_max_events()),
        Ok(elements) => Ok((0..).zip(elements).map(|(i, element)| parse_element(element.get()).check(i)).collect()),
        Err(error) => Err(ApiError::malformed(format!("The body cannot be split into events: {error}."))),
    }
}

fn parse_element(text: &str) -> Draft<'_> {
    let mut json = serde_json::Deserializer::from_str(text);
    match DraftSeed.deserialize(&mut json).and_then(|draft| json.end().map(|()| draft)) {
        Ok(draft) => draft,
        Err(error) => Draft::unreadable(format!("The event cannot be read: {error}.")),
    }
}

/// One event a line. A line that is no JSON spoils nothing but itself.
fn parse_lines(body: &[u8]) -> Result<Events<'_>, ApiError> {
    let (mut events, mut rest) = (Vec::new(), body);
    while let Some(line) = next_line(&mut rest) {
        match line.trim_ascii() {
            [] => {}
            _ if events.len() == MAX_EVENTS => return Err(above_max_events()),
            line => events.push(parse_line(line).check(events.len())),
        }
    }
    Ok(events)
}

fn next_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let all = *rest;
    // Finds the end many bytes at a time, which splitting by a closure does not.
    let bytes = rest.skip_until(b'\n').ok().filter(|bytes| *bytes > 0)?;
    all.get(..bytes)
}

fn parse_line(line: &[u8]) -> Draft<'_> {
    match std::str::from_utf8(line) {
        Ok(text) => parse_element(text),
        Err(_) => Draft::unreadable("The line is not UTF-8."),
    }
}

fn above_max_events() -> ApiError {
    ApiError::payload_too_large(format!("A body has at most {MAX_EVENTS} events. Send several."))
}

#[cfg(test)]
mod tests;
