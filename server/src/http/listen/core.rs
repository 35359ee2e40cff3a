//! One core: accepts connections, runs them, looks after their times, and drains them at the end.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;
use tokio::time::{interval, sleep, timeout};

use super::connection::{Watch, Watched, drive};
use super::{Listening, Peer};

/// The largest header, and far less than hyper's buffer.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// How often a core looks at its connections at most and at least.
const TICK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));
/// After an error that is the machine's and not the client's (no descriptors left), before accepting again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one client above the bound may take to hear so, and how many may at once; those above these hear nothing.
const FAREWELL: (Duration, usize) = (Duration::from_secs(1), 64);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
    cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 158\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"Too many connections are open. Close some, or wait.\",\"code\":\"too-many-connections\"}";

/// [`Listening`]'s times in ticks.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) header: u32,
    pub(super) write: u32,
    pub(super) idle: u32,
}

/// One core.
#[derive(Debug)]
pub(super) struct Core {
    listening: Listening,
    pub(super) limits: Limits,
    tick: Duration,
    ticks: Cell<u32>,
    draining_since: Cell<Option<u32>>,
    /// Over all cores.
    connections: Arc<AtomicUsize>,
    /// On this core.
    open: Cell<usize>,
    turned_away: Cell<usize>,
    closed: Notify,
    watches: RefCell<Vec<Weak<Watch>>>,
}

impl Core {
    pub(super) fn new(listening: Listening, connections: Arc<AtomicUsize>) -> Rc<Self> {
        let shortest = listening.header_timeout.min(listening.write_timeout).min(listening.idle_timeout);
        let tick = (shortest / 8).clamp(TICK.0, TICK.1);
        let ticks = |time: Duration| u32::try_from(time.as_millis() / tick.as_millis()).unwrap_or(u32::MAX);
        let (header, write, idle) = (listening.header_timeout, listening.write_timeout, listening.idle_timeout);
        Rc::new(Self {
            listening,
            limits: Limits { header: ticks(header), write: ticks(write), idle: ticks(idle) },
            tick,
            ticks: Cell::new(0),
            draining_since: Cell::new(None),
            connections,
            open: Cell::new(0),
            turned_away: Cell::new(0),
            closed: Notify::new(),
            watches: RefCell::new(Vec::new()),
        })
    }

    /// Serves until the shutdown and its drain are over; the number of connections that were cut off then.
    pub(super) async fn run<S, B>(
        self: Rc<Self>,
        listener: TcpListener,
        service: S,
        mut shutdown: watch::Receiver<bool>,
    ) -> usize
    where
        S: Service<Request<Incoming>, Response = Response<B>> + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let service = Rc::new(service);
        let looking = spawn_local(self.clone().look_after());
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = self.accept_for_ever(&listener, &service) => {}
        }
        self.accept_waiting(&listener, &service).await;
        drop(listener);
        self.drain().await;
        looking.abort();
        self.open.get()
    }

    async fn accept_for_ever<S, B>(self: &Rc<Self>, listener: &TcpListener, service: &Rc<S>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.take(stream, peer, service),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Whoever connected before the shutdown is answered: closing the socket would reset them.
    async fn accept_waiting<S, B>(self: &Rc<Self>, listener: &TcpListener, service: &Rc<S>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        while let Ok(Ok((stream, peer))) = timeout(Duration::ZERO, listener.accept()).await {
            self.take(stream, peer, service);
        }
    }

    fn take<S, B>(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, service: &Rc<S>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        // Where it fails the connection is slower, not wrong.
        let _ = stream.set_nodelay(true);
        match Admitted::new(self) {
            Some(admitted) => drop(spawn_local(serve_connection(admitted, stream, peer, service.clone()))),
            None => self.turn_away(stream),
        }
    }

    fn turn_away(self: &Rc<Self>, stream: TcpStream) {
        if self.turned_away.get() >= FAREWELL.1 {
            return;
        }
        self.turned_away.set(self.turned_away.get() + 1);
        let core = self.clone();
        spawn_local(async move {
            let _ = timeout(FAREWELL.0, say_full(stream)).await;
            core.turned_away.set(core.turned_away.get() - 1);
        });
    }

    /// Looks at every connection each tick.
    async fn look_after(self: Rc<Self>) {
        let mut ticks = interval(self.tick);
        loop {
            ticks.tick().await;
            self.ticks.set(self.ticks.get().wrapping_add(1));
            self.look();
        }
    }

    fn look(&self) {
        self.watches.borrow_mut().retain(|watch| watch.upgrade().inspect(|watch| watch.look()).is_some());
    }

    async fn drain(&self) {
        self.draining_since.set(Some(self.now()));
        self.look();
        let empty = async {
            while self.open.get() > 0 {
                self.closed.notified().await;
            }
        };
        let _ = timeout(self.listening.drain_timeout, empty).await;
    }

    /// The present tick.
    pub(super) fn now(&self) -> u32 {
        self.ticks.get()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining_since.get().is_some()
    }

    /// Whether a request that a client had sent before the shutdown must have been read by now.
    pub(super) fn has_drained_a_moment(&self) -> bool {
        self.draining_since.get().is_some_and(|since| self.now().wrapping_sub(since) >= 2)
    }
}

/// A connection within the bound; counts until it is dropped.
struct Admitted(Rc<Core>);

impl Admitted {
    fn new(core: &Rc<Core>) -> Option<Self> {
        let bound = core.listening.max_connections;
        let one_more = |open: usize| (open < bound).then_some(open + 1);
        core.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        core.open.set(core.open.get() + 1);
        Some(Self(core.clone()))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.open.set(self.0.open.get() - 1);
        self.0.closed.notify_one();
    }
}

async fn serve_connection<S, B>(admitted: Admitted, stream: TcpStream, peer: SocketAddr, service: Rc<S>)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let watch = Rc::new(Watch::new(admitted.0.clone()));
    admitted.0.watches.borrow_mut().push(Rc::downgrade(&watch));
    let answer = service_fn(|mut request: Request<Incoming>| {
        let running = watch.begin();
        request.extensions_mut().insert(Peer(peer));
        let response = service.call(request);
        async move { response.await.map(|response| running.answer(response)) }
    });
    let io = TokioIo::new(Watched { stream, watch: watch.clone() });
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_header_size(MAX_HEADER_BYTES);
    drive(http.serve_connection(io, answer), &watch, |connection| connection.graceful_shutdown()).await;
}

/// Errors that concern one connection: the next may be accepted at once.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Answers 503, then reads what the client still sends: closing before that would take the answer back from it.
async fn say_full(stream: TcpStream) -> io::Result<()> {
    let mut stream = stream;
    let mut left = FULL;
    while !left.is_empty() {
        stream.writable().await?;
        left = &left[unless_blocked(stream.try_write(left))?.unwrap_or(0)..];
    }
    let mut end = pin!(&mut stream);
    std::future::poll_fn(|context| end.as_mut().poll_shutdown(context)).await?;
    let mut ignored = [0; 4096];
    loop {
        stream.readable().await?;
        if unless_blocked(stream.try_read(&mut ignored))? == Some(0) {
            return Ok(());
        }
    }
}

fn unless_blocked(moved: io::Result<usize>) -> io::Result<Option<usize>> {
    match moved {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_above_the_bound_is_whole() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["status"], 503);
    }

    #[test]
    fn only_errors_of_one_connection_are_passed_over_without_a_pause() {
        for (code, clients) in [(104, true), (103, true), (4, true), (24, false), (23, false), (12, false)] {
            assert_eq!(is_the_clients(&io::Error::from_raw_os_error(code)), clients, "{code}");
        }
    }
}
