//! `metergate lock` and `metergate unlock`: stopping an organization's consumption.

use serde_json::json;

use super::Ending;
use super::client::{Client, of_organization};
use super::organization;
use super::row::{Row, cell, rows};
use super::screen::{Screen, plain};

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

/// Shows which locks were lifted and the organization as it is afterwards, since the answer to the call itself is empty.
pub(super) fn unlock(client: &Client, options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let of = of_organization(&options.organization, "");
    let before: Row = client.read(&of, &client.get(&of)?)?;
    client.delete_with(&path(options), &json!({ "reason": options.reason }))?;
    let answer = client.get(&of)?;
    if !options.json {
        screen.print(&lifted(&before, &client.read(&of, &answer)?));
    }
    organization::show(client, &answer, options.json, screen)?;
    Ok(Ending::Done)
}

/// The causes of the locks that held before and hold no more.
fn lifted(before: &Row, after: &Row) -> String {
    let causes = |of: &Row| rows(of, "locks").iter().map(|lock| plain(&cell(lock, "cause"))).collect::<Vec<_>>();
    let holding = causes(after);
    let lifted: Vec<_> = causes(before).into_iter().filter(|cause| !holding.contains(cause)).collect();
    if lifted.is_empty() { "no lock was lifted".to_owned() } else { format!("locks lifted: {}", lifted.join(", ")) }
}

fn path(options: &Options) -> String {
    of_organization(&options.organization, "/lock")
}
