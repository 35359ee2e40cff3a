//! The power fails. What was acknowledged had reached the disk; what had not is gone.

use crate::crash::history::Operation;
use crate::crash::planted::{ask, consume, is_red};
use crate::crash::process::{Faults, Server};
use crate::crash::run::Run;
use crate::invariant::{audit, conservation};

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
        let held = conservation(&run.data()).and_then(|()| audit(&run.data())).and_then(|()| {
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
        let faults = Faults { fail_points: "answered-early=sleep(2000)".to_owned(), planted: Some(bug) };
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
        // The first sync of the writer is that of the header.
        let mut server = Strace::of(&run).failing("fsync,fdatasync", "EIO", 2).start(&run);
        let _ = run.ask(&mut server.client(), consume("a", "calls", 5));
        assert!(server.ended().is_some(), "after a failed sync the process ends");
        let server = run.start(&Faults { planted: bug, ..Faults::default() });
        run.repeat(&server, Operation::is_unknown);
        assert!(run.history.get(0).happened_unanswered(), "the next process found the commit");
        cut(&run, server);
        let server = run.start(&Faults::default());
        let held = run.check(&run.read(&server));
        match bug {
            None => held.unwrap_or_else(|violation| panic!("{violation}")),
            Some(_) => is_red(held, "durable_ack", "calls of acme: acknowledged 5, counted 0, attempted 5"),
        }
    }
}
