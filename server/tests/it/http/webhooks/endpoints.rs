//! Endpoints as operators make and change them; addresses that are refused; secrets that stand nowhere else.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{ALLOWED, ENDPOINTS, Endpoint, Server, lock, started};

#[test]
fn an_endpoint_is_made_changed_and_deleted_each_with_an_entry_in_the_audit_log() {
    let (receiver, server) = started();
    let admin = server.admin();
    let url = format!("{}/hooks", receiver.url);
    let body = json!({"url": url, "types": ["usage.reset", "trial.ended", "usage.reset"], "description": "Billing"});
    let made = admin.post(ENDPOINTS, body).is(201).json();
    let path = format!("{ENDPOINTS}/{}", made["id"].as_str().unwrap());
    assert!(made["id"].as_str().unwrap().starts_with("ep_"));
    assert_eq!((&made["types"], &made["enabled"]), (&json!(["trial.ended", "usage.reset"]), &json!(true)));
    let listed = admin.list(ENDPOINTS);
    assert_eq!((listed.len(), &listed[0]["id"], listed[0].get("secret")), (1, &made["id"], None));
    let change = json!({"types": [], "description": "", "enabled": false});
    let changed = admin.patch(&path, &change).is(200).json();
    assert_eq!((&changed["types"], &changed["url"]), (&json!([]), &json!(url)));
    assert_eq!((&changed["disabledReason"], &changed["createdAt"]), (&json!("operator"), &made["createdAt"]));
    admin.patch(&path, change).is(200);
    let unchanged = admin.patch(&path, json!({})).is(200).json();
    assert_eq!(unchanged["disabledAt"], changed["disabledAt"]);
    admin.delete(&path).is(204);
    for answer in [admin.get(&path), admin.delete(&path), admin.patch(&path, json!({}))] {
        answer.expect_problem(404, "unknown-endpoint");
    }
    let entries = admin.list("/v1/audit-log?action=endpoint.change");
    assert_eq!(entries.len(), 3, "what changes nothing writes none: {entries:#?}");
    assert!(entries.iter().all(|entry| entry["category"] == "config" && entry["actor"] == "key:administrator"));
    assert_eq!((&entries[2]["before"], &entries[2]["after"]["url"]), (&json!({}), &json!(url)));
    assert_eq!(
        (&entries[1]["before"]["state"], &entries[1]["after"]["state"]),
        (&json!("enabled"), &json!("disabled"))
    );
    assert_eq!((&entries[0]["after"], &entries[0]["before"]["url"]), (&json!({"id": made["id"]}), &json!(url)));
}

#[test]
fn what_is_not_valid_is_refused_with_its_place() {
    let (receiver, server) = started();
    let admin = server.admin();
    let url = format!("{}/hooks", receiver.url);
    let long = "x".repeat(256);
    #[rustfmt::skip]
    let cases = [
        (json!({"url": url, "types": ["usage.reset", "usage.rest"]}), "#/types/1"),
        (json!({"url": url, "types": ["webhook.test"]}),              "#/types/0"),
        (json!({"url": url, "description": long}),                    "#/description"),
        (json!({"url": url, "secret": "whsec_mine"}),                 "#/secret"),
        (json!({"url": "example.com"}),                               "#/url"),
        (json!({"types": []}),                                        "#/url"),
    ];
    for (body, pointer) in cases {
        let problem = admin.post(ENDPOINTS, &body).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    for (body, pointer) in [(json!({"url": null}), "#/url"), (json!({"url": "ftp://example.com"}), "#/url")] {
        let problem = admin.patch(&hooks.path, &body).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    let path = format!("{}/rotate-secret", hooks.path);
    for seconds in [-1, 604_801] {
        let problem = admin.post(&path, json!({"oldEndsInSeconds": seconds})).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "#/oldEndsInSeconds");
    }
}

#[test]
fn an_address_that_is_not_global_is_refused_unless_the_configuration_names_its_network() {
    let server = Server::start();
    let admin = server.admin();
    #[rustfmt::skip]
    let cases = [ // the address, a word of what is said of it
        ("https://127.0.0.1/", "loopback"), ("https://localhost/", "loopback"), ("https://[::1]:8443/", "loopback"),
        ("https://10.1.2.3/", "private"), ("https://192.168.0.1/", "private"), ("https://169.254.169.254/latest", "link-local"),
        ("https://[fd00::1]/", "unique-local"), ("https://[::ffff:127.0.0.1]/", "IPv4-mapped"), ("https://0x7f.1/", "loopback"),
        ("http://93.184.215.14/", "https"), ("https://user:pw@93.184.215.14/", "password"), ("https://93.184.215.14:25/", "port"),
    ];
    for (url, word) in cases {
        let problem = admin.post(ENDPOINTS, json!({"url": url})).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "#/url", "{url}");
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(word), "{url}: {detail}");
    }
    assert!(admin.list(ENDPOINTS).is_empty());
    let server = Server::with(&[("METERGATE_WEBHOOK_ALLOW", "10.0.0.0/8,fd00::/8")]);
    for url in ["https://10.1.2.3/", "http://10.1.2.3/", "https://[fd12::1]/"] {
        server.admin().post(ENDPOINTS, json!({"url": url})).is(201);
    }
    server.admin().post(ENDPOINTS, json!({"url": "http://127.0.0.1/"})).expect_problem(422, "validation");
}

/// An endpoint from before the setting was taken back.
#[cfg(feature = "faults")]
#[test]
fn an_address_is_looked_at_again_at_each_try() {
    let (receiver, mut server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    server.kill();
    server.set("METERGATE_WEBHOOK_ALLOW", "");
    server.start_again();
    lock(&server);
    let tried = hooks.tried(1);
    let error = tried["attempts"][0]["error"].as_str().unwrap();
    assert!(error.contains("127.0.0.1 is a loopback address"), "{error}");
    assert_eq!((&tried["state"], &tried["attempts"][0]["status"]), (&json!("pending"), &Value::Null));
    assert!(receiver.at("/hooks").is_empty());
}

#[test]
fn a_secret_is_shown_where_it_is_made_and_where_an_operator_asks_and_stands_nowhere_else() {
    let receiver = Receiver::start();
    let server = Server::with(&[ALLOWED]);
    let admin = server.admin();
    let body = json!({"url": format!("{}/hooks", receiver.url)});
    let create = || admin.call("POST", ENDPOINTS).header("idempotency-key", "k").json(&body).send().is(201);
    let made = create().json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    let path = format!("{ENDPOINTS}/{}", made["id"].as_str().unwrap());
    assert!(secret.starts_with("whsec_") && secret.len() == 6 + 44, "{secret}");
    let again = create();
    assert_eq!((again.header("idempotent-replayed"), &again.json()["secret"]), (Some("true"), &Value::Null));
    assert_eq!(admin.get(&format!("{path}?secret=true")).is(200).json()["secret"], json!(secret));
    admin.call("POST", &format!("{path}/test")).send().is(201);
    let rotated = admin.call("POST", &format!("{path}/rotate-secret")).send().is(200).json();
    let newest = rotated["secret"].as_str().unwrap().to_owned();
    let all = admin.get(&format!("{path}?secret=true")).is(200).json();
    assert_eq!((&all["secret"], &all["oldSecret"]), (&json!(newest), &json!(secret)));
    assert_eq!(all["oldSecretEndsAt"], rotated["oldSecretEndsAt"]);
    let others = [
        admin.get(&path).is(200).text,
        admin.get(ENDPOINTS).is(200).text,
        admin.get(&format!("{path}/deliveries")).is(200).text,
        admin.get("/v1/audit-log").is(200).text,
        admin.get("/v1/export").is(200).text,
        again.text.clone(),
        server.log(),
    ];
    for text in others {
        for secret in [&secret, &newest] {
            assert!(!text.contains(secret.trim_start_matches("whsec_")), "{text}");
        }
    }
    let read = admin.post("/v1/api-keys", json!({"name": "r", "scopes": ["read"]})).is(201).json();
    server.client(read["key"].as_str().unwrap()).get(&format!("{path}?secret=true")).expect_problem(403, "forbidden");
}

#[test]
fn endpoints_are_found_again_after_a_kill() {
    let (receiver, mut server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    hooks.admin.patch(&hooks.path, json!({"description": "after"})).is(200);
    server.kill();
    server.start_again();
    assert_eq!(hooks.get()["description"], "after");
    assert_eq!(hooks.admin.get(&format!("{}?secret=true", hooks.path)).json()["secret"], json!(hooks.secret));
    lock(&server);
    receiver.received("/hooks", 0);
}
