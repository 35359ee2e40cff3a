//! What gateways ask (F8): by plain requests as Traefik, Caddy and Envoy send them, and behind a real Caddy, a real Envoy and a real nginx.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::{ADMIN_KEY, Server};

mod caddy;
mod envoy;
mod nginx;

const ASK: &str = "/gateway/authorize?organization=acme&meter=tokens";

fn with_organization() -> (Server, Client) {
    with_bugs(&[])
}

fn with_bugs(settings: &[(&str, &str)]) -> (Server, Client) {
    let server = Server::with(settings);
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    (server, admin)
}

/// A key of that scope.
fn key(admin: &Client, scope: &str) -> String {
    let made = admin.post("/v1/api-keys", json!({"name": scope, "scopes": [scope]})).is(201).json();
    made["key"].as_str().unwrap().to_owned()
}

fn used(admin: &Client, meter: &str) -> i64 {
    let usage = admin.get("/v1/organizations/acme/usage").is(200).json();
    let meters = usage["meters"].as_array().unwrap().iter();
    meters.filter(|one| one["meter"] == meter).map(|one| one["used"].as_i64().unwrap()).sum()
}

fn limit(admin: &Client, meter: &str, window: &str, max: i64) {
    admin.put(&format!("/v1/organizations/acme/overrides/{meter}/{window}"), json!({ "max": max })).is(200);
}

fn pointer(answer: Answer) -> String {
    let problem = answer.json();
    problem["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_is_allowed_is_200_without_a_body_whatever_the_method_and_counts_once_a_call() {
    let (server, admin) = with_organization();
    let client = server.client(&key(&admin, "consume"));
    for (i, method) in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PURGE"].into_iter().enumerate() {
        let answer = client.call(method, "/gateway/authorize?organization=acme").send().is(200);
        assert_eq!(answer.text, "", "{method}");
        let left = (299 - i).to_string();
        assert_eq!(answer.header("x-ratelimit-remaining-minute"), Some(&*left), "{method}");
        assert!(answer.header("ratelimit").is_some_and(|text| text.starts_with("\"api_calls-minute\";r=")));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let usage = admin.get("/v1/usage?organization=acme&meter=api_calls").is(200).json();
    assert_eq!((&usage["data"][0]["value"], &usage["data"][0]["count"]), (&8.into(), &8.into()));
}

#[test]
fn a_refusal_is_the_problem_that_consume_gives_natively_and_for_nginx_403_with_what_it_is() {
    let (server, admin) = with_organization();
    limit(&admin, "tokens", "minute", 5);
    let native = admin.call("GET", &format!("{ASK}&quantity=6")).send();
    let consumed = json!({"organization": "acme", "meter": "tokens", "quantity": 6});
    let same = admin.post("/v1/consume?status=native", consumed);
    let without = |answer: &Answer| {
        let mut problem = answer.json();
        problem.as_object_mut().unwrap().remove("instance");
        problem["decision"]["limits"][0]["resetsAt"] = Value::Null;
        problem
    };
    assert_eq!(without(&native), without(&same));
    assert!(native.header("retry-after").is_none(), "waiting does not cure what is above the limit itself");
    native.expect_problem(429, "quota-exceeded");

    admin.get(&format!("{ASK}&quantity=5")).is(200);
    let refused = admin.get(&format!("{ASK}&status=nginx")).is(403);
    assert_eq!(refused.header("x-quota-status"), Some("429"));
    let wait: u64 = refused.header("x-quota-retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(refused.header("retry-after"), refused.header("x-quota-retry-after"));
    let problem: Value = serde_json::from_str(refused.header("x-quota-problem").unwrap()).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&429.into(), &"quota-exceeded".into()));
    assert_eq!(problem["violated-policies"], json!(["tokens-minute"]));
    assert!(problem.get("decision").is_none() && refused.text.is_empty());
    assert_eq!(used(&admin, "tokens"), 5);

    admin.put("/v1/organizations/acme/lock", json!({"reason": "r"})).is(200);
    admin.get(ASK).expect_problem(403, "organization-locked");
    let locked = admin.get(&format!("{ASK}&status=nginx")).is(403);
    assert_eq!((locked.header("x-quota-status"), locked.header("x-quota-retry-after")), (Some("403"), None));
    drop(server);
}

#[test]
fn an_ended_trial_is_402() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "old", "plan": "trial", "test": true})).is(201);
    let path = "/gateway/authorize?organization=old";
    admin.get(path).is(200);
    admin.put("/v1/organizations/old/clock", json!({"now": "2199-01-01T00:00:00Z"})).is(200);
    admin.get(path).expect_problem(402, "trial-expired");
    assert_eq!(admin.get(&format!("{path}&status=nginx")).is(403).header("x-quota-status"), Some("402"));
}

#[test]
fn what_is_wrong_with_a_call_is_said_and_never_lets_anything_pass() {
    nothing_wrong_passes(&[]);
}

#[cfg(feature = "faults")]
#[test]
fn a_gateway_that_lets_pass_what_is_wrong_is_found_out() {
    let found = std::panic::catch_unwind(|| nothing_wrong_passes(&[("METERGATE_PLANTED", "gateway-fails-open")]));
    assert!(found.is_err(), "the planted bug was not seen");
}

/// A query and headers that are wrong together; the status, the code and the place of the answer.
type Wrong = (&'static str, &'static [(&'static str, &'static str)], u16, &'static str, &'static str);

fn nothing_wrong_passes(settings: &[(&str, &str)]) {
    let (server, admin) = with_bugs(settings);
    #[rustfmt::skip]
    let cases: [Wrong; 17] = [
        ("",                                                       &[], 422, "validation",           "?organization"),
        ("organization=",                                          &[], 422, "validation",           "?organization"),
        ("organization=nobody",                                    &[], 404, "unknown-organization", ""),
        ("organization=no%20key",                                  &[], 404, "unknown-organization", ""),
        ("organization=acme&meter=nothing",                        &[], 404, "unknown-meter",        ""),
        ("organization=acme&meter=",                               &[], 422, "validation",           "?meter"),
        ("organization=acme&quantity=-1",                          &[], 422, "invalid-quantity",     "?quantity"),
        ("organization=acme&quantity=1.5",                         &[], 422, "invalid-quantity",     "?quantity"),
        ("organization=acme&quantity=many",                        &[], 422, "invalid-quantity",     "?quantity"),
        ("organization=acme&organization=globex",                  &[], 422, "validation",           "?organization"),
        ("organization=acme&quantity=1&quantity=0",                &[], 422, "validation",           "?quantity"),
        ("organizationHeader=X-Org",                               &[], 422, "validation",           "?organizationHeader"),
        ("organizationHeader=X-Org",                               &[("x-org", "acme"), ("x-org", "globex")], 422, "validation", "x-org"),
        ("organization=acme&organizationHeader=X-Org",             &[("x-org", "globex")], 422, "validation", "?organization"),
        ("organization=acme&quantityHeader=not%20a%20name",        &[], 422, "validation",           "?quantityHeader"),
        ("organization=acme&mode=maybe",                           &[], 422, "validation",           "?mode"),
        ("organization=acme&metre=api_calls",                      &[], 422, "validation",           "?metre"),
    ];
    for (query, headers, status, code, place) in cases {
        for nginx in ["", "&status=nginx"] {
            let path = format!("/gateway/authorize?{query}{nginx}");
            let call = headers.iter().fold(admin.call("GET", &path), |call, (name, value)| call.header(name, value));
            let answer = call.send();
            answer.clone().expect_problem(status, code);
            assert_eq!(pointer(answer), place, "{path}");
        }
    }
    admin.get("/gateway/authorize?organization=acme&status=traefik").expect_problem(422, "validation");
    assert_eq!(used(&admin, "api_calls"), 0);
    let log = server.log();
    for code in ["unknown-organization", "unknown-meter", "invalid-quantity", "validation"] {
        assert!(log.lines().any(|line| line.contains("lets nothing pass") && line.contains(code)), "{code}: {log}");
    }
}

#[test]
fn without_a_key_or_with_one_that_may_not_nginx_is_told_of_a_failure_and_not_of_a_refusal() {
    let (server, admin) = with_organization();
    let (stranger, reader) = (server.stranger(), server.client(&key(&admin, "read")));
    stranger.get(ASK).expect_problem(401, "unauthorized");
    reader.get(ASK).expect_problem(403, "forbidden");
    for (client, status) in [(&stranger, "401"), (&reader, "403"), (&server.client("mgk_wrong"), "401")] {
        let answer = client.get(&format!("{ASK}&status=nginx")).is(500);
        assert_eq!(answer.header("x-quota-status"), Some(status));
        assert!(answer.header("www-authenticate").is_none());
    }
    // A browser's session is no gateway's key.
    let account =
        json!({"email": "a@example.com", "password": "correct horse battery", "name": "A", "organizationName": "A"});
    admin.post("/v1/administrators", json!({"email": "root@example.com", "password": "correct horse battery"})).is(201);
    stranger.post("/api/auth/register", account).is(201);
    let session =
        stranger.post("/api/auth/login", json!({"email": "root@example.com", "password": "correct horse battery"}));
    let cookie = session.is(200).header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    stranger.call("GET", ASK).header("cookie", &cookie).send().expect_problem(401, "unauthorized");
    assert_eq!(used(&admin, "tokens"), 0);
}

#[test]
fn forward_auth_as_traefik_and_caddy_send_it_is_decided_by_what_the_operator_wrote_alone() {
    let (server, admin) = with_organization();
    let gateway = key(&admin, "consume");
    admin.post("/v1/organizations", json!({"key": "globex", "plan": "pro"})).is(201);
    // Traefik sends the client's headers along, its own credential among them.
    let traefik = server.client("the-clients-own-token");
    let call = traefik.call("GET", "/gateway/authorize?meter=tokens&organizationHeader=X-Organization&quantity=7");
    let call = call.header("x-metergate-key", &gateway).header("x-organization", "acme");
    let call =
        call.header("x-forwarded-method", "POST").header("x-forwarded-uri", "/orders?quantity=0&organization=globex");
    // What a client makes up changes nothing.
    let call = call.header("x-quota-organization", "globex").header("x-quota-quantity", "0").header("quantity", "0");
    let call = call.header("x-quota-authorize", "organization=globex").header("idempotency-key", "same");
    call.send().is(200);
    assert_eq!(used(&admin, "tokens"), 7);
    // Caddy's client sends the same idempotency key again: it is the client's, and is not looked at.
    let caddy = server.client(&gateway);
    let call = caddy.call("GET", "/gateway/authorize?meter=tokens&organizationHeader=X-Organization");
    let call = call.header("x-organization", "acme").header("x-forwarded-method", "DELETE");
    call.header("x-forwarded-uri", "/").header("idempotency-key", "same").send().is(200);
    assert_eq!(used(&admin, "tokens"), 8);
}

#[test]
fn below_the_path_as_envoy_asks_the_clients_path_and_query_say_nothing() {
    let (server, admin) = with_organization();
    let client = server.client(&key(&admin, "consume"));
    admin.post("/v1/organizations", json!({"key": "globex", "plan": "pro"})).is(201);
    let ask = "meter=tokens&organizationHeader=x-organization";
    for path in ["/", "/orders/1?organization=globex&quantity=0&mode=check", "/%2e%2e/authorize?status=nginx"] {
        let call = client.call("POST", &format!("/gateway/authorize{path}"));
        call.header("x-quota-authorize", ask).header("x-organization", "acme").send().is(200);
        let answer = client.call("POST", &format!("/gateway/authorize{path}")).send();
        assert_eq!(pointer(answer.is(422)), "x-quota-authorize", "{path}");
    }
    let cut = client
        .call("POST", "/gateway/authorize/")
        .header("x-quota-authorize", "organization=acme&meter=tokens#&quantity=5");
    assert_eq!(pointer(cut.send().is(422)), "x-quota-authorize", "nothing is dropped without a word");
    assert_eq!(used(&admin, "tokens"), 3);
}

#[test]
fn a_repeated_id_counts_once_and_a_check_not_at_all() {
    let (_server, admin) = with_organization();
    for i in 0..3 {
        let answer = admin.call("GET", &format!("{ASK}&idHeader=X-Id")).header("x-id", "r-1").send().is(200);
        assert_eq!(answer.header("idempotent-replayed").is_some(), i > 0);
        admin.get(&format!("{ASK}&mode=check&quantity=100")).is(200);
    }
    assert_eq!(used(&admin, "tokens"), 1);
    admin.get(&format!("{ASK}&mode=check&quantity=500001")).expect_problem(429, "quota-exceeded");
    let event = &admin.get("/v1/events?organization=acme").is(200).json()["data"][0];
    assert_eq!((&event["id"], &event["source"]), (&"r-1".into(), &"metergate:consume/tokens".into()));
}

#[test]
fn a_value_is_counted_once_and_the_path_is_a_dimension_where_the_meter_has_it() {
    let (_server, admin) = with_organization();
    for user in ["u-1", "u-2", "u-1"] {
        let call = admin.call("GET", "/gateway/authorize?organization=acme&meter=active_users&valueHeader=X-User");
        call.header("x-user", user).send().is(200);
    }
    assert_eq!(used(&admin, "active_users"), 2);
    let without = admin.get("/gateway/authorize?organization=acme&meter=active_users").is(422);
    assert_eq!(pointer(without), "?value", "the property's own name is none of a parameter");
    let meter = json!({"aggregation": "sum", "dimensions": ["method", "path"]});
    admin.put("/v1/meters/hits", meter).is(201);
    let long = format!("/{}?secret=1", "x".repeat(400));
    for path in ["/orders?token=secret", &long] {
        let call = admin.call("GET", "/gateway/authorize?organization=acme&meter=hits");
        call.header("x-forwarded-method", "PUT").header("x-forwarded-uri", path).send().is(200);
    }
    let usage = admin.get("/v1/usage?organization=acme&meter=hits&groupBy=method&groupBy=path").is(200).json();
    let groups: Vec<_> = usage["data"].as_array().unwrap().iter().map(|row| row["group"].clone()).collect();
    assert!(groups.contains(&json!({"method": "PUT", "path": "/orders"})), "{groups:?}");
    assert!(groups.len() == 2 && !usage.to_string().contains("secret"), "{groups:?}");
}

#[test]
fn a_body_that_is_announced_and_not_sent_is_not_waited_for() {
    let (server, admin) = with_organization();
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let head = format!(
        "POST {ASK} HTTP/1.1\r\nHost: metergate\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Length: 1000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 2048];
    let length = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200 ok"), "{answer}");
    // Else the next request on it would be taken for the body.
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(used(&admin, "tokens"), 1);
}
