//! A schema says which programs may use it: the release before the newest goes on beside it, an older one does not
//! begin, and ends where it runs.

use metergate::store::postgres::SCHEMA;
use serde_json::json;

use super::super::http::Call;
use super::super::process::Server;
use super::locked::is_put_off;
use super::{Cluster, within};
use crate::store::Database;

#[test]
fn a_node_that_is_older_than_the_schema_admits_does_not_begin_and_the_release_before_goes_on() {
    let database = Database::new();
    let test = "a_node_that_is_older_than_the_schema_admits_does_not_begin_and_the_release_before_goes_on";
    // One alone: another would see that it is too old, too, and end at a time of its own.
    let cluster = Cluster::new(test, 1, database.url(), None);
    // A newer program has brought the schema up to date, and admits the one before it.
    let newer = SCHEMA + 1;
    database.run(&format!("UPDATE metergate.schema_version SET version = {newer}, oldest = 1"));
    cluster.serve().unwrap_or_else(|violation| panic!("{violation}"));
    let node = &cluster.nodes.all[0];
    node.kill();
    node.start(0);
    cluster.serve().unwrap_or_else(|violation| panic!("{violation}"));
    // A release later it does not.
    database.run(&format!("UPDATE metergate.schema_version SET oldest = {newer}"));
    node.kill();
    let Err(status) = node.try_to_start(0) else { panic!("it began") };
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    let log = node.log();
    let why = format!("programs that know version {newer} or later may use");
    assert!(log.contains(&why) && log.contains("newer metergate"), "{log}");
    database.run("UPDATE metergate.schema_version SET oldest = 1");
    node.start(0);
    cluster.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn a_node_that_a_migration_has_made_too_old_says_so_and_ends_and_the_release_before_goes_on() {
    let database = Database::new();
    let test = "a_node_that_a_migration_has_made_too_old_says_so_and_ends_and_the_release_before_goes_on";
    let cluster = Cluster::new(test, 1, database.url(), None);
    let node = &cluster.nodes.all[0];
    let mut client = node.with(Server::client);
    let consume = |id: &str| {
        Call::json("POST", "/v1/consume", json!({"organization": "probe", "meter": "calls", "quantity": 1, "id": id}))
    };
    let version = SCHEMA;
    database.run(&format!("UPDATE metergate.schema_version SET version = {}, oldest = {version}", version + 1));
    // Longer than the node rests between two looks.
    std::thread::sleep(std::time::Duration::from_millis(1200));
    assert_eq!(client.call(&consume("beside")).unwrap().status, 200);
    assert_eq!(client.call(&Call::get("/readyz")).unwrap().status, 200);

    database.run(&format!("UPDATE metergate.schema_version SET oldest = {}", version + 1));
    let is_told = within(5, || client.call(&Call::get("/readyz")).is_ok_and(|told| told.status == 503));
    assert!(is_told, "it goes on: {}", node.log());
    let told = client.call(&Call::get("/readyz")).unwrap();
    assert_eq!((told.status, &told.value()["code"]), (503, &json!("outdated")), "{told:?}");
    assert!(told.value()["detail"].as_str().is_some_and(|why| why.contains("newer metergate")), "{told:?}");
    is_put_off(&mut client, &consume("after"));
    is_put_off(&mut client, &Call::get("/v1/organizations/probe"));
    let status = node.ends();
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    let log = node.log();
    assert!(log.contains(&format!("programs that know version {} or later", version + 1)), "{log}");

    database.run(&format!("UPDATE metergate.schema_version SET oldest = {version}"));
    node.start(0);
    let mut client = node.with(Server::client);
    let counted = [("beside", true), ("after", false)].map(|(id, before)| {
        let answer = client.call(&consume(id)).unwrap();
        (answer.status, answer.replayed) == (200, before)
    });
    assert_eq!(counted, [true, true], "what was acknowledged is there, and nothing else");
}
