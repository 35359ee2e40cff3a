//! The nodes: processes that come and go, each behind a proxy to PostgreSQL and one to Redis, with a clock of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, io, thread};

use metergate::clock::boot;
use metergate_rules::time::SECOND;
use parking_lot::RwLock;

use super::super::http::{Call, Client, Response};
use super::super::process::{Faults, Server};
use super::super::workload::Door;
use crate::proxy::Proxy;
use crate::servers::{address_in, prefix, redis, through};
use crate::store::Random;

/// How long a caller waits for an answer at most, in microseconds: the deadline of five seconds, and what a busy machine needs.
pub(super) const DEADLINE: i64 = 8 * SECOND;
/// A start fails where PostgreSQL does not answer just then; so often it is tried.
const STARTS: usize = 5;

/// One of them.
pub(super) struct Node {
    folder: PathBuf,
    settings: Vec<(&'static str, String)>,
    bug: Option<&'static str>,
    fail_points: &'static str,
    pub(super) postgres: Proxy,
    pub(super) redis: Proxy,
    server: RwLock<Option<Server>>,
    /// Where it answers, and how often it was started by then.
    lives: RwLock<Option<(SocketAddr, usize)>>,
    starts: AtomicUsize,
}

impl Node {
    fn new(
        number: usize,
        folder: &Path,
        (database, prefix): (&str, &str),
        lanes: usize,
        bug: Option<&'static str>,
    ) -> Self {
        let own = folder.join(format!("node-{number}"));
        fs::create_dir_all(own.join("data")).unwrap();
        fs::copy(folder.join("catalogue.toml"), own.join("catalogue.toml")).unwrap();
        let postgres = Proxy::before(address_in(database));
        let redis_url = redis();
        let redis = Proxy::before(address_in(&redis_url));
        let settings = vec![
            ("METERGATE_DATABASE_URL", through(database, &postgres.address())),
            ("METERGATE_REDIS_URL", through(&redis_url, &redis.address())),
            ("METERGATE_REDIS_PREFIX", prefix.to_owned()),
            ("METERGATE_SWEEP_SECONDS", "1".to_owned()),
            ("METERGATE_POSTGRES_LANES", lanes.to_string()),
        ];
        let (server, lives) = (RwLock::default(), RwLock::default());
        // Every second one takes it that nobody else is there as soon as it has not met anybody for a moment.
        let fail_points = if number % 2 == 1 { "trusts-soon=return" } else { "" };
        Self { folder: own, settings, bug, fail_points, postgres, redis, server, lives, starts: AtomicUsize::new(0) }
    }

    /// With a wall clock that is so many microseconds off.
    pub(super) fn start(&self, off: i64) {
        let started = (0..STARTS).find_map(|_| self.try_to_start(off).ok());
        let server = started.unwrap_or_else(|| panic!("a node does not start: {}", self.log()));
        let starts = self.starts.fetch_add(1, Ordering::Relaxed);
        *self.lives.write() = Some((server.address, starts));
        *self.server.write() = Some(server);
    }

    /// # Errors
    /// How it ended, if it ended before it answered.
    pub(super) fn try_to_start(&self, off: i64) -> Result<Server, ExitStatus> {
        let settings = [&self.settings[..], &[("METERGATE_CLOCK_OFF", off.to_string())][..]].concat();
        let faults = Faults { planted: self.bug, fail_points: self.fail_points.to_owned() };
        Server::start_with(&[], &self.folder, &faults, &settings)
    }

    /// `kill -9`.
    pub(super) fn kill(&self) {
        *self.lives.write() = None;
        if let Some(server) = self.server.write().take() {
            server.kill();
        }
    }

    /// SIGTERM.
    pub(super) fn stop(&self) {
        *self.lives.write() = None;
        if let Some(server) = self.server.write().take() {
            server.stop();
        }
    }

    /// How it ended: it must, by itself, while nobody asks for anything.
    pub(super) fn ends(&self) -> ExitStatus {
        *self.lives.write() = None;
        let mut server = self.server.write().take().expect("the node runs");
        server.ended().unwrap_or_else(|| panic!("it runs on: {}", self.log()))
    }

    pub(super) fn heal(&self) {
        self.postgres.heal();
        self.redis.heal();
    }

    /// What asks it as if it were alone.
    pub(super) fn with<T>(&self, ask: impl FnOnce(&Server) -> T) -> T {
        ask(self.server.read().as_ref().expect("the node runs"))
    }

    /// What it has said on standard error.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }
}

/// All of them.
pub(super) struct Nodes {
    pub(super) all: Vec<Node>,
    /// Callers have done enough.
    pub(super) over: AtomicBool,
    /// How long somebody waited for an answer, at most, in microseconds.
    pub(super) longest: AtomicI64,
}

impl Nodes {
    /// So many on a database. None runs yet.
    pub(super) fn new(count: usize, folder: &Path, database: &str, lanes: usize, bug: Option<&'static str>) -> Self {
        let prefix = prefix();
        let node = |number| Node::new(number, folder, (database, &prefix), lanes, bug);
        let (over, longest) = (AtomicBool::new(false), AtomicI64::new(0));
        Self { all: (0..count).map(node).collect(), over, longest }
    }

    /// A caller's way to them.
    pub(super) fn door(&self, random: &mut Random) -> Among<'_> {
        let at = usize::try_from(random.below(i64::try_from(self.all.len()).unwrap())).unwrap();
        Among { nodes: self, at, client: None }
    }
}

/// Stays with one node until that fails, and then asks the next.
pub(super) struct Among<'a> {
    nodes: &'a Nodes,
    at: usize,
    client: Option<((SocketAddr, usize), Client)>,
}

/// What is known of a call that was not answered: nothing.
const UNANSWERED: Response = Response { status: 503, replayed: false, retry_after: None, body: String::new() };

impl Among<'_> {
    /// The answer, and of which node in which of its lives.
    pub(super) fn ask(&mut self, call: &Call) -> (Response, (usize, usize)) {
        let began = boot();
        let asked = self.at;
        let answered = self.client().and_then(|(life, client)| Ok((client.call(call)?, *life)));
        self.nodes.longest.fetch_max(boot() - began, Ordering::Relaxed);
        match answered {
            Ok((response, life)) => {
                if response.status == 503 {
                    assert!(response.retry_after.is_some(), "no Retry-After: {response:?}");
                    self.go_on();
                }
                (response, (asked, life))
            }
            Err(_) => {
                self.go_on();
                (UNANSWERED, (asked, usize::MAX))
            }
        }
    }

    fn client(&mut self) -> io::Result<(&usize, &mut Client)> {
        let life = *self.nodes.all[self.at].lives.read();
        let Some(life) = life else { return Err(io::ErrorKind::NotConnected.into()) };
        if self.client.as_ref().is_none_or(|(known, _)| *known != life) {
            self.client = Some((life, Client::connect(life.0)?));
        }
        let ((_, starts), client) = self.client.as_mut().expect("it was made now");
        Ok((starts, client))
    }

    fn go_on(&mut self) {
        self.client = None;
        self.at = (self.at + 1) % self.nodes.all.len();
        // Where all are gone there is nothing to do but wait.
        thread::sleep(Duration::from_millis(5));
    }
}

impl Door for Among<'_> {
    const OTHERS: usize = 2;

    fn call(&mut self, call: &Call) -> io::Result<Response> {
        if self.nodes.over.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(self.ask(call).0)
    }
}
