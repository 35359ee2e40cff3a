//! What was asked and answered, in the order in which it was seen. Kept as JSON lines beside the data folder.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

/// Something that a caller wants once, however often it has to ask.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Operation {
    pub(super) organization: String,
    pub(super) act: Act,
    /// Decision id or idempotency key; events have their own.
    pub(super) id: Option<String>,
    /// In the order of arrival. Empty while it is under way for the first time.
    pub(super) answers: Vec<Answer>,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Act {
    /// A decision.
    Consume { meter: &'static str, quantity: i64 },
    /// Events in one body.
    Events { meter: &'static str, events: Vec<Told> },
    /// Extra quota set.
    Extra { meter: &'static str, quantity: i64 },
    /// A grant.
    Grant { meter: &'static str, amount: i64 },
    /// Billing period counters to zero.
    Reset,
    /// Quantity held for so many seconds.
    Reserve { meter: &'static str, quantity: i64, seconds: i64 },
    /// A reservation held on.
    Extend { reservation: String, seconds: i64 },
    /// What a reservation came to.
    Commit { meter: &'static str, reservation: String, quantity: i64 },
    /// A reservation given back.
    Release { reservation: String },
    /// So much more, or less.
    Adjust { meter: &'static str, quantity: i64 },
    /// An event of so much that never was.
    Void { meter: &'static str, event: String, quantity: i64 },
    /// A lock.
    Lock,
    /// The end of all locks.
    Unlock,
    /// A test organization's clock moved.
    Clock { to: String },
    /// The end of the organization.
    Delete,
}

/// One event of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) quantity: i64,
    /// RFC 3339; `None` is now.
    pub(super) time: Option<String>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Answer {
    /// Nothing, or that it could not be written: whether it happened, only its id can tell.
    Unknown,
    /// Decided.
    Decided { allowed: bool, replayed: bool, body: String },
    /// So many events counted now, so many had before.
    Recorded { accepted: usize, duplicates: usize },
    /// A change was made.
    Made { replayed: bool, body: String },
    /// It makes no sense, or no more: nothing has happened.
    Failed { status: u16 },
}

impl Operation {
    /// The first answer that says what happened.
    pub(super) fn first_answer(&self) -> Option<&Answer> {
        self.answers.iter().find(|answer| **answer != Answer::Unknown)
    }

    /// Whether it was acknowledged that it happened.
    pub(super) fn happened(&self) -> bool {
        let not = |answer: &Answer| matches!(answer, Answer::Decided { allowed: false, .. } | Answer::Failed { .. });
        self.first_answer().is_some_and(|answer| !not(answer))
    }

    /// Whether it was acknowledged, or nothing is known of it.
    pub(super) fn may_have_happened(&self) -> bool {
        self.is_unknown() || self.happened()
    }

    pub(super) fn was_refused(&self) -> bool {
        matches!(self.first_answer(), Some(Answer::Decided { allowed: false, .. }))
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.first_answer().is_none()
    }

    /// Whether it can be asked again without asking for more. What failed may succeed another time; and what is used of an
    /// organization that is to be deleted would make it anew.
    pub(super) fn is_repeatable(&self) -> bool {
        let has_id = self.id.is_some() || matches!(self.act, Act::Events { .. });
        let makes_anew = self.is_doomed() && self.act != Act::Delete;
        has_id && !makes_anew && !matches!(self.first_answer(), Some(Answer::Failed { .. }))
    }

    /// Whether its organization is one that is deleted in the end.
    pub(super) fn is_doomed(&self) -> bool {
        self.organization.starts_with(DOOMED)
    }

    /// Whether it is events on a meter.
    pub(super) fn tells(&self, name: &str) -> bool {
        matches!(self.act, Act::Events { meter, .. } if meter == name)
    }

    /// The meter and how much is to be counted on it; below zero what is to be taken off.
    pub(super) fn use_of(&self) -> Option<(&'static str, i64)> {
        match &self.act {
            Act::Consume { meter, quantity }
            | Act::Commit { meter, quantity, .. }
            | Act::Adjust { meter, quantity } => Some((meter, *quantity)),
            Act::Events { meter, events } => Some((meter, events.iter().map(|event| event.quantity).sum())),
            Act::Void { meter, quantity, .. } => Some((meter, -quantity)),
            Act::Extra { .. } | Act::Grant { .. } | Act::Reset | Act::Clock { .. } | Act::Delete => None,
            Act::Reserve { .. } | Act::Extend { .. } | Act::Release { .. } | Act::Lock | Act::Unlock => None,
        }
    }

    /// The reservation that it made.
    pub(super) fn reservation(&self) -> Option<String> {
        let (Act::Reserve { .. }, Some(Answer::Made { body, .. })) = (&self.act, self.first_answer()) else {
            return None;
        };
        let body: serde_json::Value = serde_json::from_str(body).expect("an object");
        body["id"].as_str().map(str::to_owned)
    }

    /// Whether it happened although the caller was not told, as a repetition showed.
    pub(super) fn happened_unanswered(&self) -> bool {
        let told = self.first_answer().is_some_and(|answer| match answer {
            Answer::Decided { replayed, .. } | Answer::Made { replayed, .. } => *replayed,
            Answer::Recorded { duplicates, .. } => *duplicates > 0,
            Answer::Unknown | Answer::Failed { .. } => false,
        });
        told && self.answers[0] == Answer::Unknown
    }
}

/// What the names begin with of organizations that are deleted.
pub(super) const DOOMED: &str = "doomed-";

/// All operations of a run.
pub(super) struct History {
    operations: Mutex<Vec<Operation>>,
    lines: Mutex<File>,
    mismatches: AtomicUsize,
}

#[derive(Serialize)]
struct Line<'a> {
    operation: usize,
    #[serde(flatten)]
    content: &'a Operation,
}

impl History {
    pub(super) fn in_folder(folder: &Path) -> Self {
        let lines = File::create(folder.join("history.jsonl")).unwrap();
        Self { operations: Mutex::default(), lines: Mutex::new(lines), mismatches: AtomicUsize::new(0) }
    }

    /// Notes something beside: the seed, a fault.
    pub(super) fn note(&self, line: &serde_json::Value) {
        writeln!(self.lines.lock(), "{line}").unwrap();
    }

    /// Notes what is about to be asked.
    pub(super) fn begin(&self, operation: Operation) -> usize {
        let mut operations = self.operations.lock();
        operations.push(operation);
        operations.len() - 1
    }

    /// Notes what came back.
    pub(super) fn answer(&self, number: usize, answer: Answer) {
        let operation = {
            let mut operations = self.operations.lock();
            operations[number].answers.push(answer);
            operations[number].clone()
        };
        let line = serde_json::to_string(&Line { operation: number, content: &operation }).unwrap();
        writeln!(self.lines.lock(), "{line}").unwrap();
    }

    /// Notes that another body under a known id was refused.
    pub(super) fn count_mismatch(&self, refused: bool) {
        self.mismatches.fetch_add(usize::from(refused), Ordering::Relaxed);
    }

    pub(super) fn mismatches(&self) -> usize {
        self.mismatches.load(Ordering::Relaxed)
    }

    pub(super) fn len(&self) -> usize {
        self.operations.lock().len()
    }

    pub(super) fn get(&self, number: usize) -> Operation {
        self.operations.lock()[number].clone()
    }

    /// The newest of some kind that is not newer than this number.
    pub(super) fn newest(&self, number: usize, is_it: impl Fn(&Operation) -> bool) -> Option<Operation> {
        let operations = self.operations.lock();
        operations[..operations.len().min(number + 1)].iter().rev().find(|one| is_it(one)).cloned()
    }

    pub(super) fn all(&self) -> Vec<Operation> {
        self.operations.lock().clone()
    }
}
