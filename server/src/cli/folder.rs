//! The data folder, for commands that open it themselves.

use std::path::PathBuf;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};

use crate::backup::Watch;
use crate::config::{Config, Sources};

/// Which data folder.
#[derive(clap::Args)]
pub(super) struct DataFolder {
    /// The configuration file [env: METERGATE_CONFIG; else metergate.toml here]
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// The data folder [env: METERGATE_DATA_DIR; else ./metergate-data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
}

/// What a command that works on a data folder alone is told.
#[derive(clap::Args)]
pub(super) struct FolderOptions {
    #[command(flatten)]
    pub(super) data: DataFolder,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl DataFolder {
    /// Its path, by flag, environment or file.
    ///
    /// # Errors
    /// Where the configuration cannot be read, or names a PostgreSQL and no flag the folder.
    pub(super) fn path(&self) -> anyhow::Result<PathBuf> {
        let config = self.config()?;
        if config.database_url.is_some() && self.data_dir.is_none() {
            bail!(
                "the record is PostgreSQL (METERGATE_DATABASE_URL or DATABASE_URL is set), and this command works on a data \
                 folder: use pg_dump or pg_basebackup, or name a folder with --data-dir"
            );
        }
        Ok(config.data_dir)
    }

    /// The configuration, for a command that needs more than the folder.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn config(&self) -> anyhow::Result<Config> {
        let flags = self.data_dir.iter().map(|folder| ("data_dir", folder.clone())).collect();
        Ok(Config::read(&Sources::process(self.config.clone(), flags))?)
    }
}

/// A bar over bytes, drawn only on a terminal.
pub(super) fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {bytes} of {total_bytes}  {eta} left");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Shows how far it is, and goes on.
impl Watch for ProgressBar {
    fn total(&self, bytes: u64) {
        self.set_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.inc(bytes);
    }

    fn goes_on(&self) -> bool {
        true
    }
}
