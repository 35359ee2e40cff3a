//! What a start finds or makes: the administrator's key, the catalogue, the quotas of the environment.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};

use crate::catalogue::change::{TeamCommand, TeamRequest};
use crate::catalogue::file::{CatalogueFile, SHIPPED};
use crate::catalogue::key;
use crate::catalogue::spec::{LimitSpec, PlanSpec};
use crate::config::Config;
use crate::hex::hex;
use crate::store::{Answer, Port, Store};
use metergate_rules::id::PlanKey;
use metergate_rules::plan::Enforcement;
use metergate_rules::window::Window;

/// The setting with the hash of the administrator's key.
const ADMIN_KEY: &str = "admin_key_hash";

/// Makes an empty store usable and puts the configuration's catalogue and quotas in force.
///
/// # Errors
/// Where a catalogue cannot be read or something cannot be written.
pub fn prepare(store: &Store, config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let port = store.port();
    runtime.spawn(port.clone().receive());
    if store.catalogue().stored.meters.is_empty() {
        let file = first_catalogue(config)?;
        runtime.block_on(change(store, &port, TeamCommand::Apply(file)))?;
    }
    for (plan, quotas) in quotas(config) {
        if let Some(spec) = with_quotas(store, plan, quotas) {
            runtime.block_on(change(store, &port, TeamCommand::PutPlan(PlanKey::new(plan)?, spec)))?;
        }
    }
    Ok(())
}

fn first_catalogue(config: &Config) -> anyhow::Result<CatalogueFile> {
    let Some(path) = &config.catalogue else { return Ok(CatalogueFile::parse(SHIPPED)?) };
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    CatalogueFile::parse(&text).with_context(|| path.display().to_string())
}

async fn change(store: &Store, port: &Port, command: TeamCommand) -> anyhow::Result<()> {
    let request = TeamRequest {
        actor: Arc::from("system"),
        reason: "start".to_owned(),
        receipt: None,
        command,
        only_if_version: None,
        respond: Arc::new(|_| Answer { status: 200, body: Vec::new(), version: None }),
    };
    store
        .change_team(port, request)
        .await
        .map(|_| ())
        .map_err(|error| anyhow!("the catalogue cannot be applied: {error}"))
}

type Quotas = [(Window, Option<u64>); 2];

/// `QUOTA_{FREE,PRO,ENTERPRISE}_PER_{MINUTE,DAY}`: limits of `api_calls`.
fn quotas(config: &Config) -> [(&'static str, Quotas); 3] {
    let quotas = |minute, day| [(Window::Minute, minute), (Window::Day, day)];
    [
        ("free", quotas(config.quota_free_per_minute, config.quota_free_per_day)),
        ("pro", quotas(config.quota_pro_per_minute, config.quota_pro_per_day)),
        ("enterprise", quotas(config.quota_enterprise_per_minute, config.quota_enterprise_per_day)),
    ]
}

/// The plan with the given quotas in place of its own; `None` where nothing is given or the plan is not there.
fn with_quotas(store: &Store, plan: &str, quotas: Quotas) -> Option<PlanSpec> {
    let mut spec = store.catalogue().plan_entry(plan)?.spec.clone();
    let given = quotas.into_iter().filter_map(|(window, max)| Some((window, max?)));
    let mut changed = false;
    for (window, max) in given {
        changed = true;
        let max = Some(max.to_string().into());
        match spec.limits.iter_mut().find(|limit| limit.meter == "api_calls" && limit.window == window) {
            Some(limit) => (limit.max, limit.unlimited) = (max, false),
            None => spec.limits.push(LimitSpec {
                meter: "api_calls".to_owned(),
                window,
                max,
                unlimited: false,
                enforcement: Enforcement::Hard,
                status: None,
                thresholds: None,
            }),
        }
    }
    changed.then_some(spec)
}

/// The administrator's key: its hash, and the key itself if it was made now.
///
/// The configured one; else the one made at the first start, of which only the hash is kept.
///
/// # Errors
/// Where the store cannot be read or written.
pub fn admin_key(config: &Config, store: &Store) -> anyhow::Result<([u8; 32], Option<String>)> {
    if let Some(given) = &config.admin_key {
        return Ok((key::hash(given.expose()), None));
    }
    if let Some(text) = store.setting(ADMIN_KEY).context("the store cannot be read")? {
        return Ok((from_hex(&text).context("admin_key_hash in the store is not a hash")?, None));
    }
    let (_, made) = key::generate();
    let hash = key::hash(&made);
    Ok((hash, Some(made)))
}

/// Keeps the hash of a key that was made, once the server runs: a start that fails before makes another.
///
/// # Errors
/// Where the store cannot be written.
pub fn keep_admin_key(store: &Store, hash: &[u8; 32]) -> anyhow::Result<()> {
    let ours = hex(hash);
    if store.keep_setting(ADMIN_KEY, &ours)? != ours {
        bail!("another node has made the administrator's key at the same time: start this one again");
    }
    Ok(())
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Says where the server is, and shows a key that was made, once.
pub fn announce(url: &str, made_key: Option<&str>) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "Metergate {} at {url}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "  API reference   {url}/docs");
    let _ = writeln!(out, "  metrics         {url}/metrics");
    if let Some(key) = made_key {
        let _ = writeln!(out, "\nThe administrator's key was made now and is not shown again:\n\n  {key}\n");
    }
    let _ = out.flush();
}
