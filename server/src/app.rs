//! Wiring: from the configuration to a running server, and back to rest.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use governor::{Quota, RateLimiter};
use metergate_rules::time::{DAY, HOUR, SECOND};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::backup;
use crate::catalogue::key;
use crate::clock::Clock;
use crate::config::{Config, RateHeaders};
use crate::degraded::Degradation;
use crate::folder::Locked;
use crate::http::attempts::Attempts;
use crate::http::auth::cookie::Cookies;
use crate::http::listen::{self, Listening, Server};
use crate::http::rate::Sent;
use crate::http::routes;
use crate::http::service::Service;
use crate::http::state::{App, Shared};
use crate::live::Live;
use crate::mail::{self, Mailing};
use crate::openid::{self, Provider};
use crate::outbox::address::Guard;
use crate::outbox::{self, Outbox};
use crate::people::password::Passwords;
use crate::redis::Link;
use crate::redis::address::Address;
use crate::redis::marks::Marks;
use crate::redis::rates::Rates;
use crate::retention::Retention;
use crate::signals::StopSignals;
use crate::spool::Spool;
use crate::start;
use crate::store::{Settings, Store};
use crate::stripe::{Stripe, Syncing};
use crate::sweep::{Daily, sweep};

/// Seconds of answer times, for `/metrics`.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// How often answer times are put into their buckets.
const UPKEEP: Duration = Duration::from_secs(1);
/// How long a server that must not go on says so on `/readyz`, so that nobody is sent to it any more, before it ends.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How far the clock may be behind the last commit at start, in microseconds.
const CLOCK_BEHIND: i64 = 60 * SECOND;

/// A server that runs in this process.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The administrator's key, if it was made at this start.
    pub made_key: Option<String>,
    server: Server,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    sweeping: JoinHandle<()>,
    mailing: Option<Mailing>,
    outbox: Outbox,
    syncing: Option<Syncing>,
    _folder: Option<Locked>,
}

impl Running {
    /// Stops accepting, answers what is under way, and waits until everything is durable.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        match self.server.join() {
            Ok(0) => {}
            Ok(cut) => tracing::warn!(connections = cut, "cut off at the end of the drain"),
            Err(error) => tracing::error!(%error, "the server did not end well"),
        }
        if self.sweeping.join().is_err() {
            tracing::error!("the sweep panicked");
        }
        if let Some(mailing) = self.mailing {
            mailing.stop();
        }
        self.outbox.stop();
        if let Some(syncing) = self.syncing {
            syncing.stop();
        }
        if let Some(spool) = &self.shared.spool {
            spool.stop();
        }
        self.shared.fleet.stop();
        self.shared.live.stop();
        self.shared.jobs.stop();
        self.shared.store.close();
    }
}

/// Starts a server and returns once it answers.
///
/// # Errors
/// Where the data folder or the address cannot be had.
pub fn start(config: Config) -> anyhow::Result<Running> {
    start_by(Clock::start(), config)
}

/// The same by a clock that is given.
///
/// # Errors
/// As [`start`].
pub fn start_by(clock: Clock, config: Config) -> anyhow::Result<Running> {
    // With PostgreSQL nothing in the folder must not be lost, and several nodes may have the same one.
    let folder = match config.database_url {
        Some(_) => None,
        None => Some(Locked::to_serve(&config.data_dir)?),
    };
    // A store counts from its start on.
    drop(metrics_handle()?);
    let store = Store::open(settings(&config), clock).context("the store cannot be opened")?;
    let (admin_key, made_key) = start::admin_key(&config, &store)?;
    let (stop, draining) = watch::channel(false);
    let shared = Arc::new(shared(&config, store, admin_key, draining.clone())?);
    backup::sweep(&config.backups());
    let serving = Arc::clone(&shared);
    let make_service = move |_core| service(&serving);
    if let Some(stripe) = &shared.stripe {
        stripe.note_newest(&shared.store);
    }
    let server = listen::serve(listening(&config), config.cores, make_service, draining.clone())
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    shared.cookies.listens_on(server.address());
    if made_key.is_some() {
        start::keep_admin_key(&shared.store, &admin_key)?;
    }
    let mailing = mailing(&shared, &config, draining.clone())?;
    let sender = outbox::Sender::new(shared.webhooks.clone());
    let outbox =
        Outbox::start(Arc::clone(&shared.store), sender, draining.clone()).context("no thread for webhooks")?;
    let syncing = syncing(&shared, &config, draining.clone())?;
    let sweeping = sweeping(&shared, &config, draining)?;
    Ok(Running {
        address: server.address(),
        made_key,
        server,
        shared,
        stop,
        sweeping,
        mailing,
        outbox,
        syncing,
        _folder: folder,
    })
}

fn sweeping(shared: &Arc<Shared>, config: &Config, stop: watch::Receiver<bool>) -> anyhow::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (shared, every) = (Arc::clone(shared), config.sweep_seconds);
    let retention = config.audit_retention_days.map(|days| Retention {
        keep: i64::from(days) * DAY,
        folder: shared.audit_dir.clone(),
        alone: Arc::clone(&shared.pruning),
    });
    let (daily, kept) = (daily(config), i64::from(config.webhook_retention_days) * DAY);
    let run = move || {
        runtime.block_on(async {
            let comparing = async {
                if let Some(daily) = daily {
                    daily.go_on(&shared.store, every, stop.clone()).await;
                }
            };
            tokio::join!(sweep(&shared.store, every, (retention.as_ref(), kept), stop.clone()), comparing);
        })
    };
    std::thread::Builder::new().name("sweep".to_owned()).spawn(run).context("no thread for the sweep")
}

/// Rollups are compared with the records, unless that is off.
fn daily(config: &Config) -> Option<Daily> {
    let every = i64::from(config.rollup_check_hours) * HOUR;
    (every > 0).then(|| Daily::new(every, i64::from(config.raw_retention_days) * DAY))
}

/// Sends mail, if that is set: where to and whom from, so that no half of it is overlooked.
fn mailing(shared: &Arc<Shared>, config: &Config, stop: watch::Receiver<bool>) -> anyhow::Result<Option<Mailing>> {
    let (url, from) = match (&config.smtp_url, &config.smtp_from) {
        (None, None) => return Ok(None),
        (Some(url), Some(from)) => (url, from),
        _ => bail!("set METERGATE_SMTP_URL and METERGATE_SMTP_FROM, or neither"),
    };
    let (server, sender) = (mail::Server::read(url.expose())?, mail::Sender::read(from)?);
    let store = Arc::clone(&shared.store);
    let mailing = Mailing::start(store, shared.cookies.clone(), server, sender, stop);
    Ok(Some(mailing.context("no thread for mail")?))
}

/// Follows Stripe, if it is configured.
fn syncing(shared: &Arc<Shared>, config: &Config, stop: watch::Receiver<bool>) -> anyhow::Result<Option<Syncing>> {
    let Some(stripe) = shared.stripe.clone() else { return Ok(None) };
    let syncing = Syncing::start(Arc::clone(&shared.store), stripe, config.stripe_look_seconds, stop);
    Ok(Some(syncing.context("no thread for Stripe")?))
}

/// Makes an opened store usable: what all cores share. Nothing listens yet.
///
/// # Errors
/// Where the clock is far behind the store, or the catalogue cannot be put in force.
pub fn shared(
    config: &Config,
    store: Store,
    admin_key: [u8; 32],
    draining: watch::Receiver<bool>,
) -> anyhow::Result<Shared> {
    check_clock(&store, config)?;
    start::prepare(&store, config)?;
    let (rates, marks) = in_redis(config, &store)?;
    let store = Arc::new(store);
    Ok(Shared {
        spool: spool(config, &store)?,
        store,
        fleet: Arc::default(),
        live: Live::default(),
        admin_key,
        cron_secret: config.cron_secret.as_ref().map(|secret| key::hash(secret.expose())),
        cookies: Cookies::new(config.public_url.as_deref()),
        passwords: Passwords::default(),
        attempts: Attempts::default(),
        trusted_proxies: config.trusted_proxies.clone(),
        mails: config.smtp_url.is_some(),
        webhooks: Guard::new(config.webhook_allow.clone()),
        provider: provider(config)?,
        stripe: Stripe::of(config).map(Arc::new),
        rates,
        marks,
        degradation: Degradation::default(),
        creates_organizations: config.auto_create_organizations,
        rate_headers: sent(config.rate_limit_headers),
        key_rate: config
            .key_rate_per_second
            .and_then(NonZeroU32::new)
            .map(|n| RateLimiter::keyed(Quota::per_second(n))),
        key_rate_per_second: config.key_rate_per_second,
        max_body_bytes: config.max_body_bytes,
        body_timeout: config.body_timeout_seconds,
        draining,
        jobs: Arc::default(),
        exporting: Arc::new(tokio::sync::Semaphore::new(1)),
        aggregating: Arc::new(tokio::sync::Semaphore::new(1)),
        pruning: Arc::new(tokio::sync::Semaphore::new(1)),
        looking: Arc::new(tokio::sync::Semaphore::new(1)),
        keep_ids: i64::from(config.deduplication_days) * DAY,
        audit_dir: config.audit_files(),
        backup_dir: config.backups(),
        data_dir: config.data_dir.clone(),
        metrics: metrics_handle()?,
    })
}

/// What is decided in Redis, where there is one, and the marks that spare a PostgreSQL work. An embedded store needs none.
fn in_redis(config: &Config, store: &Store) -> anyhow::Result<(Option<Rates>, Option<Marks>)> {
    let Some(url) = &config.redis_url else { return Ok((None, None)) };
    let address = Address::parse(url.expose()).map_err(|why| anyhow!("redis_url {why}"))?;
    let link = Arc::new(Link::start(address, &config.redis_prefix).context("no thread for Redis")?);
    let marks = config.database_url.is_some().then(|| Marks::new(Arc::clone(&link), &config.redis_prefix));
    if let Some(marks) = marks.clone() {
        store.tell_given(move |organization, version| marks.clear(organization, version));
    }
    Ok((Some(Rates::new(link, &config.redis_prefix)), marks))
}

/// Where decisions wait that passed while PostgreSQL could not be reached. An embedded store is reached or the node is not.
fn spool(config: &Config, store: &Arc<Store>) -> anyhow::Result<Option<Arc<Spool>>> {
    if config.database_url.is_none() {
        return Ok(None);
    }
    let (folder, store) = (&config.data_dir, Arc::clone(store));
    let started = Spool::start(folder, config.spool_bytes, store);
    Ok(Some(Arc::new(started.with_context(|| format!("the spool in {} cannot be opened", folder.display()))?)))
}

/// By what people sign in, if that is set: all of it or nothing, so that no half of it is overlooked.
fn provider(config: &Config) -> anyhow::Result<Option<Provider>> {
    match (&config.oidc_issuer, &config.oidc_client_id, &config.oidc_client_secret) {
        (None, None, None) => Ok(None),
        (Some(issuer), Some(client_id), Some(client_secret)) => {
            let (issuer, client_id) = (issuer.clone(), client_id.clone());
            let settings = openid::Settings { issuer, client_id, client_secret: client_secret.clone() };
            Ok(Some(Provider::new(settings)))
        }
        _ => bail!(
            "set METERGATE_OIDC_ISSUER, METERGATE_OIDC_CLIENT_ID and METERGATE_OIDC_CLIENT_SECRET, or none of them"
        ),
    }
}

/// One core's service. Its answers come while the `LocalSet` runs in which this is called.
pub fn service(shared: &Arc<Shared>) -> Service {
    let app = App { shared: Arc::clone(shared), port: shared.store.port() };
    tokio::task::spawn_local(app.port.clone().receive());
    Service::new(app.clone(), routes::router(app))
}

/// Runs a server until a signal tells it to stop.
///
/// # Errors
/// As [`start()`]; where a newer release has changed the database so that this one must not use it any more.
pub fn serve(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let public_url = config.public_url.clone();
    let running = start(config)?;
    let url = public_url.unwrap_or_else(|| format!("http://{}", running.address));
    let stop = runtime.block_on(async { StopSignals::new() })?;
    start::announce(&url, running.made_key.as_deref());
    let outdated = runtime.block_on(until_told(stop, &running.shared.store));
    tracing::info!("stopping");
    running.stop();
    outdated.map_or(Ok(()), |why| Err(anyhow!(why)))
}

/// Waits until the server is told to stop, or must. Then why.
async fn until_told(mut stop: StopSignals, store: &Store) -> Option<String> {
    let why = tokio::select! {
        () = stop.recv() => return None,
        why = store.outdated() => why,
    };
    tracing::error!(%why, "this server must not go on");
    tokio::select! {
        () = stop.recv() => {}
        () = tokio::time::sleep(LAST_WORDS) => {}
    }
    Some(why)
}

fn listening(config: &Config) -> Listening {
    Listening {
        max_connections: config.max_connections as usize,
        header_timeout: config.header_timeout_seconds,
        idle_timeout: config.idle_timeout_seconds,
        drain_timeout: config.drain_timeout_seconds,
        ..Listening::on(config.listen)
    }
}

/// What the configuration says to the store.
pub fn settings(config: &Config) -> Settings {
    Settings {
        database: config.database_url.clone(),
        lanes: config.postgres_lanes,
        create_organizations: config.auto_create_organizations,
        keep_ids: i64::from(config.deduplication_days) * DAY,
        keep_refused: i64::from(config.refused_id_hours) * HOUR,
        keep_records: i64::from(config.raw_retention_days) * DAY,
        slice_ids: config.slice_ids,
        mails: config.smtp_url.is_some(),
        ..Settings::in_folder(&config.data_dir)
    }
}

const fn sent(headers: RateHeaders) -> Sent {
    match headers {
        RateHeaders::Both => Sent::Both,
        RateHeaders::Ietf => Sent::Ietf,
        RateHeaders::X => Sent::X,
        RateHeaders::None => Sent::None,
    }
}

/// A clock that fell back would hold every organization's time still.
fn check_clock(store: &Store, config: &Config) -> anyhow::Result<()> {
    let behind = store.last_commit().since(store.now());
    if behind > CLOCK_BEHIND && !config.accept_clock {
        bail!(
            "the clock says {}, but the store's last commit was at {}: set the clock right, or confirm it once with --accept-clock",
            store.now(),
            store.last_commit()
        );
    }
    Ok(())
}

/// The recorder is the process's own: a second server in it shows the same figures.
fn metrics_handle() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut handle = HANDLE.lock();
    if let Some(handle) = &*handle {
        return Ok(handle.clone());
    }
    let suffix = Matcher::Suffix("_seconds".to_owned());
    let made = PrometheusBuilder::new().set_buckets_for_metric(suffix, &BUCKETS)?.install_recorder()?;
    let kept = made.clone();
    // Every answer's time waits in memory until it is put into its bucket, also where nobody asks for the figures.
    let upkeep = move || loop {
        std::thread::sleep(UPKEEP);
        kept.run_upkeep();
    };
    std::thread::Builder::new().name("metrics".to_owned()).spawn(upkeep).context("no thread for the metrics")?;
    *handle = Some(made.clone());
    Ok(made)
}
