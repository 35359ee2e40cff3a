//! What became of reservations, of organizations that were to be deleted and of the clock that was moved, once nothing is
//! unknown any more.

use super::history::{Act, Operation};
use super::http::{Call, Client, Response};
use super::process::Server;
use super::workload::TIMED;
use crate::invariant::{Held, equal, holds};

/// The server tells the same as the answers that callers got.
pub(super) fn agree(server: &Server, history: &[Operation]) -> Held {
    let mut client = server.client();
    for made in history.iter().filter(|one| !one.is_doomed()) {
        if let Some(id) = made.reservation() {
            reservation(&mut client, history, &id)?;
        }
    }
    clock(&mut client, history)?;
    // What is not known to have happened may happen afterwards, and make it anew.
    let is_known = |name: &str| !history.iter().any(|one| one.organization == name && one.is_unknown());
    let deleted = |one: &&Operation| one.act == Act::Delete && one.happened() && is_known(&one.organization);
    for deleted in history.iter().filter(deleted) {
        let found = get(&mut client, &format!("/v1/organizations/{}", deleted.organization));
        let detail = || format!("{deleted:?}, and yet it is there: {found:?}");
        holds("durable_ack", found.status == 404, detail)?;
    }
    Ok(())
}

fn get(client: &mut Client, path: &str) -> Response {
    client.call(&Call::get(path)).expect("a healthy server answers")
}

/// Committed, released, or neither, as one call at most was told.
fn reservation(client: &mut Client, history: &[Operation], id: &str) -> Held {
    let ends = |one: &&Operation| match &one.act {
        Act::Commit { reservation, .. } | Act::Release { reservation } => reservation == id && one.happened(),
        _ => false,
    };
    let ends: Vec<&Operation> = history.iter().filter(ends).collect();
    holds("reservation", ends.len() < 2, || format!("{id} was ended more than once: {ends:?}"))?;
    let found = get(client, &format!("/v1/reservations/{id}"));
    assert_eq!(found.status, 200, "{id}: {found:?}");
    let found = found.value();
    let (state, committed) = (found["state"].as_str().unwrap_or_default(), found["committed"].as_i64());
    let told = match ends.first().map(|end| &end.act) {
        Some(Act::Commit { quantity, .. }) => ("committed", Some(*quantity)),
        Some(_) => ("released", None),
        // Whether its time is up is for the clock to say.
        None if state == "lapsed" => ("lapsed", None),
        None => ("held", None),
    };
    equal("reservation", format!("state and quantity of {id}"), &(state, committed), &told)
}

/// It shows the furthest time to which it was moved.
fn clock(client: &mut Client, history: &[Operation]) -> Held {
    let moved = history.iter().filter(|one| one.happened()).filter_map(|one| match &one.act {
        Act::Clock { to } => Some(to.as_str()),
        _ => None,
    });
    let Some(furthest) = moved.max() else { return Ok(()) };
    let found = get(client, &format!("/v1/organizations/{TIMED}")).value();
    equal("clock", format!("the clock of {TIMED}"), &found["clock"].as_str(), &Some(furthest))
}
