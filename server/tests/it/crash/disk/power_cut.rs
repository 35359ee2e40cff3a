//! The power fails. What was acknowledged had reached the disk; what had not is gone.

use serde_json::json;

use crate::crash::http::{Call, Response};
use crate::crash::planted::{ask, consume, is_red};
use crate::crash::process::{Faults, Server};
use crate::crash::run::Run;
use crate::invariant::{holds, stored};

use super::strace::Strace;

const CUTS: usize = 8;

/// The power fails under a server that runs, and returns.
fn cut(run: &Run, server: Server) {
    let disk = run.disk.as_ref().unwrap();
    server.freeze();
    disk.power().cut();
    server.kill();
    disk.power_returns();
}

#[test]
fn what_was_acknowledged_is_there_after_the_power_failed() {
    let mut run = Run::on_disk_of(64, "what_was_acknowledged_is_there_after_the_power_failed");
    for cut in 0..CUTS {
        let power = run.disk.as_ref().unwrap().power();
        let server = run.start(&Faults::default());
        let most = if cut == 0 { 1 } else { usize::try_from(1 + run.random.below(400)).unwrap() };
        run.work(server, most, |server| {
            server.freeze();
            power.cut();
            server.kill();
        });
        run.disk.as_ref().unwrap().power_returns();
        let held = stored(&run.data()).and_then(|()| {
            let server = run.start(&Faults::default());
            let held = run.check(&run.read(&server));
            server.kill();
            held
        });
        held.unwrap_or_else(|violation| panic!("after cut {cut}: {violation}"));
    }
    let reached = run.finish().unwrap_or_else(|violation| panic!("{violation}"));
    println!("{reached:?}");
    assert!(reached.unknown > 0 && reached.acknowledged > 100 && reached.changes > 0, "{reached:?}");
}

#[test]
fn durable_ack_sees_commits_that_are_not_synced() {
    for bug in ["synchronous-off", "synchronous-normal", "answer-before-fsync"] {
        let run = Run::on_disk_of(32, "durable_ack_sees_commits_that_are_not_synced");
        // With the last of them the commit waits, the answer does not.
        let faults = Faults { fail_points: "answered-early=sleep(20000)".to_owned(), planted: Some(bug) };
        let server = run.start(&faults);
        ask(&run, &server, [consume("a", "calls", 5)]);
        cut(&run, server);
        let server = run.start(&Faults::default());
        let detail = "calls of acme: acknowledged 5, counted 0, attempted 5";
        is_red(run.check(&run.read(&server)), "durable_ack", detail);
    }
}

/// A commit whose sync failed can be read back by the next process, from memory. Answering from it is an acknowledgement.
#[test]
fn what_a_start_finds_is_on_the_disk_before_it_is_told() {
    for bug in [None, Some("write-ahead-file-trusted")] {
        let run = Run::on_disk_of(32, "what_a_start_finds_is_on_the_disk_before_it_is_told");
        run.start(&Faults::default()).stop();
        // A change of the team's has no rows that would follow in a commit of their own. Its first sync is the header's.
        let mut server = Strace::of(&run).failing("fsync,fdatasync", "EIO", 2).start(&run);
        assert!(put_meter(&server).is_none(), "its sync failed");
        assert!(server.ended().is_some(), "after a failed sync the process ends");
        let server = run.start(&Faults { planted: bug, ..Faults::default() });
        let told = put_meter(&server).expect("a healthy server answers");
        assert!(told.status == 201 && told.replayed, "the next process found it: {told:?}");
        cut(&run, server);
        let server = run.start(&Faults::default());
        let meters = server.client().call(&Call::get("/v1/meters")).unwrap();
        let held = holds("durable_ack", meters.body.contains("acknowledged"), || meters.body.clone());
        match bug {
            None => held.unwrap_or_else(|violation| panic!("{violation}")),
            Some(_) => is_red(held, "durable_ack", "data"),
        }
    }
}

/// The answer, unless there is none or it says that it could not be written.
fn put_meter(server: &Server) -> Option<Response> {
    let call = Call::json("PUT", "/v1/meters/acknowledged", json!({"aggregation": "sum"}));
    let call = Call { idempotency_key: Some("meter".to_owned()), ..call };
    server.client().call(&call).ok().filter(|response| response.status != 503)
}
