//! What operators change while the server runs.

use serde_json::{Value, json};

use super::people::sign_up;
use super::server::Server;

fn nothing_set() -> Value {
    json!({"teamName": null, "logoUrl": null, "color": null, "contact": null, "bringForwardMonths": 12})
}

#[test]
fn settings_change_one_by_one_and_stay() {
    let mut server = Server::start();
    let admin = server.admin();
    assert_eq!(admin.get("/v1/settings").is(200).json(), nothing_set());
    let all = json!({"teamName": "Äpfel", "logoUrl": "https://example.com/logo.svg", "color": "#0A7F5A",
        "contact": "help@example.com", "bringForwardMonths": 3});
    let mut expected = all.clone();
    expected["color"] = json!("#0a7f5a");
    assert_eq!(admin.patch("/v1/settings", &all).is(200).json(), expected);
    expected["contact"] = Value::Null;
    assert_eq!(admin.patch("/v1/settings", json!({"contact": null})).is(200).json(), expected);
    // What changes nothing is no entry; each other one says what has changed.
    admin.patch("/v1/settings", "{}").is(200);
    admin.patch("/v1/settings", json!({"teamName": "Äpfel", "contact": null})).is(200);
    let entries = admin.list("/v1/audit-log?action=setting.change");
    assert_eq!(entries.len(), 2, "{entries:?}");
    let newest = (&entries[0]["before"], &entries[0]["after"], &entries[0]["category"]);
    assert_eq!(newest, (&json!({"contact": "help@example.com"}), &json!({"contact": null}), &json!("config")));
    assert_eq!(entries[1]["before"], nothing_set());
    server.kill();
    server.start_again();
    assert_eq!(server.admin().get("/v1/settings").is(200).json(), expected);
    let gone = json!({"teamName": null, "logoUrl": null, "color": null, "bringForwardMonths": null});
    assert_eq!(server.admin().patch("/v1/settings", gone).is(200).json(), nothing_set());
}

#[test]
fn a_setting_that_is_wrong_changes_none() {
    let server = Server::start();
    let (admin, long) = (server.admin(), "x".repeat(256));
    #[rustfmt::skip]
    let cases = [
        ("teamName", json!("")), ("teamName", json!(" ")), ("teamName", json!("a\u{7}")), ("teamName", json!(long)), ("teamName", json!(1)),
        ("logoUrl", json!("http://example.com/logo.svg")), ("logoUrl", json!("https://")), ("logoUrl", json!("https:///a")),
        ("logoUrl", json!("javascript:alert(1)")), ("logoUrl", json!("https://a/\"onload=")), ("logoUrl", json!("https://ä/")),
        ("logoUrl", json!(format!("https://a/{}", "x".repeat(2048)))), ("logoUrl", json!("data:image/svg+xml;base64,PHN2Zy8+")),
        ("logoUrl", json!("data:image/png;base64,!")), ("logoUrl", json!(format!("data:image/png;base64,{}", "iVBORw0KGgoA".repeat(30_000)))),
        ("color", json!("red")), ("color", json!("#12345")), ("color", json!("#12345g")), ("color", json!("")),
        ("contact", json!("a\nb")), ("contact", json!(long)),
        ("bringForwardMonths", json!(0)), ("bringForwardMonths", json!(121)), ("bringForwardMonths", json!(-1)),
        ("bringForwardMonths", json!(1.5)), ("bringForwardMonths", json!("3")),
    ];
    for (name, value) in cases {
        let mut body = json!({"teamName": "Team"});
        body[name] = value;
        let problem = admin.patch("/v1/settings", &body).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], format!("#/{name}"), "{body}");
    }
    admin.patch("/v1/settings", json!({"name": "Team"})).expect_problem(422, "validation");
    assert_eq!(admin.get("/v1/settings").is(200).json(), nothing_set());
}

#[test]
fn members_bring_the_next_reset_forward_once_in_as_many_months_as_is_set() {
    let server = Server::start();
    let (admin, ada) = (server.admin(), sign_up(&server, "ada@example.com"));
    let organization = json!({"key": "acme", "plan": "pro", "test": true});
    admin.post("/v1/organizations", organization).is(201);
    super::people::join(&admin, "acme", &ada, "owner");
    let path = "/v1/organizations/acme";
    let clock = |now: &str| drop(admin.put(&format!("{path}/clock"), json!({"now": now})).is(200));
    let forward =
        |date: &str| ada.client.patch(&format!("{path}/billing-cycle"), json!({"billingCycleStartDate": date}));
    clock("2026-01-31T12:00:00Z");
    forward("2026-02-05").is(200);
    clock("2026-03-01T00:00:00Z");
    let refused = forward("2026-03-02").expect_problem(409, "cycle-moved-recently");
    assert!(refused["detail"].as_str().unwrap().contains("within the last 12 months"), "{refused}");
    // A month after 31 January ends on the last day of February.
    admin.patch("/v1/settings", json!({"bringForwardMonths": 1})).is(200);
    forward("2026-03-02").is(200);
    admin.patch("/v1/settings", json!({"bringForwardMonths": 2})).is(200);
    clock("2026-04-30T23:59:59Z");
    forward("2026-05-01").expect_problem(409, "cycle-moved-recently");
    clock("2026-05-01T00:00:00Z");
    forward("2026-05-01T12:00:00").is(200);
}

#[test]
fn who_opens_a_portal_sees_whose_it_is() {
    let server = Server::start();
    let (admin, ada) = (server.admin(), sign_up(&server, "ada@example.com"));
    let team = json!({"teamName": "Team", "color": "#0a7f5a", "contact": "help@example.com"});
    admin.patch("/v1/settings", team).is(200);
    let path = format!("/v1/organizations/{}/portal-sessions", ada.organization);
    let link = admin.post(&path, "{}").is(201).json();
    let token = link["url"].as_str().unwrap().split_once("token=").unwrap().1;
    let opened = server.stranger().post("/v1/portal-sessions", json!({"token": token})).is(200).json();
    let expected = json!({"name": "Team", "logoUrl": null, "color": "#0a7f5a", "contact": "help@example.com"});
    assert_eq!(opened["team"], expected);
}

/// A picture whose bytes are text: what a test's client reads.
const PICTURE: &[u8] = b"RIFF\x0c\0\0\0WEBPVP8 logo";
/// The same in base64.
const PICTURE_64: &str = "UklGRgwAAABXRUJQVlA4IGxvZ28=";

#[test]
fn a_picture_is_kept_served_to_everybody_and_told_in_the_audit_log_by_its_digest() {
    let mut server = Server::start();
    let admin = server.admin();
    let picture = json!({"logoUrl": format!("data:image/png;base64,{PICTURE_64}")});
    let said = admin.patch("/v1/settings", &picture).is(200).json();
    let url = said["logoUrl"].as_str().unwrap().to_owned();
    let path = url.strip_prefix(&server.url).unwrap().to_owned();
    assert!(path.starts_with("/assets/logo?v="), "{path}");
    // What was read may be sent back, and is the same picture sent once more: neither is a change.
    admin.patch("/v1/settings", &said).is(200);
    admin.patch("/v1/settings", &picture).is(200);
    let check = |server: &Server| {
        let shown = server.stranger().get(&path).is(200);
        assert_eq!((shown.text.as_bytes(), shown.header("content-type")), (PICTURE, Some("image/webp")));
        assert_eq!(shown.header("content-security-policy"), Some("default-src 'none'; sandbox"));
        assert_eq!(shown.header("x-content-type-options"), Some("nosniff"));
        let tag = shown.header("etag").unwrap();
        server.stranger().call("GET", &path).header("if-none-match", tag).send().is(304);
        server.stranger().call("GET", &path).header("if-none-match", "\"other\"").send().is(200);
    };
    check(&server);
    let entries = admin.list("/v1/audit-log?action=setting.change");
    let after = entries[0]["after"]["logoUrl"].as_str().unwrap();
    assert_eq!((entries.len(), after.starts_with("image/webp, 20 bytes, SHA-256 ")), (1, true), "{after}");
    server.kill();
    server.start_again();
    check(&server);
    let admin = server.admin();
    assert_eq!(admin.patch("/v1/settings", json!({"logoUrl": null})).is(200).json()["logoUrl"], Value::Null);
    server.stranger().get(&path).is(404);
}
