//! `metergate lock` and `metergate unlock`: stopping an organization's consumption.

use serde_json::json;

use super::Ending;
use super::client::{Client, of_organization};
use super::organization;
use super::screen::Screen;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The organization's key or id
    organization: String,
    /// Why; kept in the audit log
    #[arg(long)]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn lock(client: &Client, options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let answer = client.put(&path(options), &json!({ "reason": options.reason }))?;
    organization::show(client, &answer, options.json, screen)?;
    Ok(Ending::Done)
}

/// Shows the organization as it is afterwards, since the answer to the call itself is empty.
pub(super) fn unlock(client: &Client, options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    client.delete_with(&path(options), &json!({ "reason": options.reason }))?;
    let answer = client.get(&of_organization(&options.organization, ""))?;
    organization::show(client, &answer, options.json, screen)?;
    Ok(Ending::Done)
}

fn path(options: &Options) -> String {
    of_organization(&options.organization, "/lock")
}
