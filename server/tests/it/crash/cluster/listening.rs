//! Whether a node is told of what others change is among its figures.

use super::super::http::{Call, Client};
use super::super::process::Server;
use super::{Cluster, within};
use crate::store::Database;

/// Seconds in which it must be seen, on a busy machine too: a node that cannot listen rests before it tries again.
const SOON: i64 = 20;

/// What the node says of it; it says so only once.
fn listening(client: &mut Client) -> Option<String> {
    let figures = client.call(&Call::get("/metrics")).ok()?.body;
    let mut lines = figures.lines().filter_map(|line| line.strip_prefix("metergate_listening "));
    let told = lines.next()?.to_owned();
    assert_eq!(lines.next(), None, "{figures}");
    Some(told)
}

#[test]
fn the_figures_say_whether_a_node_is_told_of_what_others_change() {
    let database = Database::new();
    let test = "the_figures_say_whether_a_node_is_told_of_what_others_change";
    let cluster = Cluster::new(test, 1, database.url(), None);
    let node = &cluster.nodes.all[0];
    let mut client = node.with(Server::client);
    for round in 0..2 {
        assert!(within(SOON, || listening(&mut client).as_deref() == Some("1")), "{round}: {}", node.log());
        node.postgres.refuse();
        node.postgres.cut();
        assert!(within(SOON, || listening(&mut client).as_deref() == Some("0")), "{round}: {}", node.log());
        node.postgres.heal();
    }
    assert!(within(SOON, || listening(&mut client).as_deref() == Some("1")), "{}", node.log());
}
