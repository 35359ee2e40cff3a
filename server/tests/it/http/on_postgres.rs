//! The same tests on PostgreSQL: one behaviour is one test, and each engine has all of them that are not about its files.
#![allow(clippy::duplicate_mod, reason = "one behaviour is one test, and each engine has it")]
#![allow(dead_code, reason = "not all that others ask for is asked for here")]

use super::client;

#[path = "adjustments.rs"]
mod adjustments;
#[path = "commands.rs"]
mod commands;
#[path = "consume.rs"]
mod consume;
#[path = "cycles.rs"]
mod cycles;
#[path = "documented.rs"]
mod documented;
#[path = "events.rs"]
mod events;
#[path = "isolation.rs"]
mod isolation;
#[path = "keys.rs"]
mod keys;
#[path = "limits.rs"]
mod limits;
#[path = "links.rs"]
mod links;
#[path = "matrix.rs"]
mod matrix;
#[path = "organizations.rs"]
mod organizations;
#[path = "overrides.rs"]
mod overrides;
#[path = "past.rs"]
mod past;
#[path = "people.rs"]
mod people;
#[path = "portals.rs"]
mod portals;
#[path = "quantities.rs"]
mod quantities;
#[path = "refusals.rs"]
mod refusals;
#[path = "repeats.rs"]
mod repeats;
#[path = "reservations.rs"]
mod reservations;
#[path = "rights.rs"]
mod rights;
#[path = "settings.rs"]
mod settings;
#[path = "voids.rs"]
mod voids;

mod server {
    //! A server whose record is a database of its own.

    use std::ops::{Deref, DerefMut};

    pub(super) use crate::http::server::{ADMIN_KEY, free_address, metergate};
    use crate::store::Database;

    /// It ends before its database goes.
    pub(super) struct Server {
        server: crate::http::server::Server,
        _database: Database,
    }

    impl Server {
        pub(super) fn start() -> Self {
            Self::with(&[])
        }

        pub(super) fn with(settings: &[(&str, &str)]) -> Self {
            let database = Database::new();
            let url = database.secret();
            let settings = [&[("METERGATE_DATABASE_URL", url.expose())], settings].concat();
            Self { server: crate::http::server::Server::with(&settings), _database: database }
        }
    }

    impl Deref for Server {
        type Target = crate::http::server::Server;

        fn deref(&self) -> &Self::Target {
            &self.server
        }
    }

    impl DerefMut for Server {
        fn deref_mut(&mut self) -> &mut Self::Target {
            &mut self.server
        }
    }
}
