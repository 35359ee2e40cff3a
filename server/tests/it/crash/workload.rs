//! What callers do meanwhile: decisions with and without ids, events, extra quota, grants, resets, repetitions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use metergate_rules::time::{HOUR, Time};
use serde_json::{Value, json};

use super::history::{Act, Answer, History, Operation, Told};
use super::http::{Call, Client, Response};
use crate::store::Random;

/// Meters: `calls` and `pings` are counted without being refused, `tight` ends for good, `rate` in a minute, and
/// `moving` is what operators lift. The soft limits are there so that a decision shows the counter.
pub(super) const CATALOGUE: &str = r#"
[meters]
calls = { aggregation = "sum" }
pings = { aggregation = "sum" }
tight = { aggregation = "sum" }
rate = { aggregation = "sum" }
moving = { aggregation = "sum" }

[plans.free]
limits = [
  { meter = "calls", window = "lifetime", max = 1000000000, enforcement = "soft" },
  { meter = "pings", window = "lifetime", max = 1000000000, enforcement = "soft" },
  { meter = "tight", window = "lifetime", max = 25 },
  { meter = "rate", window = "minute", max = 40 },
  { meter = "rate", window = "lifetime", max = 1000000000, enforcement = "soft" },
  { meter = "moving", window = "billingPeriod", max = 50 },
  { meter = "moving", window = "lifetime", max = 1000000000, enforcement = "soft" },
]
"#;

pub(super) const TIGHT: i64 = 25;
pub(super) const RATE: i64 = 40;
pub(super) const MOVING: i64 = 50;

/// The organizations that operators change. They are made before anything else.
pub(super) const MOVED: [&str; 2] = ["moved-0", "moved-1"];

/// One caller's work between two starts of the server.
pub(super) struct Worker<'a> {
    pub(super) history: &'a History,
    pub(super) random: Random,
    pub(super) client: Client,
    pub(super) round: usize,
    /// Makes ids unique in the run.
    pub(super) numbers: &'a AtomicUsize,
    /// Hears of every answer.
    pub(super) answered: Sender<()>,
}

impl Worker<'_> {
    /// Works until the server is gone.
    pub(super) fn work(mut self) {
        loop {
            let again = self.history.len() > 20 && self.random.below(10) < 2;
            let alive = match again {
                true => self.ask_again(),
                false => {
                    let operation = self.something_new();
                    let number = self.history.begin(operation);
                    self.ask(number)
                }
            };
            if !alive {
                return;
            }
            let _ = self.answered.send(());
        }
    }

    fn something_new(&mut self) -> Operation {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let id = Some(format!("o{number}"));
        let open = format!("open-{}", self.random.below(3));
        let moved = (*self.random.one_of(&MOVED)).to_owned();
        let (organization, act, id) = match self.random.below(100) {
            0..35 => (open, Act::Consume { meter: "calls", quantity: 1 + self.random.below(5) }, id),
            35..45 => (open, Act::Consume { meter: "pings", quantity: 1 + self.random.below(5) }, None),
            45..62 => {
                let tight = format!("tight-{}", self.round / 2);
                (tight, Act::Consume { meter: "tight", quantity: 1 + self.random.below(4) }, id)
            }
            62..68 => (open, Act::Consume { meter: "rate", quantity: 1 + self.random.below(6) }, id),
            68..83 => (open, self.events(number), None),
            83..92 => (moved, Act::Consume { meter: "moving", quantity: 1 + self.random.below(20) }, id),
            92..95 => (moved, Act::Extra { meter: "moving", quantity: self.random.below(50) }, id),
            95..98 => (moved, Act::Grant { meter: "moving", amount: 1 + self.random.below(20) }, id),
            _ => (moved, Act::Reset, id),
        };
        Operation { organization, act, id, answers: Vec::new() }
    }

    fn events(&mut self, number: usize) -> Act {
        let (now, count) = (metergate::clock::wall(), 1 + self.random.below(12));
        let event = |i| {
            let late = self.random.below(4) == 0;
            let time: Option<Time> = late.then(|| now.plus(-HOUR * (25 + self.random.below(48))));
            Told { id: format!("e{number}-{i}"), quantity: 1 + self.random.below(9), time: time.map(|t| t.to_string()) }
        };
        Act::Events { meter: "calls", events: (0..count).map(event).collect() }
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
                let Ok(response) = self.client.call(&call(&other)) else { return false };
                let mismatch = response.status == 422 || response.status == 503;
                assert!(mismatch, "idempotent does not hold: another body under an id got {response:?}");
                self.history.count_mismatch(response.status == 422);
                true
            }
            _ => self.ask(number),
        }
    }

    fn ask(&mut self, number: usize) -> bool {
        let operation = self.history.get(number);
        let (answer, alive) = match self.client.call(&call(&operation)) {
            Ok(response) => (answer(&operation, &response), true),
            Err(_) => (Answer::Unknown, false),
        };
        self.history.answer(number, answer);
        alive
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
    }
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
    assert!(matches!(response.status, 200 | 201), "{operation:?} was answered {response:?}");
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
        Act::Extra { .. } | Act::Grant { .. } | Act::Reset => Answer::Made { replayed, body },
    }
}
