//! Links that operators pass on, who is known by them, and where they lead.

use serde_json::{Value, json};

use super::client::Client;
use super::people::{Person, actions, join, sign_up, verify};
use super::server::{Server, free_address};

const PASSWORD: &str = "correct horse battery";

fn made(server: &Server, path: &str, email: &str) -> Value {
    server.admin().post(path, json!({"email": email})).is(201).json()
}

fn login(server: &Server, password: &str) -> u16 {
    server.stranger().post("/api/auth/login", json!({"email": "ada@example.com", "password": password})).status
}

#[test]
fn a_password_is_chosen_anew_by_a_link_and_every_session_ends() {
    let server = Server::start();
    let ada = sign_up(&server, "ada@example.com");
    let (old, link) = (
        made(&server, "/v1/password-resets", "ada@example.com"),
        made(&server, "/v1/password-resets", "ADA@example.com"),
    );
    let url = link["url"].as_str().unwrap();
    assert_eq!(url, format!("{}/reset?token={}", server.url, link["token"].as_str().unwrap()));
    let open = |link: &Value, password: Value| {
        let body = json!({"token": link["token"], "password": password});
        server.stranger().post("/v1/sessions", body)
    };
    open(&old, json!("another password")).expect_problem(409, "link-spent");
    let problem = open(&link, Value::Null).expect_problem(422, "validation");
    assert_eq!(problem["errors"][0]["pointer"], "#/password");
    ada.client.get("/v1/me").is(200);
    let session = open(&link, json!("another password")).is(200).json();
    assert_eq!((&session["user"]["id"], &session["user"]["emailVerified"]), (&json!(ada.id), &json!(true)));
    open(&link, json!("a third password")).expect_problem(409, "link-spent");
    ada.client.get("/v1/me").expect_problem(401, "unauthorized");
    assert_eq!((login(&server, PASSWORD), login(&server, "another password")), (401, 200));
    server.admin().post("/v1/password-resets", json!({"email": "nobody@example.com"})).expect_problem(404, "not-found");
    let team = server.admin().list("/v1/audit-log?category=auth");
    let resets: Vec<_> = team.iter().filter(|entry| entry["after"]["link"] == "password-reset").collect();
    assert_eq!((resets.len(), &resets[0]["action"]), (2, &json!("member.invite")));
    let of_ada = server.admin().list(&format!("/v1/organizations/{}/audit-log", ada.organization));
    assert!(of_ada.iter().any(|entry| entry["after"]["by"] == "password-reset"), "{of_ada:?}");
}

/// What somebody has who registered with the address of another: a key, a portal for themselves, and a key made in that.
fn squatted(server: &Server, squatter: &Person) -> Vec<String> {
    let path = |below: &str| format!("/v1/organizations/{}/{below}", squatter.organization);
    let made = |client: &Client, scopes: &[&str]| {
        let made = client.post(&path("api-keys"), json!({"name": "mine", "scopes": scopes})).is(201).json();
        assert_eq!(made["createdBy"], format!("user:{}", squatter.id));
        made["key"].as_str().unwrap().to_owned()
    };
    let key = made(&squatter.client, &["consume", "read"]);
    let link = server.client(&key).post(&path("portal-sessions"), json!({"member": squatter.id})).is(201).json();
    let token = link["url"].as_str().unwrap().split_once("token=").unwrap().1.to_owned();
    let opened = server.stranger().post("/v1/portal-sessions", json!({"token": token})).is(200).json();
    let portal = opened["token"].as_str().unwrap().to_owned();
    let of_portal = made(&server.client(&portal), &["read"]);
    let all = vec![key, portal, of_portal];
    all.iter().for_each(|token| drop(server.client(token).get("/v1/me").is(200)));
    all
}

#[test]
fn what_somebody_made_with_the_address_of_another_opens_nothing_once_that_one_has_it() {
    let mut server = Server::start();
    let (squatter, boss) = (sign_up(&server, "ada@example.com"), sign_up(&server, "boss@example.com"));
    let (mut of_ada, of_boss) = (squatted(&server, &squatter), squatted(&server, &boss));
    // Of two organizations, which both have it noted in one commit.
    join(&boss.client, &boss.organization, &squatter, "admin");
    let at_boss = format!("/v1/organizations/{}/api-keys", boss.organization);
    let made_there = squatter.client.post(&at_boss, json!({"name": "there", "scopes": ["read"]})).is(201).json();
    of_ada.push(made_there["key"].as_str().unwrap().to_owned());
    let bound = json!({"name": "team's", "scopes": ["read"], "organization": squatter.organization});
    let of_team = server.admin().post("/v1/api-keys", bound).is(201).json();
    let link = made(&server, "/v1/password-resets", "ada@example.com");
    let open = json!({"token": link["token"], "password": "another password"});
    let session = server.stranger().post("/v1/sessions", open).is(200).json();
    server.admin().post("/v1/administrators", json!({"email": "boss@example.com"})).is(201);
    let all_ended = |server: &Server| {
        for gone in of_ada.iter().chain(&of_boss) {
            server.client(gone).get("/v1/me").expect_problem(401, "unauthorized");
        }
        server.client(of_team["key"].as_str().unwrap()).get("/v1/me").is(200);
    };
    all_ended(&server);
    for (organization, keys) in [(&squatter.organization, 2), (&boss.organization, 3)] {
        let log = server.admin().list(&format!("/v1/organizations/{organization}/audit-log?action=key.revoke"));
        assert_eq!(log.len(), keys, "one entry a key: {log:?}");
        assert!(log.iter().all(|entry| entry["reason"].as_str().unwrap().contains("address")), "{log:?}");
    }
    server.kill();
    server.start_again();
    all_ended(&server);
    // From now on the address is known to be theirs, and what they make stays.
    let ada = server.client(session["token"].as_str().unwrap());
    let path = format!("/v1/organizations/{}/api-keys", squatter.organization);
    let own = ada.post(&path, json!({"name": "own", "scopes": ["read"]})).is(201).json();
    let link = made(&server, "/v1/password-resets", "ada@example.com");
    let open = json!({"token": link["token"], "password": "a third password"});
    server.stranger().post("/v1/sessions", open).is(200);
    server.client(own["key"].as_str().unwrap()).get("/v1/me").is(200);
}

#[test]
fn an_address_is_verified_by_whom_the_link_is_for_signed_in_and_nobody_else() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let link = made(&server, "/v1/email-verifications", "ada@example.com");
    let body = json!({"token": link["token"]});
    let confirm = |person: &Person| person.client.post("/v1/email-verifications/confirm", &body);
    server.stranger().post("/v1/email-verifications/confirm", &body).expect_problem(401, "unauthorized");
    confirm(&eve).expect_problem(403, "not-invited");
    // It signs nobody in.
    server.stranger().post("/v1/sessions", &body).expect_problem(409, "link-spent");
    assert_eq!(ada.client.get("/v1/me").is(200).json()["user"]["emailVerified"], false);
    assert_eq!(confirm(&ada).is(200).json()["emailVerified"], true);
    confirm(&ada).expect_problem(409, "link-spent");
    assert_eq!(ada.client.get("/v1/me").is(200).json()["user"]["emailVerified"], true);
    let again = server.admin().post("/v1/email-verifications", json!({"email": "ada@example.com"}));
    again.expect_problem(409, "already-verified");
    let log = format!("/v1/organizations/{}/audit-log", ada.organization);
    assert_eq!(actions(&ada.client, &log)[0], "member.change");
}

#[test]
fn nobody_becomes_a_member_unasked_whose_address_is_not_known_to_be_theirs() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    // Neither who has only registered with it, nor who is nobody yet: they are invited, and accept themselves.
    for email in ["eve@example.com", "new@example.com"] {
        let invited = ada.client.post(&ada.members(), json!({"email": email, "role": "viewer"})).is(202).json();
        assert_eq!((&invited["email"], &invited["role"]), (&json!(email), &json!("viewer")));
        assert!(invited["url"].as_str().unwrap().starts_with(&format!("{}/join?token=", server.url)), "{invited}");
        assert!(invited["signInUrl"].is_null());
        let sign_in = json!({"token": invited["token"], "password": "another password"});
        server.stranger().post("/v1/sessions", sign_in).expect_problem(409, "link-spent");
        if email == "eve@example.com" {
            eve.client.post("/v1/invitations/accept", json!({"token": invited["token"]})).is(200);
        }
    }
    assert_eq!(ada.client.list(&ada.members()).len(), 2);
    let bob = sign_up(&server, "bob@example.com");
    verify(&server, &bob);
    let added = ada.client.post(&ada.members(), json!({"email": "bob@example.com", "role": "viewer"})).is(201).json();
    assert_eq!(added["id"], bob.id.as_str());
    let repeated = |key: &str| {
        let call = ada.client.call("POST", &ada.members()).header("idempotency-key", key);
        call.json(json!({"email": "grace@example.com", "role": "viewer"})).send().is(202).json()
    };
    assert!(repeated("k")["token"].is_string());
    assert_eq!((&repeated("k")["token"], &repeated("k")["url"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_link_leads_where_the_server_is_whatever_a_request_says_of_its_host() {
    let server = Server::start();
    let public =
        Server::with(&[("METERGATE_PUBLIC_URL", "https://usage.example.com/"), ("METERGATE_LISTEN", &free_address())]);
    for (server, base) in [(&server, server.url.as_str()), (&public, "https://usage.example.com")] {
        let admin = server.admin();
        let made = admin.call("POST", "/v1/administrators").header("host", "evil.example");
        let made = made.json(json!({"email": "root@example.com"})).send().is(201).json();
        let url = made["signInUrl"].as_str().unwrap();
        assert!(url.starts_with(&format!("{base}/sign-in?token=mgs_")), "{url}");
    }
}

#[test]
fn registrations_are_bounded_from_one_address_and_a_proxy_says_from_which() {
    let server = Server::with(&[("METERGATE_TRUSTED_PROXIES", "127.0.0.0/8")]);
    let stranger = server.stranger();
    let register = |from: &str, i: usize| {
        // Too short a password would be refused before it is counted; an address that is taken is not.
        let form = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada", "organizationName": "Ada"});
        let call = stranger.call("POST", "/api/auth/register").header("x-forwarded-for", from);
        call.header("idempotency-key", &i.to_string()).json(form).send()
    };
    register("192.0.2.1", 0).is(201);
    // A repetition is answered with what was kept, and counts.
    let statuses: Vec<u16> = (0..100).map(|_| register("192.0.2.1", 0).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 99, "{statuses:?}");
    let late = register("192.0.2.1", 1).is(429);
    assert!(late.header("retry-after").is_some());
    register("192.0.2.2", 1).expect_error_text(409);
    register("198.51.100.7, 192.0.2.1", 2).is(429);
}
