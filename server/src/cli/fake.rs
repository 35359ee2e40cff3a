//! A server for tests: it keeps what it is sent, counts each event once, and fails when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use super::client::{Client, Patience};
use super::screen::Screen;
use crate::config::Secret;

/// How a request fails.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// Nothing is done, and the answer is this status.
    Status(u16),
    /// Nothing is done, and the connection closes.
    HangUp,
    /// It is done, but the connection closes before the answer.
    LoseAnswer,
}

/// A fault of the request that comes after `skip` others of its kind.
struct Planned {
    kind: &'static str,
    skip: usize,
    fault: Fault,
}

#[derive(Default)]
pub(super) struct State {
    /// Every request as `METHOD /path`, with its body.
    pub(super) requests: Vec<(String, String)>,
    /// The events that were counted, by organization, source and id.
    pub(super) events: BTreeMap<(String, String, String), Value>,
    /// The records of imports, by the path's last segment.
    pub(super) imports: BTreeMap<String, Value>,
    /// Answers to other requests: status and body by `METHOD /path`.
    pub(super) answers: BTreeMap<String, (u16, String)>,
    /// Organizations whose events are rejected.
    pub(super) unknown: BTreeSet<String>,
    /// The times whose events are rejected.
    pub(super) refused_times: BTreeSet<String>,
    planned: Vec<Planned>,
}

/// A running fake.
pub(super) struct Fake {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
}

impl Fake {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || converse(&stream, &state));
            }
        });
        Self { url, state }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Answers `METHOD /path` with a status and body.
    pub(super) fn answer(&self, request: &str, status: u16, body: &Value) {
        self.state().answers.insert(request.to_owned(), (status, body.to_string()));
    }

    /// Fails the request of this kind (`METHOD /path…`) that comes after `skip` others.
    pub(super) fn fail(&self, kind: &'static str, skip: usize, fault: Fault) {
        self.state().planned.push(Planned { kind, skip, fault });
    }

    /// A client that does not wait long.
    pub(super) fn client(&self) -> Client {
        let patience = Patience {
            attempts: 3,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(2),
            reconnect: true,
        };
        Client::new(&self.url, Some(Secret::new("key".to_owned()))).unwrap().patient(patience)
    }

    /// How many requests of this kind came.
    pub(super) fn count(&self, kind: &str) -> usize {
        self.state().requests.iter().filter(|(request, _)| request.starts_with(kind)).count()
    }
}

fn converse(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while let Some((request, body)) = read(&mut reader) {
        let Some((status, body)) = state.lock().act(&request, &body) else { return };
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nRetry-After: 0\r\n\r\n{body}", body.len());
        let mut writer = stream;
        if writer.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let request = line.rsplit_once(' ')?.0.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((request, String::from_utf8(body).ok()?))
}

impl State {
    /// From here on nothing fails.
    pub(super) fn clear_faults(&mut self) {
        self.planned.clear();
    }

    /// Status and body of the answer; nothing where the connection is to close.
    fn act(&mut self, request: &str, body: &str) -> Option<(u16, String)> {
        self.requests.push((request.to_owned(), body.to_owned()));
        match self.fault(request) {
            Some(Fault::Status(status)) => Some((status, json!({"title": "Planned", "status": status}).to_string())),
            Some(Fault::HangUp) => None,
            Some(Fault::LoseAnswer) => {
                self.answer(request, body);
                None
            }
            None => Some(self.answer(request, body)),
        }
    }

    fn fault(&mut self, request: &str) -> Option<Fault> {
        let place = self.planned.iter().position(|planned| request.starts_with(planned.kind))?;
        let planned = self.planned.get_mut(place)?;
        if planned.skip == 0 {
            return Some(self.planned.remove(place).fault);
        }
        planned.skip -= 1;
        None
    }

    fn answer(&mut self, request: &str, body: &str) -> (u16, String) {
        let nothing = || (404, json!({"title": "Not found", "status": 404, "code": "not-found"}).to_string());
        if let Some(answer) = self.answers.get(request) {
            return answer.clone();
        }
        match request.split_once("/v1/imports/") {
            Some(("GET ", source)) => return self.imports.get(source).map_or_else(nothing, |it| (200, it.to_string())),
            Some(("PUT ", source)) => {
                self.imports.insert(source.to_owned(), serde_json::from_str(body).unwrap());
                return (200, body.to_owned());
            }
            _ => {}
        }
        if request == "POST /v1/events" { (200, self.take(body).to_string()) } else { nothing() }
    }

    fn take(&mut self, body: &str) -> Value {
        let (mut accepted, mut duplicates, mut rejected) = (0, 0, Vec::new());
        for (index, event) in serde_json::from_str::<Vec<Value>>(body).unwrap().into_iter().enumerate() {
            let [subject, source, id, time] =
                ["subject", "source", "id", "time"].map(|name| event[name].as_str().unwrap().to_owned());
            if self.unknown.contains(&subject) || self.refused_times.contains(&time) {
                rejected.push(json!({"index": index, "id": id, "reason": "refused", "detail": "as planned"}));
            } else if self.events.insert((subject, source, id), event).is_some() {
                duplicates += 1;
            } else {
                accepted += 1;
            }
        }
        json!({"accepted": accepted, "duplicates": duplicates, "rejected": rejected})
    }
}

/// A screen that keeps what is said, and answers as told.
#[derive(Default)]
pub(super) struct Paper {
    pub(super) printed: Mutex<Vec<String>>,
    pub(super) notes: Mutex<Vec<String>>,
    /// The answer to every question; nothing where nobody is there.
    pub(super) says: Option<bool>,
}

impl Paper {
    pub(super) fn saying(says: bool) -> Self {
        Self { says: Some(says), ..Self::default() }
    }

    /// Everything printed, in lines.
    pub(super) fn text(&self) -> String {
        self.printed.lock().join("\n")
    }

    /// Every note, in lines.
    pub(super) fn notes(&self) -> String {
        self.notes.lock().join("\n")
    }
}

impl Screen for Paper {
    fn print(&self, text: &str) {
        self.printed.lock().push(text.to_owned());
    }

    fn note(&self, text: &str) {
        self.notes.lock().push(text.to_owned());
    }

    fn confirm(&self, question: &str) -> Option<bool> {
        self.note(question);
        self.says
    }
}
