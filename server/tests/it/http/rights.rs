//! Every route by every role, with what the table of the rules says of it; and what a lock stops.

use metergate_rules::role::{Right, Role, Users};
use serde_json::json;

use super::client::{Client, comparable};
use super::isolation::NOBODY;
use super::matrix::RULES;
use super::people::{Person, join, sign_up};
use super::portals::opened;
use super::server::{ADMIN_KEY, Server};

/// Organization `a` with a member of each role, a member of another organization, and a platform administrator.
struct World {
    server: Server,
    members: Vec<(Role, Client)>,
    /// Portals of members, with the role that each has there.
    portals: Vec<(Role, Client)>,
    outsider: Client,
    administrator: Client,
}

fn made() -> World {
    let server = Server::start();
    let admin = server.admin();
    for key in ["a", "b"] {
        admin.post("/v1/organizations", json!({"key": key, "plan": "pro"})).is(201);
    }
    let members = Role::ALL.map(|role| {
        let person = sign_up(&server, &format!("{}@example.com", role.as_str()));
        let own = person.client.get("/v1/me").json()["organizations"][0]["key"].as_str().unwrap().to_owned();
        assert_ne!(own, "a");
        join(&admin, "a", &person, role.as_str());
        (role, person)
    });
    let portals =
        members.iter().map(|(role, person)| ((*role).min(Role::Admin), opened(&server, "a", Some(&person.id))));
    let mut portals: Vec<_> = portals.collect();
    portals.push((Role::Viewer, opened(&server, "a", None)));
    let members = members.map(|(role, person)| (role, person.client));
    let outsider = sign_up(&server, "outsider@example.com").client;
    let new = json!({"email": "platform@example.com", "password": "correct horse"});
    admin.post("/v1/administrators", new).is(201);
    let administrator = Person::signed_in(&server, "platform@example.com", "correct horse").client;
    World { server, members: members.into(), portals, outsider, administrator }
}

#[test]
fn every_role_may_on_every_route_what_the_table_says() {
    let world = made();
    let (mut allowed, mut refused) = (0, 0);
    for rule in RULES {
        let Some(right) = rule.of_table() else { continue };
        for (role, client) in &world.members {
            let answer = rule.call(client, "a");
            if right.is_of_member(*role) {
                let is_in = ![401, 403].contains(&answer.status) && !answer.text.contains("unknown-organization");
                assert!(is_in, "{role:?} {}: {}", rule.route, answer.text);
                allowed += 1;
            } else {
                rule.expect_refusal(answer, 403, "forbidden");
                refused += 1;
            }
        }
        for (role, portal) in &world.portals {
            let answer = rule.call(portal, "a");
            if right != Right::Person && right.is_of_member(*role) {
                let is_in = ![401, 403].contains(&answer.status) && !answer.text.contains("unknown-organization");
                assert!(is_in, "portal of {role:?} {}: {}", rule.route, answer.text);
                if rule.names_an_organization() {
                    let (other, nothing) = (rule.call(portal, "b"), rule.call(portal, NOBODY));
                    assert_eq!(other.status, 404, "{}: {}", rule.route, other.text);
                    assert_eq!(comparable(&other), comparable(&nothing), "{}", rule.route);
                }
            } else {
                rule.expect_refusal(answer, 403, "forbidden");
            }
        }
        let (outside, nothing) = (rule.call(&world.outsider, "a"), rule.call(&world.outsider, NOBODY));
        match right.users() {
            Users::None => rule.expect_refusal(outside, 403, "forbidden"),
            Users::All => {
                assert!(![401, 403].contains(&outside.status) || rule.route.ends_with("/logout"), "{}", rule.route)
            }
            Users::From(_) => {
                assert!(rule.names_an_organization(), "{}: of which organization?", rule.route);
                assert_eq!(outside.status, 404, "{}: {}", rule.route, outside.text);
                assert_eq!(comparable(&outside), comparable(&nothing), "{}", rule.route);
            }
        }
        let answer = rule.call(&world.administrator, NOBODY);
        assert!(![401, 403].contains(&answer.status), "administrator {}: {}", rule.route, answer.text);
        rule.expect_refusal(rule.call(&world.server.stranger(), "a"), 401, "unauthorized");
    }
    assert!(allowed > 60 && refused > 120, "{allowed} allowed, {refused} refused");
}

#[test]
fn while_an_organization_is_locked_its_members_only_read() {
    let world = made();
    world.server.client(ADMIN_KEY).put("/v1/organizations/a/lock", r#"{"reason": "r"}"#).is(200);
    let (_, owner) = &world.members[3];
    let mut stopped = 0;
    let of_members = |right: Right| matches!(right.users(), Users::From(_));
    for (rule, right) in
        RULES.iter().filter_map(|rule| Some((rule, rule.of_table().filter(|right| of_members(*right))?)))
    {
        let answer = rule.call(owner, "a");
        if right.changes() {
            rule.expect_refusal(answer, 403, "organization-locked");
            stopped += 1;
        } else {
            assert!([200, 404].contains(&answer.status), "{}: {}", rule.route, answer.text);
        }
    }
    assert!(stopped >= 8, "{stopped}");
    let of_viewer = RULES.iter().find(|rule| rule.route == "POST /v1/organizations/{org}/members").unwrap();
    of_viewer.expect_refusal(of_viewer.call(&world.members[0].1, "a"), 403, "forbidden");
    of_viewer.call(&world.administrator, "a").is(202);
}
