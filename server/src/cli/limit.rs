//! `metergate override` and `metergate extra`: limits of one organization.

use clap::Subcommand;
use serde_json::json;
use serde_json::value::RawValue;

use super::Ending;
use super::client::{Client, of_organization, segment};
use super::row::{Row, body, cell};
use super::screen::{Align, Screen, Table, plain};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the limits in force, and where each comes from
    List {
        /// The organization's key or id
        organization: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a limit in place of the plan's
    Set {
        #[command(flatten)]
        place: Place,
        /// The most that may be used
        #[arg(required_unless_present = "unlimited", conflicts_with = "unlimited")]
        max: Option<String>,
        /// Never refuse, still count
        #[arg(long)]
        unlimited: bool,
        /// Allow what is beyond it, and count it as overage
        #[arg(long)]
        soft: bool,
        /// The first instant after, RFC 3339; for good where not given
        #[arg(long)]
        until: Option<String>,
        /// Why; kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take such a limit away: the plan's holds again
    Clear {
        #[command(flatten)]
        place: Place,
        /// Why; kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// Which limit.
#[derive(clap::Args)]
pub(super) struct Place {
    /// The organization's key or id
    organization: String,
    /// The meter
    meter: String,
    /// minute, hour, day, month, billingPeriod or lifetime
    window: String,
}

impl Place {
    fn path(&self) -> String {
        let below = format!("/overrides/{}/{}", segment(&self.meter), segment(&self.window));
        of_organization(&self.organization, &below)
    }

    fn told(&self) -> String {
        format!("{} {} of {}", self.meter, self.window, self.organization)
    }
}

/// The standing addition to a meter's period limit.
#[derive(clap::Args)]
pub(super) struct Extra {
    /// The organization's key or id
    organization: String,
    /// The meter
    meter: String,
    /// The whole addition: set, not added
    #[arg(allow_hyphen_values = true)]
    quantity: String,
    /// Why; kept in the audit log
    #[arg(long, default_value = "")]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match command {
        Command::List { organization, json } => list(client, organization, *json, screen)?,
        Command::Set { place, max, unlimited, soft, until, reason, json } => {
            let set = body([
                ("max", max.as_ref().map(|max| json!(max))),
                ("unlimited", unlimited.then_some(json!(true))),
                ("enforcement", Some(json!(if *soft { "soft" } else { "hard" }))),
                ("until", until.as_ref().map(|until| json!(until))),
                ("reason", Some(json!(reason))),
            ]);
            let answer = client.put(&place.path(), &set)?;
            let row: Row = client.read(&place.path(), &answer)?;
            let max = if *unlimited { "unlimited".to_owned() } else { cell(&row, "max") };
            let told = format!("{}: {max}, {}", place.told(), cell(&row, "enforcement"));
            screen.print(&if *json { answer.trim_end().to_owned() } else { plain(&told) });
        }
        Command::Clear { place, reason } => {
            client.delete_with(&place.path(), &json!({ "reason": reason }))?;
            screen.note(&format!("{}: the plan's limit holds", place.told()));
        }
    }
    Ok(Ending::Done)
}

pub(super) fn set_extra(client: &Client, extra: &Extra, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let path = of_organization(&extra.organization, &format!("/extra/{}", segment(&extra.meter)));
    let answer = client.put(&path, &json!({ "quantity": extra.quantity, "reason": extra.reason }))?;
    let row: Row = client.read(&path, &answer)?;
    let told = format!("{} extra {} for {}", cell(&row, "quantity"), cell(&row, "meter"), extra.organization);
    screen.print(&if extra.json { answer.trim_end().to_owned() } else { plain(&told) });
    Ok(Ending::Done)
}

const COLUMNS: [(&str, Align); 11] = [
    ("meter", Align::Left),
    ("window", Align::Left),
    ("source", Align::Left),
    ("base", Align::Right),
    ("extra", Align::Right),
    ("granted", Align::Right),
    ("limit", Align::Right),
    ("used", Align::Right),
    ("remaining", Align::Right),
    ("enforcement", Align::Left),
    ("until", Align::Left),
];

fn list(client: &Client, organization: &str, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    let path = of_organization(organization, "/quota");
    let answer = client.get(&path)?;
    if json {
        screen.print(answer.trim_end());
        return Ok(());
    }
    let quota: Row = client.read(&path, &answer)?;
    let limits: Vec<Box<RawValue>> = match quota.get("limits") {
        Some(limits) => serde_json::from_str(limits.get())?,
        None => Vec::new(),
    };
    screen.print(&Table::of(&COLUMNS, &limits)?.text());
    Ok(())
}
