//! Row-level security: a statement that does not say whose rows it is about sees none; which programs the schema admits, and
//! which servers a program.

use std::time::Duration;

use metergate::clock::Clock;
use metergate::store::postgres::SCHEMA;
use metergate::store::{Pace, Settings, Store};

use super::asks::{ask, create};
use super::engine::Database;
use super::kit::{Kit, start};
use crate::servers;

#[test]
fn a_statement_that_names_no_organization_sees_no_row_of_any() {
    let kit = Kit::with_rows(Pace::Accounts(1));
    kit.made(&create("other"));
    for key in ["acme", "other"] {
        kit.allows(&ask("calls", 1).of(key).id("a"));
    }
    let acme = kit.account("acme").id;
    let database = kit.server();
    for table in ["accounts", "blocks", "event_ids", "organizations", "rollups", "audit"] {
        let [nothing, one, all] = [
            "SELECT 1".to_owned(),
            format!("SELECT set_config('metergate.organizations', '{acme}', true)"),
            "SELECT set_config('metergate.team', 'on', true)".to_owned(),
        ]
        .map(|naming| database.as_app(&naming, &format!("SELECT count(*) FROM metergate.{table}")));
        assert_eq!(nothing, 0, "{table}");
        assert!(0 < one && one < all, "{table}: {one} of {all}");
    }
}

/// Tables of the schema without the partitions.
const TABLES: &str = "FROM pg_class c WHERE c.relnamespace = 'metergate'::regnamespace AND c.relkind IN ('r', 'p')
                      AND NOT c.relispartition";
/// The team's, as ARCHITECTURE.md lists them, and the one that is about the schema itself.
const OF_THE_TEAM: &str = "'settings', 'team', 'meters', 'plans', 'api_keys', 'people', 'imports', 'fleet_usage', 'stripe_events', 'prices', 'webhook_endpoints', 'schema_version'";

#[test]
fn every_table_begins_with_the_organization_and_is_walled_but_for_the_teams() {
    let kit = Kit::new();
    let others = format!("SELECT count(*) {TABLES} AND c.relname NOT IN ({OF_THE_TEAM})");
    let first =
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                 WHERE i.indrelid = c.oid ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1";
    for (what, condition) in
        [("is walled", "c.relrowsecurity".to_owned()), ("begins with it", format!("({first}) = 'organization'"))]
    {
        assert!(kit.server().number(&others) > 10);
        assert_eq!(kit.server().number(&format!("{others} AND NOT coalesce({condition}, false)")), 0, "{what}");
    }
    let owned = format!("SELECT count(*) {TABLES} AND c.relowner = 'metergate_app'::regrole");
    assert_eq!(kit.server().number(&owned), 0, "the role of the program owns nothing");
}

#[test]
fn a_program_that_is_older_than_the_schema_admits_refuses_and_says_so() {
    let mut kit = Kit::new();
    kit.close();
    let newer = SCHEMA + 1;
    kit.server().run(&format!("UPDATE metergate.schema_version SET version = {newer}, oldest = 1"));
    let open = |kit: &Kit| Store::open(kit.settings().clone(), Clock::starting_at(start()));
    open(&kit).expect("the release before the newest goes on").close();
    kit.server().run(&format!("UPDATE metergate.schema_version SET version = {newer}, oldest = {newer}"));
    let error = open(&kit).err().expect("it is refused").to_string();
    assert!(error.contains(&format!("version {newer}")) && error.contains("newer metergate"), "{error}");
}

#[test]
fn a_server_that_would_lose_what_it_has_acknowledged_is_refused() {
    let database = Database::on(servers::postgres_to_change());
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { database: Some(database.secret()), ..Settings::in_folder(folder.path()) };
    let open = || Store::open(settings.clone(), Clock::starting_at(start()));
    let set = |name: &str, value: &str| {
        database.run(&format!("ALTER SYSTEM SET {name} = {value}"));
        // What was reloaded is in force for connections from then on, a moment later.
        let is_set = format!("SELECT count(*) FROM pg_settings WHERE name = '{name}' AND setting = '{value}'");
        let reloaded = (0..3000).any(|_| {
            database.number("SELECT count(pg_reload_conf())");
            std::thread::sleep(Duration::from_millis(10));
            database.number(&is_set) == 1
        });
        assert!(reloaded, "{name} = {value}");
    };
    for name in ["fsync", "full_page_writes"] {
        set(name, "off");
        let error = open().err().expect("it is refused").to_string();
        assert!(error.contains(&format!("{name} = off")) && error.contains(&format!("Set {name} = on")), "{error}");
        set(name, "on");
    }
    open().expect("with both it is taken").close();
}
