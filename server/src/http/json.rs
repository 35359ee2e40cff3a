//! JSON bodies: what cannot be read is 400, what has another shape is 422 and says where.

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment};

use super::error::{ApiError, Fault};

mod zero;

pub(super) use zero::ZERO;

/// Reads a body.
///
/// # Errors
/// 400 where it is no JSON (or not UTF-8), 422 with a JSON pointer where it is JSON of another shape, or U+0000 stands in a text.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    // A second, slower reading only for who did it wrong: the first finds no path.
    let read = serde_json::from_slice(body).map_err(|error| explain::<T>(body, &error))?;
    zero::zero_in(body).map_or(Ok(read), |pointer| Err(ApiError::invalid(pointer, ZERO)))
}

/// Reads the elements of an array, each to be read by [`parse`]: a wrong one spoils only itself.
///
/// # Errors
/// 400 and 422 as [`parse`], of the array alone.
pub fn elements(body: &[u8]) -> Result<Vec<&RawValue>, ApiError> {
    serde_json::from_slice(body).map_err(|error| explain::<Vec<&RawValue>>(body, &error))
}

/// The same of a body that may be absent, which is `{}`.
///
/// # Errors
/// As [`parse`].
pub fn parse_or_empty<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    parse(if body.is_empty() { b"{}" } else { body })
}

/// For a member that `null` takes away and that is left as it is where it is absent: tells the one from the other.
///
/// # Errors
/// Those of the value.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// For a member of a change that may be absent, and then stays as it is, and that nothing takes away.
///
/// # Errors
/// Those of the value, and for `null`.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Option::deserialize(deserializer)?;
    let nothing = || D::Error::custom("Send a value, or leave this out to keep the present one: null is none");
    value.map(Some).ok_or_else(nothing)
}

fn explain<'a, T: Deserialize<'a>>(body: &'a [u8], first: &serde_json::Error) -> ApiError {
    // A wrong shape may stand before a syntax error; then the body still is no JSON.
    match serde_json::from_slice::<IgnoredAny>(body) {
        Err(error) => malformed(&error),
        Ok(_) if first.classify() != Category::Data => malformed(first),
        Ok(_) => match serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(body)) {
            Err(error) => ApiError::validation(vec![fault(error.path(), &message(error.inner()))]),
            Ok(_) => malformed(first),
        },
    }
}

fn malformed(error: &serde_json::Error) -> ApiError {
    let place = format!("line {}, column {}", error.line(), error.column());
    ApiError::malformed(format!("The body is not valid JSON: {} ({place}).", message(error)))
}

/// What serde says, without the place that it appends.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}

/// Serde's message in words that say what to do.
fn fault(path: &Path, message: &str) -> Fault {
    let at = pointer(path);
    if let Some(field) = quoted_after(message, "missing field ") {
        return Fault::new(child(&at, field), "This is required.");
    }
    if let Some(field) = quoted_after(message, "duplicate field ") {
        return Fault::new(child(&at, field), "Send this once.");
    }
    if let Some(field) = quoted_after(message, "unknown field ") {
        let known = message.split_once(", expected ").map_or("nothing", |(_, known)| known);
        let at = if at.ends_with(&child("", field)) { at } else { child(&at, field) };
        return Fault::new(at, format!("This is not known here; known: {}.", known.replace('`', "")));
    }
    match message.split_once(", expected ") {
        Some((found, expected)) => Fault::new(at, format!("Send {}; {found}.", in_json(expected))),
        None => Fault::new(at, format!("{message}.")),
    }
}

/// What Rust expects, in the words of JSON.
fn in_json(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, at least 0",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "an object",
        _ if expected.starts_with("struct ") || expected.starts_with("internally tagged enum ") => "an object",
        _ => expected,
    }
}

fn quoted_after<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.strip_prefix('`')?.split('`').next()
}

/// A path as a JSON pointer in a URI fragment.
fn pointer(path: &Path) -> String {
    path.iter().fold("#".to_owned(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } | Segment::Enum { variant: key } => child(&pointer, key),
        Segment::Unknown => pointer,
    })
}

/// The pointer to a member below `pointer`: RFC 6901 escapes, then those of a URI fragment.
pub fn child(pointer: &str, member: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const FRAGMENT: &AsciiSet =
        &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'[').add(b']').add(b'\\').add(b'^');
    const POINTER: &AsciiSet = &FRAGMENT.add(b'`').add(b'{').add(b'|').add(b'}');
    let escaped = member.replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{}", utf8_percent_encode(&escaped, POINTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[allow(dead_code, reason = "only their shape counts")]
    struct Body {
        name: String,
        #[serde(default)]
        limits: Vec<Limit>,
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only their shape counts")]
    struct Limit {
        max: u32,
        #[serde(default)]
        window: Option<Window>,
    }

    #[derive(Deserialize, Debug)]
    #[serde(rename_all = "camelCase")]
    enum Window {
        Minute,
        BillingPeriod,
    }

    #[test]
    fn json_of_another_shape_is_422_and_says_where_and_what_to_do() {
        #[rustfmt::skip]
        let cases = [
            (r#"{}"#,                                             "#/name",            "This is required."),
            (r#"{"name": 5}"#,                                    "#/name",            "Send a string; invalid type: integer `5`."),
            (r#"{"name": "a", "nmae": 1}"#,                       "#/nmae",            "This is not known here; known: name or limits."),
            (r#"{"name": "a", "a/b~c d": 1}"#,                    "#/a~1b~0c%20d",     "This is not known here; known: name or limits."),
            (r#"{"name": "a", "limits": [{"max": 1}, {}]}"#,      "#/limits/1/max",    "This is required."),
            (r#"{"name": "a", "limits": [{"max": -1}]}"#,         "#/limits/0/max",    "Send a whole number from 0 to 4294967295; invalid value: integer `-1`."),
            (r#"{"name": "a", "limits": [{"max": 4294967296}]}"#, "#/limits/0/max",    "Send a whole number from 0 to 4294967295; invalid value: integer `4294967296`."),
            (r#"{"name": "a", "limits": [{"max": 1, "x": 2}]}"#,  "#/limits/0/x",      "This is not known here; known: max or window."),
            (r#"{"name": "a", "limits": [{"max": 1, "window": "year"}]}"#, "#/limits/0/window", "Send `minute` or `billingPeriod`; unknown variant `year`."),
            (r#"[]"#,                                             "#",                 "Send an object; invalid length 0."),
            (r#"null"#,                                           "#",                 "Send an object; invalid type: null."),
            (r#"{"name": "a", "name": "b"}"#,                     "#/name",            "Send this once."),
        ];
        for (body, pointer, detail) in cases {
            let problem = parse::<Body>(body.as_bytes()).unwrap_err().to_value(None);
            assert_eq!(problem["status"], 422, "{body}");
            assert_eq!(problem["errors"][0]["detail"], detail, "{body}");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
        }
    }

    #[test]
    fn what_is_no_json_is_400_even_after_a_wrong_shape() {
        let deep = "[".repeat(100_000);
        let cases: [&[u8]; 8] = [
            b"",
            b"{",
            b"nope",
            b"{} {}",
            b"{\"name\": 5, ",
            b"{\"name\": \"\xff\"}",
            b"\xef\xbb\xbf{}",
            deep.as_bytes(),
        ];
        for body in cases {
            let error = parse::<Body>(body).unwrap_err();
            assert_eq!(error.status(), 400, "{:?}", body.get(..20));
        }
        assert!(parse::<Body>(br#" {"name": "a", "limits": []} "#).is_ok());
    }
}
