//! What is too large, too many or not there (R6), and how wrong requests are answered.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::server::Server;

/// Sends bytes as they are and reads what comes back until the server closes.
fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    // A server that has heard enough may close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn paths_that_are_no_route_are_404_and_wrong_methods_405() {
    let server = Server::start();
    let admin = server.admin();
    for path in ["/v1", "/v1/nothing", "/v1/consume/", "/v2/consume", "/openapi.yaml"] {
        admin.get(path).expect_problem(404, "not-found");
        server.stranger().post(path, "{}").expect_problem(404, "not-found");
    }
    #[rustfmt::skip]
    let cases = [
        ("GET", "/v1/consume", "POST"), ("PUT", "/v1/events", "GET,HEAD,POST"), ("POST", "/v1/organizations/acme", "DELETE,GET,HEAD,PATCH"),
        ("DELETE", "/v1/usage", "GET,HEAD"), ("PATCH", "/v1/plans/pro", "DELETE,GET,HEAD,PUT"),
    ];
    for (method, path, allowed) in cases {
        let answer = admin.call(method, path).send();
        let mut allow: Vec<_> =
            answer.header("allow").unwrap_or_default().split(',').map(|one| one.trim().to_owned()).collect();
        allow.sort();
        assert_eq!(allow.join(","), allowed, "{method} {path}");
        answer.expect_problem(405, "method-not-allowed");
    }
}

#[test]
fn what_is_no_json_is_400_and_json_of_another_shape_422_with_a_pointer() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme"})).is(201);
    #[rustfmt::skip]
    let cases = [
        ("POST", "/v1/organizations",                              "{\"key\": 5}",                         "#/key"),
        ("POST", "/v1/organizations",                              "{\"key\": \"b\", \"paln\": \"pro\"}",  "#/paln"),
        ("POST", "/v1/organizations",                              "{\"key\": \"b c\"}",                   "#/key"),
        ("POST", "/v1/organizations",                              "{\"key\": \"b\", \"timeZone\": \"Mars/Base\"}", "#/timeZone"),
        ("POST", "/v1/organizations",                              "{\"key\": \"b\", \"name\": \"\"}",     "#/name"),
        ("PATCH", "/v1/organizations/acme",                        "{\"plan\": \"pro\"}",                  "#/plan"),
        ("PATCH", "/v1/organizations/acme",                        "{\"name\": null}",                     "#/name"),
        ("PATCH", "/v1/organizations/acme",                        "{\"name\": \"N\", \"timeZone\": null}", "#/timeZone"),
        ("PATCH", "/v1/organizations/acme",                        "{\"key\": null}",                      "#/key"),
        ("PATCH", "/v1/organizations/acme/members/1",              "{\"role\": null}",                     "#/role"),
        ("PATCH", "/v1/organizations/acme/members/1",              "{\"active\": null}",                   "#/active"),
        ("PATCH", "/v1/organizations/acme/billing-cycle",          "{\"billingCycleStartDate\": null}",    "#/billingCycleStartDate"),
        ("PUT", "/v1/organizations/acme/plan",                     "{}",                                   "#/plan"),
        ("PUT", "/v1/organizations/acme/extra/tokens",             "{\"quantity\": -1}",                   "#/quantity"),
        ("PUT", "/v1/organizations/acme/extra/tokens",             "{\"quantity\": true}",                 "#/quantity"),
        ("PUT", "/v1/organizations/acme/overrides/tokens/month",   "{}",                                   "#/max"),
        ("PUT", "/v1/organizations/acme/overrides/tokens/month",   "{\"max\": 0.5}",                       "#/max"),
        ("PUT", "/v1/organizations/acme/overrides/tokens/month",   "{\"max\": 1, \"until\": \"soon\"}",    "#/until"),
        ("POST", "/v1/organizations/acme/grants",                  "{\"meter\": \"tokens\", \"amount\": 0, \"reason\": \"r\"}", "#/amount"),
        ("POST", "/v1/organizations/acme/grants",                  "{\"meter\": \"tokens\", \"amount\": 5}", "#/reason"),
        ("POST", "/v1/organizations/acme/usage/reset",             "{\"windows\": [\"year\"]}",            "#/windows/0"),
        ("PUT", "/v1/imports/x",                                   "{\"rowsDone\": 9223372036854775808, \"digest\": \"d\"}", "#/rowsDone"),
        ("PUT", "/v1/meters/x",                                    "{\"aggregation\": \"median\"}",        "#/aggregation"),
        ("PUT", "/v1/meters/x",                                    "{\"aggregation\": \"sum\", \"decimals\": 10}", "#/decimals"),
        ("PUT", "/v1/plans/x",                                     "{\"limits\": [{\"meter\": \"nothing\", \"window\": \"day\", \"max\": 1}]}", "#/limits/0/meter"),
        ("PUT", "/v1/plans/x",                                     "{\"limits\": [{\"meter\": \"tokens\", \"window\": \"day\", \"max\": -1}]}", "#/limits/0/max"),
        ("PUT", "/v1/plans/x",                                     "{\"limits\": [{\"meter\": \"tokens\", \"window\": \"day\", \"maxx\": 1}]}", "#/limits/0/maxx"),
        ("PUT", "/v1/plans/x",                                     "{\"trial\": {\"days\": 0, \"onEnd\": \"lock\"}}", "#/trial/days"),
        ("PUT", "/v1/plans/x",                                     "{\"trial\": {\"days\": 1, \"onEnd\": {\"plan\": \"x\"}}}", "#/trial/onEnd"),
        ("POST", "/v1/api-keys",                                   "{\"name\": \"k\", \"scopes\": []}",    "#/scopes"),
        ("POST", "/v1/api-keys",                                   "{\"name\": \"k\", \"scopes\": [\"root\"]}", "#/scopes/0"),
    ];
    for (method, path, body, pointer) in cases {
        let answer = admin.call(method, path).json(body).send().is(422);
        let problem = answer.json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{method} {path} {body}: {problem}");
        assert!(problem["errors"][0]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        for broken in ["{", "", "[1,]", "{\"a\": 1} x"] {
            if broken.is_empty() && path.ends_with("reset") {
                continue; // Nothing is asked for there but the default.
            }
            admin.call(method, path).json(broken).send().expect_problem(400, "malformed-body");
        }
    }
}

#[test]
fn what_cannot_be_decoded_in_a_path_or_query_is_a_problem_too() {
    let server = Server::start();
    let admin = server.admin();
    for path in ["/v1/organizations/%ff", "/v1/meters/%ff", "/v1/organizations/a%00b"] {
        assert_eq!(admin.get(path).is(404).header("content-type"), Some("application/problem+json"), "{path}");
    }
    #[rustfmt::skip]
    let queries = [
        "/v1/meters?limit=0", "/v1/meters?limit=201", "/v1/meters?limit=1&limit=2", "/v1/meters?cursor=x", "/v1/meters?page=2",
        "/v1/plans/pro?version=new", "/v1/plans/pro?revision=1", "/v1/api-keys?limit=x", "/v1/organizations?limit=-1",
        "/v1/organizations?status=gone", "/v1/organizations?locked=maybe", "/v1/organizations?lockedBy=me", "/v1/organizations?order=name",
        "/v1/usage?granularity=week", "/v1/usage?from=now", "/v1/usage?timeZone=Mars/Base", "/v1/usage?format=xml",
    ];
    for path in queries {
        admin.get(path).expect_problem(422, "validation");
    }
}

#[test]
fn a_body_above_the_cap_is_413_and_counts_nothing() {
    let server = Server::with(&[("METERGATE_MAX_BODY_BYTES", "65536")]);
    let admin = server.admin();
    assert_eq!(admin.get("/v1/limits").is(200).json()["bodyBytes"], 65536);
    admin.post("/v1/organizations", json!({"key": "acme"})).is(201);
    let padded = |bytes: usize| {
        let body = json!({"organization": "acme", "meter": "tokens"}).to_string();
        " ".repeat(bytes - body.len()) + &body
    };
    assert_eq!(admin.post("/v1/consume", padded(65_536)).is(200).json()["limits"][0]["used"], 1);
    for path in ["/v1/consume", "/v1/events", "/v1/organizations"] {
        admin.post(path, padded(65_537)).expect_problem(413, "payload-too-large");
    }
    assert_eq!(admin.post("/v1/consume", padded(1000)).is(200).json()["limits"][0]["used"], 2);
    // One that does not say how long it is, is counted as it comes.
    let chunk = format!("{:x}\r\n{}\r\n", 70_000, " ".repeat(70_000));
    let head = format!(
        "POST /v1/consume HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        super::server::ADMIN_KEY
    );
    let answer = raw(&server, format!("{head}{chunk}0\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// The answer to a whole body that was sent before anything was read, and whether the server closed the connection well then.
fn answer_behind(server: &Server, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).expect("the server takes the whole body");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the connection is closed, not reset");
    answer
}

#[test]
fn whoever_sends_a_body_above_the_cap_hears_why_and_that_the_connection_ends() {
    let server = Server::with(&[("METERGATE_MAX_BODY_BYTES", "65536")]);
    let (admin, bytes) = (server.admin(), 8 << 20);
    let body = vec![b' '; bytes];
    let head = |path: &str, key: &str, more: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{more}\r\n\r\n")
    };
    let length = format!("Content-Length: {bytes}");
    let chunked = [format!("{bytes:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    for path in ["/v1/consume", "/v1/organizations", "/internal/org/acme/usage/reset"] {
        for (framing, sent) in [(&*length, &body), ("Transfer-Encoding: chunked", &chunked)] {
            let answer = answer_behind(&server, &head(path, super::server::ADMIN_KEY, framing), sent);
            let (lines, told) = answer.split_once("\r\n\r\n").unwrap();
            assert!(lines.starts_with("HTTP/1.1 413 "), "{path} {framing}: {answer}");
            assert!(lines.to_ascii_lowercase().contains("connection: close"), "{path} {framing}: {lines}");
            let told: serde_json::Value = serde_json::from_str(told).unwrap();
            match path {
                "/internal/org/acme/usage/reset" => {
                    assert_eq!(told, json!({"error": "A body has at most 65536 bytes here."}));
                }
                _ => assert_eq!((&told["code"], &told["status"]), (&json!("payload-too-large"), &json!(413))),
            }
        }
    }
    // A client as people use one, and with the same client the next request.
    admin.post("/v1/consume", " ".repeat(bytes)).expect_problem(413, "payload-too-large");
    admin.get("/v1/me").is(200);
    // Who asks first whether to send it is told so before anything is sent.
    let expecting = head("/v1/consume", super::server::ADMIN_KEY, &format!("{length}\r\nExpect: 100-continue"));
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.write_all(expecting.as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
    // A stranger's large body is not read; the answer says that the connection ends.
    let small = &body[..512 * 1024];
    let length = format!("Content-Length: {}", small.len());
    let answer = answer_behind(&server, &head("/v1/consume", "nobody", &length), small);
    assert!(
        answer.starts_with("HTTP/1.1 401 ") && answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
}

#[test]
fn a_connection_goes_on_after_a_refused_request_with_a_body() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    for path in ["/v1/consume", "/v1/organizations", "/v1/nothing"] {
        // The body comes after the answer could have been given.
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        server.stranger().get("/livez").is(200);
        stream.write_all(&[b' '; 20_000]).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        let status = if path == "/v1/nothing" { "HTTP/1.1 404 " } else { "HTTP/1.1 401 " };
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(status), "{path}: {answer}");
    }
}

#[test]
fn a_header_above_the_cap_is_refused_and_the_server_goes_on() {
    let server = Server::start();
    let request = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    let answer = raw(&server, request.as_bytes());
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{}",
        answer.chars().take(200).collect::<String>()
    );
    assert!(raw(&server, b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    server.stranger().get("/livez").is(200);
}

#[test]
fn a_key_above_its_rate_is_429_and_the_administrators_never_is() {
    let server = Server::with(&[("METERGATE_KEY_RATE_PER_SECOND", "3")]);
    let admin = server.admin();
    assert_eq!(admin.get("/v1/limits").json()["requestsPerSecond"], 3);
    let key = |name: &str| {
        let made = admin.post("/v1/api-keys", json!({"name": name, "scopes": ["admin"]})).is(201).json();
        server.client(made["key"].as_str().unwrap())
    };
    let (busy, quiet) = (key("busy"), key("quiet"));
    // Until it is refused: how many pass before depends on how fast the machine is, but not that it ends.
    let refused = (0..10_000).map(|_| busy.get("/v1/me")).find(|answer| answer.status != 200).unwrap();
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert!(
        refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|s| (1..=2).contains(&s)))
    );
    refused.expect_problem(429, "too-many-requests");
    quiet.get("/v1/me").is(200);
    (0..50).for_each(|_| drop(admin.get("/v1/me").is(200)));
}

#[test]
fn a_request_keeps_the_id_that_its_caller_gave_it() {
    let server = Server::start();
    let asked = |id: &str| server.admin().call("GET", "/v1/nothing").header("x-request-id", id).send();
    let answer = asked("trace-1.a_B");
    assert_eq!(answer.header("x-request-id"), Some("trace-1.a_B"));
    assert_eq!(answer.expect_problem(404, "not-found")["instance"], "urn:request:trace-1.a_B");
    for unusable in ["a b", "<script>", &"x".repeat(65)] {
        assert_ne!(asked(unusable).header("x-request-id"), Some(unusable));
    }
}

#[test]
fn every_answer_forbids_to_guess_its_type() {
    let server = Server::start();
    let admin = server.admin();
    for path in ["/v1/me", "/v1/nothing", "/docs", "/openapi.json", "/metrics"] {
        assert_eq!(admin.get(path).header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[test]
fn a_strangers_body_that_does_not_say_its_length_is_read_like_any_other() {
    let server = Server::start();
    let chunked = |path: &str, body: &str| {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
        raw(&server, format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes())
    };
    let form = json!({"email": "ada@example.com", "password": "correct horse battery", "name": "Ada", "organizationName": "Ada"});
    let answer = chunked("/api/auth/register", &form.to_string());
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    for path in ["/v1/consume", "/v1/organizations"] {
        let answer = chunked(path, "{}");
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
    }
}

#[test]
fn a_large_request_counts_once_against_the_rate_of_its_key() {
    let server = Server::with(&[("METERGATE_KEY_RATE_PER_SECOND", "1")]);
    let made = server.admin().post("/v1/api-keys", json!({"name": "k", "scopes": ["consume"]})).is(201).json();
    let event =
        |i: usize| json!({"specversion": "1.0", "id": i, "source": "s", "type": "t", "subject": "x".repeat(1000)});
    let body = json!((0..100).map(event).collect::<Vec<_>>()).to_string();
    let client = server.client(made["key"].as_str().unwrap());
    client.call("POST", "/v1/events").body("application/cloudevents-batch+json", body).send().is(200);
}
