//! `metergate admin`: platform administrators, and the links that operators pass on to users.

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

/// No password is taken: whoever lists processes or reads the shell's history would see it. They choose one by the link.
pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let (user, path, url, says) = match command {
        Command::Create { user, .. } => {
            (user, "/v1/administrators", "signInUrl", "is a platform administrator; the link signs them in once:")
        }
        Command::Reset(user) => {
            (user, "/v1/password-resets", "url", "chooses another password by this link; hand it to nobody else:")
        }
        Command::Verify(user) => {
            (user, "/v1/email-verifications", "url", "opens this link, signed in; hand it to nobody else:")
        }
    };
    let mut body = Map::new();
    body.insert("email".to_owned(), json!(user.email));
    if let Command::Create { name: Some(name), .. } = command {
        body.insert("name".to_owned(), json!(name));
    }
    let answer = client.post(path, &body)?;
    if user.json {
        screen.print(answer.trim_end());
        return Ok(Ending::Done);
    }
    let made: Row = client.read(path, &answer)?;
    screen.note(&format!("{} {says}", cell(&made, "email")));
    screen.print(&cell(&made, url));
    Ok(Ending::Done)
}
