//! A receiver of webhooks of the tests: it takes what comes with 200, unless it was told to do something else with the next.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

/// How long a test waits for something, in looks of 20 ms.
const PATIENCE: usize = 1500;

/// What is done with a request.
#[derive(Clone, Debug)]
pub(in super::super) enum How {
    /// It is answered so: a status, lines of the head, a body.
    Answer(u16, String, String),
    /// Nothing is said any more.
    Hang,
}

impl How {
    pub(super) fn status(status: u16) -> Self {
        Self::Answer(status, String::new(), format!("that is {status}"))
    }

    pub(super) fn with(status: u16, header: &str) -> Self {
        Self::Answer(status, format!("{header}\r\n"), String::new())
    }
}

/// A request as it came, whatever was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Received {
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    pub(in super::super) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(super) fn seconds(&self) -> i64 {
        self.header("webhook-timestamp").parse().unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }
}

/// The receiver. It ends with this.
pub(in super::super) struct Receiver {
    pub(in super::super) url: String,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    hung: AtomicUsize,
    next: Mutex<HashMap<String, VecDeque<How>>>,
    received: Mutex<Vec<Received>>,
}

impl Receiver {
    pub(in super::super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        let listening = std::thread::spawn(move || {
            let mut serving: Vec<JoinHandle<()>> = Vec::new();
            while !own.stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let own = Arc::clone(&own);
                        // Who has gone in between has nothing to be told.
                        serving.push(std::thread::spawn(move || drop(serve(&stream, &own))));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
            serving.into_iter().for_each(|serving| serving.join().unwrap());
        });
        Self { url, shared, listening: Some(listening) }
    }

    /// What is done with the next requests to a path.
    pub(in super::super) fn next(&self, path: &str, all: impl IntoIterator<Item = How>) {
        self.shared.next.lock().entry(path.to_owned()).or_default().extend(all);
    }

    /// What has come to a path so far.
    pub(in super::super) fn at(&self, path: &str) -> Vec<Received> {
        self.shared.received.lock().iter().filter(|received| received.path == path).cloned().collect()
    }

    /// What came to a path as this number, from 0, once it has.
    pub(in super::super) fn received(&self, path: &str, number: usize) -> Received {
        let look = || self.at(path).get(number).cloned();
        wait(look).unwrap_or_else(|| panic!("nothing came to {path} as number {number}: {:?}", self.at(path)))
    }

    /// Waits until nothing is said any more to so many.
    pub(super) fn hung(&self, count: usize) {
        let hangs = || (self.shared.hung.load(Ordering::Relaxed) >= count).then_some(());
        assert!(wait(hangs).is_some(), "nobody came");
    }
}

/// Waits until something is there.
pub(super) fn wait<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    (0..PATIENCE).find_map(|_| {
        let found = look();
        if found.is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        found
    })
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = self.listening.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the receiver of the test panicked");
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        lines.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    lines.read_exact(&mut body)?;
    let how = shared.next.lock().get_mut(&path).and_then(VecDeque::pop_front);
    shared.received.lock().push(Received { path, headers, body: String::from_utf8(body).unwrap() });
    answer(stream, how.unwrap_or_else(|| How::status(200)), shared)
}

fn answer(mut stream: &TcpStream, how: How, shared: &Shared) -> std::io::Result<()> {
    let How::Answer(status, head, body) = how else {
        shared.hung.fetch_add(1, Ordering::Relaxed);
        while !shared.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
        return Ok(());
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} So\r\n{head}content-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
