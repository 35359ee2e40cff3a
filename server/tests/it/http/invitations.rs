//! Invitations that are open: who is invited by whom and until when, again, and no more.

use serde_json::{Value, json};

use super::client::Client;
use super::people::{Person, join, sign_up};
use super::server::Server;

fn path(person: &Person) -> String {
    format!("/v1/organizations/{}/invitations", person.organization)
}

fn invite(by: &Client, path: &str, email: &str, role: &str) -> Value {
    by.post(path, json!({"email": email, "role": role})).is(201).json()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn accept(person: &Person, made: &Value) -> u16 {
    person.client.post("/v1/invitations/accept", json!({"token": made["token"]})).status
}

#[test]
fn who_is_invited_is_listed_with_who_invited_them_until_they_come() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let path = path(&ada);
    let first = invite(&ada.client, &path, "eve@example.com", "editor");
    let second = invite(&server.admin(), &path, "bob@example.com", "viewer");
    let open = ada.client.list(&path);
    let shown = |one: &Value| ["id", "email", "role", "invitedBy"].map(|name| text(&one[name]));
    let expected =
        |made: &Value, role: &str, by: &str| [text(&made["id"]), text(&made["email"]), role.into(), by.into()];
    assert_eq!(shown(&open[0]), expected(&first, "editor", &format!("user:{}", ada.id)));
    assert_eq!(shown(&open[1]), expected(&second, "viewer", "key:administrator"));
    let time = |one: &Value, name: &str| one[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time(&open[0], "expiresAt").duration_since(time(&open[0], "invitedAt")).as_hours(), 7 * 24);
    assert_eq!(open[0]["expiresAt"], first["expiresAt"]);
    assert!(open.iter().all(|one| one.get("token").is_none() && one.get("url").is_none()), "{open:?}");
    // In pages, and by a part of the address.
    assert_eq!(ada.client.list(&format!("{path}?limit=1")), open);
    assert_eq!(ada.client.list(&format!("{path}?search=BOB")), open[1..]);
    ada.client.get(&format!("{path}?cursor=01ff")).expect_problem(422, "validation");
    // A further one for the address takes its place; who comes is listed no more, and the rest outlives a crash.
    let again = invite(&ada.client, &path, "bob@example.com", "admin");
    assert_ne!(again["id"], second["id"]);
    let log = format!("/v1/organizations/{}/audit-log?action=member.invite", ada.organization);
    let newest = ada.client.list(&log)[0].clone();
    assert_eq!((&newest["before"]["role"], &newest["after"]["role"]), (&json!("viewer"), &json!("admin")));
    assert_eq!(accept(&eve, &first), 200);
    let open = ada.client.list(&path);
    assert_eq!((open.len(), &open[0]["id"], &open[0]["role"]), (1, &again["id"], &json!("admin")));
    // Members see it, others see nothing.
    assert_eq!(eve.client.list(&path), open);
    let other = sign_up(&server, "other@example.com");
    other.client.get(&path).expect_problem(404, "unknown-organization");
    let mut server = server;
    server.kill();
    server.start_again();
    assert_eq!(server.client(ada.token()).list(&path), open);
}

#[test]
fn an_invitation_is_sent_again_by_another_link_for_another_week() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let path = path(&ada);
    let first = invite(&server.admin(), &path, "eve@example.com", "editor");
    let resend = format!("{path}/{}/resend", text(&first["id"]));
    let again = ada.client.call("POST", &resend).header("idempotency-key", "k").send().is(201).json();
    assert_eq!((&again["id"], &again["email"], &again["role"]), (&first["id"], &first["email"], &first["role"]));
    assert!(text(&again["expiresAt"]) > text(&first["expiresAt"]));
    let open = ada.client.list(&path);
    assert_eq!((open.len(), &open[0]["expiresAt"]), (1, &again["expiresAt"]));
    assert_eq!(open[0]["invitedBy"], format!("user:{}", ada.id), "who sent it last answers for it");
    let repeated = ada.client.call("POST", &resend).header("idempotency-key", "k").send().is(201);
    assert_eq!((&repeated.json()["token"], repeated.header("idempotent-replayed")), (&Value::Null, Some("true")));
    assert_eq!((accept(&eve, &first), accept(&eve, &again)), (409, 200));
    ada.client.call("POST", &resend).send().expect_problem(404, "not-found");
    let log = format!("/v1/organizations/{}/audit-log?action=member.invite", ada.organization);
    let entries = ada.client.list(&log);
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert_eq!((&entries[0]["after"]["again"], &entries[0]["after"]["email"]), (&json!(true), &first["email"]));
}

#[test]
fn an_invitation_is_withdrawn_with_a_reason_and_its_link_opens_nothing() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let path = path(&ada);
    let made = invite(&ada.client, &path, "eve@example.com", "editor");
    let own = format!("{path}/{}", text(&made["id"]));
    for body in [json!({"reason": 5}), json!({"why": "x"}), json!({"reason": "x".repeat(4097)})] {
        ada.client.call("DELETE", &own).json(body).send().expect_problem(422, "validation");
    }
    ada.client.delete_because(&own, "hired somebody else").is(204);
    assert_eq!(accept(&eve, &made), 409);
    assert!(ada.client.list(&path).is_empty());
    ada.client.delete(&own).expect_problem(404, "not-found");
    ada.client.delete(&format!("{path}/1")).expect_problem(404, "not-found");
    let log = format!("/v1/organizations/{}/audit-log?action=member.invite", ada.organization);
    let newest = ada.client.list(&log)[0].clone();
    assert_eq!(
        (&newest["reason"], &newest["before"]["email"], &newest["before"]["role"], &newest["after"]),
        (&json!("hired somebody else"), &json!("eve@example.com"), &json!("editor"), &json!({}))
    );
    // Without a reason it goes, too; of another organization it is unknown.
    let made = invite(&ada.client, &path, "eve@example.com", "editor");
    let of_eve = format!("/v1/organizations/{}/invitations/{}", eve.organization, text(&made["id"]));
    eve.client.delete(&of_eve).expect_problem(404, "not-found");
    eve.client.call("POST", &format!("{of_eve}/resend")).send().expect_problem(404, "not-found");
    ada.client.delete(&format!("{path}/{}", text(&made["id"]))).is(204);
}

#[test]
fn admins_have_nothing_to_do_with_an_invitation_to_be_owner() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    join(&ada.client, &ada.organization, &eve, "admin");
    let path = path(&ada);
    let made = invite(&ada.client, &path, "boss@example.com", "owner");
    let own = format!("{path}/{}", text(&made["id"]));
    eve.client.delete(&own).expect_problem(403, "forbidden");
    // Nor can they by inviting the same address to be something else.
    eve.client.post(&path, json!({"email": "boss@example.com", "role": "viewer"})).expect_problem(403, "forbidden");
    eve.client.call("POST", &format!("{own}/resend")).send().expect_problem(403, "forbidden");
    server.admin().put(&format!("/v1/organizations/{}/lock", ada.organization), json!({"reason": "r"})).is(200);
    ada.client.delete(&own).expect_problem(403, "organization-locked");
    ada.client.call("POST", &format!("{own}/resend")).send().expect_problem(403, "organization-locked");
    assert_eq!(ada.client.list(&path).len(), 1);
    server.admin().delete(&own).is(204);
}
