//! What the proxy does to a server that echoes.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use metergate::clock;
use parking_lot::Mutex;

use super::{Proxy, Way};

/// An echo, and all that it was told.
struct Echo {
    address: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Echo {
    /// Its threads end with the process of the test.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, heard) = (listener.local_addr().unwrap().to_string(), Arc::<Mutex<Vec<u8>>>::default());
        let hears = Arc::clone(&heard);
        std::thread::spawn(move || {
            for mut connection in listener.incoming().map(Result::unwrap) {
                let hears = Arc::clone(&hears);
                std::thread::spawn(move || {
                    let mut piece = [0; 1024];
                    while let Ok(length @ 1..) = connection.read(&mut piece) {
                        hears.lock().extend(&piece[..length]);
                        let _ = connection.write_all(&piece[..length]);
                    }
                });
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> String {
        String::from_utf8(self.heard.lock().clone()).unwrap()
    }
}

fn connect(proxy: &Proxy) -> TcpStream {
    let connection = TcpStream::connect(proxy.address()).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    connection
}

/// What comes back; `None` where the connection has ended.
fn say(connection: &mut TcpStream, text: &str) -> Option<String> {
    connection.write_all(text.as_bytes()).ok()?;
    hear(connection, text.len())
}

fn hear(connection: &mut TcpStream, length: usize) -> Option<String> {
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer).ok()?;
    Some(String::from_utf8(answer).unwrap())
}

/// Whether nothing comes within a tenth of a second.
fn is_silent(connection: &mut TcpStream) -> bool {
    connection.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let read = connection.read(&mut [0]);
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn becomes(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..4000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what}: not within twenty seconds");
}

#[test]
fn it_lets_through_what_it_is_not_told_to_disturb() {
    let echo = Echo::start();
    let proxy = Proxy::before(&echo.address);
    let (mut one, mut other) = (connect(&proxy), connect(&proxy));
    assert_eq!(say(&mut one, "one").as_deref(), Some("one"));
    assert_eq!(say(&mut other, &"x".repeat(200_000)).unwrap().len(), 200_000);
    proxy.delay(Duration::from_millis(60));
    let began = clock::boot();
    assert_eq!(say(&mut one, "slow").as_deref(), Some("slow"));
    assert!(clock::boot() - began >= 120_000, "it waited both ways");
}

#[test]
fn what_it_holds_back_arrives_once_it_is_healed() {
    let echo = Echo::start();
    let proxy = Proxy::before(&echo.address);
    let mut line = connect(&proxy);
    assert!(say(&mut line, "a").is_some());
    proxy.hold_one_way(Way::ToClient);
    line.write_all(b"b").unwrap();
    becomes("the server hears it", || echo.heard() == "ab");
    assert!(is_silent(&mut line));
    proxy.hold();
    line.write_all(b"c").unwrap();
    assert!(is_silent(&mut line) && echo.heard() == "ab");
    proxy.heal();
    assert_eq!(hear(&mut line, 2).as_deref(), Some("bc"));
}

#[test]
fn it_refuses_and_cuts() {
    let echo = Echo::start();
    let proxy = Proxy::before(&echo.address);
    let mut line = connect(&proxy);
    assert!(say(&mut line, "a").is_some());
    proxy.refuse();
    assert_eq!(say(&mut connect(&proxy), "b"), None);
    assert!(say(&mut line, "c").is_some(), "who was there stays");
    proxy.cut();
    assert_eq!(say(&mut line, "d"), None);
    proxy.heal();
    assert_eq!(say(&mut connect(&proxy), "e").as_deref(), Some("e"));
    proxy.cut_after(5);
    let mut line = connect(&proxy);
    line.write_all(b"123").unwrap();
    assert_eq!(hear(&mut line, 2).as_deref(), Some("12"));
    assert_eq!(hear(&mut line, 1), None, "three there and two back are five");
    proxy.heal();
    std::thread::scope(|scope| {
        scope.spawn(|| proxy.flap(3, Duration::from_millis(20)));
    });
    assert!(say(&mut connect(&proxy), "f").is_some(), "it has stopped flapping");
}

#[test]
fn the_reply_of_a_request_is_lost_and_the_connection_with_it() {
    let echo = Echo::start();
    let proxy = Proxy::before(&echo.address);
    proxy.lose_reply_of(&[b"-", b"COMMIT"]);
    let (mut line, mut other) = (connect(&proxy), connect(&proxy));
    assert!(say(&mut line, "BEGIN").is_some());
    assert_eq!(say(&mut line, "COMMIT"), None);
    assert!(echo.heard().ends_with("COMMIT") && proxy.sprung() == 1);
    assert!(say(&mut other, "COMMIT").is_some(), "only once");
}

#[test]
fn a_request_is_lost_and_the_connection_with_it() {
    let echo = Echo::start();
    let proxy = Proxy::before(&echo.address);
    proxy.lose(&[b"COMMIT"]);
    let (mut line, mut other) = (connect(&proxy), connect(&proxy));
    assert!(say(&mut line, "BEGIN").is_some());
    assert_eq!(say(&mut line, "COMMIT"), None);
    assert!(echo.heard() == "BEGIN" && proxy.sprung() == 1);
    assert!(say(&mut other, "COMMIT").is_some(), "only once");
}

#[test]
fn a_request_arrives_again_later_and_nobody_sees_its_reply() {
    let echo = Echo::start();
    let (proxy, later) = (Proxy::before(&echo.address), Duration::from_millis(200));
    proxy.repeat(b"twice", later);
    let mut line = connect(&proxy);
    assert_eq!(say(&mut line, "once").as_deref(), Some("once"));
    let began = clock::boot();
    assert_eq!(say(&mut line, "twice").as_deref(), Some("twice"));
    let repeated = proxy.repeated();
    assert!(repeated == 0 || clock::boot() - began >= 200_000, "not at once");
    becomes("it arrives again", || proxy.repeated() == 1);
    assert!(clock::boot() - began >= 200_000, "not before its time");
    assert_eq!(echo.heard(), "oncetwicetwice");
    assert!(is_silent(&mut line));
}
