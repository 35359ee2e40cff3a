//! Starts and stops the server. A placeholder for the wiring to come.

use std::net::SocketAddr;

use crate::config::Config;

/// A server that runs in this process.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Running {
    /// Stops accepting, answers what is under way, and waits until everything is durable.
    pub fn stop(self) {}
}

/// Starts a server and returns once it answers.
///
/// # Errors
/// Where the data folder or the address cannot be had.
pub fn start(_config: Config) -> anyhow::Result<Running> {
    anyhow::bail!("this build has no server yet")
}

/// Runs a server until it is told to stop.
///
/// # Errors
/// As [`start`].
pub fn serve(config: Config) -> anyhow::Result<()> {
    start(config).map(Running::stop)
}
