//! `metergate admin`: platform administrators, and the links that operators pass on to users.

use clap::Subcommand;
use serde_json::{Map, json};

use super::Ending;
use super::client::{Client, segment};
use super::row::{Row, cell};
use super::screen::{Align, Screen, Table, plain};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make somebody a platform administrator; prints a link that signs them in once, within a day
    Create {
        #[command(flatten)]
        user: User,
        /// Their name; the address where not given
        #[arg(long)]
        name: Option<String>,
    },
    /// Print a link with which a user chooses another password, once, within a day
    Reset(User),
    /// Print a link by which a user who is signed in shows that their address is theirs, once, within a day
    Verify(User),
    /// List the platform administrators, also those who have not come yet
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make somebody a platform administrator no more; one who can sign in stays
    Remove {
        /// The id of the user, as the list shows it
        id: String,
        /// Why; kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(clap::Args)]
pub(super) struct User {
    /// The address by which they sign in
    #[arg(long)]
    email: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match command {
        Command::List { json } => list(client, *json, screen)?,
        Command::Remove { id, reason } => {
            client.delete_with(&format!("/v1/administrators/{}", segment(id)), &json!({ "reason": reason }))?;
            screen.note(&format!("{} is no platform administrator any more", plain(id)));
        }
        Command::Create { user, name } => {
            let says = "is a platform administrator; the link signs them in once:";
            make(client, user, name.as_deref(), ("/v1/administrators", "signInUrl", says), screen)?;
        }
        Command::Reset(user) => {
            let says = "chooses another password by this link; hand it to nobody else:";
            make(client, user, None, ("/v1/password-resets", "url", says), screen)?;
        }
        Command::Verify(user) => {
            let says = "opens this link, signed in; hand it to nobody else:";
            make(client, user, None, ("/v1/email-verifications", "url", says), screen)?;
        }
    }
    Ok(Ending::Done)
}

fn list(client: &Client, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    let administrators = client.list("/v1/administrators", &[])?;
    if json {
        screen.print(&serde_json::to_string(&json!({ "data": administrators }))?);
        return Ok(());
    }
    let columns = ["id", "email", "name", "canSignIn", "createdAt"];
    screen.print(&Table::of(&columns.map(|name| (name, Align::Left)), &administrators)?.text());
    Ok(())
}

/// Makes a link: `path` is asked for it, it stands in the answer as `url`, and `says` what it is for. No password is taken: whoever
/// lists processes or reads the shell's history would see it. They choose one by the link.
fn make(
    client: &Client,
    user: &User,
    name: Option<&str>,
    (path, url, says): (&str, &str, &str),
    screen: &dyn Screen,
) -> anyhow::Result<()> {
    let mut body = Map::new();
    body.insert("email".to_owned(), json!(user.email));
    body.extend(name.map(|name| ("name".to_owned(), json!(name))));
    let answer = client.post(path, &body)?;
    if user.json {
        screen.print(answer.trim_end());
        return Ok(());
    }
    let made: Row = client.read(path, &answer)?;
    screen.note(&format!("{} {says}", cell(&made, "email")));
    screen.print(&cell(&made, url));
    Ok(())
}
