//! The command line: starts the server, or speaks to a running one over its API.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or a confirmation that nobody was there to give, 74 the disk failed.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::Connection;
use screen::{Screen, Terminal};

use crate::store::DISK_FAILED;
use crate::store::error::EngineError;

mod administrator;
mod aggregate;
mod audit;
mod backup;
mod catalogue;
mod client;
mod correction;
mod cycle;
mod demo;
mod doctor;
mod export;
#[cfg(test)]
mod fake;
mod folder;
mod grant;
mod import;
mod key;
mod limit;
mod lock;
mod member;
mod moving;
mod organization;
mod plan;
mod price;
mod problem;
mod restore;
mod row;
mod screen;
mod serve;
mod settings;
mod usage;
mod what_if;

/// Usage metering, quotas and entitlements.
#[derive(Parser)]
#[command(name = "metergate", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Options),
    /// Run a server with a dozen made-up organizations, months of history and live traffic
    Demo(demo::Options),
    /// Show the configuration in force and where each value comes from
    Config(settings::Options),
    /// Make platform administrators, and links for users to pass on
    Admin(Remote<administrator::Command>),
    /// Create, list and revoke API keys
    Key(Remote<key::Command>),
    /// Show, compare and apply the catalogue of meters and plans
    #[command(alias = "catalog")]
    Catalogue(Remote<catalogue::Command>),
    /// Create, list and show organizations
    #[command(alias = "organization")]
    Org(Remote<organization::Command>),
    /// List, give and void credit
    Grant(Remote<grant::Command>),
    /// Stop an organization's consumption
    Lock(RemoteOptions<lock::Options>),
    /// Lift every lock of an organization
    Unlock(RemoteOptions<lock::Options>),
    /// List and show plans, and move an organization to one
    Plan(Remote<plan::Command>),
    /// Show what language models' tokens cost, and price past ones again
    #[command(alias = "price")]
    Prices(Remote<price::Command>),
    /// Show, preview and move an organization's billing cycle
    Cycle(Remote<cycle::Command>),
    /// List, set and clear limits in place of the plan's
    Override(Remote<limit::Command>),
    /// Set the standing addition to a meter's period limit
    Extra(RemoteOptions<limit::Extra>),
    /// Set an organization's counters to zero; reports keep what was used
    Reset(RemoteOptions<correction::Reset>),
    /// Correct what was counted
    Adjust(RemoteOptions<correction::Adjust>),
    /// Take back what an event or a decision counted
    Void(RemoteOptions<correction::Void>),
    /// Report usage
    Usage(RemoteOptions<usage::Options>),
    /// Replay past usage under a changed plan or catalogue: who would have been refused?
    WhatIf(RemoteOptions<what_if::Options>),
    /// Make the reports of some days again from the records, and apply the retention
    Aggregate(RemoteOptions<aggregate::Options>),
    /// List, export and verify the audit log
    Audit(Remote<audit::Command>),
    /// Import past usage from a CSV file; running it again counts nothing twice
    Import(RemoteOptions<import::Options>),
    /// Print a copy of everything, as lines of JSON
    Export(RemoteOptions<export::Options>),
    /// Have the running server write a copy of everything
    Backup(RemoteOptions<backup::Options>),
    /// Make a store of a backup, in an empty data folder
    Restore(restore::Options),
    /// Go through a data folder and say what is wrong with it
    Doctor(folder::FolderOptions),
    /// Move the store of a data folder into an empty PostgreSQL
    MigrateStore(folder::FolderOptions),
}

/// Commands on a running server.
#[derive(clap::Args)]
struct Remote<C: Subcommand> {
    #[command(subcommand)]
    command: C,
    #[command(flatten)]
    connection: Connection,
}

/// One command on a running server.
#[derive(clap::Args)]
struct RemoteOptions<O: clap::Args> {
    #[command(flatten)]
    options: O,
    #[command(flatten)]
    connection: Connection,
}

/// How a command ended that did not meet an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    /// It ran to its end, but not everything went well.
    Failed,
    /// Somebody must confirm, and nobody is there.
    Unconfirmed,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Done => 0,
            Ending::Failed => 1,
            Ending::Unconfirmed => 2,
        })
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let screen = Terminal;
    match run(Arguments::parse().command, &screen) {
        Ok(ending) => ending.into(),
        Err(error) => {
            screen.note(&format!("error: {error:#}"));
            let disk_failed = error.downcast_ref::<EngineError>().is_some_and(EngineError::is_disk_failure);
            if disk_failed { ExitCode::from(DISK_FAILED) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match command {
        Command::Serve(options) => serve::run(&options),
        Command::Demo(options) => demo::run(&options, screen),
        Command::Config(options) => settings::run(&options, screen),
        Command::Admin(admin) => administrator::run(&admin.connection.client()?, &admin.command, screen),
        Command::Key(key) => key::run(&key.connection.client()?, &key.command, screen),
        Command::Catalogue(catalogue) => catalogue::run(&catalogue.connection.client()?, &catalogue.command, screen),
        Command::Org(org) => organization::run(&org.connection.client()?, &org.command, screen),
        Command::Grant(grant) => grant::run(&grant.connection.client()?, &grant.command, screen),
        Command::Lock(lock) => lock::lock(&lock.connection.client()?, &lock.options, screen),
        Command::Unlock(lock) => lock::unlock(&lock.connection.client()?, &lock.options, screen),
        Command::Plan(plan) => plan::run(&plan.connection.client()?, &plan.command, screen),
        Command::Prices(prices) => price::run(&prices.connection.client()?, &prices.command, screen),
        Command::Cycle(cycle) => cycle::run(&cycle.connection.client()?, &cycle.command, screen),
        Command::Override(limit) => limit::run(&limit.connection.client()?, &limit.command, screen),
        Command::Extra(extra) => limit::set_extra(&extra.connection.client()?, &extra.options, screen),
        Command::Reset(reset) => correction::reset(&reset.connection.client()?, &reset.options, screen),
        Command::Adjust(adjust) => correction::adjust(&adjust.connection.client()?, &adjust.options, screen),
        Command::Void(void) => correction::void(&void.connection.client()?, &void.options, screen),
        Command::Usage(usage) => usage::run(&usage.connection.client()?, &usage.options, screen),
        Command::WhatIf(asked) => what_if::run(&asked.connection.client()?, &asked.options, screen),
        Command::Aggregate(days) => aggregate::run(&days.connection.client()?, &days.options, screen),
        Command::Audit(audit) => audit::run(&audit.connection.client()?, &audit.command, screen),
        Command::Import(import) => {
            let client = import.connection.client()?.patient(client::Patience::LONG);
            import::run(&client, &import.options, screen)
        }
        Command::Export(export) => export::run(&export.connection.client()?, &export.options, screen),
        Command::Backup(backup) => backup::run(&backup.connection, &backup.options, screen),
        Command::Restore(options) => restore::run(&options, screen),
        Command::Doctor(options) => doctor::run(&options, screen),
        Command::MigrateStore(options) => moving::run(&options, screen),
    }
}

#[cfg(test)]
mod tests;
