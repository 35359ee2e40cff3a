//! Prepares a Metergate through its API: one plan with three windows, many organizations on it, many known ids.

use std::fmt::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::answer::Answer;
use crate::connection::Connection;
use crate::error::BenchError;
use crate::request::{json_request, organization_key, whole_request};
use crate::workload::{Judge, Kind};

/// Connections that prepare side by side, so that they share commits.
const CONNECTIONS: u64 = 8;
/// Decisions in an array, and events in a batch: as many as the server takes.
const DECISIONS: u64 = 1000;
const EVENTS: u64 = 10_000;
/// Events in a row for one organization: a commit then touches few.
const IN_A_ROW: u64 = 100;
/// How much of an unexpected answer is shown.
const SHOWN: usize = 500;

/// The meter that is consumed.
pub const METER: &str = "api_calls";
/// The windows over which it is limited, none of them ever reached.
pub const WINDOWS: [&str; 3] = ["minute", "day", "billingPeriod"];

/// A server that is being prepared.
#[derive(Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The administrator's key.
    pub key: String,
}

impl Target {
    /// Sends one request with a JSON body.
    ///
    /// # Errors
    /// [`BenchError::Setup`] for any answer but a 2xx.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Result<(), BenchError> {
        let mut connection = Connection::open(self.address).await?;
        let request = json_request(method, path, self.address, &self.key, &body.to_string());
        let answer = connection.exchange(&request).await?;
        if (200..300).contains(&answer.status) { Ok(()) } else { Err(refused(&format!("{method} {path}"), answer)) }
    }

    /// Gives the plan of whoever is created without naming one hard limits over three windows, and no trial.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn define_plan(&self) -> Result<(), BenchError> {
        let limit =
            |window: &str| json!({"meter": METER, "window": window, "max": 1_000_000_000, "enforcement": "hard"});
        self.call("PUT", "/v1/plans/free", &json!({"name": "Bench", "limits": WINDOWS.map(limit)})).await
    }

    /// Takes one decision for each of `organizations`, in order of their keys; where the server is set so, that creates
    /// them.
    ///
    /// # Errors
    /// [`BenchError::Setup`] where one is not allowed.
    pub async fn use_each(&self, organizations: u64) -> Result<(), BenchError> {
        self.use_meter(METER, organizations, DECISIONS).await
    }

    /// The same on another meter, so many decisions in an array.
    ///
    /// # Errors
    /// As [`Self::use_each`].
    pub async fn use_meter(&self, meter: &'static str, organizations: u64, size: u64) -> Result<(), BenchError> {
        let body = move |part: u64| {
            let numbers = part * size..((part + 1) * size).min(organizations);
            let decision = |text: &mut String, number| {
                let key = organization_key(number, organizations);
                let _ = write!(text, r#"{{"organization":"{key}","meter":"{meter}"}}"#);
            };
            array(numbers, decision)
        };
        self.send_parts(Kind::ConsumeArray, organizations.div_ceil(size), body).await
    }

    /// Records an event with each of the ids, spread over `organizations`.
    ///
    /// # Errors
    /// [`BenchError::Setup`] where one is not accepted.
    pub async fn record_ids(&self, ids: Range<u64>, organizations: u64) -> Result<(), BenchError> {
        let (start, end) = (ids.start, ids.end);
        let body = move |part: u64| {
            let numbers = start + part * EVENTS..(start + (part + 1) * EVENTS).min(end);
            let event = |text: &mut String, number: u64| {
                let organization = organization_key(number / IN_A_ROW % organizations, organizations);
                let _ = write!(
                    text,
                    r#"{{"specversion":"1.0","id":"{number:x}","source":"/b","type":"{METER}","subject":"{organization}"}}"#
                );
            };
            array(numbers, event)
        };
        self.send_parts(Kind::Events, (end - start).div_ceil(EVENTS), body).await
    }

    /// Sends requests number 0 to `parts` over several connections. `body` gives a body and how many items it has; all of
    /// them must be accepted.
    ///
    /// # Errors
    /// [`BenchError::Setup`] where one is not.
    pub async fn send_parts<F>(&self, kind: Kind, parts: u64, body: F) -> Result<(), BenchError>
    where
        F: Fn(u64) -> (String, u64) + Clone + Send + 'static,
    {
        let next = Arc::new(AtomicU64::new(0));
        let mut senders = JoinSet::new();
        for _ in 0..CONNECTIONS.min(parts) {
            let (target, next, body) = (self.clone(), Arc::clone(&next), body.clone());
            senders.spawn(async move {
                let mut connection = Connection::open(target.address).await?;
                loop {
                    let part = next.fetch_add(1, Ordering::Relaxed);
                    if part >= parts {
                        return Ok(());
                    }
                    let (body, items) = body(part);
                    target.send_part(&mut connection, kind, &body, items).await?;
                }
            });
        }
        while let Some(ended) = senders.join_next().await {
            ended.map_err(|error| BenchError::io("preparing the server")(error.into()))??;
        }
        Ok(())
    }

    async fn send_part(&self, to: &mut Connection, kind: Kind, body: &str, items: u64) -> Result<(), BenchError> {
        let request = whole_request(("POST", kind.path()), kind.content_type(), self.address, &self.key, body);
        let answer = to.exchange(&request).await?;
        let verdict = Judge::new(kind, items).verdict(answer);
        if verdict.accepted == items { Ok(()) } else { Err(refused(kind.path(), answer)) }
    }
}

/// The items with these numbers as a JSON array, and how many they are.
pub fn array(numbers: Range<u64>, item: impl Fn(&mut String, u64)) -> (String, u64) {
    let items = numbers.end - numbers.start;
    let mut text = String::from("[");
    for number in numbers {
        if text.len() > 1 {
            text.push(',');
        }
        item(&mut text, number);
    }
    text.push(']');
    (text, items)
}

fn refused(request: &str, answer: Answer<'_>) -> BenchError {
    let shown = &answer.body[..answer.body.len().min(SHOWN)];
    BenchError::Setup {
        request: request.to_owned(),
        status: answer.status,
        body: String::from_utf8_lossy(shown).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_has_its_items_between_commas() {
        let item = |text: &mut String, number: u64| {
            let _ = write!(text, "{number}");
        };
        assert_eq!(array(3..6, item), ("[3,4,5]".into(), 3));
        assert_eq!(array(3..3, item), ("[]".into(), 0));
    }
}
