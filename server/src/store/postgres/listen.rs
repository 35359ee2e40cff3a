//! The connection over which PostgreSQL tells a node at once that something of the team's has changed: meters, plans, keys, people.
//!
//! It only makes quicker what is seen anyway, since every turn reads the team's row behind its locks, and the first loop looks at
//! it without calls. So whatever is wrong with it (it has ended, the server is a standby, a pooler in between lends connections by
//! the transaction) costs half a second, and is tried again.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_postgres::{AsyncMessage, Client};

use super::{Address, Postgres, migrate, patience};
use crate::store::error::EngineError;

/// Whether the node is told: 1 while it is, else 0.
const GAUGE: &str = "metergate_listening";
/// Under which name it is told.
const CHANNEL: &str = "metergate_team";

/// After the connection has ended another is tried, so long after.
const AGAIN: Duration = Duration::from_secs(2);
/// However many changes there are, it is told so often at most: once in this time.
const REST: Duration = Duration::from_millis(20);

impl Postgres {
    /// Has all nodes told, once the transaction is committed. PostgreSQL lets those who tell something commit one after the other,
    /// whatever their database: so it stands in changes of the team alone, never in a decision.
    pub(super) fn tell_nodes(&self) {
        self.later("SELECT pg_notify($1, '')", vec![Box::new(CHANNEL)]);
    }
}

/// A thread that hears as long as this lives.
pub(in crate::store) struct Listening {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Begins to hear. `heard` is called after a change, once for several, and where a change may have been missed.
    ///
    /// # Errors
    /// [`EngineError::Unusable`] where the system gives no thread.
    pub(in crate::store) fn start(address: Address, heard: impl Fn() + Send + 'static) -> Result<Self, EngineError> {
        let broken = |error| EngineError::Unusable(format!("no thread to listen on: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
        let (stop, mut stopped) = watch::channel(false);
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = always(&address, &heard) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
            });
            // Somebody may still be asked for the address of the host.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("listening".to_owned()).spawn(run).map_err(broken)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that listens panicked");
        }
    }
}

/// While this lives, the gauge says that the node is told.
struct Told;

impl Told {
    fn now() -> Self {
        metrics::gauge!(GAUGE).set(1.0);
        Self
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        metrics::gauge!(GAUGE).set(0.0);
    }
}

async fn always(address: &Address, heard: &impl Fn()) {
    let mut is_told = false;
    metrics::gauge!(GAUGE).set(0.0);
    loop {
        let Err(error) = listen(address, heard, &mut is_told).await;
        if !std::mem::replace(&mut is_told, true) {
            let what =
                "PostgreSQL does not tell of changes by itself now: until it does they are looked for twice a second";
            tracing::info!(%error, "{what}");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Hears until the connection ends.
async fn listen(address: &Address, heard: &impl Fn(), is_told: &mut bool) -> Result<Infallible, EngineError> {
    fail::fail_point!("listening-fails", |_| Err(EngineError::Unreachable("a planted failure".to_owned())));
    let (client, mut connection) = soon(address.config.connect(address.tls.clone())).await?;
    let changed = Notify::new();
    let hears = async {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(_) = message? {
                changed.notify_one();
            }
        }
        Ok::<_, tokio_postgres::Error>(())
    };
    tokio::select! {
        ended = hears => {
            ended?;
            Err(EngineError::Unreachable("the connection has ended".to_owned()))
        }
        failed = tell(&client, &changed, heard, is_told) => failed,
    }
}

/// Listens, and tells of what is heard.
async fn tell(
    client: &Client,
    changed: &Notify,
    heard: &impl Fn(),
    is_told: &mut bool,
) -> Result<Infallible, EngineError> {
    soon(client.batch_execute(&format!("SET ROLE {}; LISTEN {CHANNEL}", migrate::ROLE))).await?;
    *is_told = false;
    let _told = Told::now();
    loop {
        // Before it listened something may have changed, too.
        heard();
        tokio::time::sleep(REST).await;
        changed.notified().await;
    }
}

async fn soon<T>(asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, EngineError> {
    match tokio::time::timeout(patience::CONNECT, asked).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(EngineError::Unreachable("PostgreSQL does not answer in time".to_owned())),
    }
}
