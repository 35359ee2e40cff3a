//! `metergate serve`.

use super::Ending;
use super::settings::SettingFlags;
use crate::config::{Config, LogFormat};

#[derive(clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    flags: SettingFlags,
    /// Start although the clock is behind the store's last commit
    #[arg(long)]
    accept_clock: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<Ending> {
    let mut config = options.flags.config()?;
    config.accept_clock = options.accept_clock;
    start_log(&config)?;
    crate::app::serve(config)?;
    Ok(Ending::Done)
}

/// Starts the log on standard error, as configured.
pub(super) fn start_log(config: &Config) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}
