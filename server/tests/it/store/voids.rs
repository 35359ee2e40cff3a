//! Voids: wherever the event stands, in memory, closing or in a file, and once (M6).

use std::collections::BTreeSet;

use metergate::store::reader::View;
use metergate::store::{Scope, StoreError};
use metergate_rules::command::{Command, EventName, Voiding};
use metergate_rules::decide::Problem;
use metergate_rules::id::{DecisionId, EventId, EventSource};
use metergate_rules::time::{HOUR, Time};
use metergate_rules::window::Window;

use super::asks::{Make, ask, create, make, meter, organization, tell};
use super::kit::{Kit, LONG, closed, record};

fn event(id: &str) -> Make {
    let name = EventName::Event(EventSource::new("/test").unwrap(), EventId::new(id).unwrap());
    make(Command::Void(Voiding::Asked("/test".to_owned(), id.to_owned(), name)))
}

fn decision(id: &str) -> Make {
    let name = EventName::Decision(meter("credits"), DecisionId::new(id).unwrap());
    make(Command::Void(Voiding::Asked("metergate:consume/credits".to_owned(), id.to_owned(), name)))
}

fn is_void(kit: &Kit, void: &Make) -> bool {
    matches!(kit.send(void), Err(StoreError::Problem(Problem::AlreadyVoid)))
}

#[test]
fn an_event_is_void_once_wherever_it_stands() {
    let mut kit = Kit::with_slices(20, LONG);
    let hits = |kit: &Kit| kit.used("acme", "hits", Window::Lifetime);
    kit.decide(&ask("credits", 5).id("d-1")).unwrap();
    let unnamed = kit.decide(&ask("credits", 3)).unwrap().place.unwrap();
    record(&kit, 0..5);
    kit.made(&event("e3"));
    assert!(is_void(&kit, &event("e3")));
    assert_eq!(hits(&kit), 4);
    record(&kit, 5..30);
    closed(&kit, 1);
    for id in ["e4", "e6"] {
        kit.made(&event(id));
        assert!(is_void(&kit, &event(id)), "{id}");
    }
    kit.made(&decision("d-1"));
    kit.made(&decision(&format!("{}-{}", unnamed.sequence, unnamed.offset)));
    assert_eq!((hits(&kit), kit.used("acme", "credits", Window::Lifetime)), (27, 0));
    kit.check().unwrap();
    kit.reopen();
    assert_eq!((hits(&kit), kit.used("acme", "credits", Window::Lifetime)), (27, 0));
    for void in [event("e3"), event("e4"), event("e6"), decision("d-1")] {
        assert!(is_void(&kit, &void));
    }
    assert!(!kit.records(&tell("hits", 1, "e3")), "its id stays known");
    assert!(kit.decide(&ask("credits", 5).id("d-1")).unwrap().replayed);
    assert!(matches!(kit.send(&event("e99")), Err(StoreError::Problem(Problem::UnknownEvent))));
    kit.check().unwrap();
}

/// Two at once are one: the second sees the first, whether or not this is durable.
#[test]
fn voids_in_one_batch_see_each_other() {
    let kit = Kit::new();
    record(&kit, 0..3);
    let answers = kit.in_one_batch((0..4).map(|_| (&event("e1")).into()).collect());
    let void = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!((void, kit.used("acme", "hits", Window::Lifetime)), (1, 2), "{answers:?}");
    for (id, value) in [("u-1", 1), ("u-2", 1), ("u-3", 2)] {
        kit.records(&tell("users", value, id));
    }
    let answers = kit.in_one_batch(["u-1", "u-2"].map(|id| (&event(id)).into()).into());
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(kit.used("acme", "users", Window::Lifetime), 1);
    kit.check().unwrap();
}

/// What is older than ids are kept is looked for from there on, not from the newest record on.
#[test]
fn the_last_block_before_a_time_is_found_wherever_it_stands() {
    let mut kit = Kit::with_slices(20, LONG);
    kit.made(&create("beside"));
    for round in 0..9 {
        assert!(kit.records(&tell("hits", 1, &format!("o-{round}")).of("beside")));
        // The last are in the open slice, and in several blocks.
        if round < 5 {
            record(&kit, round * 25..(round + 1) * 25);
            closed(&kit, round as u64 + 1);
        } else {
            record(&kit, 125 + round * 2..127 + round * 2);
        }
        kit.reopen_at(kit.now().plus(HOUR));
    }
    for key in ["acme", "beside"] {
        let read = move |view: &View<'_>, _: &_| {
            let (id, mut records) = (view.account(Scope::Team, &organization(key))?.id, Vec::new());
            view.records(id, u64::MAX, |sequence, _, record| {
                records.push((sequence, record.entry.at));
                true
            })?;
            let times: BTreeSet<Time> = records.iter().flat_map(|(_, at)| [*at, at.plus(1), at.plus(-1)]).collect();
            for time in &times {
                let last = view.last_before(id, *time)?;
                assert!(records.iter().all(|(sequence, at)| (*sequence <= last) == (at < time)), "{time}: {last}");
            }
            Ok(times.len())
        };
        let tried = kit.read(read).unwrap();
        assert!(tried > 3 * 9, "{tried} times of {key}");
    }
}
