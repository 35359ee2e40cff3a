//! The same tests on PostgreSQL: one behaviour is one test, and each engine has all of them.
//!
//! Of the others `backups` is about the embedded store alone, since PostgreSQL is backed up by its own tools (what is answered
//! there is below); `moving` and `nodes` have servers on both, or several, by themselves.
#![allow(clippy::duplicate_mod, reason = "one behaviour is one test, and each engine has it")]
#![allow(dead_code, reason = "not all that others ask for is asked for here")]

use super::client;

#[path = "adjustments.rs"]
mod adjustments;
#[path = "administrators.rs"]
mod administrators;
#[path = "audit.rs"]
mod audit;
#[path = "commands.rs"]
mod commands;
#[path = "completions.rs"]
mod completions;
#[path = "consume.rs"]
mod consume;
#[path = "cycles.rs"]
mod cycles;
#[path = "deletion.rs"]
mod deletion;
#[path = "documented.rs"]
mod documented;
#[path = "events.rs"]
mod events;
#[path = "export.rs"]
mod export;
#[path = "fleet.rs"]
mod fleet;
#[path = "forecasts.rs"]
mod forecasts;
#[path = "invitations.rs"]
mod invitations;
#[path = "isolation.rs"]
mod isolation;
#[path = "keys.rs"]
mod keys;
#[path = "limits.rs"]
mod limits;
#[path = "links.rs"]
mod links;
#[path = "mails.rs"]
mod mails;
#[path = "matrix.rs"]
mod matrix;
#[path = "openapi.rs"]
mod openapi;
#[path = "openid.rs"]
mod openid;
#[path = "organizations.rs"]
mod organizations;
#[path = "overrides.rs"]
mod overrides;
#[path = "pages.rs"]
mod pages;
#[path = "past.rs"]
mod past;
#[path = "people.rs"]
mod people;
#[path = "portals.rs"]
mod portals;
#[path = "prices.rs"]
mod prices;
#[path = "quantities.rs"]
mod quantities;
#[path = "refusals.rs"]
mod refusals;
#[path = "removals.rs"]
mod removals;
#[path = "repeats.rs"]
mod repeats;
#[path = "reservation_arrays.rs"]
mod reservation_arrays;
#[path = "reservations.rs"]
mod reservations;
#[path = "rights.rs"]
mod rights;
#[path = "rollups.rs"]
mod rollups;
#[path = "settings.rs"]
mod settings;
#[path = "streams.rs"]
mod streams;
#[path = "stripe.rs"]
mod stripe;
#[path = "team.rs"]
mod team;
#[path = "texts.rs"]
mod texts;
#[path = "voids.rs"]
mod voids;
#[path = "webhooks.rs"]
mod webhooks;
#[path = "what_if.rs"]
mod what_if;

mod server {
    //! A server whose record is a database of its own.

    use std::ops::{Deref, DerefMut};

    pub(super) use crate::http::server::{ADMIN_KEY, free_address, metergate};
    use crate::store::Database;

    /// It ends before its database goes.
    pub(super) struct Server {
        server: crate::http::server::Server,
        database: Database,
    }

    impl Server {
        pub(super) fn start() -> Self {
            Self::with(&[])
        }

        pub(super) fn with(settings: &[(&str, &str)]) -> Self {
            let database = Database::new();
            let url = database.secret();
            let settings = [&[("METERGATE_DATABASE_URL", url.expose())], settings].concat();
            Self { server: crate::http::server::Server::with(&settings), database }
        }

        pub(super) fn sql(&self, sql: &str) {
            self.database.run(&format!("SET search_path = metergate; {sql}"));
        }

        pub(super) fn number(&self, sql: &str) -> i64 {
            self.database.number(sql)
        }

        /// In every row, also where it is a part of bytes.
        #[cfg(feature = "faults")]
        pub(super) fn has_anywhere(&self, text: &str) -> bool {
            let parts = [text.to_owned(), metergate::hex::hex(text.as_bytes())];
            let row = parts.map(|part| format!("t::text LIKE '%{part}%'")).join(" OR ");
            self.number(&in_all_tables(&format!("count(*) FILTER (WHERE {row})"))) > 0
        }
    }

    /// The sum of a figure of each table, whose rows are called `t`.
    fn in_all_tables(figure: &str) -> String {
        let figure = figure.replace('%', "%%");
        let of_table = format!("SELECT ({figure}) AS figure FROM metergate.%I t").replace('\'', "''");
        format!(
            "SELECT sum((xpath('//figure/text()', query_to_xml(format('{of_table}', table_name), true, true, '')))[1]::text::numeric)::bigint
             FROM information_schema.tables WHERE table_schema = 'metergate' AND table_type = 'BASE TABLE'"
        )
    }

    pub(super) fn is_of_chain(id: &str) -> String {
        format!("organization = '{id}'")
    }

    pub(super) fn bytes(hex: &str) -> String {
        format!("decode('{hex}', 'hex')")
    }

    /// Rows are written in each commit, and with each change a row says so.
    pub(super) struct Written<'s>(&'s Server);

    impl<'s> Written<'s> {
        /// Waits until nothing more is written: refusals are handed over within a second or two.
        pub(super) fn so_far(server: &'s Server) -> Self {
            let written = Self(server);
            let stands_still = (0..40).any(|_| {
                let before = written.version();
                std::thread::sleep(std::time::Duration::from_millis(2_500));
                written.version() == before
            });
            assert!(stands_still, "something is written all the time");
            written
        }

        pub(super) fn version(&self) -> i64 {
            self.0.number(&in_all_tables("coalesce(sum(t.xmin::text::bigint), 0)"))
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

#[test]
fn a_backup_is_refused_with_what_to_use_in_its_place() {
    let server = server::Server::start();
    let admin = server.admin();
    let entries = admin.list("/v1/audit-log").len();
    let call = || admin.call("POST", "/v1/backups").header("idempotency-key", "k").json(r#"{"name": "a"}"#).send();
    for _ in 0..2 {
        let problem = call().expect_problem(409, "backup-of-postgresql");
        assert!(problem.to_string().contains("pg_dump"), "{problem}");
    }
    assert_eq!(admin.list("/v1/audit-log").len(), entries, "none was begun");
    let mut command = server::metergate(server.folder());
    command.args(["backup", "--name", "a"]).env("METERGATE_URL", &server.url);
    let output = command.env("METERGATE_API_KEY", server::ADMIN_KEY).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("pg_dump"), "{said}");
}
