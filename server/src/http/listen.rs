//! Our own accept loops: one single-threaded runtime per core, each with its own socket on the same address.
//!
//! `axum::serve` sets no timer, so a client that sends its header a byte a minute would hold a connection for ever. And
//! hyper's own header timeout cannot tell a slow header from an idle connection, and costs an allocation and a timer a
//! request. Here each core looks at all its connections a few times a second; a request only notes when it began.

mod connection;
mod core;
mod socket;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Where to listen, and what clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// The most connections over all cores. Those above are accepted, answered 503 and closed, so that a client hears
    /// at once instead of waiting in the kernel's queue.
    pub max_connections: usize,
    /// From connecting, or from a request's first byte, to the end of its header. Then the connection is closed.
    pub header_timeout: Duration,
    /// How long a client may leave an answer unread that waits to be sent. (Request bodies: [`super::body::Limits`].)
    pub write_timeout: Duration,
    /// From an answer to the next request on the same connection.
    pub idle_timeout: Duration,
    /// From the shutdown to the end: requests that take longer are cut off.
    pub drain_timeout: Duration,
}

impl Listening {
    /// On `address` with the usual bounds.
    pub const fn on(address: SocketAddr) -> Self {
        Self {
            address,
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// The client's address: an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Running accept loops.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    threads: Vec<JoinHandle<usize>>,
}

impl Server {
    /// The address, with the real port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until all loops have ended after the shutdown; the number of connections that were cut off then.
    ///
    /// # Errors
    /// Where a core's thread panicked.
    pub fn join(self) -> io::Result<usize> {
        let panicked = |_| io::Error::other("a thread that serves HTTP panicked");
        self.threads.into_iter().map(|thread| thread.join().map_err(panicked)).sum()
    }
}

/// Listens and serves on `cores` threads until `shutdown` holds true (or its sender is gone). Then no connection is
/// accepted, running requests are answered with `Connection: close`, and the threads end.
///
/// `make_service` is called once on each thread, in its runtime, with the core's number: the service need not be
/// `Send` and may start tasks with `tokio::task::spawn_local`. An error or a panic of the service closes its connection only.
///
/// # Errors
/// Where the address cannot be listened on (also if another process does already) or threads cannot be started.
pub fn serve<M, S, B>(
    listening: Listening,
    cores: usize,
    make_service: M,
    shutdown: watch::Receiver<bool>,
) -> io::Result<Server>
where
    M: Fn(usize) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let sockets = socket::bind(listening.address, cores.max(1))?;
    let address = sockets[0].local_addr()?;
    let make_service = Arc::new(make_service);
    let connections = Arc::new(AtomicUsize::new(0));
    let start = |(number, socket): (usize, std::net::TcpListener)| {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (make_service, connections, shutdown) = (make_service.clone(), connections.clone(), shutdown.clone());
        let run = move || run(&runtime, socket, listening, connections, || make_service(number), shutdown);
        std::thread::Builder::new().name(format!("http-{number}")).spawn(run)
    };
    let threads = sockets.into_iter().enumerate().map(start).collect::<io::Result<_>>()?;
    Ok(Server { address, threads })
}

/// One core's thread; the number of connections that were cut off at its end.
fn run<S, B>(
    runtime: &Runtime,
    socket: std::net::TcpListener,
    listening: Listening,
    connections: Arc<AtomicUsize>,
    make_service: impl FnOnce() -> S,
    shutdown: watch::Receiver<bool>,
) -> usize
where
    S: Service<Request<Incoming>, Response = Response<B>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    tokio::task::LocalSet::new().block_on(runtime, async move {
        match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => core::Core::new(listening, connections).run(listener, make_service(), shutdown).await,
            Err(error) => {
                tracing::error!(%error, "a core cannot listen");
                0
            }
        }
    })
}

#[cfg(test)]
mod tests;
