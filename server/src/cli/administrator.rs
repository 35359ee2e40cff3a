//! `metergate admin`: platform administrators.

use clap::Subcommand;
use serde_json::{Map, json};

use super::Ending;
use super::client::Client;
use super::row::{Row, cell};
use super::screen::Screen;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make somebody a platform administrator; prints a link that signs them in once, within a day
    Create {
        /// The address by which they sign in
        #[arg(long)]
        email: String,
        /// Their name; the address where not given
        #[arg(long)]
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// No password is taken: whoever lists processes or reads the shell's history would see it. They choose one by the link.
pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let Command::Create { email, name, json } = command;
    let mut body = Map::new();
    body.insert("email".to_owned(), json!(email));
    body.extend(name.as_ref().map(|name| ("name".to_owned(), json!(name))));
    let answer = client.post("/v1/administrators", &body)?;
    if *json {
        screen.print(answer.trim_end());
        return Ok(Ending::Done);
    }
    let made: Row = client.read("/v1/administrators", &answer)?;
    screen.note(&format!("{} is a platform administrator; the link signs them in once:", cell(&made, "email")));
    screen.print(&cell(&made, "signInUrl"));
    Ok(Ending::Done)
}
