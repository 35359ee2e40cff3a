//! Signing up, in and out; members and those who are invited; platform administrators.

use metergate_rules::time::{DAY, Time};
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::Server;

const PASSWORD: &str = "correct horse battery";

/// Somebody who is signed in.
pub(super) struct Person {
    pub(super) client: Client,
    pub(super) email: String,
    token: String,
    pub(super) organization: String,
    pub(super) id: String,
}

impl Person {
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    fn of(server: &Server, answer: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let token = text(&answer["token"]);
        let (id, email) = (text(&answer["user"]["id"]), text(&answer["user"]["email"]));
        Self { client: server.client(&token), token, organization: text(&answer["organizations"][0]["key"]), id, email }
    }

    pub(super) fn signed_in(server: &Server, email: &str, password: &str) -> Self {
        Self::of(server, &login(&server.stranger(), email, password).is(200).json())
    }

    pub(super) fn members(&self) -> String {
        format!("/v1/organizations/{}/members", self.organization)
    }
}

fn form(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "name": "Ada", "organizationName": "Ada's Äpfel & Co."})
}

fn login(client: &Client, email: &str, password: &str) -> Answer {
    client.post("/api/auth/login", json!({"email": email, "password": password}))
}

/// Registers with an organization of their own.
pub(super) fn sign_up(server: &Server, email: &str) -> Person {
    Person::of(server, &server.stranger().post("/api/auth/register", form(email)).is(201).json())
}

/// Shows that somebody's address is theirs, by a link that an operator has passed on.
pub(super) fn verify(server: &Server, person: &Person) {
    let made = server.admin().post("/v1/email-verifications", json!({"email": person.email})).is(201).json();
    let confirm = person.client.post("/v1/email-verifications/confirm", json!({"token": made["token"]}));
    assert_eq!(confirm.is(200).json()["emailVerified"], true);
}

/// Makes somebody a member, by an invitation that they accept.
pub(super) fn join(by: &Client, organization: &str, person: &Person, role: &str) {
    let invitation = json!({"email": person.email, "role": role});
    let made = by.post(&format!("/v1/organizations/{organization}/invitations"), invitation).is(201).json();
    person.client.post("/v1/invitations/accept", json!({"token": made["token"]})).is(200);
}

pub(super) fn actions(client: &Client, path: &str) -> Vec<String> {
    client.list(path).iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn who_signs_up_owns_an_organization_in_its_trial_of_exactly_30_days() {
    let mut server = Server::start();
    let ada = sign_up(&server, "Ada@Example.com");
    assert_eq!((ada.email.as_str(), ada.organization.as_str()), ("ada@example.com", "ada-s-pfel-co"));
    let path = format!("/v1/organizations/{}", ada.organization);
    let organization = ada.client.get(&path).is(200).json();
    let time = |name: &str| organization[name].as_str().unwrap().parse::<Time>().unwrap();
    assert_eq!(time("trialEndsAt").since(time("createdAt")), 30 * DAY);
    assert_eq!((&organization["status"], &organization["plan"]), (&json!("trial"), &json!("free")));
    assert_eq!(actions(&ada.client, &format!("{path}/audit-log")), ["organization.create"]);
    let me = ada.client.get("/v1/me").is(200).json();
    assert_eq!((&me["user"]["email"], &me["organizations"][0]["role"]), (&json!("ada@example.com"), &json!("owner")));
    assert_eq!(ada.client.get("/portal/billing/status").is(200).json()["orgId"], ada.organization.as_str());
    // The session and its user are there after a crash.
    server.kill();
    server.start_again();
    assert_eq!(server.client(&ada.token).get(&path).is(200).json()["key"], ada.organization.as_str());
    Person::signed_in(&server, "ADA@example.COM", PASSWORD);
    // A second organization of the same name has a key of its own.
    assert!(sign_up(&server, "eve@example.com").organization.starts_with("ada-s-pfel-co-"));
}

#[test]
fn a_registration_that_is_repeated_makes_one_user_and_shows_its_token_once() {
    let server = Server::start();
    let call = |body: Value| {
        let stranger = server.stranger();
        stranger.call("POST", "/api/auth/register").header("idempotency-key", "k").json(body).send()
    };
    let first = call(form("ada@example.com")).is(201).json();
    let again = call(form("ada@example.com")).is(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!((&again.json()["user"], &again.json()["token"]), (&first["user"], &Value::Null));
    assert!(again.header("set-cookie").is_none());
    call(form("eve@example.com")).expect_error_text(422);
    let taken = server.stranger().post("/api/auth/register", form("ADA@example.com")).expect_error_text(409);
    assert_eq!(taken, "There is a user with this e-mail address: sign in.");
    assert_eq!(server.admin().list("/v1/organizations").len(), 1);
}

#[test]
fn of_many_who_register_with_one_address_one_does() {
    let server = Server::start();
    let register = || server.stranger().post("/api/auth/register", form("ada@example.com")).status;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..6).map(|_| scope.spawn(register)).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    assert_eq!(server.admin().list("/v1/organizations").len(), 1);
}

#[test]
fn what_is_wrong_with_a_registration_is_said_in_the_documented_form() {
    let server = Server::start();
    let changed = |name: &str, value: Value| {
        let mut body = form("ada@example.com");
        body[name] = value;
        body
    };
    let long = "x".repeat(2000);
    #[rustfmt::skip]
    let cases = [
        (changed("email", json!("nobody")),            "email: Send an address"),
        (changed("email", json!("ädä@example.com")),   "email: Send an address"),
        (changed("password", json!("short")),          "password: Send 8 to 1024 bytes."),
        (changed("password", json!(long)),             "password: Send 8 to 1024 bytes."),
        (changed("name", json!("a\u{7}b")),            "name: Send 1 to 255"),
        (changed("organizationName", json!("")),       "organizationName: Send 1 to 255"),
        (changed("organizationName", json!(null)),     "organizationName: Send a name"),
        (changed("admin", json!(true)),                "admin: "),
    ];
    for (body, text) in cases {
        let error = server.stranger().post("/api/auth/register", &body).expect_error_text(422);
        assert!(error.starts_with(text), "{body}: {error}");
    }
    assert_eq!(server.admin().list("/v1/organizations").len(), 0);
}

#[test]
fn an_absent_body_is_an_empty_one() {
    let server = Server::start();
    let ada = sign_up(&server, "ada@example.com");
    for path in ["/api/auth/register", "/api/auth/login", "/api/organizations"] {
        let empty = ada.client.post(path, json!({})).expect_error_text(422);
        assert_eq!(ada.client.call("POST", path).send().expect_error_text(422), empty, "{path}");
    }
    let empty = server.stranger().post("/api/auth/login", json!({})).expect_error_text(422);
    assert_eq!(server.stranger().call("POST", "/api/auth/login").send().expect_error_text(422), empty);
}

#[test]
fn an_unknown_address_and_a_wrong_password_are_the_same_and_ten_failures_wait() {
    let server = Server::start();
    let ada = sign_up(&server, "ada@example.com");
    let stranger = server.stranger();
    let wrong = login(&stranger, "ada@example.com", "wrong password").expect_error_text(401);
    assert_eq!(login(&stranger, "eve@example.com", "wrong password").expect_error_text(401), wrong);
    let path = format!("/v1/organizations/{}/audit-log", ada.organization);
    assert_eq!(actions(&ada.client, &path), ["session.sign_in_failed", "organization.create"]);
    (0..9).for_each(|_| drop(login(&stranger, "ada@example.com", "wrong password").expect_error_text(401)));
    let late = login(&stranger, "ada@example.com", PASSWORD).is(429);
    assert!(late.header("retry-after").is_some());
    login(&stranger, "eve@example.com", "wrong password").expect_error_text(401);
}

#[test]
fn a_text_that_can_be_no_password_is_a_wrong_one() {
    let server = Server::start();
    let ada = sign_up(&server, "ada@example.com");
    let wrong = login(&server.stranger(), "ada@example.com", "wrong password").expect_error_text(401);
    for tried in ["", "short", &"x".repeat(1025)] {
        assert_eq!(
            login(&server.stranger(), "ada@example.com", tried).expect_error_text(401),
            wrong,
            "{}",
            tried.len()
        );
    }
    let path = format!("/v1/organizations/{}/audit-log?action=session.sign_in_failed", ada.organization);
    assert_eq!(ada.client.list(&path).len(), 4);
}

#[test]
fn a_session_ends_when_it_is_signed_out() {
    let server = Server::start();
    let ada = sign_up(&server, "ada@example.com");
    let other = Person::signed_in(&server, "ada@example.com", PASSWORD);
    ada.client.post("/api/auth/logout", "").is(204);
    ada.client.get("/v1/me").expect_problem(401, "unauthorized");
    other.client.get("/v1/me").is(200);
    server.admin().post("/api/auth/logout", "").expect_error_text(403);
}

#[test]
fn the_cookie_signs_in_and_changes_nothing_from_another_site() {
    let server = Server::start();
    let answer = server.stranger().post("/api/auth/register", form("ada@example.com")).is(201);
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let stranger = server.stranger();
    let call = |method: &str, path: &str| stranger.call(method, path).header("cookie", &cookie);
    call("GET", "/v1/me").send().is(200);
    let make = |name: &str, site: &str| {
        call("POST", "/api/organizations").header(name, site).json(json!({"name": "Two", "key": "two"})).send()
    };
    make("sec-fetch-site", "cross-site").expect_error_text(403);
    make("origin", "https://evil.example").expect_error_text(403);
    call("POST", "/api/organizations").json(json!({"name": "Two"})).send().expect_error_text(403);
    make("sec-fetch-site", "same-origin").is(201);
    make("origin", &server.url).expect_error_text(409);
    let elsewhere = stranger.call("POST", "/api/auth/login").header("sec-fetch-site", "cross-site");
    elsewhere.json(json!({"email": "ada@example.com", "password": PASSWORD})).send().expect_error_text(403);
}

#[test]
fn a_member_is_changed_at_once_and_the_last_owner_stays() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let (of_eve, of_ada) = (format!("{}/{}", ada.members(), eve.id), format!("{}/{}", ada.members(), ada.id));
    eve.client.get(&ada.members()).expect_problem(404, "unknown-organization");
    verify(&server, &eve);
    let new = json!({"email": "EVE@example.com", "role": "admin"});
    ada.client.post(&ada.members(), &new).is(201);
    ada.client.post(&ada.members(), &new).expect_problem(409, "already-member");
    assert_eq!(eve.client.list(&ada.members()).len(), 2);
    for body in [json!({"role": "viewer"}), json!({"active": false})] {
        eve.client.patch(&of_ada, body).expect_problem(403, "forbidden");
    }
    eve.client.patch(&of_eve, json!({"role": "owner"})).expect_problem(403, "forbidden");
    for client in [&ada.client, &server.admin()] {
        client.patch(&of_ada, json!({"role": "admin"})).expect_problem(409, "last-owner");
        client.patch(&of_ada, json!({"active": false})).expect_problem(409, "last-owner");
        client.delete(&of_ada).expect_problem(409, "last-owner");
    }
    ada.client.patch(&of_eve, json!({"role": "viewer"})).is(200);
    eve.client.patch(&of_eve, json!({"role": "editor"})).expect_problem(403, "forbidden");
    ada.client.patch(&of_eve, json!({"active": false})).is(200);
    eve.client.get(&ada.members()).expect_problem(404, "unknown-organization");
    ada.client.delete(&of_eve).is(204);
    ada.client.delete(&of_eve).expect_problem(404, "not-found");
    let path = format!("/v1/organizations/{}/audit-log?category=auth", ada.organization);
    assert_eq!(actions(&ada.client, &path), ["member.remove", "member.change", "member.change", "member.add"]);
}

#[test]
fn of_two_owners_who_remove_each_other_at_once_one_stays() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    join(&ada.client, &ada.organization, &eve, "owner");
    let (of_ada, of_eve) = (format!("{}/{}", ada.members(), ada.id), format!("{}/{}", ada.members(), eve.id));
    let admin = server.admin();
    std::thread::scope(|scope| {
        scope.spawn(|| ada.client.delete(&of_eve));
        scope.spawn(|| eve.client.patch(&of_ada, json!({"role": "viewer"})));
        scope.spawn(|| admin.delete(&of_ada));
    });
    let owners = admin.list(&ada.members()).iter().filter(|member| member["role"] == "owner").count();
    assert_eq!(owners, 1);
}

#[test]
fn an_invitation_is_accepted_once_by_whom_it_is_for() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let invite = |email: &str| {
        let path = format!("/v1/organizations/{}/invitations", ada.organization);
        let made = ada.client.post(&path, json!({"email": email, "role": "editor"})).is(201).json();
        assert!(made["url"].as_str().unwrap().starts_with(&server.url), "{made}");
        made["token"].as_str().unwrap().to_owned()
    };
    let (old, token) = (invite("eve@example.com"), invite("Eve@example.com"));
    let accept = |person: &Person, token: &str| person.client.post("/v1/invitations/accept", json!({"token": token}));
    accept(&ada, &token).expect_problem(403, "not-invited");
    accept(&eve, &old).expect_problem(409, "link-spent");
    assert_eq!(accept(&eve, &token).is(200).json()["organizations"].as_array().unwrap().len(), 2);
    accept(&eve, &token).expect_problem(409, "link-spent");
    // By somebody who registers with it, in no other organization.
    let token = invite("bob@example.com");
    let body = json!({"email": "bob@example.com", "password": PASSWORD, "name": "Bob", "invitation": token});
    let bob = server.stranger().post("/api/auth/register", &body).is(201).json();
    assert_eq!(
        bob["organizations"],
        json!([{"id": bob["organizations"][0]["id"], "key": ada.organization,
        "name": "Ada's Äpfel & Co.", "role": "editor"}])
    );
    assert_eq!(server.admin().list("/v1/organizations").len(), 2);
}

/// The link is used up by then; the key is not.
#[test]
fn who_opened_a_link_hears_so_again_under_the_same_key() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let invite = |email: &str| {
        let path = format!("/v1/organizations/{}/invitations", ada.organization);
        ada.client.post(&path, json!({"email": email, "role": "editor"})).is(201).json()["token"].clone()
    };
    let made = server.admin().post("/v1/email-verifications", json!({"email": eve.email})).is(201).json();
    let bob = json!({"email": "bob@example.com", "password": PASSWORD, "name": "Bob", "invitation": invite("bob@example.com")});
    let stranger = server.stranger();
    let cases = [
        (&eve.client, "/v1/invitations/accept", json!({"token": invite("eve@example.com")}), 200),
        (&eve.client, "/v1/email-verifications/confirm", json!({"token": made["token"]}), 200),
        (&stranger, "/api/auth/register", bob, 201),
    ];
    for (client, path, body, status) in cases {
        let call = |body: &Value| client.call("POST", path).header("idempotency-key", "k").json(body).send();
        let (first, again) = (call(&body).is(status), call(&body).is(status));
        assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));
        let told = |answer: &Answer| {
            let mut told = answer.json();
            told.as_object_mut().unwrap().remove("token");
            told
        };
        assert_eq!(told(&first), told(&again), "{path}");
        let mut other = body.clone();
        match path {
            "/api/auth/register" => other["name"] = json!("Rob"),
            _ => other["token"] = json!(format!("mgs_{}", "0".repeat(64))),
        }
        assert_eq!(call(&other).status, 422, "{path}");
    }
    let log = format!("/v1/organizations/{}/audit-log?action=member.add", ada.organization);
    assert_eq!(ada.client.list(&log).len(), 2, "each joined once");
}

#[test]
fn an_administrator_signs_in_by_a_link_and_takes_no_account_of_another_along() {
    let server = Server::start();
    // Somebody has registered with an address that is not theirs.
    let squatter = sign_up(&server, "root@example.com");
    let with_password = json!({"email": "root@example.com", "password": "another password"});
    let refused = server.admin().post("/v1/administrators", with_password).expect_problem(409, "email-taken");
    assert!(refused["detail"].as_str().unwrap().contains("Send no password"), "{refused}");
    squatter.client.get("/v1/me").is(200);
    let made = server.admin().post("/v1/administrators", json!({"email": "root@example.com"})).is(201).json();
    squatter.client.get("/v1/me").expect_problem(401, "unauthorized");
    login(&server.stranger(), "root@example.com", PASSWORD).expect_error_text(401);
    let token = made["signInUrl"].as_str().unwrap().split_once("token=").unwrap().1;
    let open = || server.stranger().post("/v1/sessions", json!({"token": token, "password": "another password"}));
    let root = Person::of(&server, &open().is(200).json());
    open().expect_problem(409, "link-spent");
    root.client.get("/v1/organizations").is(200);
    assert_eq!(root.client.list("/v1/administrators").len(), 1);
    let again = Person::signed_in(&server, "root@example.com", "another password");
    let other = json!({"email": "ops@example.com", "password": "fourth password"});
    server.admin().post("/v1/administrators", other).is(201);
    again.client.delete(&format!("/v1/administrators/{}", root.id)).is(204);
    root.client.get("/v1/me").expect_problem(401, "unauthorized");
    assert_eq!(server.admin().list("/v1/administrators").len(), 1);
    // In no organization: with the right goes the user.
    let made = json!({"email": "temp@example.com", "password": "third password"});
    let made = server.admin().post("/v1/administrators", made).is(201).json();
    let temp = Person::signed_in(&server, "temp@example.com", "third password");
    server.admin().delete(&format!("/v1/administrators/{}", made["id"].as_str().unwrap())).is(204);
    temp.client.get("/v1/me").expect_problem(401, "unauthorized");
    login(&server.stranger(), "temp@example.com", "third password").expect_error_text(401);
}

#[test]
fn members_move_the_cycle_and_operators_texts_stay() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let path = format!("/api/organizations/{}/billing-cycle", ada.organization);
    let move_it =
        |person: &Person| person.client.patch(&path, json!({"billingCycleStartDate": "2024-11-01T00:00:00.000Z"}));
    assert_eq!(move_it(&eve).expect_error_text(404), "Organization not found");
    join(&ada.client, &ada.organization, &eve, "editor");
    let refused = "Only platform administrators or organization admin/owner can update billing cycle";
    assert_eq!(move_it(&eve).expect_error_text(403), refused);
    assert_eq!(move_it(&ada).is(200).json()["billingCycle"]["updatedBy"], "ada@example.com");
    server.admin().put(&format!("/v1/organizations/{}/lock", ada.organization), r#"{"reason": "r"}"#).is(200);
    move_it(&ada).expect_error_text(403);
}
