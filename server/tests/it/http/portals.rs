//! Links into the portal of one organization, and the sessions that come of them.

use metergate_rules::time::{MINUTE, SECOND, Time};
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::people::{actions, join, sign_up};
use super::server::Server;

fn path(organization: &str) -> String {
    format!("/v1/organizations/{organization}/portal-sessions")
}

fn minted(client: &Client, organization: &str, body: Value) -> Value {
    client.post(&path(organization), body).is(201).json()
}

fn token_of(minted: &Value) -> String {
    minted["url"].as_str().unwrap().split_once("/portal?token=").unwrap().1.to_owned()
}

fn open(server: &Server, token: &str) -> Answer {
    server.stranger().post("/v1/portal-sessions", json!({"token": token}))
}

/// Somebody in the portal of an organization, for a member or without one.
pub(super) fn opened(server: &Server, organization: &str, member: Option<&str>) -> Client {
    let body = member.map_or_else(|| json!({}), |id| json!({"member": id}));
    let link = minted(&server.admin(), organization, body);
    server.client(open(server, &token_of(&link)).is(200).json()["token"].as_str().unwrap())
}

#[test]
fn a_link_opens_once_for_an_hour_in_one_organization() {
    let server = Server::with(&[("METERGATE_LOG", "trace")]);
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let key = json!({"name": "backend", "scopes": ["consume"], "organization": ada.organization});
    let backend = server.client(server.admin().post("/v1/api-keys", key).is(201).json()["key"].as_str().unwrap());
    let link = minted(&backend, &ada.organization, json!({"expiresInSeconds": 60}));
    let left = link["expiresAt"].as_str().unwrap().parse::<Time>().unwrap().since(metergate::clock::wall());
    assert!(left <= MINUTE && left > MINUTE / 2, "{link}");
    backend.post(&path(&eve.organization), json!({})).expect_problem(404, "unknown-organization");
    // Its token is none of a session until it is exchanged, and the session's opens nothing.
    let token = token_of(&link);
    server.client(&token).get("/v1/me").expect_problem(401, "unauthorized");
    let answer = open(&server, &token).is(200);
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("; Max-Age=3600; HttpOnly; SameSite=Lax"), "{cookie}");
    let session = answer.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(
        (&answer.json()["organization"]["key"], &answer.json()["organization"]["role"]),
        (&json!(ada.organization), &json!("viewer"))
    );
    for spent in [&token, &session] {
        open(&server, spent).expect_problem(409, "link-spent");
    }
    let portal = server.client(&session);
    assert_eq!(portal.get("/portal/billing/status").is(200).json()["orgId"], ada.organization.as_str());
    let cookie = cookie.split(';').next().unwrap();
    server.stranger().call("GET", "/portal/billing/status").header("cookie", cookie).send().is(200);
    portal.get(&format!("/v1/organizations/{}", eve.organization)).expect_problem(404, "unknown-organization");
    portal.post(&path(&ada.organization), json!({})).expect_problem(403, "forbidden");
    portal.post("/api/auth/logout", "").expect_error_text(403);
    let me = portal.get("/v1/me").is(200).json();
    assert_eq!((&me["name"], &me["user"], &me["operator"]), (&json!("portal"), &Value::Null, &json!(false)));
    // Who has looked in is noted, no token is.
    let log = format!("/v1/organizations/{}/audit-log", ada.organization);
    assert_eq!(actions(&ada.client, &log), ["session.sign_in", "portal.link", "organization.create"]);
    let seen = [ada.client.get(&log).is(200).text, server.admin().get("/v1/export").is(200).text, server.log()];
    for text in seen {
        assert!(!text.contains(&token[4..]) && !text.contains(&session[4..]), "a token in {text}");
    }
}

#[test]
fn many_people_of_one_address_open_their_links_and_stale_ones_shut_nobody_out() {
    let server = Server::start();
    server.admin().post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    let links: Vec<String> = (0..40).map(|_| token_of(&minted(&server.admin(), "acme", json!({})))).collect();
    let here = &server;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let opened: Vec<_> = links.iter().map(|link| scope.spawn(move || open(here, link).status)).collect();
        opened.into_iter().map(|opened| opened.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 40]);
    for link in &links[..15] {
        open(&server, link).expect_problem(409, "link-spent");
    }
    opened(&server, "acme", None).get("/v1/me").is(200);
}

#[test]
fn of_many_who_open_a_link_at_once_one_does() {
    let server = Server::start();
    let ada = sign_up(&server, "ada@example.com");
    let token = token_of(&minted(&server.admin(), &ada.organization, json!({})));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&server, &token).status)).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
}

#[test]
fn a_portal_follows_its_member_and_is_never_an_owners() {
    let mut server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    join(&ada.client, &ada.organization, &eve, "editor");
    let of_eve = opened(&server, &ada.organization, Some(&eve.id));
    let log = format!("/v1/organizations/{}/audit-log", ada.organization);
    let note = json!({"action": "document.upload", "category": "chat"});
    let entry = of_eve.post(&log, &note).is(201).json();
    assert!(entry["actor"].as_str().unwrap().starts_with("portal:"), "{entry}");
    of_eve.get(&log).expect_problem(403, "forbidden");
    let of_ada = opened(&server, &ada.organization, Some(&ada.id));
    of_ada.get(&log).is(200);
    let owner = json!({"email": "x@example.com", "role": "owner"});
    of_ada.post(&ada.members(), owner).expect_problem(403, "forbidden");
    // Her role falls, then she is none: at once, and in a session that stays.
    ada.client.patch(&format!("{}/{}", ada.members(), eve.id), json!({"role": "viewer"})).is(200);
    of_eve.post(&log, &note).expect_problem(403, "forbidden");
    let unopened = token_of(&minted(&server.admin(), &ada.organization, json!({"member": eve.id})));
    ada.client.delete(&format!("{}/{}", ada.members(), eve.id)).is(204);
    of_eve.get("/portal/billing/status").expect_error_text(401);
    open(&server, &unopened).expect_problem(409, "link-spent");
    let cases = [json!(eve.id), json!("01890000-0000-7000-8000-000000000000")];
    for member in cases {
        let answer = server.admin().post(&path(&ada.organization), json!({"member": member}));
        assert_eq!(answer.expect_problem(422, "validation")["errors"][0]["pointer"], "#/member");
    }
    // Her membership elsewhere is of no use here, and what is open outlives a crash.
    assert!(of_ada.get("/v1/me").is(200).json()["organization"].is_string());
    server.kill();
    server.start_again();
    let unopened = token_of(&minted(&server.admin(), &ada.organization, json!({})));
    server.kill();
    server.start_again();
    let again = server.client(open(&server, &unopened).is(200).json()["token"].as_str().unwrap());
    again.get("/portal/billing/status").is(200);
}

#[test]
fn a_portal_is_revoked_before_and_after_it_is_opened_and_ends_by_itself() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let admin = server.admin();
    let revoke = |organization: &str, link: &Value| {
        admin.delete(&format!("{}/{}", path(organization), link["id"].as_str().unwrap()))
    };
    let unopened = minted(&admin, &ada.organization, json!({}));
    revoke(&eve.organization, &unopened).expect_problem(404, "not-found");
    revoke(&ada.organization, &unopened).is(204);
    revoke(&ada.organization, &unopened).expect_problem(404, "not-found");
    open(&server, &token_of(&unopened)).expect_problem(409, "link-spent");
    let link = minted(&admin, &ada.organization, json!({}));
    let portal = server.client(open(&server, &token_of(&link)).is(200).json()["token"].as_str().unwrap());
    portal.get("/portal/billing/status").is(200);
    revoke(&ada.organization, &link).is(204);
    portal.get("/portal/billing/status").expect_error_text(401);
    admin.delete(&format!("{}/nothing", path(&ada.organization))).expect_problem(404, "not-found");
    // One that is about to end: over when the clock says so.
    let link = minted(&admin, &ada.organization, json!({"expiresInSeconds": 1}));
    let ends = link["expiresAt"].as_str().unwrap().parse::<Time>().unwrap();
    while metergate::clock::wall().since(ends) < SECOND / 10 {
        std::thread::yield_now();
    }
    open(&server, &token_of(&link)).expect_problem(409, "link-spent");
}

#[test]
fn what_is_wrong_with_a_portal_session_is_said_and_a_repetition_shows_no_link() {
    let server = Server::start();
    let ada = sign_up(&server, "ada@example.com");
    let path = path(&ada.organization);
    #[rustfmt::skip]
    let cases = [
        (json!({"expiresInSeconds": 0}),    "#/expiresInSeconds"),
        (json!({"expiresInSeconds": 901}),  "#/expiresInSeconds"),
        (json!({"expiresInSeconds": -1}),   "#/expiresInSeconds"),
        (json!({"member": "ada"}),          "#/member"),
        (json!({"memeber": ada.id}),        "#/memeber"),
    ];
    for (body, pointer) in cases {
        let problem = server.admin().post(&path, &body).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    let admin = server.admin();
    let mint = || admin.call("POST", &path).header("idempotency-key", "k").json(json!({})).send().is(201);
    let (first, again) = (mint(), mint());
    assert_eq!(first.header("cache-control"), Some("no-store"));
    assert_eq!((&again.json()["id"], &again.json()["url"]), (&first.json()["id"], &Value::Null));
    let stranger = server.stranger();
    let elsewhere = stranger.call("POST", "/v1/portal-sessions").header("sec-fetch-site", "cross-site");
    elsewhere.json(json!({"token": token_of(&first.json())})).send().expect_problem(403, "forbidden");
    for token in ["", "mgs_", &format!("mgs_{}", "0".repeat(64))] {
        open(&server, token).expect_problem(409, "link-spent");
    }
    stranger.post("/v1/portal-sessions", json!({"token": "x", "more": 1})).expect_problem(422, "validation");
    open(&server, &token_of(&first.json())).is(200);
}
