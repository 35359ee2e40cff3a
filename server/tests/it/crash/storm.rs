//! Many callers at one limit.

use std::thread;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::history::{Act, Operation};
use super::http::{Call, Response};
use super::process::{Faults, Server};
use super::run::Run;
use super::workload::{TIGHT, answer, call};
use crate::invariant::Held;

const CALLERS: usize = 8;
/// Decisions in one call: they are decided in one batch, and no number of calls makes the limit exactly.
const TOGETHER: usize = 10;

#[derive(Deserialize)]
struct Several<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

/// Callers use up a limit of 25 together, ten at a time.
pub(super) fn storm(run: &Run, server: &Server) -> Held {
    // The first use, which makes the organization, is over before they begin.
    let first = one_of("storm-first");
    let number = run.history.begin(first.clone());
    let response = server.client().call(&call(&first)).expect("the server answers");
    run.history.answer(number, answer(&first, &response));
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let mut client = server.client();
            scope.spawn(move || {
                let operations: Vec<_> =
                    (0..TOGETHER).map(|number| one_of(&format!("storm-{caller}-{number}"))).collect();
                let numbers: Vec<_> = operations.iter().map(|operation| run.history.begin(operation.clone())).collect();
                let bodies: Vec<_> = operations.iter().map(|operation| call(operation).body).collect();
                let body = format!("[{}]", bodies.join(","));
                let response = client.call(&Call::json("POST", "/v1/consume", body)).expect("the server answers");
                let several: Several<'_> = serde_json::from_str(&response.body).expect("an answer for each");
                assert_eq!(several.data.len(), TOGETHER);
                for ((operation, number), body) in operations.iter().zip(numbers).zip(several.data) {
                    let response = Response { body: body.get().to_owned(), ..response.clone() };
                    run.history.answer(number, answer(operation, &response));
                }
            });
        }
    });
    run.check(&run.read(server))
}

fn one_of(id: &str) -> Operation {
    let act = Act::Consume { meter: "tight", quantity: 1 };
    Operation { organization: "storm".to_owned(), act, id: Some(id.to_owned()), answers: Vec::new() }
}

#[test]
fn many_callers_at_one_limit_are_admitted_to_it_exactly() {
    let run = Run::new("many_callers_at_one_limit_are_admitted_to_it_exactly");
    let server = run.start(&Faults::default());
    storm(&run, &server).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(run.read(&server).values().copied().collect::<Vec<_>>(), [TIGHT]);
    run.lift(&server).unwrap_or_else(|violation| panic!("{violation}"));
    server.stop();
    assert_eq!(run.on_disk().values().copied().collect::<Vec<_>>(), [TIGHT + 1]);
}
