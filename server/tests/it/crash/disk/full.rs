//! The disk is full: nothing acknowledged is lost, callers hear what is wrong, reads go on, and the same process goes on
//! by itself once there is room.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metergate::store::sqlite::FILE;
use serde_json::json;

use crate::crash::http::{Call, Client, Response};
use crate::crash::process::{Faults, Server, until};
use crate::crash::run::Run;
use crate::invariant::stored;

use super::strace::Strace;

const ROUNDS: usize = 3;
/// Large events in one body.
const TOGETHER: usize = 15;
/// A server that needs longer until a full disk stops it, or until it goes on, hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What takes all the room that is left, until it is removed.
struct Ballast(PathBuf);

impl Ballast {
    fn of(run: &Run) -> Self {
        Self(run.data().join("ballast"))
    }

    fn fill(&self) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
        for piece in [1 << 20, 4096, 512] {
            let bytes = vec![7; piece];
            while file.write_all(&bytes).is_ok() {}
        }
        let _ = file.sync_all();
    }

    fn remove(&self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// A caller of its own who asks for one more each time, and knows what it was told.
struct Prober {
    client: Client,
    ids: Vec<String>,
}

impl Prober {
    fn of(server: &Server) -> Self {
        Self { client: server.client(), ids: Vec::new() }
    }

    fn ask_new(&mut self, round: usize) -> Response {
        self.ids.push(format!("probe-{round}-{}", self.ids.len()));
        let id = self.ids.last().unwrap().clone();
        self.ask(&id)
    }

    fn ask(&mut self, id: &str) -> Response {
        let body = json!({"organization": "prober", "meter": "calls", "quantity": 1, "id": id});
        self.client.call(&Call::json("POST", "/v1/consume", body)).expect("the same process goes on")
    }

    fn get(&mut self, path: &str) -> Response {
        self.client.call(&Call::get(path)).expect("reads go on")
    }
}

/// Fills the disk under a server at work, and makes room again.
fn fill_and_free(server: &Server, ballast: &Ballast, round: usize) {
    let mut prober = Prober::of(server);
    assert_eq!(prober.ask_new(round).status, 200);
    ballast.fill();
    let full = until(PATIENCE, || Some(prober.ask_new(round)).filter(|response| response.status == 503));
    let problem = full.expect("a disk that is full is felt").value();
    assert_eq!(problem["code"], "disk-full", "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("disk is full") && detail.contains("repeat the request"), "{detail}");
    for path in ["/readyz", "/v1/organizations", "/v1/organizations/prober/usage", "/v1/meters"] {
        assert_eq!(prober.get(path).status, 200, "{path} on a full disk");
    }
    ballast.remove();
    let again = until(PATIENCE, || Some(prober.ask_new(round)).filter(|response| response.status == 200));
    again.expect("with room again the same process goes on");
    for id in prober.ids.clone() {
        assert_eq!(prober.ask(&id).status, 200);
    }
    let body = json!({"organization": "prober", "meter": "calls", "quantity": 0});
    let checked = prober.client.call(&Call::json("POST", "/v1/check", body)).unwrap().value();
    let told = checked["limits"][0]["used"].as_u64().unwrap();
    assert!(usize::try_from(told).unwrap() >= prober.ids.len(), "{told} of {} counted", prober.ids.len());
}

#[test]
fn on_a_full_disk_nothing_is_lost_and_the_same_process_goes_on_once_there_is_room() {
    let mut run = Run::on_disk_of(24, "on_a_full_disk_nothing_is_lost_and_the_same_process_goes_on_once_there_is_room");
    for round in 0..ROUNDS {
        let server = run.start(&Faults::default());
        let ballast = Ballast::of(&run);
        let most = usize::try_from(10 + run.random.below(100)).unwrap();
        run.work(server, most, |server| {
            fill_and_free(&server, &ballast, round);
            if round % 2 == 0 { server.kill() } else { server.stop() }
        });
        let log = run.log();
        assert!(log.contains("the disk of the data folder is full") && log.contains("has room again"), "{log}");
        stored(&run.data()).unwrap_or_else(|violation| panic!("{violation}"));
    }
    let reached = run.finish().unwrap_or_else(|violation| panic!("{violation}"));
    println!("{reached:?}");
    assert!(reached.unknown > 0 && reached.acknowledged > 100, "{reached:?}");
}

#[test]
fn a_server_that_ends_on_a_full_disk_says_so_at_its_start_and_has_lost_nothing() {
    let mut run = Run::on_disk_of(24, "a_server_that_ends_on_a_full_disk_says_so_at_its_start_and_has_lost_nothing");
    let ballast = Ballast::of(&run);
    for end in [Server::kill, Server::stop] {
        let server = run.start(&Faults::default());
        run.work(server, 50, |server| {
            ballast.fill();
            let mut prober = Prober::of(&server);
            let full = until(PATIENCE, || Some(prober.ask_new(0)).filter(|response| response.status == 503));
            full.expect("a disk that is full is felt");
            end(server);
        });
        // What the index of the write-ahead file took is made afresh by a start.
        let _ = fs::remove_file(index(&run.data()));
        ballast.fill();
        let said = run.log().len();
        let status = Server::start(run.folder(), &Faults::default()).err().expect("without room nothing starts");
        let said = run.log().split_off(said);
        assert_eq!(status.code(), Some(1), "{status}: {said}");
        assert!(said.contains("disk of the data folder is full: free space on it"), "{said}");
        ballast.remove();
        let server = run.start(&Faults::default());
        run.check(&run.read(&server)).unwrap_or_else(|violation| panic!("{violation}"));
        server.stop();
    }
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

/// The index of the write-ahead file grows with it, in memory that the disk must back. SQLite tells of a disk that cannot
/// as of one that failed, although the commit can be taken back.
#[test]
fn a_disk_that_is_full_when_the_index_of_the_write_ahead_file_grows_is_a_full_disk() {
    let run = Run::new("a_disk_that_is_full_when_the_index_of_the_write_ahead_file_grows_is_a_full_disk");
    run.start(&Faults::default()).stop();
    // Nothing is copied out of the file meanwhile, so that it comes to the 4,062 frames for which the index has room at first.
    let never = "checkpoint-at=return(1000000000)";
    let strace = Strace::of_index(&run).failing("write,pwrite64", "ENOSPC", 1).with_fail_points(never);
    let (server, attached) = strace.start_beside(&run, "writer");
    let mut client = server.client();
    let padding = "x".repeat(60_000);
    let mut events = |number: usize| {
        let event = |i: usize| {
            json!({"specversion": "1.0", "id": format!("{number}-{i}"), "source": "/full", "type": "calls",
            "subject": "prober", "data": {"quantity": 1, "padding": padding}})
        };
        let body = json!((0..TOGETHER).map(event).collect::<Vec<_>>());
        let call =
            Call { content_type: "application/cloudevents-batch+json", ..Call::json("POST", "/v1/events", body) };
        client.call(&call).expect("the same process goes on")
    };
    let mut acknowledged = 0;
    while !run.log().contains("the disk of the data folder is full") {
        let first = events(acknowledged).status;
        assert!(first == 200 || events(acknowledged).status == 200, "there is room the second time");
        acknowledged += 1;
        assert!(acknowledged < 40, "the index did not grow");
    }
    until(PATIENCE, || run.log().contains("has room again").then_some(())).expect("rows are written without traffic");
    server.kill();
    drop(attached);
    assert!(strace.calls().iter().any(|call| call.failed));
    let server = run.start(&Faults::default());
    let body = json!({"organization": "prober", "meter": "calls", "quantity": 0});
    let checked = server.client().call(&Call::json("POST", "/v1/check", body)).unwrap().value();
    assert_eq!(checked["limits"][0]["used"], acknowledged * TOGETHER);
    server.stop();
    stored(&run.data()).unwrap_or_else(|violation| panic!("{violation}"));
}

fn index(data: &Path) -> PathBuf {
    data.join(format!("{FILE}-shm"))
}
