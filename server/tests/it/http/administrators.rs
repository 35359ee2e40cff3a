//! Platform administrators: who is invited and has not come, and that one stays who can sign in.

use serde_json::{Value, json};

use super::client::Client;
use super::people::Person;
use super::server::Server;

const PASSWORD: &str = "correct horse battery";

/// Makes an administrator with a password; answers their id.
pub(super) fn made(admin: &Client, email: &str) -> String {
    let made = admin.post("/v1/administrators", json!({"email": email, "password": PASSWORD})).is(201).json();
    made["id"].as_str().unwrap().to_owned()
}

pub(super) fn path(id: &str) -> String {
    format!("/v1/administrators/{id}")
}

/// The entry of a list with an address.
fn listed(admin: &Client, email: &str) -> Value {
    let all = admin.list("/v1/administrators");
    all.into_iter().find(|one| one["email"] == email).unwrap_or_else(|| panic!("{email} is not listed"))
}

#[test]
fn the_last_administrator_who_can_sign_in_stays_whoever_asks() {
    let server = Server::start();
    let admin = server.admin();
    let root = made(&admin, "root@example.com");
    let person = Person::signed_in(&server, "root@example.com", PASSWORD);
    for client in [&admin, &person.client] {
        let refused = client.delete(&path(&root)).expect_problem(409, "last-administrator");
        assert!(refused["detail"].as_str().unwrap().contains("add another one first"), "{refused}");
    }
    person.client.get("/v1/organizations").is(200);
    // A session alone is no way in: it ends.
    let made = admin.post("/v1/administrators", json!({"email": "temp@example.com"})).is(201).json();
    let token = made["signInUrl"].as_str().unwrap().split_once("token=").unwrap().1;
    server.stranger().post("/v1/sessions", json!({"token": token})).is(200);
    admin.delete(&path(&root)).expect_problem(409, "last-administrator");
    admin.delete(&path(made["id"].as_str().unwrap())).is(204);
    // Who is invited can come, and so does until the link is over; who has come can go on without one.
    let invited = admin.post("/v1/administrators", json!({"email": "eve@example.com"})).is(201).json();
    person.client.delete_because(&path(&root), "she has left").is(204);
    person.client.get("/v1/me").expect_problem(401, "unauthorized");
    let eve = invited["id"].as_str().unwrap();
    admin.delete(&path(eve)).expect_problem(409, "last-administrator");
    admin.delete(&path(&root)).expect_problem(404, "not-found");
    let newest = admin.list("/v1/audit-log?action=member.remove")[0].clone();
    assert_eq!(
        (&newest["reason"], &newest["before"]["email"], &newest["after"]),
        (&json!("she has left"), &json!("root@example.com"), &json!({}))
    );
}

#[test]
fn of_administrators_who_are_removed_at_once_one_stays() {
    let server = Server::start();
    let admin = server.admin();
    for round in 0..4 {
        (0..3).for_each(|i| _ = made(&admin, &format!("root-{round}-{i}@example.com")));
        let before = admin.list("/v1/administrators");
        std::thread::scope(|scope| {
            for one in &before {
                let (admin, id) = (server.admin(), one["id"].as_str().unwrap());
                scope.spawn(move || {
                    let status = admin.delete(&path(id)).status;
                    assert!([204, 409].contains(&status), "{status}");
                });
            }
        });
        let left = admin.list("/v1/administrators");
        assert_eq!(left.len(), 1, "round {round}: {left:?}");
    }
}

#[test]
fn who_has_not_come_is_listed_with_their_link_and_by_whom_it_was_made() {
    let server = Server::start();
    let admin = server.admin();
    made(&admin, "root@example.com");
    let root = Person::signed_in(&server, "root@example.com", PASSWORD);
    let of_root = listed(&admin, "root@example.com");
    assert_eq!((&of_root["canSignIn"], &of_root["signInLink"]), (&json!(true), &Value::Null));
    let made = root.client.post("/v1/administrators", json!({"email": "eve@example.com"})).is(201).json();
    let eve = listed(&admin, "eve@example.com");
    assert_eq!((&eve["canSignIn"], &eve["signInLink"]["madeBy"]), (&json!(false), &json!(format!("user:{}", root.id))));
    let time = |name: &str| eve["signInLink"][name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time("expiresAt").duration_since(time("madeAt")).as_hours(), 24);
    // Another link, by an operator's key, stands in its place in the list.
    let again = admin.post("/v1/password-resets", json!({"email": "eve@example.com"})).is(201).json();
    assert_eq!(listed(&admin, "eve@example.com")["signInLink"]["madeBy"], "key:administrator");
    let token = again["token"].as_str().unwrap();
    let chosen = json!({"token": token, "password": PASSWORD});
    server.stranger().post("/v1/sessions", chosen).is(200);
    let eve = listed(&admin, "eve@example.com");
    assert_eq!(eve["canSignIn"], true);
    // The first link is open until it is used, or its day is over.
    let first = made["signInUrl"].as_str().unwrap().split_once("token=").unwrap().1;
    server.stranger().post("/v1/sessions", json!({"token": first})).is(200);
    assert_eq!(listed(&admin, "eve@example.com")["signInLink"], Value::Null);
}
