//! `arithmetic`: no number makes a counter wrap or the store panic, and one poisoned request harms no other.

use metergate::store::{Receipt, Request, StoreError};
use metergate_rules::command::{Command, NewGrant};
use metergate_rules::decide::Problem;
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::quantity::{InvalidQuantity, Quantity};
use metergate_rules::time::{MINUTE, Time};
use metergate_rules::window::{Window, WindowSet};

use super::asks::{LARGE, METERS, ask, make, meter, tell};
use super::kit::Kit;

const MOST: i64 = i64::MAX;
const TOO_LARGE: StoreError = StoreError::Problem(Problem::InvalidQuantity(InvalidQuantity::TooLarge));

fn grant(amount: Quantity) -> Command {
    let (meter, reason) = (meter("calls"), String::new());
    Command::Grant(NewGrant { meter, amount, priority: 0, starts_at: None, expires_at: None, reason })
}

#[test]
fn the_largest_quantity_counts_once_and_is_too_large_beyond() {
    let mut kit = Kit::new();
    kit.made(&make(Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false }));
    for (name, _) in METERS.iter().filter(|(name, _)| ["credits", "tokens"].contains(name)) {
        assert!(kit.allows(&ask(name, MOST)), "{name}");
        assert_eq!(kit.send(&ask(name, 1)), Err(TOO_LARGE), "{name}");
        assert_eq!(kit.send(&tell(name, MOST, "e")), Err(TOO_LARGE), "{name}");
        let old = Time::MIN.plus(MINUTE);
        assert_eq!(kit.send(&tell(name, MOST, "old").at(old)), Err(TOO_LARGE), "{name}, of a hundred years ago");
        assert!(kit.allows(&ask(name, 0)), "{name}: nothing more still fits");
        assert_eq!(kit.used("acme", name, Window::Lifetime), MOST);
        assert_eq!(kit.reported("acme", name).sum, MOST);
    }
    for name in ["peak", "storage"] {
        assert!(kit.allows(&ask(name, MOST)) && kit.allows(&ask(name, MOST)), "{name} does not add up");
    }
    kit.reopen();
    assert_eq!(kit.send(&ask("tokens", 1)), Err(TOO_LARGE), "after a restart");
    kit.check().unwrap();
}

#[test]
fn the_largest_quantity_is_refused_where_a_limit_is_smaller() {
    let kit = Kit::new();
    for (name, _) in METERS.iter().filter(|(name, _)| ["calls", "tokens", "peak", "storage"].contains(name)) {
        assert!(kit.allows(&ask(name, 1)));
        assert!(!kit.allows(&ask(name, MOST - 1)), "{name}");
    }
    kit.check().unwrap();
}

#[test]
fn the_largest_limits_extra_quotas_and_grants_add_up_without_wrapping() {
    let kit = Kit::new();
    let calls = meter("calls");
    kit.made(&make(Command::extra(calls, Quantity::MAX)));
    kit.made(&make(grant(Quantity::MAX)));
    assert_eq!(kit.send(&make(grant(Quantity::ONE))), Err(TOO_LARGE), "grants together stay in range");
    for window in [Window::BillingPeriod, Window::Day, Window::Minute] {
        let (max, enforcement) = (Max::Units(Quantity::MAX), Enforcement::Hard);
        kit.made(&make(Command::SetOverride { meter: calls, window, max, enforcement, until: None }));
    }
    let decided = kit.decide(&ask("calls", MOST)).unwrap();
    assert!(decided.verdicts[0].reason.is_none());
    for state in &decided.verdicts[0].limits {
        assert!(state.limit >= state.used && state.remaining <= state.limit, "{state:?}");
    }
    assert_eq!(kit.send(&ask("calls", MOST)), Err(TOO_LARGE));
    kit.check().unwrap();
}

#[test]
fn a_reset_makes_room_without_moving_anything_else() {
    let kit = Kit::new();
    kit.made(&make(Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false }));
    assert!(kit.records(&tell("tokens", MOST - 5, "a")));
    let windows = Window::COUNTED.into_iter().collect::<WindowSet>();
    kit.made(&make(Command::Reset { meters: None, windows }));
    assert!(kit.allows(&ask("tokens", 5)));
    assert_eq!(kit.used("acme", "tokens", Window::Lifetime), 5);
    assert_eq!(kit.reported("acme", "tokens").sum, MOST);
    kit.check().unwrap();
}

#[test]
fn hostile_requests_harm_no_other_in_their_batch() {
    let kit = Kit::new();
    kit.made(&make(Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false }));
    assert!(kit.records(&tell("tokens", MOST, "most")));
    let hostile: [Request; 9] = [
        (&ask("tokens", 1)).into(),
        (&ask("tokens", MOST).id("x")).into(),
        (&ask("calls", 1).and("calls", 1)).into(),
        (&ask("calls", 1).and("tokens", MOST)).into(),
        (&ask("calls", 1).of("nobody")).into(),
        (&tell("tokens", MOST, "e")).into(),
        (&tell("calls", 1, "future").at(Time::MAX)).into(),
        (&make(grant(Quantity::ZERO))).into(),
        (&make(Command::Grant(NewGrant { meter: meter("storage"), ..new_grant() }))).into(),
    ];
    let count = hostile.len();
    let requests = hostile.into_iter().flat_map(|hostile| [(&ask("calls", 1)).into(), hostile]);
    let answers = kit.in_one_batch(requests.collect());
    for (i, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), i % 2 == 0, "request {i}: {answer:?}");
    }
    assert_eq!(kit.used("acme", "calls", Window::Lifetime), i64::try_from(count).unwrap());
    kit.check().unwrap();
}

fn new_grant() -> NewGrant {
    match grant(Quantity::ONE) {
        Command::Grant(new) => new,
        _ => unreachable!(),
    }
}

#[test]
fn a_defect_in_one_call_harms_no_other_and_nothing_of_it_happens() {
    let mut kit = Kit::new();
    let poisoned = make(grant(Quantity::ONE)).under("k").poisoned();
    let calls = (0..9).map(|i| match i % 3 {
        1 => vec![Request::from(&poisoned)],
        _ => vec![(&ask("calls", 1).id(&format!("d{i}"))).into(), (&tell("hits", 1, &format!("e{i}"))).into()],
    });
    for (i, answers) in kit.at_once(calls.collect()).into_iter().enumerate() {
        match answers {
            Ok(answers) => assert!(i % 3 != 1 && answers.iter().all(Result::is_ok), "call {i}: {answers:?}"),
            Err(error) => assert_eq!((i % 3, error), (1, StoreError::Internal), "call {i}"),
        }
    }
    assert_eq!([kit.used("acme", "calls", Window::Lifetime), kit.used("acme", "hits", Window::Lifetime)], [6, 6]);
    assert_eq!((kit.account("acme").grants.len(), kit.audit("acme").len()), (0, 1));
    kit.reopen();
    assert_eq!(kit.send(&tell("hits", 1, "e0")), Ok(Receipt::Recorded { duplicate: true }));
    assert!(!kit.made(&make(grant(Quantity::ONE)).under("k")).1, "its key is free");
    kit.check().unwrap();
}
