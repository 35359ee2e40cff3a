//! The keys of an organization, made and ended by its own admins.

use serde_json::{Value, json};

use super::super::people::{actions, join, sign_up};
use super::super::server::Server;

fn keys_of(organization: &str) -> String {
    format!("/v1/organizations/{organization}/api-keys")
}

fn new(scopes: &[&str]) -> Value {
    json!({"name": "backend", "scopes": scopes})
}

#[test]
fn an_organizations_key_is_bound_to_it_and_outlives_the_membership_of_its_maker() {
    let mut server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    join(&ada.client, &ada.organization, &eve, "admin");
    let path = keys_of(&ada.organization);
    let made = eve.client.post(&path, new(&["consume", "read"])).is(201).json();
    assert_eq!(made["createdBy"], format!("user:{}", eve.id));
    let key = server.client(made["key"].as_str().unwrap());
    let consume = |organization: &str| json!({"organization": organization, "meter": "tokens"});
    key.post("/v1/consume", consume(&ada.organization)).is(200);
    key.post("/v1/consume", consume(&eve.organization)).expect_problem(404, "unknown-organization");
    key.get(&path).expect_problem(403, "forbidden");
    ada.client.delete(&format!("{}/{}", ada.members(), eve.id)).is(204);
    eve.client.get(&path).expect_problem(404, "unknown-organization");
    key.post("/v1/consume", consume(&ada.organization)).is(200);
    // Who made it is still known after a crash, and nobody sees the secret.
    server.kill();
    server.start_again();
    let ada_again = server.client(ada.token());
    let listed = ada_again.get(&path).is(200);
    assert!(!listed.text.contains(made["key"].as_str().unwrap()), "{}", listed.text);
    let listed = listed.json()["data"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["createdBy"]), (1, &made["createdBy"]));
    ada_again.delete(&format!("{path}/{}", made["id"].as_str().unwrap())).is(204);
    server.client(made["key"].as_str().unwrap()).get("/v1/me").expect_problem(401, "unauthorized");
    let log = actions(&ada_again, &format!("/v1/organizations/{}/audit-log?category=auth", ada.organization));
    assert_eq!(log, ["key.revoke", "member.remove", "key.create", "member.add", "member.invite"]);
}

#[test]
fn an_organization_sees_and_ends_its_own_keys_alone() {
    let server = Server::start();
    let (ada, eve) = (sign_up(&server, "ada@example.com"), sign_up(&server, "eve@example.com"));
    let (of_ada, of_eve) = (keys_of(&ada.organization), keys_of(&eve.organization));
    let admin = server.admin();
    let bound = json!({"name": "of the team", "scopes": ["ingest"], "organization": ada.organization});
    let ids: Vec<String> = [
        admin.post("/v1/api-keys", bound),
        admin.post("/v1/api-keys", new(&["read"])),
        eve.client.post(&of_eve, new(&["read"])),
    ]
    .map(|answer| answer.is(201).json()["id"].as_str().unwrap().to_owned())
    .into();
    // What the team has bound to it is the organization's, too.
    let listed: Vec<_> = ada.client.list(&of_ada).iter().map(|key| key["id"].clone()).collect();
    assert_eq!(listed, [json!(ids[0])]);
    for id in [&ids[1], &ids[2], "0000000000"] {
        for client in [&ada.client, &admin] {
            client.delete(&format!("{of_ada}/{id}")).expect_problem(404, "unknown-key");
            client.post(&format!("{of_ada}/{id}/rotate"), "").expect_problem(404, "unknown-key");
        }
        ada.client.delete(&format!("{of_eve}/{id}")).expect_problem(404, "unknown-organization");
    }
    assert!(admin.list("/v1/api-keys").iter().all(|key| key["revokedAt"].is_null()));
    let said = json!({"zz": 1});
    ada.client.post(&format!("{of_ada}/{}/rotate", ids[0]), said).expect_problem(422, "validation");
    let rotated = ada.client.post(&format!("{of_ada}/{}/rotate", ids[0]), "").is(201).json();
    assert_eq!((&rotated["name"], &rotated["createdBy"]), (&json!("of the team"), &json!(format!("user:{}", ada.id))));
    let ids: Vec<_> = ada.client.list(&format!("{of_ada}?limit=1")).iter().map(|key| key["id"].clone()).collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn what_is_wrong_with_an_organizations_key_is_said_and_a_repetition_shows_no_secret() {
    let server = Server::start();
    let ada = sign_up(&server, "ada@example.com");
    let path = keys_of(&ada.organization);
    #[rustfmt::skip]
    let cases = [
        (json!({"name": "k", "scopes": ["admin"]}),                                     "#/scopes"),
        (json!({"name": "k", "scopes": ["read", "admin"]}),                             "#/scopes"),
        (json!({"name": "k", "scopes": []}),                                            "#/scopes"),
        (json!({"name": " ", "scopes": ["read"]}),                                      "#/name"),
        (json!({"name": "x".repeat(256), "scopes": ["read"]}),                          "#/name"),
        (json!({"name": "k", "scopes": ["read"], "expiresAt": "soon"}),                 "#/expiresAt"),
        (json!({"name": "k", "scopes": ["read"], "organization": ada.organization}),    "#/organization"),
    ];
    for client in [&ada.client, &server.admin()] {
        for (body, pointer) in &cases {
            let problem = client.post(&path, body).expect_problem(422, "validation");
            assert_eq!(problem["errors"][0]["pointer"], *pointer, "{body}");
        }
    }
    assert!(ada.client.list(&path).is_empty());
    let create = |body: Value| ada.client.call("POST", &path).header("idempotency-key", "k").json(body).send();
    let made = create(new(&["read"])).is(201).json();
    let again = create(new(&["read"])).is(201);
    assert_eq!((again.header("idempotent-replayed"), &again.json()["id"]), (Some("true"), &made["id"]));
    assert!(made["key"].is_string() && again.json().get("key") == Some(&Value::Null));
    create(new(&["ingest"])).is(422);
    assert_eq!(ada.client.list(&path).len(), 1);
}
