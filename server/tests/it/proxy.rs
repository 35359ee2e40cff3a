//! A line between a node and one of its servers that a test can disturb: it waits, holds back, refuses, cuts, loses a request
//! or a reply, and delivers a request twice.
//!
//! What it holds back is not lost but arrives once it is healed, as what TCP sends again does; also where the caller has long
//! given up by then.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

mod tests;

/// Bytes that are taken at a time: a request of a test is in one piece.
const PIECE: usize = 64 << 10;

/// The way that bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// What the node says.
    ToServer = 0,
    /// What the server answers.
    ToClient = 1,
}

/// What becomes of what comes in from now on.
#[derive(Clone, Debug, Default)]
struct Weather {
    delay: Duration,
    held: [bool; 2],
    refuses: bool,
    /// Bytes after which a connection is cut, counted both ways.
    cut_after: Option<usize>,
    /// Counts the times that all connections were cut.
    cuts: u64,
}

/// Something that happens once, to the first request in which some of these bytes stand.
struct Trap {
    any: Vec<Vec<u8>>,
    act: Act,
}

#[derive(Clone, Copy)]
enum Act {
    Lose,
    LoseReply,
    RepeatAfter(Duration),
}

struct Control {
    weather: watch::Sender<Weather>,
    traps: Mutex<Vec<Trap>>,
    sprung: AtomicUsize,
    repeated: AtomicUsize,
}

/// A proxy that runs until this goes.
pub(crate) struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// In front of a server, such as `127.0.0.1:5432`.
    pub(crate) fn before(server: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let control = Arc::new(Control {
            weather: watch::Sender::new(Weather::default()),
            traps: Mutex::default(),
            sprung: AtomicUsize::new(0),
            repeated: AtomicUsize::new(0),
        });
        let (end, mut ended) = watch::channel(false);
        let (shared, server) = (Arc::clone(&control), server.to_owned());
        let run = move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(&listener, &server, &shared) => {}
                    _ = ended.wait_for(|ended| *ended) => {}
                }
            });
        };
        let thread = Some(std::thread::spawn(run));
        Self { address, control, end, thread }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Every piece waits for so long, both ways.
    pub(crate) fn delay(&self, delay: Duration) {
        self.change(|weather| weather.delay = delay);
    }

    /// Nothing arrives any more, either way.
    pub(crate) fn hold(&self) {
        self.change(|weather| weather.held = [true; 2]);
    }

    /// Nothing goes one way any more.
    pub(crate) fn hold_one_way(&self, way: Way) {
        self.change(|weather| weather.held[way as usize] = true);
    }

    /// Whoever comes is sent away; who is there stays.
    pub(crate) fn refuse(&self) {
        self.change(|weather| weather.refuses = true);
    }

    /// Every connection ends now.
    pub(crate) fn cut(&self) {
        self.change(|weather| weather.cuts += 1);
    }

    /// Every connection ends when so many bytes have gone through it from now on.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.change(|weather| weather.cut_after = Some(bytes));
    }

    /// So many times: all is cut and refused for a while, then let through for a while.
    pub(crate) fn flap(&self, times: u32, period: Duration) {
        for _ in 0..times {
            self.refuse();
            self.cut();
            std::thread::sleep(period);
            self.change(|weather| weather.refuses = false);
            std::thread::sleep(period);
        }
    }

    /// Once: the first request with any of these bytes does not arrive, and the connection ends.
    pub(crate) fn lose(&self, any: &[&[u8]]) {
        self.set_trap(any, Act::Lose);
    }

    /// Once: the first request with any of these bytes arrives, its reply does not, and the connection ends.
    pub(crate) fn lose_reply_of(&self, any: &[&[u8]]) {
        self.set_trap(any, Act::LoseReply);
    }

    /// Once: the request with these bytes arrives, and arrives again after a while, over another connection.
    pub(crate) fn repeat(&self, bytes: &[u8], after: Duration) {
        self.set_trap(&[bytes], Act::RepeatAfter(after));
    }

    /// All is well again. Traps stay.
    pub(crate) fn heal(&self) {
        self.change(|weather| *weather = Weather { cuts: weather.cuts, ..Weather::default() });
    }

    /// How many traps have sprung.
    pub(crate) fn sprung(&self) -> usize {
        self.control.sprung.load(Ordering::SeqCst)
    }

    /// How many requests have arrived again, and were answered.
    pub(crate) fn repeated(&self) -> usize {
        self.control.repeated.load(Ordering::SeqCst)
    }

    fn set_trap(&self, any: &[&[u8]], act: Act) {
        let any = any.iter().map(|bytes| bytes.to_vec()).collect();
        self.control.traps.lock().push(Trap { any, act });
    }

    fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.control.weather.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.end.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: &TcpListener, server: &str, control: &Arc<Control>) {
    while let Ok((client, _)) = listener.accept().await {
        if !control.weather.borrow().refuses {
            tokio::spawn(connect(client, server.to_owned(), Arc::clone(control)));
        }
    }
}

/// One connection, until either side ends it, or the proxy does. Then both sides see its end.
async fn connect(client: TcpStream, server: String, control: Arc<Control>) -> io::Result<()> {
    let to_server = TcpStream::connect(&server).await?;
    client.set_nodelay(true)?;
    to_server.set_nodelay(true)?;
    let mut weather = control.weather.subscribe();
    let cuts = weather.borrow().cuts;
    let line = Arc::new(Line { control, server, gone: AtomicUsize::new(0), lost: watch::Sender::new(false) });
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = to_server.into_split();
    tokio::select! {
        ended = pump(from_client, to_server, Way::ToServer, &line) => ended,
        ended = pump(from_server, to_client, Way::ToClient, &line) => ended,
        _ = weather.wait_for(|weather| weather.cuts != cuts) => Ok(()),
    }
}

struct Line {
    control: Arc<Control>,
    server: String,
    /// Bytes that have gone through, while there was a bound for them.
    gone: AtomicUsize,
    /// The next reply is lost.
    lost: watch::Sender<bool>,
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, line: &Line) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut weather = line.control.weather.subscribe();
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let now = weather.wait_for(|weather| !weather.held[way as usize]).await.map_err(io::Error::other)?.clone();
        let lost = *line.lost.borrow();
        match way {
            Way::ToClient if lost => return Ok(()),
            Way::ToClient => {}
            Way::ToServer if line.spring(&piece[..length]) => return Ok(()),
            Way::ToServer => {}
        }
        let Some(bound) = now.cut_after else {
            to.write_all(&piece[..length]).await?;
            continue;
        };
        let before = line.gone.fetch_add(length, Ordering::SeqCst);
        to.write_all(&piece[..length.min(bound.saturating_sub(before))]).await?;
        if before + length >= bound {
            return Ok(());
        }
    }
}

impl Line {
    /// Springs the first trap whose bytes stand in a request, before that goes on. Whether the request is lost.
    fn spring(&self, request: &[u8]) -> bool {
        let mut traps = self.control.traps.lock();
        let stands = |bytes: &Vec<u8>| request.windows(bytes.len()).any(|window| window == bytes);
        let found = traps.iter().position(|trap| trap.any.iter().any(stands));
        let Some(trap) = found.map(|found| traps.remove(found)) else { return false };
        self.control.sprung.fetch_add(1, Ordering::SeqCst);
        match trap.act {
            Act::Lose => return true,
            Act::LoseReply => _ = self.lost.send_replace(true),
            Act::RepeatAfter(after) => {
                let (server, request, control) = (self.server.clone(), request.to_owned(), Arc::clone(&self.control));
                tokio::spawn(repeat(server, request, after, control));
            }
        }
        false
    }
}

/// A request arrives for the second time; nobody waits for its reply.
async fn repeat(server: String, request: Vec<u8>, after: Duration, control: Arc<Control>) -> io::Result<()> {
    tokio::time::sleep(after).await;
    let mut again = TcpStream::connect(server).await?;
    again.write_all(&request).await?;
    if again.read(&mut [0; PIECE]).await? > 0 {
        control.repeated.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}
