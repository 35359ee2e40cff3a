//! What callers do meanwhile: decisions with and without ids, events, reservations, corrections, extra quota, grants, resets,
//! a clock that moves, organizations that end, repetitions.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use metergate_rules::time::{DAY, HOUR, SECOND, Time};
use serde_json::{Value, json};

use super::history::{Act, Answer, DOOMED, History, Operation, Told};
use super::http::{Call, Client, Response};
use crate::store::Random;

/// Meters: `calls` and `pings` are counted without being refused, `tight` ends for good, `rate` in a minute, and
/// `moving` is what operators lift. `held` is only reserved, never more than there is, `booked` is reserved without a limit,
/// events of `undone` are void again, and `adjusted` is corrected by amounts. The soft limits are there so that a decision
/// shows the counter.
pub(super) const CATALOGUE: &str = r#"
[meters]
calls = { aggregation = "sum" }
pings = { aggregation = "sum" }
tight = { aggregation = "sum" }
rate = { aggregation = "sum" }
moving = { aggregation = "sum" }
held = { aggregation = "sum" }
booked = { aggregation = "sum" }
undone = { aggregation = "sum" }
adjusted = { aggregation = "sum" }

[plans.free]
limits = [
  { meter = "calls", window = "lifetime", max = 1000000000, enforcement = "soft" },
  { meter = "pings", window = "lifetime", max = 1000000000, enforcement = "soft" },
  { meter = "tight", window = "lifetime", max = 25 },
  { meter = "rate", window = "minute", max = 40 },
  { meter = "rate", window = "lifetime", max = 1000000000, enforcement = "soft" },
  { meter = "moving", window = "billingPeriod", max = 50 },
  { meter = "moving", window = "lifetime", max = 1000000000, enforcement = "soft" },
  { meter = "held", window = "lifetime", max = 60 },
  { meter = "booked", window = "lifetime", max = 1000000000, enforcement = "soft" },
  { meter = "undone", window = "lifetime", max = 1000000000, enforcement = "soft" },
  { meter = "adjusted", window = "lifetime", max = 1000000000, enforcement = "soft" },
]
"#;

pub(super) const TIGHT: i64 = 25;
pub(super) const RATE: i64 = 40;
pub(super) const MOVING: i64 = 50;
pub(super) const HELD: i64 = 60;

/// The organizations that operators change. They are made before anything else.
pub(super) const MOVED: [&str; 2] = ["moved-0", "moved-1"];
/// A test organization. It is made before anything else, and its clock set to [`behind`] the time.
pub(super) const TIMED: &str = "timed";

/// Where the clock of [`TIMED`] begins.
pub(super) fn behind() -> Time {
    metergate::clock::wall().floor(HOUR).plus(-4 * DAY)
}

/// A caller's way to whoever answers.
pub(super) trait Door {
    /// How often something is asked for again at once, of somebody else, when it is not known what came of it.
    const OTHERS: usize;

    /// # Errors
    /// Where nobody is there any more.
    fn call(&mut self, call: &Call) -> io::Result<Response>;
}

impl Door for Client {
    const OTHERS: usize = 0;

    fn call(&mut self, call: &Call) -> io::Result<Response> {
        Self::call(self, call)
    }
}

/// One caller's work between two starts of the server.
pub(super) struct Worker<'a, D> {
    pub(super) history: &'a History,
    pub(super) random: Random,
    pub(super) door: D,
    pub(super) round: usize,
    /// Makes ids unique in the run.
    pub(super) numbers: &'a AtomicUsize,
    /// Where the clock of [`TIMED`] began.
    pub(super) began: Time,
    /// Hears of every answer.
    pub(super) answered: Sender<()>,
}

impl<D: Door> Worker<'_, D> {
    /// Works until the server is gone.
    pub(super) fn work(mut self) {
        loop {
            let alive = match self.random.below(100) {
                0..20 if self.history.len() > 20 => self.ask_again(),
                20..22 => self.doom(),
                _ => {
                    let operation = self.something_new();
                    self.ask_new(operation)
                }
            };
            if !alive {
                return;
            }
            let _ = self.answered.send(());
        }
    }

    fn ask_new(&mut self, operation: Operation) -> bool {
        let number = self.history.begin(operation);
        self.ask(number)
    }

    fn something_new(&mut self) -> Operation {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let id = Some(format!("o{number}"));
        let open = format!("open-{}", self.random.below(3));
        let moved = (*self.random.one_of(&MOVED)).to_owned();
        let (organization, act, id) = match self.random.below(150) {
            0..35 => (open, Act::Consume { meter: "calls", quantity: 1 + self.random.below(5) }, id),
            35..45 => (open, Act::Consume { meter: "pings", quantity: 1 + self.random.below(5) }, None),
            45..62 => {
                let tight = format!("tight-{}", self.round / 2);
                (tight, Act::Consume { meter: "tight", quantity: 1 + self.random.below(4) }, id)
            }
            62..68 => (open, Act::Consume { meter: "rate", quantity: 1 + self.random.below(6) }, id),
            68..83 => (open, self.events("calls", number), None),
            83..92 => (moved, Act::Consume { meter: "moving", quantity: 1 + self.random.below(20) }, id),
            92..95 => (moved, Act::Extra { meter: "moving", quantity: self.random.below(50) }, id),
            95..98 => (moved, Act::Grant { meter: "moving", amount: 1 + self.random.below(20) }, id),
            98..100 => (moved, Act::Reset, id),
            100..140 => return self.reservation_or_correction(open, number, id),
            140..146 => (TIMED.to_owned(), Act::Consume { meter: "calls", quantity: 1 + self.random.below(5) }, id),
            _ => {
                let later = self.began.plus(10 * SECOND * i64::try_from(number).unwrap());
                (TIMED.to_owned(), Act::Clock { to: later.to_string() }, id)
            }
        };
        Operation { organization, act, id, answers: Vec::new() }
    }

    /// Something about a reservation or a correction; of what there was lately, as far as there was something.
    fn reservation_or_correction(&mut self, open: String, number: usize, id: Option<String>) -> Operation {
        let lately = self.history.len().saturating_sub(usize::try_from(self.random.below(200)).unwrap());
        let kind = self.random.below(40);
        if (14..28).contains(&kind)
            && let Some(made) = self.history.newest(lately, |one| !one.is_doomed() && one.reservation().is_some())
        {
            let (organization, act) = (made.organization.clone(), self.on_reservation(&made, kind));
            return Operation { organization, act, id, answers: Vec::new() };
        }
        if (31..35).contains(&kind)
            && let Some(Operation { organization, act: Act::Events { meter, events }, .. }) =
                self.history.newest(lately, |one| !one.is_doomed() && one.happened() && one.tells("undone"))
        {
            let Told { id: event, quantity, .. } = self.random.one_of(&events).clone();
            return Operation { organization, act: Act::Void { meter, event, quantity }, id, answers: Vec::new() };
        }
        let (organization, act) = match kind {
            0..7 => (format!("held-{}", self.round / 2), self.reserve("held")),
            7..12 => (open, self.reserve("booked")),
            12..28 => (TIMED.to_owned(), self.reserve("booked")),
            28..35 => {
                return Operation {
                    act: self.events("undone", number),
                    organization: open,
                    id: None,
                    answers: Vec::new(),
                };
            }
            _ => (open, Act::Adjust { meter: "adjusted", quantity: self.random.below(12) - 4 }),
        };
        Operation { organization, act, id, answers: Vec::new() }
    }

    /// Some lapse while nobody looks.
    fn reserve(&mut self, meter: &'static str) -> Act {
        let seconds = if self.random.below(4) == 0 { 1 + self.random.below(3) } else { 3600 };
        Act::Reserve { meter, quantity: 1 + self.random.below(9), seconds }
    }

    fn on_reservation(&mut self, made: &Operation, kind: i64) -> Act {
        let (Act::Reserve { meter, quantity, .. }, Some(reservation)) = (&made.act, made.reservation()) else {
            panic!("{made:?} is no reservation")
        };
        let most = if *meter == "held" { *quantity } else { 2 * quantity };
        match kind {
            14..17 => Act::Extend { reservation, seconds: 1 + self.random.below(3600) },
            17..25 => Act::Commit { meter, reservation, quantity: self.random.below(most + 1) },
            _ => Act::Release { reservation },
        }
    }

    /// An organization from its first use to its end.
    fn doom(&mut self) -> bool {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let organization = format!("{DOOMED}{number}");
        let consume = |quantity| Act::Consume { meter: "calls", quantity };
        let acts = [consume(1), self.reserve("booked"), self.events("undone", number), consume(2), Act::Delete];
        let mut acts = acts.into_iter().enumerate();
        acts.all(|(step, act)| {
            let id = (!matches!(act, Act::Events { .. })).then(|| format!("o{number}-{step}"));
            self.ask_new(Operation { organization: organization.clone(), act, id, answers: Vec::new() })
        })
    }

    fn events(&mut self, meter: &'static str, number: usize) -> Act {
        let (now, count) = (metergate::clock::wall(), 1 + self.random.below(12));
        let event = |i| {
            let late = self.random.below(4) == 0;
            let time: Option<Time> = late.then(|| now.plus(-HOUR * (25 + self.random.below(48))));
            Told { id: format!("e{number}-{i}"), quantity: 1 + self.random.below(9), time: time.map(|t| t.to_string()) }
        };
        Act::Events { meter, events: (0..count).map(event).collect() }
    }

    /// Repeats something that was asked before, by whomever; or asks for something else under its id.
    fn ask_again(&mut self) -> bool {
        let number = usize::try_from(self.random.below(i64::try_from(self.history.len()).unwrap())).unwrap();
        let operation = self.history.get(number);
        if !operation.is_repeatable() {
            return true;
        }
        match (self.random.below(4), &operation.act, operation.first_answer()) {
            (0, Act::Consume { meter, quantity }, Some(_)) => {
                let other = Operation { act: Act::Consume { meter, quantity: quantity + 1 }, ..operation.clone() };
                let Ok(response) = self.door.call(&call(&other)) else { return false };
                let mismatch = response.status == 422 || response.status == 503;
                assert!(mismatch, "idempotent does not hold: another body under an id got {response:?}");
                self.history.count_mismatch(response.status == 422);
                true
            }
            _ => self.ask(number),
        }
    }

    fn ask(&mut self, number: usize) -> bool {
        for _ in 0..=D::OTHERS {
            let operation = self.history.get(number);
            let (answer, alive) = match self.door.call(&call(&operation)) {
                Ok(response) => (answer(&operation, &response), true),
                Err(_) => (Answer::Unknown, false),
            };
            let is_over = !alive || answer != Answer::Unknown || !operation.is_repeatable();
            self.history.answer(number, answer);
            if is_over {
                return alive;
            }
        }
        true
    }
}

/// The call that an operation is.
pub(super) fn call(operation: &Operation) -> Call {
    let organization = &operation.organization;
    let changed = |method, path: &str, body: Value| {
        let path = format!("/v1/organizations/{organization}{path}");
        Call { idempotency_key: operation.id.clone(), ..Call::json(method, &path, body) }
    };
    match &operation.act {
        Act::Consume { meter, quantity } => {
            let mut body = json!({"organization": organization, "meter": meter, "quantity": quantity});
            if let Some(id) = &operation.id {
                body["id"] = json!(id);
            }
            Call::json("POST", "/v1/consume", body)
        }
        Act::Events { meter, events } => {
            let events: Vec<_> = events.iter().map(|told| event(organization, meter, told)).collect();
            let content_type = "application/cloudevents-batch+json";
            Call { content_type, ..Call::json("POST", "/v1/events", json!(events)) }
        }
        Act::Extra { meter, quantity } => changed("PUT", &format!("/extra/{meter}"), json!({"quantity": quantity})),
        Act::Grant { meter, amount } => {
            changed("POST", "/grants", json!({"meter": meter, "amount": amount, "reason": "crash test"}))
        }
        Act::Reset => changed("POST", "/usage/reset", json!({"windows": ["billingPeriod"], "reason": "crash test"})),
        Act::Adjust { meter, quantity } => {
            changed("POST", "/adjustments", json!({"meter": meter, "quantity": quantity, "reason": "crash test"}))
        }
        Act::Clock { to } => changed("PUT", "/clock", json!({"now": to})),
        Act::Lock => changed("PUT", "/lock", json!({"reason": "crash test"})),
        Act::Unlock => changed("DELETE", "/lock", json!({"reason": "crash test"})),
        Act::Delete => changed("DELETE", "", json!({"reason": "crash test"})),
        Act::Void { event, .. } => {
            let path = format!("/v1/events/{event}?organization={organization}&source=/crash");
            let reason = json!({"reason": "crash test"});
            Call { idempotency_key: operation.id.clone(), ..Call::json("DELETE", &path, reason) }
        }
        _ => call_on_reservation(operation),
    }
}

fn call_on_reservation(operation: &Operation) -> Call {
    let on = |reservation: &str, verb: &str, body: Value| (format!("/{reservation}/{verb}"), body);
    let (path, body) = match &operation.act {
        Act::Reserve { meter, quantity, seconds } => {
            let organization = &operation.organization;
            let body =
                json!({"organization": organization, "meter": meter, "quantity": quantity, "ttlSeconds": seconds});
            (String::new(), body)
        }
        Act::Extend { reservation, seconds } => on(reservation, "extend", json!({"ttlSeconds": seconds})),
        Act::Commit { reservation, quantity, .. } => on(reservation, "commit", json!({"quantity": quantity})),
        Act::Release { reservation } => on(reservation, "release", json!({})),
        other => panic!("{other:?} is not about a reservation"),
    };
    let path = format!("/v1/reservations{path}");
    Call { idempotency_key: operation.id.clone(), ..Call::json("POST", &path, body) }
}

fn event(organization: &str, meter: &str, told: &Told) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": told.id, "source": "/crash", "type": meter, "subject": organization,
        "data": {"quantity": told.quantity},
    });
    if let Some(time) = &told.time {
        event["time"] = json!(time);
    }
    event
}

/// What a response says about an operation.
///
/// # Panics
/// If it is one that the operation cannot have.
pub(super) fn answer(operation: &Operation, response: &Response) -> Answer {
    if response.status == 503 {
        return Answer::Unknown;
    }
    if fails(&operation.act).contains(&response.status) {
        return Answer::Failed { status: response.status };
    }
    assert!(matches!(response.status, 200 | 201 | 204), "{operation:?} was answered {response:?}");
    let (replayed, body) = (response.replayed, response.body.clone());
    match &operation.act {
        Act::Consume { .. } => {
            let allowed = response.value()["allowed"].as_bool().expect("allowed is there");
            Answer::Decided { allowed, replayed, body }
        }
        Act::Events { .. } => {
            let value = response.value();
            assert_eq!(value["rejected"], json!([]), "{operation:?}");
            let count = |name: &str| usize::try_from(value[name].as_u64().unwrap()).unwrap();
            Answer::Recorded { accepted: count("accepted"), duplicates: count("duplicates") }
        }
        _ => Answer::Made { replayed, body },
    }
}

/// How it is told that an act makes no sense by then: that a reservation is over, an event void, that less was counted than
/// is to be taken off, that a clock is further, that an organization never was or is not yet.
const fn fails(act: &Act) -> &'static [u16] {
    match act {
        Act::Extend { .. } | Act::Commit { .. } | Act::Release { .. } | Act::Void { .. } | Act::Clock { .. } => &[409],
        Act::Adjust { .. } => &[404, 422],
        Act::Delete => &[404],
        _ => &[],
    }
}
