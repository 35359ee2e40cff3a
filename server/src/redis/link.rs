//! The connection to Redis: a thread holds one that works, and makes another where it does not.
//!
//! A call that gets no answer in time takes the connection away from all that come after it, until the thread has seen that
//! Redis can be written again: so one caller waits for a Redis that is gone, and the others are told at once. In a cluster one
//! server may be gone and the others not, so there the connection stays, which finds its servers by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::select_ok;
use metergate_rules::time::{SECOND, Time};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisFuture, RedisResult};
use tokio::sync::{Notify, watch};

use super::address::{Address, Form};
use super::near;
use super::script::Script;
use crate::clock;
use crate::faults::planted;

/// In which a call is answered, one way or another.
pub const DEADLINE: Duration = Duration::from_millis(100);
/// In which a connection must be made, and in which it must show that it works.
const CONNECT: Duration = Duration::from_secs(2);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// How long what was sent may take to count, in microseconds, by the clock of Redis.
const VALID: i64 = SECOND;
/// How often the client of a cluster asks again, such as where slots have moved. Everything that it may ask twice counts once.
const CLUSTER_RETRIES: u32 = 3;
/// The longest pause before that, in milliseconds.
const CLUSTER_WAIT: u64 = 20;
/// Keys by which it is seen whether a cluster can be written, spread over its servers: one that works is enough, since each call
/// sees by itself whether the server of its organization answers.
const PROBES: usize = 8;
/// Writes such a key, and says what time it is there.
const PROBE: &str = "redis.call('SET', KEYS[1], 1, 'PX', 1000) return redis.call('TIME')";
/// Commands that wait to be sent over a connection at most; who comes with more waits until there is room.
const WAITING: usize = 1_024;
/// Pieces of work for which nobody waits, at a time. What comes beyond that is not done.
const MOST_BESIDE: usize = 10_000;

/// It was not answered in time: what was asked has happened, or has not, or may within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis does not answer")]
pub struct Gone;

/// A connection that works, or none.
pub struct Link {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    runtime: tokio::runtime::Handle,
    /// Work for which nobody waits.
    beside: Arc<AtomicUsize>,
}

struct Shared {
    address: Address,
    connection: ArcSwapOption<Connection>,
    broken: Notify,
    /// The clock of Redis less the boot clock, in microseconds.
    ahead: AtomicI64,
    /// A key of no organization, to see whether Redis can be written.
    probe: String,
}

/// The servers as one.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    const fn finds_its_servers(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, redis::Value> {
        match self {
            Self::One(one) => one.req_packed_command(command),
            Self::Cluster(cluster) => cluster.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<redis::Value>> {
        match self {
            Self::One(one) => one.req_packed_commands(pipeline, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(one) => one.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}

impl Link {
    /// Begins to connect, and returns once that has succeeded or failed for the first time: nobody needs Redis to start.
    ///
    /// # Errors
    /// Where there can be no thread.
    pub fn start(address: Address, prefix: &str) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            address,
            connection: ArcSwapOption::empty(),
            broken: Notify::new(),
            ahead: AtomicI64::new(0),
            probe: format!("{prefix}:probe"),
        });
        let (stop, stopped) = watch::channel(false);
        let (tried, first) = std::sync::mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (kept, handle) = (Arc::clone(&shared), runtime.handle().clone());
        let run = move || runtime.block_on(keep(&kept, stopped, tried));
        let thread = std::thread::Builder::new().name("redis".to_owned()).spawn(run)?;
        let _ = first.recv_timeout(2 * CONNECT);
        Ok(Self { shared, stop, thread: Some(thread), runtime: handle, beside: Arc::default() })
    }

    /// The latest time, by the clock of Redis, at which what is sent now may count.
    pub(super) fn latest(&self) -> i64 {
        self.time_of(clock::boot() + VALID)
    }

    /// What the clock of Redis says when so many microseconds have passed since boot.
    pub(super) fn time_of(&self, since_boot: i64) -> i64 {
        since_boot + self.shared.ahead.load(Ordering::Relaxed)
    }

    /// Does something for which nobody waits, on the thread of the connection. Where too much of it is under way it is not done.
    pub(super) fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let beside = Arc::clone(&self.beside);
        if beside.fetch_add(1, Ordering::Relaxed) >= MOST_BESIDE {
            beside.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.runtime.spawn(async move {
            work.await;
            beside.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Redis has said what time it is.
    pub(super) fn told_time(&self, now: Time) {
        self.shared.told_time(now);
    }

    /// Runs a script.
    ///
    /// # Errors
    /// [`Gone`] where no answer came in time.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[String],
    ) -> Result<T, Gone> {
        self.within(|connection| script.run(connection, keys, arguments)).await
    }

    /// Runs a command that reads.
    ///
    /// # Errors
    /// [`Gone`] where no answer came in time.
    pub(super) async fn read<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Gone> {
        self.within(|mut connection| async move { command.query_async(&mut connection).await }).await
    }

    /// Asks, at most twice: whatever is sent counts once.
    async fn within<T, F: Future<Output = RedisResult<T>>>(&self, ask: impl Fn(Connection) -> F) -> Result<T, Gone> {
        let connection = self.shared.connection.load_full().ok_or(Gone)?;
        let asked = async {
            if let Some(own) = near::of(&connection, &self.shared.address, &self.runtime) {
                match ask(Connection::One(own)).await {
                    // Perhaps Redis has closed it, since this thread had nothing to ask for long. A caller that asks again by itself,
                    // as a planted bug does, must hear of it.
                    Err(error) if error.is_unrecoverable_error() && !planted("redis-client-retries") => {
                        near::forget(&connection);
                    }
                    answered => return answered,
                }
            }
            ask((*connection).clone()).await
        };
        let why = match tokio::time::timeout(DEADLINE, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} ms", DEADLINE.as_millis()),
        };
        self.shared.broke(&connection, &why);
        Err(Gone)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        // What is done beside may be the last that holds it: then this is that thread.
        let other = |thread: &JoinHandle<()>| thread.thread().id() != std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(other) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn told_time(&self, now: Time) {
        self.ahead.store(now.micros() - clock::boot(), Ordering::Relaxed);
    }

    /// Takes a connection away that did not work, unless another has taken its place.
    fn broke(&self, connection: &Arc<Connection>, why: &str) {
        if connection.finds_its_servers() {
            tracing::debug!(why, "a server of the cluster does not answer");
            return self.broken.notify_one();
        }
        let there = self.connection.compare_and_swap(connection, None);
        if there.as_ref().is_some_and(|there| Arc::ptr_eq(there, connection)) {
            gone(why);
            self.broken.notify_one();
        }
    }

    /// Whether a connection works: what the clock says, and whether keys can be written; of a cluster whether one of its servers
    /// does.
    async fn works(&self, connection: &Connection) -> RedisResult<()> {
        let probes = if connection.finds_its_servers() { PROBES } else { 1 };
        let written = (0..probes).map(|number| Box::pin(write(connection.clone(), format!("{}:{number}", self.probe))));
        let ((seconds, micros), _) = select_ok(written).await?;
        self.told_time(Time::from_micros(seconds.saturating_mul(SECOND).saturating_add(micros)));
        Ok(())
    }
}

/// Writes a key for a moment. Seconds and microseconds of the clock there.
async fn write(mut connection: Connection, key: String) -> RedisResult<(i64, i64)> {
    redis::cmd("EVAL").arg(PROBE).arg(1).arg(key).query_async(&mut connection).await
}

/// Keeps a connection that works until it is told to stop.
async fn keep(shared: &Shared, mut stopped: watch::Receiver<bool>, tried: std::sync::mpsc::SyncSender<()>) {
    let (mut was_there, mut kept) = (None, None);
    while !*stopped.borrow() {
        let made = soon(working(shared, kept.take())).await;
        // Once for each change.
        let changes = was_there.replace(made.is_ok()) != Some(made.is_ok());
        match made {
            Ok(connection) => {
                if changes {
                    tracing::info!("Redis answers");
                }
                kept = Some(connection.clone());
                shared.connection.store(Some(Arc::new(connection)));
            }
            Err(why) => {
                shared.connection.store(None);
                if changes {
                    gone(&why);
                }
            }
        }
        let _ = tried.try_send(());
        if let Some(kept) = &kept {
            tokio::select! {
                () = shared.broken.notified() => {}
                _ = stopped.changed() => {}
            }
            // Of another connection the call has said so that broke it.
            was_there = Some(kept.finds_its_servers());
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stopped.changed() => {}
        }
    }
    shared.connection.store(None);
}

fn gone(why: &str) {
    tracing::warn!(why, "Redis cannot be used: what it decides is answered as the plans say");
}

/// The connection that there was, if it works again and finds its servers by itself; else another.
async fn working(shared: &Shared, kept: Option<Connection>) -> RedisResult<Connection> {
    if let Some(kept @ Connection::Cluster(_)) = kept
        && shared.works(&kept).await.is_ok()
    {
        return Ok(kept);
    }
    let made = connect(&shared.address).await?;
    shared.works(&made).await?;
    Ok(made)
}

/// A connection of which nobody has seen yet whether it works.
pub(super) async fn connect_soon(address: &Address) -> Result<Connection, String> {
    soon(connect(address)).await
}

/// What comes in the time in which a connection must be made; else why not.
async fn soon<T>(asked: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match tokio::time::timeout(CONNECT, asked).await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT.as_secs())),
    }
}

async fn connect(address: &Address) -> RedisResult<Connection> {
    match &address.form {
        Form::Single => connect_to(address, &address.nodes[0]).await,
        Form::Sentinel(master) => connect_to(address, &master_of(address, master).await?).await,
        Form::Cluster => {
            let nodes = address.nodes.iter().map(|server| address.server(server));
            let client =
                ClusterClient::builder(nodes).retries(CLUSTER_RETRIES).min_retry_wait(1).max_retry_wait(CLUSTER_WAIT);
            Ok(Connection::Cluster(client.build()?.get_async_connection().await?))
        }
    }
}

async fn connect_to(address: &Address, server: &str) -> RedisResult<Connection> {
    let config = AsyncConnectionConfig::new().set_pipeline_buffer_size(WAITING);
    let made = Client::open(address.server(server))?.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(Connection::One(made))
}

/// Where the master is, as the first Sentinel says that answers.
async fn master_of(address: &Address, master: &str) -> RedisResult<String> {
    let mut told = Err(RedisError::from((redis::ErrorKind::InvalidClientConfig, "there are no Sentinels")));
    for sentinel in &address.nodes {
        let asked = tokio::time::timeout(CONNECT / 4, ask_sentinel(&address.watcher(sentinel), master)).await;
        match asked.unwrap_or_else(|_| Err(RedisError::from((redis::ErrorKind::Io, "the Sentinel does not answer")))) {
            Ok(found) => return Ok(found),
            Err(error) => told = Err(error),
        }
    }
    told
}

async fn ask_sentinel(url: &str, master: &str) -> RedisResult<String> {
    let mut sentinel = Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let (host, port): (String, u16) = command.query_async(&mut sentinel).await?;
    Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}
