//! `metergate demo`: a real server with made-up organizations, months of history and live traffic.
//!
//! Nothing goes past the API: organizations are created, events sent and decisions asked for as any application would. The
//! server of a new folder begins with its clock months back, and is taken through them in seconds.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use metergate_rules::time::{DAY, HOUR};
use serde_json::json;

use super::Ending;
use super::client::{Client, Patience};
use super::row::{Row, cell};
use super::screen::Screen;
use super::serve::start_log;
use crate::app;
use crate::clock::{self, Clock, Hand};
use crate::config::{Config, Secret};
use crate::hex::hex;
use crate::signals::StopSignals;

mod history;
mod organizations;
mod random;
mod story;
mod traffic;

use history::History;

#[derive(clap::Args)]
pub(super) struct Options {
    /// Where the server listens: IP address and port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The folder to keep the data in; else a temporary one that is removed at the end
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Days of history
    #[arg(long, default_value = "90", value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
    /// End after the history is in place, without live traffic
    #[arg(long, visible_alias = "no-traffic")]
    once: bool,
}

pub(super) fn run(options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let folder = Folder::of(options.data_dir.as_deref())?;
    let key = new_key()?;
    let mut config = Config::defaults()?;
    config.listen = options.listen;
    config.data_dir.clone_from(&folder.path);
    config.admin_key = Some(Secret::new(key.clone()));
    "warn".clone_into(&mut config.log);
    start_log(&config)?;
    let stop = stop_on_signal()?;
    let (now, is_new) = (clock::wall(), taken(&folder.path)?);
    // What is there already has happened by the wall clock.
    let (clock, hand) = match is_new {
        true => {
            let (clock, hand) = Clock::by_hand(now.floor(HOUR).plus(-i64::from(options.days) * DAY));
            (clock, Some(hand))
        }
        false => (Clock::start(), None),
    };
    let server = app::start_by(clock, config)?;
    let url = format!("http://{}", reachable(server.address));
    let client = Client::new(&url, Some(Secret::new(key.clone())))?.patient(Patience::LONG);
    let history = History { client: &client, now, days: options.days, stop: &stop };
    let filled = fill(&history, hand, screen);
    let shown = filled.and_then(|()| show(&client, options, &url, &key, &stop, screen));
    server.stop();
    shown.map(|()| Ending::Done)
}

fn show(
    client: &Client,
    options: &Options,
    url: &str,
    key: &str,
    stop: &AtomicBool,
    screen: &dyn Screen,
) -> anyhow::Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    screen.print(&welcome(url, key, &Links::made(client)?));
    if !options.once {
        traffic::run(client, stop, screen)?;
    }
    Ok(())
}

/// Lets happen what happened until now: all of it by hand, or what is missing.
fn fill(history: &History<'_>, hand: Option<Hand>, screen: &dyn Screen) -> anyhow::Result<()> {
    let events = match hand {
        Some(hand) => history.happen(hand)?,
        None => history.go_on()?,
    };
    let organizations = organizations::ALL.len();
    screen.note(&format!("{organizations} organizations, {} days of history, {events} events", history.days));
    Ok(())
}

/// In a folder that the demo has made: no other store is filled with what is made up.
const MARK: &str = "demo";

/// Takes a folder that is empty, or that the demo has made: whether nothing has happened there yet.
fn taken(folder: &Path) -> anyhow::Result<bool> {
    let mark = folder.join(MARK);
    if !mark.exists() {
        let shown = folder.display();
        anyhow::ensure!(is_empty(folder), "{shown} holds what the demo did not make: name an empty folder");
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {shown}"))?;
        std::fs::write(&mark, "made by metergate demo\n")
            .with_context(|| format!("cannot write {}", mark.display()))?;
    }
    Ok(!folder.join(crate::store::sqlite::FILE).exists())
}

/// Whether nothing is in a folder yet.
fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut files| files.next().is_none())
}

/// The address to connect to for a server that may listen on every one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut reachable = address;
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => reachable.set_ip([127, 0, 0, 1].into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => reachable.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    reachable
}

/// Links that open pages, once each.
struct Links {
    /// Signs an administrator in.
    dashboard: String,
    /// Opens the portal of an organization.
    portal: String,
}

impl Links {
    fn made(client: &Client) -> anyhow::Result<Self> {
        let settings = json!({"teamName": "Metergate demo", "contact": "demo@example.com", "color": "#1d56c9"});
        client.patch("/v1/settings", &settings)?;
        let administrator = json!({"email": "demo@example.com", "name": "Demo"});
        let administrators = client.list("/v1/administrators", &[])?;
        // In a folder that was kept there is one already, who chooses another password.
        let (path, url) = match administrators.is_empty() {
            true => ("/v1/administrators", "signInUrl"),
            false => ("/v1/password-resets", "url"),
        };
        let body = if administrators.is_empty() { administrator } else { json!({"email": "demo@example.com"}) };
        let made: Row = client.read(path, &client.post(path, &body)?)?;
        let path = "/v1/organizations/northwind/portal-sessions";
        let portal: Row = client.read(path, &client.post(path, &json!({}))?)?;
        Ok(Self { dashboard: cell(&made, url), portal: cell(&portal, "url") })
    }
}

fn welcome(url: &str, key: &str, links: &Links) -> String {
    let Links { dashboard, portal } = links;
    format!(
        r#"
  Dashboard {dashboard}
  Portal    {portal}

  API       {url}
  Reference {url}/docs
  Metrics   {url}/metrics

  export METERGATE_URL={url}
  export METERGATE_API_KEY={key}

Try:

  # May Northwind use 1200 tokens now? The answer is recorded.
  curl -s $METERGATE_URL/v1/consume -H "Authorization: Bearer $METERGATE_API_KEY" -H 'Content-Type: application/json' \
    -d '{{"organization": "northwind", "meter": "tokens", "quantity": 1200, "properties": {{"model": "gpt-4o", "inputTokens": 1000, "outputTokens": 200}}}}'

  # What has it used, and what is left?
  curl -s $METERGATE_URL/v1/organizations/northwind/usage -H "Authorization: Bearer $METERGATE_API_KEY"

  # A free plan allows 60 calls a minute: this one is refused.
  curl -s $METERGATE_URL/v1/check -H "Authorization: Bearer $METERGATE_API_KEY" -H 'Content-Type: application/json' \
    -d '{{"organization": "pixelpress", "meter": "api_calls", "quantity": 61}}'

  metergate org list
  metergate usage --organization northwind
"#
    )
}

/// An administrator's key for this run.
fn new_key() -> anyhow::Result<String> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(format!("demo_{}", hex(&bytes)))
}

/// The data folder; a temporary one goes with this value.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn of(kept: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = kept {
            return Ok(Self { path: path.to_owned(), temporary: false });
        }
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let path = std::env::temp_dir().join(format!("metergate-demo-{}", hex(&bytes)));
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, temporary: true })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // It is in the temporary folder: what cannot be removed now is swept there later.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Set at the first signal that says so.
fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        StopSignals::new()?
    };
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(signals.recv());
        set.store(true, Ordering::Relaxed);
    })?;
    Ok(stop)
}

#[cfg(test)]
mod tests;
