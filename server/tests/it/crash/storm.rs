//! Many callers at one limit.

use std::thread;

use super::history::{Act, Operation};
use super::process::{Faults, Server};
use super::run::Run;
use super::workload::{TIGHT, answer, call};
use crate::invariant::Held;

const CALLERS: usize = 16;
const CALLS: usize = 6;

/// Commits take 10 ms, so that the callers meet in batches.
pub(super) const SLOW_COMMITS: &str = "commit-folded=sleep(10)";

/// Callers use up a limit of 25 together, one at a time each.
pub(super) fn storm(run: &Run, server: &Server) -> Held {
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let mut client = server.client();
            scope.spawn(move || {
                for number in 0..CALLS {
                    let act = Act::Consume { meter: "tight", quantity: 1 };
                    let id = Some(format!("storm-{caller}-{number}"));
                    let operation = Operation { organization: "storm".to_owned(), act, id, answers: Vec::new() };
                    let place = run.history.begin(operation.clone());
                    let response = client.call(&call(&operation)).expect("the server answers");
                    run.history.answer(place, answer(&operation, &response));
                }
            });
        }
    });
    run.check(&run.read(server))
}

#[test]
fn many_callers_at_one_limit_are_admitted_to_it_exactly() {
    let run = Run::new("many_callers_at_one_limit_are_admitted_to_it_exactly");
    let server = run.start(&Faults { fail_points: SLOW_COMMITS.to_owned(), planted: None });
    storm(&run, &server).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(run.read(&server).values().copied().collect::<Vec<_>>(), [TIGHT]);
    run.lift(&server).unwrap_or_else(|violation| panic!("{violation}"));
    server.kill();
    assert_eq!(run.on_disk().values().copied().collect::<Vec<_>>(), [TIGHT + 1]);
}
