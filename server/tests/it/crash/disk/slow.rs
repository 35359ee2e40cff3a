//! Syncs that take long: answers come late but right, and reads do not wait for them.

use std::thread;
use std::time::Duration;

use metergate::clock::boot;

use crate::crash::history::Answer;
use crate::crash::http::Call;
use crate::crash::planted::consume;
use crate::crash::process::Faults;
use crate::crash::run::Run;

use super::recovers;
use super::strace::Strace;

const SYNCS: &str = "fsync,fdatasync";
const CALLERS: usize = 3;
/// Asked for by each caller, one after the other.
const EACH: usize = 2;

fn took(began: i64) -> Duration {
    Duration::from_micros((boot() - began).unsigned_abs())
}

#[test]
fn with_slow_syncs_answers_come_late_and_right_and_reads_go_on() {
    let run = Run::new("with_slow_syncs_answers_come_late_and_right_and_reads_go_on");
    run.start(&Faults::default()).stop();
    for delay in [300, 900, 2000].map(Duration::from_millis) {
        let server = Strace::of(&run).slow(SYNCS, delay).start(&run);
        let reads = thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|caller| {
                    let (run, mut client) = (&run, server.client());
                    scope.spawn(move || {
                        for number in 0..EACH {
                            let began = boot();
                            let asked = consume(&format!("{caller}-{number}-{}", delay.as_millis()), "calls", 2);
                            let response = run.ask(&mut client, asked).expect("an answer, if a late one");
                            assert_eq!(response.status, 200);
                            assert!(took(began) >= delay, "acknowledged before its sync began");
                        }
                    })
                })
                .collect();
            let (mut client, mut reads) = (server.client(), 0);
            while !callers.iter().all(thread::ScopedJoinHandle::is_finished) {
                for path in ["/readyz", "/v1/organizations?limit=5"] {
                    assert_eq!(client.call(&Call::get(path)).unwrap().status, 200, "{path}");
                    reads += 1;
                }
            }
            reads
        });
        println!("{reads} reads while {} commits took {delay:?} each", CALLERS * EACH);
        // A read that waited for a sync would be answered once a sync at most; a busy machine has no time for many in a short one.
        let is_long = delay >= Duration::from_millis(900);
        assert!(!is_long || reads > 4 * CALLERS * EACH, "{reads} reads: they waited");
        run.check(&run.read(&server)).unwrap_or_else(|violation| panic!("{violation}"));
        server.kill();
        recovers(&run);
    }
}

#[test]
fn with_slow_syncs_nothing_is_acknowledged_that_a_power_cut_could_take() {
    let mut run = Run::on_disk_of(32, "with_slow_syncs_nothing_is_acknowledged_that_a_power_cut_could_take");
    for most in [1, 5, 10] {
        let power = run.disk.as_ref().unwrap().power();
        let server = Strace::of(&run).slow(SYNCS, Duration::from_millis(400)).start(&run);
        let answers = run.work(server, most, |server| {
            server.freeze();
            power.cut();
            server.kill();
        });
        assert!(answers >= most, "only {answers} answers");
        run.disk.as_ref().unwrap().power_returns();
        recovers(&run);
    }
    assert!(run.history.all().iter().any(|one| one.answers[0] == Answer::Unknown), "no cut came between");
}
