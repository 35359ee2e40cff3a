//! What is said of reservations stands in the journal alone: accounts are small however much is said (D5).

use metergate::store::StoreError;
use metergate_rules::command::{Command, Commit, Completion, Item, Reserve};
use metergate_rules::decide::Problem;
use metergate_rules::id::ReservationId;
use metergate_rules::outcome::{Hold, What};
use metergate_rules::reservation::{SHORTEST, State};
use metergate_rules::time::DAY;
use metergate_rules::window::Window;

use super::asks::{Make, item, make};
use super::kit::{Kit, LONG, closed, record};

/// What the caller says: as much as it may.
fn properties(number: usize) -> String {
    format!("{{\"n\":{number},\"text\":\"{}\"}}", "x".repeat(16_000))
}

fn commit(number: u32) -> Make {
    let (id, quantity) = (ReservationId(number), "1".into());
    let (outcome, properties) = (Completion::default(), String::new());
    make(Command::Commit(Commit { id, quantity, outcome, calls: None, properties, llm: None }))
}

#[test]
fn an_account_does_not_grow_by_what_is_said_of_its_reservations() {
    let mut kit = Kit::with_slices(20, LONG);
    let item = item(&("credits", 1));
    for number in 1..=50 {
        let reserve = Reserve { item: item.clone(), ttl: DAY, properties: properties(number), llm: None };
        kit.made(&make(Command::Reserve(reserve)));
    }
    let size = |kit: &Kit| postcard::to_allocvec(&kit.account("acme")).unwrap().len();
    assert!(size(&kit) < 50 * 40 + 1000, "{} bytes", size(&kit));
    // It is found again for the event, in memory, in a closed slice and after a restart.
    closed(&kit, 1);
    kit.made(&commit(1));
    kit.reopen();
    kit.made(&commit(2));
    kit.made(&commit(50));
    let settled = |kit: &Kit| {
        let records = kit.journal();
        let of_acme = records.of_organization(kit.account("acme").id);
        let said = of_acme.filter_map(|record| match &record.entry.what {
            What::Reservation(hold) => match &**hold {
                Hold::Settled(settled) => Some((settled.id.0, settled.properties.clone())),
                _ => None,
            },
            _ => None,
        });
        said.collect::<Vec<_>>()
    };
    assert_eq!(settled(&kit), [1, 2, 50].map(|number| (number, properties(number as usize))));
    assert_eq!(kit.used("acme", "credits", Window::Lifetime), 3000, "thousandths");
    kit.check().unwrap();
}

#[test]
fn what_open_reservations_are_grouped_by_is_bounded_together() {
    let kit = Kit::new();
    let item = Item { dimensions: format!("{{\"model\":\"{}\"}}", "x".repeat(4084)), ..item(&("credits", 1)) };
    assert_eq!(item.dimensions.len(), 4096);
    let reserve = make(Command::Reserve(Reserve { item, ttl: DAY, properties: String::new(), llm: None }));
    (0..64).for_each(|_| drop(kit.made(&reserve)));
    let refused = StoreError::Problem(Problem::TooManyReservations);
    assert_eq!(kit.send(&reserve).unwrap_err(), refused);
    kit.made(&make(Command::Release(ReservationId(7))));
    kit.made(&reserve);
    assert_eq!(kit.send(&reserve).unwrap_err(), refused);
}

/// Wherever the record of its end is by then, and however much was recorded since.
#[test]
fn how_a_reservation_ended_is_told_by_its_number() {
    let mut kit = Kit::with_slices(20, LONG);
    let reserve = Reserve { item: item(&("credits", 1)), ttl: SHORTEST, properties: String::new(), llm: None };
    for ttl in [DAY, DAY, SHORTEST] {
        kit.made(&make(Command::Reserve(Reserve { ttl, ..reserve.clone() })));
    }
    kit.made(&commit(1));
    kit.made(&make(Command::Release(ReservationId(2))));
    kit.reopen_at(kit.now().plus(2 * SHORTEST));
    let told = |kit: &Kit| {
        let ended = |number: u32| {
            let asks = [commit(number), make(Command::Release(ReservationId(number)))];
            let [one, other] = asks.map(|ask| kit.send(&ask).unwrap_err());
            assert_eq!(one, other, "{number}");
            one
        };
        [1, 2, 3].map(ended)
    };
    let expected = [Some(State::Committed), Some(State::Released), Some(State::Lapsed)];
    let expected = expected.map(|state| StoreError::Problem(Problem::ReservationOver(state)));
    assert_eq!(told(&kit), expected);
    record(&kit, 0..40);
    closed(&kit, 1);
    assert_eq!(told(&kit), expected);
    kit.reopen();
    assert_eq!(told(&kit), expected);
    assert_eq!(kit.send(&commit(4)).unwrap_err(), StoreError::Problem(Problem::UnknownReservation));
    kit.check().unwrap();
}
