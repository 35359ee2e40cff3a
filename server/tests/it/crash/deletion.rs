//! `kill -9` at each point of an organization's end: nothing of it comes back, its chain still verifies, and the same call
//! again gets the same answer.

use metergate::store::audit::{chain_of, verify};
use metergate::store::sqlite::Sqlite;
use metergate_rules::id::OrganizationId;
use serde_json::{Value, json};

use super::fail_points::points;
use super::http::{Call, Client, Response};
use super::process::{Faults, Server, until, was_killed};
use super::run::Run;
use crate::invariant::stored;

/// What nobody reads of it any more.
const CANARY: &str = "Ada Lovelace";
/// The tables that have rows of an organization, and where they name it.
const TABLES: [(&str, &str); 5] = [
    ("accounts", "id"),
    ("organizations", "id"),
    ("rollups", "organization"),
    ("unique_values", "organization"),
    ("receipts", "scope"),
];

/// An organization with something of everything that is kept.
fn used(client: &mut Client, key: &str) -> OrganizationId {
    let mut made = |method, path: &str, name: &str, body: Value| {
        let idempotency_key = (!name.is_empty()).then(|| format!("{key}-{name}"));
        let call = Call { idempotency_key, ..Call::json(method, path, body) };
        let response = client.call(&call).unwrap();
        assert!(response.status < 300, "{path} is answered {response:?}");
        response
    };
    let created = made("POST", "/v1/organizations", "create", json!({"key": key, "name": CANARY})).value();
    let of_it = |path: &str| format!("/v1/organizations/{key}{path}");
    made("PATCH", &of_it(""), "rename", json!({"name": format!("{CANARY} the second")}));
    made("POST", &of_it("/grants"), "grant", json!({"meter": "calls", "amount": 5, "reason": CANARY}));
    made("POST", &of_it("/adjustments"), "adjust", json!({"meter": "calls", "quantity": 3, "reason": CANARY}));
    let reserve = json!({"organization": key, "meter": "booked", "quantity": 2, "ttlSeconds": 3600});
    made("POST", "/v1/reservations", "reserve", reserve);
    for number in 0..3 {
        let consume = json!({"organization": key, "meter": "calls", "quantity": 1, "id": format!("d{number}")});
        made("POST", "/v1/consume", "", consume);
    }
    created["id"].as_str().unwrap().parse().unwrap()
}

fn delete(client: &mut Client, key: &str) -> std::io::Result<Response> {
    let call = Call::json("DELETE", &format!("/v1/organizations/{key}"), json!({"reason": "it was asked for"}));
    client.call(&Call { idempotency_key: Some(format!("{key}-end")), ..call })
}

fn is_there(client: &mut Client, name: &str) -> bool {
    let status = client.call(&Call::get(&format!("/v1/organizations/{name}"))).unwrap().status;
    assert!([200, 404].contains(&status), "{status}");
    status == 200
}

/// Waits until nothing is left to be forgotten, then looks at what is stored.
fn is_forgotten(run: &Run, id: OrganizationId) {
    let sqlite = Sqlite::open_to_read(&run.data()).unwrap();
    let count = |sql: &str, of: &[&[u8; 16]]| -> i64 {
        sqlite.connection().query_row(sql, rusqlite::params_from_iter(of), |row| row.get(0)).unwrap()
    };
    let forgotten = || (count("SELECT count(*) FROM deletions", &[]) == 0).then_some(());
    until(std::time::Duration::from_secs(20), forgotten).expect("what was left of it is forgotten");
    for (table, column) in TABLES {
        let left = count(&format!("SELECT count(*) FROM {table} WHERE {column} = ?"), &[&id.0]);
        assert_eq!(left, 0, "rows in {table}");
    }
    let mut chain = sqlite.audit_before(chain_of(id), u64::MAX, usize::MAX).unwrap();
    chain.reverse();
    assert!(chain.len() >= 4 && chain.iter().all(|row| row.redacted.is_some()), "{chain:?}");
    verify(&chain).expect("its chain still verifies");
    assert!(!format!("{chain:?}").contains(CANARY));
}

#[test]
fn an_organization_whose_end_was_cut_off_at_any_point_is_gone_for_good() {
    let run = Run::new("an_organization_whose_end_was_cut_off_at_any_point_is_gone_for_good");
    let points: Vec<_> = points().into_iter().filter(|point| point.starts_with("deletion-")).collect();
    assert_eq!(points.len(), 4, "{points:?}");
    for point in points {
        // Rows go in one step, entries are redacted in the next, and the last finds that nothing is left.
        let steps = if point.starts_with("deletion-step-") { 3 } else { 1 };
        for step in 0..steps {
            let key = format!("{point}-{step}");
            let server = run.start(&Faults::default());
            let id = used(&mut server.client(), &key);
            server.kill();
            cut_off(&run, &format!("{point}={step}*off->return"), &key);
            let server = run.start(&Faults::default());
            let was_durable = point != "deletion-written";
            assert_eq!(is_there(&mut server.client(), &key), !was_durable, "after {key}");
            let again = delete(&mut server.client(), &key).unwrap();
            assert_eq!((again.status, again.replayed), (204, was_durable), "after {key}");
            stays_gone(&run, server, &key, id);
        }
    }
    stored(&run.data()).unwrap_or_else(|violation| panic!("{violation}"));
}

/// A server that is asked to delete it and dies on the way.
fn cut_off(run: &Run, fail_points: &str, key: &str) {
    let mut server = run.start(&Faults { fail_points: fail_points.to_owned(), planted: None });
    let answer = delete(&mut server.client(), key);
    let is_step = fail_points.starts_with("deletion-step-");
    assert!(answer.as_ref().map_or(true, |answer| is_step && answer.status == 204), "{answer:?}");
    assert!(server.ended().is_some_and(was_killed), "{fail_points} was not reached");
}

/// Also for a server that comes later.
fn stays_gone(run: &Run, server: Server, key: &str, id: OrganizationId) {
    is_forgotten(run, id);
    let mut server = server;
    for _ in 0..2 {
        let mut client = server.client();
        assert!(!is_there(&mut client, key) && !is_there(&mut client, &id.to_string()), "{key} has come back");
        let consume = json!({"organization": id.to_string(), "meter": "calls", "quantity": 1, "id": "d0"});
        assert_eq!(client.call(&Call::json("POST", "/v1/consume", consume)).unwrap().status, 404);
        let again = delete(&mut client, key).unwrap();
        assert_eq!((again.status, again.replayed), (204, true), "{key}");
        let verified = client.call(&Call::get("/v1/audit-log/verify")).unwrap().value();
        assert_eq!(verified["well"], true, "after {key}: {verified}");
        server.kill();
        server = run.start(&Faults::default());
    }
    server.stop();
    is_forgotten(run, id);
}
