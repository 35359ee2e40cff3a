//! `metergate reset`, `metergate adjust` and `metergate void`: what counters show, set right.

use serde_json::json;

use super::Ending;
use super::client::{Client, of_organization, segment, with_query};
use super::organization;
use super::row::{Row, body, cell};
use super::screen::{Screen, plain};

/// Counters to be set to zero.
#[derive(clap::Args)]
pub(super) struct Reset {
    /// The organization's key or id
    organization: String,
    /// The meter; may be repeated; all where not given
    #[arg(long)]
    meter: Vec<String>,
    /// The window; may be repeated; billingPeriod and month where not given
    #[arg(long)]
    window: Vec<String>,
    /// Why; kept in the audit log
    #[arg(long)]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A signed correction.
#[derive(clap::Args)]
pub(super) struct Adjust {
    /// The organization's key or id
    organization: String,
    /// The meter
    meter: String,
    /// So much more, or less where it is negative; the level of a meter that counts one
    #[arg(allow_hyphen_values = true)]
    quantity: String,
    /// The time of what is corrected, RFC 3339; now where not given
    #[arg(long)]
    time: Option<String>,
    /// Why; kept in the audit log
    #[arg(long)]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An event that never was.
#[derive(clap::Args)]
pub(super) struct Void {
    /// The organization's key or id
    organization: String,
    /// The event's source, as the list of events shows it; of a decision metergate:consume/<meter>
    source: String,
    /// Its id there
    id: String,
    /// Why; kept in the audit log
    #[arg(long)]
    reason: String,
}

pub(super) fn reset(client: &Client, reset: &Reset, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let some = |names: &Vec<String>| (!names.is_empty()).then(|| json!(names));
    let asked =
        body([("meters", some(&reset.meter)), ("windows", some(&reset.window)), ("reason", Some(json!(reset.reason)))]);
    let answer = client.post(&of_organization(&reset.organization, "/usage/reset"), &asked)?;
    organization::show(client, &answer, reset.json, screen)?;
    Ok(Ending::Done)
}

pub(super) fn adjust(client: &Client, adjust: &Adjust, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let asked = body([
        ("meter", Some(json!(adjust.meter))),
        ("quantity", Some(json!(adjust.quantity))),
        ("time", adjust.time.as_ref().map(|time| json!(time))),
        ("reason", Some(json!(adjust.reason))),
    ]);
    let path = of_organization(&adjust.organization, "/adjustments");
    let answer = client.post(&path, &asked)?;
    if adjust.json {
        screen.print(answer.trim_end());
    } else {
        let made: Row = client.read(&path, &answer)?;
        let [quantity, meter, time] = ["quantity", "meter", "time"].map(|field| cell(&made, field));
        screen.print(&plain(&format!("{quantity} of {meter} for {} at {time}", adjust.organization)));
    }
    Ok(Ending::Done)
}

pub(super) fn void(client: &Client, void: &Void, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let query = [("organization", void.organization.as_str()), ("source", void.source.as_str())];
    let path = with_query(&format!("/v1/events/{}", segment(&void.id)), &query);
    client.delete_with(&path, &json!({ "reason": void.reason }))?;
    screen.note(&plain(&format!(
        "{} of {} is void: nothing of it counts for {}",
        void.id, void.source, void.organization
    )));
    Ok(Ending::Done)
}
