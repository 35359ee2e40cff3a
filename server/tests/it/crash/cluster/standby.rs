//! An address that leads to a standby, as after a failover of which the name server has not heard: nothing is decided there, and no
//! node stays.

use serde_json::json;

use super::super::http::Call;
use super::super::process::Server;
use super::locked::is_put_off;
use super::{Cluster, within};
use crate::servers::OwnPostgres;
use crate::store::Stranger;

/// Seconds in which a node serves again.
const AGAIN: i64 = 20;

fn consume(id: &str) -> Call {
    let body = json!({"organization": "probe", "meter": "calls", "quantity": 1, "id": id});
    Call::json("POST", "/v1/consume", body)
}

/// Connections of nodes to a server.
fn connections(postgres: &OwnPostgres) -> i64 {
    let nodes = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'metergate'";
    Stranger::come(&postgres.url()).sees(nodes)
}

#[test]
fn no_node_stays_with_a_standby_and_each_goes_on_once_its_address_leads_to_another_server() {
    let mut postgres = OwnPostgres::start(&[]);
    let test = "no_node_stays_with_a_standby_and_each_goes_on_once_its_address_leads_to_another_server";
    let cluster = Cluster::new(test, 1, &postgres.url(), None);
    let node = &cluster.nodes.all[0];
    let mut client = node.with(Server::client);
    assert_eq!(client.call(&consume("before")).unwrap().status, 200);

    postgres.becomes_a_standby();
    for id in ["before", "meanwhile", "meanwhile"] {
        is_put_off(&mut client, &consume(id));
    }
    // One that looks whether it is one still may be there for a moment.
    assert!(within(AGAIN, || connections(&postgres) == 0), "a node stays");

    Stranger::come(&postgres.url()).does("SELECT pg_promote()");
    let serves = within(AGAIN, || client.call(&consume("after")).is_ok_and(|told| told.status == 200));
    assert!(serves, "it does not go on: {}", node.log());
    let told = client.call(&consume("before")).unwrap();
    assert_eq!((told.status, told.replayed), (200, true), "{told:?}");

    postgres.becomes_a_standby();
    node.kill();
    let Err(status) = node.try_to_start(0) else { panic!("it began on a standby") };
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    assert!(node.log().contains("is a standby, which only reads"), "{}", node.log());
}

#[test]
fn while_a_server_only_reads_by_its_settings_nothing_is_decided_and_nobody_has_to_start_again() {
    let postgres = OwnPostgres::start(&[]);
    let test = "while_a_server_only_reads_by_its_settings_nothing_is_decided_and_nobody_has_to_start_again";
    let cluster = Cluster::new(test, 1, &postgres.url(), None);
    let mut client = cluster.nodes.all[0].with(Server::client);
    assert_eq!(client.call(&consume("before")).unwrap().status, 200);
    let operator = Stranger::come(&postgres.url());
    operator.does("SET default_transaction_read_only = off");
    let only_reads = |value: &str| {
        operator.does(&format!("ALTER SYSTEM SET default_transaction_read_only = {value}"));
        operator.does("SELECT pg_reload_conf()");
    };
    only_reads("on");
    // What was decided before it heard of it is told again all the same.
    let mut ids = (0..).map(|tried| format!("just-before-{tried}"));
    let asks_in_vain = || client.call(&consume(&ids.next().unwrap())).is_ok_and(|told| told.status == 503);
    assert!(within(AGAIN, asks_in_vain));
    is_put_off(&mut client, &consume("meanwhile"));
    only_reads("off");
    let serves = within(AGAIN, || client.call(&consume("meanwhile")).is_ok_and(|told| told.status == 200));
    assert!(serves, "it does not go on: {}", cluster.nodes.all[0].log());
}
