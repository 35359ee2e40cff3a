//! Meters of which nothing is recorded: Redis decides, and where it cannot the plan says what callers get.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use metergate::clock::boot;
use metergate_rules::time::{MINUTE, Time};
use parking_lot::Mutex;
use serde_json::json;

use super::super::checks::{idempotent, refusal_is_final};
use super::super::history::{Act, Answer, History, Operation};
use super::super::http::{Call, Response};
use super::super::workload::{CATALOGUE, Door, MOVED, answer, call};
use super::nodes::{Among, DEADLINE, Nodes};
use crate::invariant::{Held, Violation, holds, most_in_any};
use crate::store::Random;

/// What is admitted of `flash` in a minute.
const FLASH: i64 = 120;
/// What passes undecided of `swift` in a minute, on each node.
const SAFE: i64 = 5;

/// The catalogue of the crash tests with these two meters.
pub(super) fn catalogue() -> String {
    let meters =
        "flash = { aggregation = \"sum\", record = false }\nswift = { aggregation = \"sum\", record = false }\n";
    let limit = |meter: &str, max| format!("  {{ meter = \"{meter}\", window = \"minute\", max = {max} }},\n");
    let plan = format!("[plans.free]\ndegraded = {{ flash = \"deny\", swift = {{ safe = {SAFE} }} }}\nlimits = [\n");
    let known = "[plans.free]\nlimits = [\n";
    let of_day = "  { meter = \"calls\", window = \"day\", max = 1000000000, enforcement = \"soft\" },\n";
    assert!(CATALOGUE.contains(known), "the catalogue has another form");
    let limits = format!("{}{}{of_day}", limit("flash", FLASH), limit("swift", 1_000_000));
    CATALOGUE.replacen(known, &format!("{meters}\n{plan}{limits}"), 1)
}

/// Something that passed.
struct Passed {
    /// When its answer was there, since boot.
    at: i64,
    meter: &'static str,
    quantity: i64,
    /// The node and its life, where nobody decided.
    undecided: Option<(usize, usize)>,
}

/// What was asked, and what came of it.
pub(super) struct Elsewhere {
    history: History,
    numbers: AtomicUsize,
    passed: Mutex<BTreeMap<&'static str, Vec<Passed>>>,
    refused: AtomicUsize,
    denied: AtomicUsize,
}

impl Elsewhere {
    pub(super) fn in_folder(folder: &Path) -> Self {
        let own = folder.join("elsewhere");
        std::fs::create_dir(&own).unwrap();
        let [numbers, refused, denied] = [0; 3].map(AtomicUsize::new);
        Self { history: History::in_folder(&own), numbers, passed: Mutex::default(), refused, denied }
    }

    /// Asks until callers have done enough.
    pub(super) fn work(&self, nodes: &Nodes, mut random: Random) {
        let mut door = nodes.door(&mut random);
        while !nodes.over.load(Ordering::Relaxed) {
            // Else it would stay with nodes that have their Redis.
            if random.below(4) == 0 {
                door = nodes.door(&mut random);
            }
            let organization = *random.one_of(&MOVED);
            let quantity = 1 + random.below(3);
            if random.below(2) == 0 {
                self.ask(&mut door, organization, ("swift", quantity), None);
                continue;
            }
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let operation = Operation {
                organization: organization.to_owned(),
                act: Act::Consume { meter: "flash", quantity },
                id: (random.below(2) == 0).then(|| format!("f{number}")),
                answers: Vec::new(),
            };
            let tries = if operation.id.is_some() { 1 + Among::OTHERS } else { 1 };
            let number = self.history.begin(operation.clone());
            for _ in 0..tries {
                let told = self.ask(&mut door, organization, ("flash", quantity), Some(&operation));
                self.history.answer(number, answer(&operation, &told));
            }
        }
    }

    fn ask(
        &self,
        door: &mut Among<'_>,
        organization: &'static str,
        (meter, quantity): (&'static str, i64),
        operation: Option<&Operation>,
    ) -> Response {
        let body = json!({"organization": organization, "meter": meter, "quantity": quantity});
        let call = operation.map_or_else(|| Call::json("POST", "/v1/consume", body), call);
        let (told, of) = door.ask(&call);
        match told.status {
            503 => self.denied.fetch_add(1, Ordering::Relaxed),
            200 if told.value()["allowed"] == true => {
                let undecided = (told.value()["degraded"] == true).then_some(of);
                // Whoever asks again under an id takes nothing more.
                if !told.replayed {
                    let passed = Passed { at: boot(), meter, quantity, undecided };
                    self.passed.lock().entry(organization).or_default().push(passed);
                }
                0
            }
            200 => self.refused.fetch_add(1, Ordering::Relaxed),
            _ => panic!("{call:?} was answered {told:?}"),
        };
        told
    }

    /// `hard_limit` in any minute, `degraded`, `idempotent`, `refusal_is_final`.
    ///
    /// # Errors
    /// The first that does not hold.
    pub(super) fn check(&self) -> Held {
        let history = self.history.all();
        idempotent(&history)?;
        refusal_is_final(&history)?;
        for (organization, passed) in &*self.passed.lock() {
            within(organization, passed)?;
        }
        Ok(())
    }

    /// # Panics
    /// Where Redis was never gone, or never decided.
    pub(super) fn reached(&self) {
        let passed = self.passed.lock();
        let undecided = passed.values().flatten().filter(|one| one.undecided.is_some()).count();
        let decided = passed.values().flatten().count() - undecided;
        let [refused, denied] = [&self.refused, &self.denied].map(|count| count.load(Ordering::Relaxed));
        println!("elsewhere: {decided} decided, {refused} refused, {undecided} undecided, {denied} denied");
        let replayed =
            |one: &Operation| one.answers.iter().any(|it| matches!(it, Answer::Decided { replayed: true, .. }));
        assert!(self.history.all().iter().any(replayed), "nothing was repeated");
        assert!([decided, refused, undecided, denied].iter().all(|count| *count > 0), "the run proves nothing");
    }
}

/// What was decided lies between the call and its answer: what lies closer together than a minute without a call's longest
/// time was within one.
fn within(organization: &str, passed: &[Passed]) -> Held {
    let surely = MINUTE - DEADLINE;
    let of = |which: &dyn Fn(&&Passed) -> bool| -> Vec<(Time, i64)> {
        passed.iter().filter(which).map(|one| (Time::from_micros(one.at), one.quantity)).collect()
    };
    let wrong = passed.iter().find(|one| one.undecided.is_some() && one.meter != "swift");
    if let Some(wrong) = wrong {
        let detail = format!("{} of {organization} passed undecided, which its plan denies", wrong.meter);
        return Err(Violation { invariant: "degraded", detail });
    }
    let most = most_in_any(surely, &of(&|one| one.meter == "flash"));
    holds("hard_limit", most <= FLASH, || format!("flash of {organization}: {most} in a minute, limit {FLASH}"))?;
    let lives: std::collections::BTreeSet<_> = passed.iter().filter_map(|one| one.undecided).collect();
    for life in lives {
        let most = most_in_any(surely, &of(&|one| one.undecided == Some(life)));
        let detail =
            || format!("swift of {organization}: {most} undecided in a minute on node {life:?}, safe are {SAFE}");
        holds("degraded", most <= SAFE, detail)?;
    }
    Ok(())
}
