//! A lock that was put or lifted on one node holds on all of them from then on.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::super::checks::{idempotent, refusal_is_final};
use super::super::history::{Act, Answer, History, Operation};
use super::super::workload::{answer, call};
use super::nodes::Nodes;
use crate::invariant::{Held, Violation};
use crate::store::Random;

/// Decisions after each change.
const DECISIONS: usize = 2;

/// What one caller asked, one after the other and each until it was known what came of it, of any node.
pub(super) struct Locks {
    history: History,
    rounds: AtomicUsize,
    /// Decisions that followed a change, of whichever kind.
    followed: [AtomicUsize; 2],
    wrong: Mutex<Option<String>>,
}

impl Locks {
    pub(super) fn in_folder(folder: &Path) -> Self {
        let own = folder.join("locks");
        std::fs::create_dir(&own).unwrap();
        let [rounds, shut, open] = [0; 3].map(AtomicUsize::new);
        Self { history: History::in_folder(&own), rounds, followed: [shut, open], wrong: Mutex::default() }
    }

    /// Asks until callers have done enough.
    pub(super) fn work(&self, nodes: &Nodes, mut random: Random) {
        // What was left unknown before is of another organization.
        let organization = format!("shut-{}", self.rounds.fetch_add(1, Ordering::Relaxed));
        let consume = Act::Consume { meter: "calls", quantity: 1 };
        let mut ask = |act| self.until_known(nodes, &mut random, &organization, act);
        let mut is_open = true;
        if ask(consume.clone()).is_none() {
            return;
        }
        loop {
            is_open = !is_open;
            let Some(_) = ask(if is_open { Act::Unlock } else { Act::Lock }) else { return };
            for _ in 0..DECISIONS {
                let Some(decided) = ask(consume.clone()) else { return };
                self.followed[usize::from(is_open)].fetch_add(1, Ordering::Relaxed);
                if !matches!(&decided, Answer::Decided { allowed, .. } if *allowed == is_open) {
                    let detail = format!("{organization} is open: {is_open}, and a decision was {decided:?}");
                    self.wrong.lock().get_or_insert(detail);
                }
            }
        }
    }

    /// The first answer that says what happened; `None` where there is none before callers have done enough.
    fn until_known(&self, nodes: &Nodes, random: &mut Random, organization: &str, act: Act) -> Option<Answer> {
        let (organization, id) = (organization.to_owned(), Some(format!("l{}", self.history.len())));
        let operation = Operation { organization, act, id, answers: Vec::new() };
        let number = self.history.begin(operation.clone());
        while !nodes.over.load(Ordering::Relaxed) {
            let (told, _) = nodes.door(random).ask(&call(&operation));
            let answer = answer(&operation, &told);
            self.history.answer(number, answer.clone());
            if answer != Answer::Unknown {
                return Some(answer);
            }
        }
        None
    }

    /// # Errors
    /// A decision that does not agree with the change before it, an id with two answers, a refusal that passed.
    pub(super) fn check(&self) -> Held {
        if let Some(detail) = self.wrong.lock().clone() {
            return Err(Violation { invariant: "hard_limit", detail });
        }
        idempotent(&self.history.all())?;
        refusal_is_final(&self.history.all())
    }

    /// # Panics
    /// Where nothing was decided behind a lock, or behind its end.
    pub(super) fn reached(&self) {
        let followed = [0, 1].map(|which| self.followed[which].load(Ordering::Relaxed));
        println!("locks: {followed:?} decisions followed a lock, and its end");
        assert!(followed.iter().all(|count| *count > 0), "the run proves nothing");
    }
}
