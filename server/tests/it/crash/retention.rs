//! `kill -9` while older entries of the audit log are exported and dropped.

use serde_json::{Value, json};

use crate::http::client::Client;
use crate::http::server::Server;

const LOG: &str = "/v1/organizations/acme/audit-log";
const PRUNE: &str = "/v1/audit-log/prune";

/// An organization with three entries; a time behind them, and one entry behind that.
fn changed() -> (Server, Client, String) {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    let set_extra =
        |quantity: u64| drop(admin.put("/v1/organizations/acme/extra/tokens", json!({"quantity": quantity})).is(200));
    (1..=2).for_each(set_extra);
    let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
    pause();
    let until = metergate::clock::wall().to_string();
    pause();
    set_extra(9);
    (server, admin, until)
}

#[test]
fn a_server_killed_while_it_drops_entries_loses_none_and_goes_on() {
    let points = ["audit-exported", "audit-prune-noted", "audit-cut", "audit-drop-written", "audit-drop-durable"];
    for point in points {
        let (mut server, admin, until) = changed();
        let all = hashes(&admin, &[]);
        server.kill();
        server.set("FAILPOINTS", &format!("{point}=return"));
        server.start_again();
        let body = json!({"until": until}).to_string();
        // It dies during the call, or right behind it.
        let _ = server.admin().call("POST", PRUNE).json(&body).try_send();
        server.died();
        server.set("FAILPOINTS", "");
        server.start_again();
        let admin = server.admin();
        admin.post(PRUNE, &body).is(200);
        assert_eq!(admin.get("/v1/audit-log/verify").is(200).json()["well"], true, "{point}");
        assert_eq!(admin.get(LOG).is(200).json()["begins"]["seq"], 4, "{point}");
        let files = std::fs::read_dir(server.folder().join("data/audit")).unwrap().map(|file| file.unwrap().path());
        let files: Vec<_> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let kept = hashes(&admin, &files);
        assert!(all.iter().all(|hash| kept.contains(hash)), "{point}");
    }
}

/// The hashes of all entries of the organization and of the team, in the log and in these files.
fn hashes(admin: &Client, files: &[String]) -> Vec<String> {
    let listed = [LOG, "/v1/audit-log"].into_iter().flat_map(|log| admin.list(log));
    let mut hashes: Vec<_> = listed.map(|entry| entry["hash"].as_str().unwrap().to_owned()).collect();
    for line in files.iter().flat_map(|file| file.lines()) {
        let line: Value = serde_json::from_str(line).unwrap();
        hashes.extend(line["entry"]["hash"].as_str().map(str::to_owned));
    }
    hashes
}
