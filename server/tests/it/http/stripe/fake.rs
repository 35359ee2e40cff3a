//! A Stripe of the tests: it has subscriptions, makes events of what becomes of them, and answers those who ask, unless it was
//! told to do something else.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use metergate::hex::hex;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// The key by which it is asked, and the secret by which it signs.
pub(super) const API_KEY: &str = "sk_test_of_these_tests";
pub(super) const SECRET: &str = "whsec_of_these_tests";

/// What is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It is answered with this status, and so many seconds to wait.
    Refuse(u16, u64),
    /// Nothing is said for so many milliseconds; then it is answered.
    Delay(u64),
    /// It is never answered.
    Hang,
}

#[derive(Default)]
struct World {
    subscriptions: HashMap<String, Value>,
    /// All that were made, whether somebody heard of them or not.
    events: Vec<Value>,
    /// What is done with the next calls about a subscription.
    next: HashMap<String, VecDeque<How>>,
    /// What is done with calls at random: of a hundred so many are refused.
    refused: u64,
    /// And so many are answered late: with what held when they came.
    delayed: u64,
    random: u64,
    /// Each call with its body.
    asked: Vec<(String, String)>,
    /// The keys under which pages were wanted, in order.
    keys: Vec<String>,
    /// The pages that were made, each once under its key.
    pages: HashMap<String, Vec<String>>,
}

/// It runs until this goes.
pub(super) struct Stripe {
    world: Arc<Mutex<World>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
    /// Where it is asked.
    pub(super) url: String,
}

impl Stripe {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (world, stop) = (Arc::<Mutex<World>>::default(), Arc::<AtomicBool>::default());
        world.lock().random = 88_172_645_463_325_252;
        let (seen, stopped) = (Arc::clone(&world), Arc::clone(&stop));
        let accept = move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (world, stopped) = (Arc::clone(&seen), Arc::clone(&stopped));
                std::thread::spawn(move || drop(answer(stream.unwrap(), &world, &stopped)));
            }
        };
        Self { world, stop, accepting: Some(std::thread::spawn(accept)), url }
    }

    /// The settings of a server that asks it and takes its webhooks.
    pub(super) fn settings(&self) -> [(&str, &str); 3] {
        [
            ("METERGATE_STRIPE_WEBHOOK_SECRET", SECRET),
            ("METERGATE_STRIPE_API_KEY", API_KEY),
            ("METERGATE_STRIPE_API_URL", &self.url),
        ]
    }

    /// From now on a subscription is so; nobody is told.
    pub(super) fn put(&self, subscription: &Value) {
        let id = subscription["id"].as_str().unwrap().to_owned();
        self.world.lock().subscriptions.insert(id, subscription.clone());
    }

    pub(super) fn forget(&self, id: &str) {
        self.world.lock().subscriptions.remove(id);
    }

    pub(super) fn is(&self, id: &str) -> Value {
        self.world.lock().subscriptions[id].clone()
    }

    /// An event, which can be listed from now on.
    pub(super) fn event(&self, kind: &str, created: i64, object: &Value) -> Value {
        let mut world = self.world.lock();
        let event = event(&format!("evt_{}", world.events.len() + 1), kind, created, object);
        world.events.push(event.clone());
        event
    }

    /// What is done with the next calls about a subscription.
    pub(super) fn next(&self, id: &str, all: impl IntoIterator<Item = How>) {
        self.world.lock().next.entry(id.to_owned()).or_default().extend(all);
    }

    /// Of a hundred calls so many are refused from now on.
    pub(super) fn refuse(&self, of_hundred: u64) {
        self.world.lock().refused = of_hundred;
    }

    /// Of a hundred calls so many are answered late from now on, up to a third of a second.
    pub(super) fn delay(&self, of_hundred: u64) {
        self.world.lock().delayed = of_hundred;
    }

    /// The keys under which pages were wanted, in order.
    pub(super) fn keys(&self) -> Vec<String> {
        self.world.lock().keys.clone()
    }

    /// The calls whose path begins so.
    pub(super) fn asked(&self, path: &str) -> Vec<(String, String)> {
        let world = self.world.lock();
        world.asked.iter().filter(|(asked, _)| asked.starts_with(path)).cloned().collect()
    }
}

impl Drop for Stripe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

/// An event as Stripe writes it.
pub(super) fn event(id: &str, kind: &str, created: i64, object: &Value) -> Value {
    json!({"id": id, "object": "event", "type": kind, "created": created, "data": {"object": object}})
}

/// What Stripe's header says of a body.
pub(super) fn signed(body: &str, secret: &str, at: i64) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", hex(&mac.finalize().into_bytes()))
}

fn answer(mut stream: TcpStream, world: &Mutex<World>, stopped: &AtomicBool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length, mut is_known, mut key) = (String::new(), 0, false, String::new());
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        length = header.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
        key = header.strip_prefix("idempotency-key: ").map_or(key, str::to_owned);
        is_known |= header == format!("authorization: bearer {API_KEY}");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let (how, (mut status, mut said)) = {
        let mut world = world.lock();
        world.asked.push((path.clone(), String::from_utf8(body).unwrap()));
        let how = world.how(&path);
        // What it says is what holds when it begins to say it.
        (how, if is_known { world.said(&path, &key) } else { (401, json!({})) })
    };
    let mut wait = None;
    match how {
        Some(How::Refuse(refused, seconds)) => {
            (status, said, wait) = (refused, json!({"error": {"message": "not now"}}), Some(seconds));
        }
        Some(How::Delay(millis)) => std::thread::sleep(Duration::from_millis(millis)),
        Some(How::Hang) => {
            while !stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
        None => {}
    }
    let said = said.to_string();
    let wait = wait.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n{wait}");
    write!(stream, "{head}content-length: {}\r\n\r\n{said}", said.len())
}

impl World {
    fn how(&mut self, path: &str) -> Option<How> {
        let id = path.rsplit('/').next().unwrap_or_default();
        if let Some(next) = self.next.get_mut(&decoded(id)).and_then(VecDeque::pop_front) {
            return Some(next);
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let statuses = [429, 500, 503];
        let status = statuses[usize::try_from(self.random % 3).unwrap()];
        let (refused, late) = (self.random / 7 % 100, self.random / 701 % 100);
        match () {
            () if refused < self.refused => Some(How::Refuse(status, u64::from(status == 429))),
            () if late < self.delayed => Some(How::Delay(20 + self.random / 70_001 % 300)),
            () => None,
        }
    }

    /// The page of a key, which is made where there is none.
    fn page(&mut self, path: &str, key: &str, begins: &str) -> (u16, Value) {
        self.keys.push(key.to_owned());
        let keys = self.pages.entry(path.to_owned()).or_default();
        let known = keys.iter().position(|known| known == key && !key.is_empty());
        let at = known.unwrap_or_else(|| {
            keys.push(key.to_owned());
            keys.len() - 1
        });
        (200, json!({"url": format!("{begins}{}", at + 1)}))
    }

    fn said(&mut self, path: &str, key: &str) -> (u16, Value) {
        if let Some(id) = path.strip_prefix("/v1/subscriptions/") {
            let found = self.subscriptions.get(&decoded(id));
            return found.map_or((404, json!({"error": {"message": "no such"}})), |found| (200, found.clone()));
        }
        if let Some(query) = path.strip_prefix("/v1/events?") {
            return (200, self.listed(query));
        }
        match path {
            "/v1/billing_portal/sessions" => self.page(path, key, "https://billing.stripe.com/p/session/"),
            "/v1/checkout/sessions" => self.page(path, key, "https://checkout.stripe.com/c/pay/"),
            _ => (404, json!({})),
        }
    }

    /// Events, the newest first, a few at a time.
    fn listed(&self, query: &str) -> Value {
        let values = |name: &str| {
            let named = query
                .split('&')
                .filter_map(|pair| decoded(pair).split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())));
            named.filter(|(found, _)| found == name).map(|(_, value)| value).collect::<Vec<_>>()
        };
        let since: i64 = values("created[gte]")[0].parse().unwrap();
        let kinds = values("types[]");
        let wanted = |event: &&Value| {
            event["created"].as_i64().unwrap() >= since && kinds.iter().any(|kind| event["type"] == kind.as_str())
        };
        let all: Vec<&Value> = self.events.iter().rev().filter(wanted).collect();
        let after = values("starting_after");
        let from =
            after.first().map_or(0, |after| all.iter().position(|event| event["id"] == after.as_str()).unwrap() + 1);
        let page: Vec<&Value> = all.iter().skip(from).take(7).copied().collect();
        json!({"object": "list", "has_more": from + page.len() < all.len(), "data": page})
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}
