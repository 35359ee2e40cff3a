//! What passed of an organization of which the record is damaged holds up nobody else's, and is kept until it can be recorded.

use serde_json::json;

use super::{Node, passed};

/// A row that is not the one that was written: its version belongs to its bytes.
fn change_version(node: &Node, by: &str) {
    node.database.run(&format!(
        "UPDATE metergate.accounts SET version = version {by} WHERE organization =
             (SELECT organization FROM metergate.organizations WHERE key = 'acme')"
    ));
}

fn held(node: &Node) -> Option<u64> {
    let metrics = node.server.stranger().get("/metrics").text;
    let count = metrics.lines().find_map(|line| line.strip_prefix("metergate_spool_held_entries "))?;
    count.trim().parse().ok()
}

#[test]
fn what_passed_of_a_damaged_organization_is_kept_and_holds_up_nobody_else() {
    let mut node = Node::start(&[]);
    node.admin.post("/v1/organizations", json!({"key": "globex", "name": "Globex", "plan": "small"})).is(201);
    let globex = |node: &Node| {
        let asked = json!({"organization": "globex", "meter": "polls", "quantity": 1});
        node.admin.post("/v1/consume", asked)
    };
    globex(&node).is(200);
    node.cut_off();
    for i in 0..3 {
        passed(node.ask("polls", 1, Some(&format!("a-{i}"))));
        passed(globex(&node));
    }
    let all = node.spooled();
    change_version(&node, "+ 1");
    node.proxy.heal();
    let is_cut = || (1..all).contains(&node.spooled());
    node.until("those of the other are recorded", || held(&node) == Some(3) && is_cut());
    assert_eq!(globex(&node).is(200).json()["limits"][0]["used"], 5, "one before, three that passed, and this one");
    assert_eq!(passed(node.ask("polls", 1, Some("a-1")))["allowed"], true, "it has the answer that it was given");
    // It is there for the next start, too.
    node.server.kill();
    change_version(&node, "- 1");
    node.server.start_again();
    node.until("nothing waits", || node.spooled() == 0);
    assert_eq!(node.used("polls"), Some((3, 0)));
}
