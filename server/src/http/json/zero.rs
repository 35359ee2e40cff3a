//! U+0000 in texts: PostgreSQL keeps no text with it, and one behaviour is for both engines.

use serde_json::Value;

use super::child;

/// What a caller is told.
pub(in crate::http) const ZERO: &str = "U+0000 cannot stand in a text: leave it out.";

/// A pointer to a text of a body, or to a member's name, in which it stands; nothing where there is none.
pub(super) fn zero_in(body: &[u8]) -> Option<String> {
    // It can only be written so, and hardly anybody does.
    if !std::str::from_utf8(body).is_ok_and(|text| text.contains("\\u0000")) {
        return None;
    }
    match serde_json::from_slice(body) {
        Ok(value) => within(&value, "#"),
        // Too deep to be looked through.
        Err(_) => Some("#".to_owned()),
    }
}

fn within(value: &Value, pointer: &str) -> Option<String> {
    let has = |text: &str| text.contains('\0');
    match value {
        Value::String(text) if has(text) => Some(pointer.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(place, item)| within(item, &format!("{pointer}/{place}")))
        }
        Value::Object(members) if members.keys().any(|name| has(name)) => Some(pointer.to_owned()),
        Value::Object(members) => members.iter().find_map(|(name, item)| within(item, &child(pointer, name))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_wherever_it_stands_and_nowhere_else() {
        let deep = format!(r#"{{"reason": "\u0000", "details": {}{}}}"#, "[".repeat(200), "]".repeat(200));
        #[rustfmt::skip]
        let cases = [
            (r#"{"reason": "a\u0000b"}"#,                Some("#/reason")),
            (r#"{"a": [1, {"b/c": "\u0000"}]}"#,         Some("#/a/1/b~1c")),
            (r#"{"a": {"x\u0000": 1}}"#,                 Some("#/a")),
            (r#"{"reason": "a\\u0000b"}"#,               None), // a backslash and four zeros
            (r#"{"reason": "\u0001 \u0020"}"#,           None),
            (r#""\u0000""#,                              Some("#")),
            (deep.as_str(),                              Some("#")),
        ];
        for (body, expected) in cases {
            assert_eq!(zero_in(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
