//! A node that starts while another one migrates the database waits, says so in its log, and can be stopped meanwhile.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::super::http::ADMINISTRATOR;
use super::super::process::program;
use super::within;
use crate::store::{Database, Stranger};

/// What the log says of it, and for how many seconds that is waited for.
const SAYS: &str = "the start waits: the database is being migrated by process";
const SOON: i64 = 20;

/// A node that starts on a database, and gives up in two seconds where nobody does anything. Its log is in the folder.
struct Starting(Child);

impl Starting {
    fn on(database: &Database, folder: &Path) -> Self {
        let mut command = program(folder);
        command.arg("serve").env("METERGATE_DATABASE_URL", database.url()).env("METERGATE_ADMIN_KEY", ADMINISTRATOR);
        command.env("METERGATE_LISTEN", "127.0.0.1:0").env("FAILPOINTS", "migration-in-a-hurry=return");
        let [out, log] = ["out", "log"].map(|name| File::create(folder.join(name)).unwrap());
        Self(command.stdin(Stdio::null()).stdout(out).stderr(log).spawn().unwrap())
    }

    fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_start_beside_a_migration_says_that_it_waits_can_be_stopped_and_goes_on_once_it_is_done() {
    let database = Database::new();
    let folder = tempfile::tempdir().unwrap();
    let told = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let holder = Stranger::come(database.url());
    holder.does("SELECT pg_advisory_lock(x'6d65746572676174'::bit(64)::bigint)");
    thread::scope(|scope| {
        // Longer than all that follows takes.
        let migrates = scope.spawn(|| holder.try_to_do("SELECT pg_sleep(100)"));
        let mut first = Starting::on(&database, folder.path());
        assert!(within(SOON, || told("log").contains(SAYS)), "it does not say so: {}", told("log"));
        thread::sleep(Duration::from_secs(3));
        assert!(!first.is_over(), "it waits on: {}", told("log"));
        kill_process(Pid::from_child(&first.0), Signal::TERM).unwrap();
        assert!(within(SOON, || first.is_over()), "it can be stopped");

        let _second = Starting::on(&database, folder.path());
        assert!(within(SOON, || told("log").contains(SAYS)), "it does not say so: {}", told("log"));
        database.number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE query LIKE '%pg_sleep(100)' AND datname = current_database()",
        );
        assert!(migrates.join().unwrap().is_err(), "it was ended");
        assert!(within(SOON, || told("out").contains("http://")), "it does not go on: {}", told("log"));
    });
}
