use super::*;
use axum::http::{HeaderName, HeaderValue};
use metergate_rules::id::EventId;

const BATCH: &str = "application/cloudevents-batch+json";

type Pair<'a> = (&'static str, &'a str);

fn headers(pairs: &[Pair]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
}

/// Each element in one word: its id where it is good, `index id reason` where not.
fn outline(content_type: &str, body: &[u8]) -> Result<Vec<String>, u16> {
    let headers = headers(&[("content-type", content_type)]);
    let events = parse(&headers, body).map_err(|error| error.status().as_u16())?;
    Ok(events
        .into_iter()
        .map(|event| event.map_or_else(|r| format!("{} {:?} {}", r.index, r.id, r.reason), |e| e.id.into_owned()))
        .collect())
}

/// An event with some attributes replaced: `("time", "5")` puts the JSON `5` there, `("id", "")` leaves it out.
fn event(changes: &[(&str, &str)]) -> String {
    let mut members = vec![
        ("specversion", r#""1.0""#),
        ("id", r#""e-1""#),
        ("source", r#""/api""#),
        ("type", r#""tokens""#),
        ("subject", r#""acme""#),
        ("time", r#""2026-11-22T11:06:00.123Z""#),
        ("data", r#"{"quantity":1200}"#),
    ];
    members.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    members.extend(changes.iter().filter(|(_, json)| !json.is_empty()));
    let members: Vec<String> = members.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn an_event_is_read_with_all_its_attributes_and_borrowed() {
    let (body, headers) = (event(&[]), headers(&[("content-type", "application/cloudevents+json; charset=utf-8")]));
    let events = parse(&headers, body.as_bytes()).unwrap();
    let event = events[0].as_ref().unwrap();
    assert!(
        [&event.id, &event.source, &event.kind, &event.subject].iter().all(|text| matches!(text, Cow::Borrowed(_)))
    );
    assert_eq!((&*event.id, &*event.source, &*event.kind, &*event.subject), ("e-1", "/api", "tokens", "acme"));
    assert_eq!(event.time, Some("2026-11-22T11:06:00.123Z".parse().unwrap()));
    assert_eq!(event.data.unwrap().get(), r#"{"quantity":1200}"#);
}

#[test]
fn every_content_type_of_one_or_several_events_is_taken() {
    let (one, two) = (event(&[]), event(&[("id", "\"e-2\"")]));
    let array = format!("[{one}, {two}]");
    let lines = format!("\r\n{one}\r\n\r\n  \n{two}\r\n");
    let cases = [
        ("application/cloudevents+json", &one, Ok(vec!["e-1"])),
        ("Application/CloudEvents+JSON;charset=UTF-8", &one, Ok(vec!["e-1"])),
        (BATCH, &array, Ok(vec!["e-1", "e-2"])),
        ("application/json", &one, Ok(vec!["e-1"])),
        ("application/json; charset=utf-8", &array, Ok(vec!["e-1", "e-2"])),
        ("application/x-ndjson", &lines, Ok(vec!["e-1", "e-2"])),
        ("application/x-ndjson; charset=utf-8", &one, Ok(vec!["e-1"])),
        ("text/plain", &one, Err(415)),
        ("", &one, Err(415)),
    ];
    for (content_type, body, expected) in cases {
        let expected = expected.map(|ids| ids.iter().map(ToString::to_string).collect());
        assert_eq!(outline(content_type, body.as_bytes()), expected, "{content_type}");
    }
    for (content_type, body) in [(BATCH, "[]"), ("application/x-ndjson", "\r\n\n"), ("application/x-ndjson", "")] {
        assert_eq!(outline(content_type, body.as_bytes()), Ok(vec![]), "{content_type} {body:?}");
    }
}

#[test]
fn an_element_that_is_no_event_is_rejected_alone() {
    let long = format!("\"{}\"", "x".repeat(256));
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(MAX_EVENT_BYTES));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    #[rustfmt::skip]
    let cases = [ // element, id, reason
        ("5".to_owned(),                                     None,        "invalid-event"),
        ("-5.5e3".to_owned(),                                None,        "invalid-event"),
        ("null".to_owned(),                                  None,        "invalid-event"),
        ("1e999999".to_owned(), None, "invalid-event"),
        (event(&[("id", r#""\ud800""#)]), None, "invalid-event"),
        ("true".to_owned(),                                  None,        "invalid-event"),
        (r#""\n""#.to_owned(),                               None,        "invalid-event"),
        ("[[1], {}]".to_owned(),                             None,        "invalid-event"),
        ("{}".to_owned(),                                    None,        "invalid-event"),
        (event(&[("id", "")]),                               None,        "invalid-event"),
        (event(&[("id", "null")]),                           None,        "invalid-event"),
        (event(&[("id", "7")]),                              None,        "invalid-event"),
        (event(&[("id", "1e999999")]),                       None,        "invalid-event"),
        (event(&[("id", r#""""#)]),                          None,        "invalid-event"),
        (event(&[("id", r#""a\nb""#)]),                      None,        "invalid-event"),
        (event(&[("id", &long)]),                            None,        "invalid-event"),
        (event(&[("source", "")]),                           Some("e-1"), "invalid-event"),
        (event(&[("source", r#"["/api"]"#)]),                Some("e-1"), "invalid-event"),
        (event(&[("source", &deep)]),                        Some("e-1"), "invalid-event"),
        (event(&[("type", r#"{"a": "b"}"#)]),                Some("e-1"), "invalid-event"),
        (event(&[("subject", "")]),                          Some("e-1"), "invalid-event"),
        (event(&[("specversion", "")]),                      Some("e-1"), "invalid-event"),
        (event(&[("specversion", "1.0")]),                   Some("e-1"), "invalid-event"),
        (event(&[("specversion", r#""0.3""#)]),              Some("e-1"), "invalid-event"),
        (event(&[("time", r#""yesterday""#)]),               Some("e-1"), "invalid-event"),
        (event(&[("time", r#""2026-11-22T11:06:00""#)]),     Some("e-1"), "invalid-event"),
        (event(&[("time", "1763809560")]),                   Some("e-1"), "invalid-event"),
        (event(&[("data_base64", r#""aGk=""#)]),             Some("e-1"), "invalid-event"),
        (event(&[("source", r#""metergate:consumed/x""#)]),  Some("e-1"), "reserved-source"),
        (event(&[("source", r#""\u006detergate:x""#)]),      Some("e-1"), "reserved-source"),
        (event(&[("data", &large)]),                         Some("e-1"), "too-large"),
        (event(&[("extension", &large)]),                    Some("e-1"), "too-large"),
    ];
    for (element, id, reason) in cases {
        let rejected = format!("1 {:?} {reason}", id.map(str::to_owned));
        let expected = Ok(vec!["e-1".to_owned(), rejected, "e-1".to_owned()]);
        let (good, shown) = (event(&[]), element.get(..80).unwrap_or(&element));
        assert_eq!(outline(BATCH, format!("[{good},{element},{good}]").as_bytes()), expected, "{shown}");
        assert_eq!(
            outline("application/x-ndjson", format!("{good}\n{element}\n{good}").as_bytes()),
            expected,
            "{shown}"
        );
    }
}

#[test]
fn weird_but_good_events_are_taken() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let full = format!("\"{}\"", "x".repeat(MAX_EVENT_BYTES - 1_000));
    #[rustfmt::skip]
    let cases = [ // changes, id
        (vec![("extension", r#"{"nested": [1, null]}"#), ("traceparent", "5")], "e-1"),
        (vec![("data", &*deep)],                                                "e-1"),
        (vec![("data", &*full)],                                                "e-1"),
        (vec![("data", "")],                                                    "e-1"),
        (vec![("time", "")],                                                    "e-1"),
        (vec![("time", r#""2026-11-22T12:06:00.5+01:00""#)],                    "e-1"),
        (vec![("id", r#""a\u00e4\"""#)],                                        "aä\""),
        (vec![("id", r#""ключ""#)],                                             "ключ"),
        (vec![("id", "5"), ("id", r#""last""#)],                                "last"),
        (vec![(r"\u0069d", r#""escaped name""#)],                               "escaped name"),
        (vec![("datacontenttype", r#""text/plain""#), ("data", r#""hello""#)],  "e-1"),
    ];
    for (changes, id) in cases {
        assert_eq!(outline(BATCH, format!("[{}]", event(&changes)).as_bytes()), Ok(vec![id.to_owned()]), "{id}");
    }
}

#[test]
fn a_body_that_cannot_be_split_is_400_and_too_many_events_are_413() {
    let good = event(&[]);
    let truncated = format!("[{good},{}", &good[..40]);
    let invalid = [b"[{\"id\":\"".as_slice(), b"\xff\"}]"].concat();
    let cases: [&[u8]; 10] = [
        b"",
        b"nope",
        b"5",
        b"null",
        b"\"text\"",
        truncated.as_bytes(),
        &invalid,
        b"[] []",
        b"[{\"a\":1,}]",
        b"[{\"a\" 1}]",
    ];
    for body in cases {
        assert_eq!(outline(BATCH, body), Err(400), "{:?}", String::from_utf8_lossy(body));
    }
    let many = |count: usize, separator: &str| vec!["{}"; count].join(separator);
    assert_eq!(outline(BATCH, format!("[{}]", many(MAX_EVENTS, ",")).as_bytes()).unwrap().len(), MAX_EVENTS);
    assert_eq!(outline(BATCH, format!("[{}]", many(MAX_EVENTS + 1, ",")).as_bytes()), Err(413));
    assert_eq!(outline("application/x-ndjson", many(MAX_EVENTS, "\n").as_bytes()).unwrap().len(), MAX_EVENTS);
    assert_eq!(outline("application/x-ndjson", many(MAX_EVENTS + 1, "\n").as_bytes()), Err(413));
}

#[test]
fn a_line_that_is_no_json_is_rejected_alone() {
    let good = event(&[]);
    for bad in [&b"{\"id\": \"e-2\""[..], b"{} {}", b"\xff\xfe", b"{\"id\":\"\x01\"}"] {
        let body = [good.as_bytes(), bad, good.as_bytes()].join(&b'\n');
        let expected = Ok(vec!["e-1".to_owned(), "1 None invalid-event".to_owned(), "e-1".to_owned()]);
        assert_eq!(outline("application/x-ndjson", &body), expected, "{:?}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn binary_mode_takes_attributes_from_headers_and_data_from_the_body() {
    let base = [
        ("ce-specversion", "1.0"),
        ("ce-id", "e%201"),
        ("ce-source", "/api"),
        ("ce-type", "tokens"),
        ("ce-subject", "acme"),
    ];
    #[rustfmt::skip]
    let cases: [(&[Pair], &[u8], &str); 9] = [ // more headers, body, outcome
        (&[("content-type", "application/json")],         b"{\"quantity\": 5}", "e 1 {\"quantity\": 5}"),
        (&[("content-type", "application/x-ndjson")],     b" 7 ",               "e 1 7"),
        (&[("ce-time", "2026-11-22T11:06:00Z")],          b"",                  "e 1 -"),
        (&[("ce-id", "%22%E2%82%AC")],                    b"null",              "\"€ -"),
        (&[("ce-id", "\"a\\\"b\"")],                      b"",                  "a\"b -"),
        (&[("content-type", "application/xml")],          b"<x/>",              "invalid-event"),
        (&[("ce-time", "soon")],                          b"",                  "invalid-event"),
        (&[("ce-id", "%FF")],                             b"",                  "invalid-event"),
        (&[("ce-source", "metergate:%78")],               b"",                  "reserved-source"),
    ];
    for (more, body, expected) in cases {
        let headers = headers(&[&base[..], more].concat());
        let events = parse(&headers, body).unwrap();
        let outcome = match &events[..] {
            [Ok(event)] => format!("{} {}", event.id, event.data.map_or("-", RawValue::get)),
            [Err(rejected)] => rejected.reason.to_owned(),
            _ => panic!("one event"),
        };
        assert_eq!(outcome, expected);
    }
}

#[test]
fn names_are_taken_exactly_where_the_rules_take_them() {
    let long = "x".repeat(255);
    let texts = ["a", "a b", "ä", "\u{85}", "\u{7f}", "\u{a0}", "", &long, &format!("{long}x")];
    for text in texts {
        let body = event(&[("id", &serde_json::to_string(text).unwrap())]);
        let taken = outline(BATCH, body.as_bytes()).unwrap()[0] == text;
        assert_eq!(taken, EventId::new(text).is_ok(), "{text:?}");
    }
}

#[test]
fn properties_are_picked_as_the_text_that_stands_there() {
    let huge = "9".repeat(400);
    let huge = format!(r#"{{"quantity":{huge}.{huge}e{huge}}}"#);
    #[rustfmt::skip]
    let cases = [ // data, quantity and model
        (r#"{"quantity": 0.1, "model": "gpt-4o"}"#,                 Ok([Some("0.1"), Some("\"gpt-4o\"")])),
        (r#"{"quantity": 12345678901234567890.000000001}"#,         Ok([Some("12345678901234567890.000000001"), None])),
        (&huge,                                                     Ok([Some(&huge[12..huge.len() - 1]), None])),
        (r#"{"quantity": 1, "model": null, "quantity": "2"}"#,      Ok([Some("\"2\""), Some("null")])),
        (r#"{"quan\u0074ity": 1, "x": {"model": "inner"}}"#,        Ok([Some("1"), None])),
        (r#"{"model": {"a": [1, {"b": "]}"}]}, "other": [[[]]]}"#,  Ok([None, Some(r#"{"a": [1, {"b": "]}"}]}"#)])),
        ("{}",                                                      Ok([None, None])),
        ("[1]",                                                     Err(NotAnObject)),
        ("5",                                                       Err(NotAnObject)),
        ("\"text\"",                                                Err(NotAnObject)),
    ];
    for (data, expected) in cases {
        let data: &RawValue = serde_json::from_str(data).unwrap();
        let mut found = [Some(data); 2];
        let outcome = pick(data, &["quantity", "model"], &mut found);
        assert_eq!(outcome.map(|()| found.map(|value| value.map(RawValue::get))), expected, "{}", data.get());
    }
}
