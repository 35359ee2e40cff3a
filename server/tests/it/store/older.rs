//! A store that an older program left is copied, and brought up to date.

use metergate::catalogue::change::TeamCommand;
use metergate::clock::Clock;
use metergate::store::Store;
use metergate::store::sqlite::SCHEMA;
use metergate_rules::command::Command;

use super::asks::{make, meter, quantity};
use super::kit::Kit;

#[test]
fn a_store_from_before_entries_were_dealt_with_is_copied_and_brought_up_to_date() {
    let mut kit = Kit::new();
    kit.made(&make(Command::extra(meter("calls"), quantity(1))));
    let (entries, now) = (kit.audit("acme"), kit.now());
    kit.close();
    kit.database().execute_batch("DROP TABLE audit_resolutions; DROP TABLE fleet_usage; DROP TABLE day_totals; DROP TABLE users; DROP TABLE members; DROP TABLE sessions; DROP TABLE links; DROP TABLE deletions; DROP TABLE portals; DROP TABLE identities; DROP TABLE verified_emails; DROP TABLE letters; DROP TABLE mail_choices; DROP TABLE messages; DROP TABLE deliveries; DROP TABLE delivery_attempts; DROP TABLE webhook_endpoints; DROP TABLE stripe_events; DROP TABLE prices; DROP TABLE audit_checkpoints; DROP INDEX organizations_by_subscription; DROP INDEX organizations_by_customer; ALTER TABLE organizations DROP COLUMN subscription; ALTER TABLE organizations DROP COLUMN customer; DROP INDEX receipts_about; DROP INDEX receipts_by_time; ALTER TABLE receipts DROP COLUMN about; ALTER TABLE api_keys DROP COLUMN created_by; ALTER TABLE api_keys DROP COLUMN replaces; ALTER TABLE audit DROP COLUMN redacted; ALTER TABLE unique_values DROP COLUMN checksum; PRAGMA user_version = 2").unwrap();
    // What a start that was killed left behind.
    let name = format!("metergate.sqlite.before-{SCHEMA}");
    std::fs::write(kit.folder().join(format!("{name}.part")), "half a copy").unwrap();
    kit.reopen_at(now);
    assert_eq!(kit.audit("acme"), entries);
    kit.made(&make(Command::Resolve { seq: 2, note: "n".to_owned(), before: None }));
    assert_eq!(kit.count("audit_resolutions"), 1);
    let copy = rusqlite::Connection::open(kit.folder().join(&name)).unwrap();
    let count = |table: &str| copy.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0));
    assert_eq!((count("audit").unwrap() >= 2, count("audit_resolutions").is_err()), (true, true));
    assert!(!kit.folder().join(format!("{name}.part")).exists());
    kit.check().unwrap();
}

#[test]
fn versions_of_the_prices_have_checksums_of_their_own_also_those_from_before_them() {
    let mut kit = Kit::new();
    for input in ["1", "2"] {
        let json = format!(r#"{{"model": "m", "effectiveFrom": "2020-01-01", "input": {input}}}"#);
        kit.change_team(TeamCommand::PutPrices(vec![serde_json::from_str(&json).unwrap()], None)).unwrap();
    }
    let now = kit.now();
    kit.close();
    kit.database()
        .execute_batch(
            "ALTER TABLE prices DROP COLUMN checksum; DROP INDEX stripe_events_hinted; DROP TABLE mail_choices; PRAGMA user_version = 17",
        )
        .unwrap();
    kit.reopen_at(now);
    assert_eq!(kit.open().store.catalogue().stored.prices.version, 2);
    kit.apply_catalogue().unwrap();
    let changes = [
        "UPDATE prices SET prices = prices || ' ' WHERE version = 1",
        "UPDATE prices SET changed_at = changed_at + 1 WHERE version = 2",
        "DELETE FROM prices WHERE version = 1",
    ];
    for change in changes {
        kit.reopen_at(now);
        kit.close();
        kit.database().execute_batch("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT * FROM prices").unwrap();
        assert_eq!(kit.database().execute(change, []).unwrap(), 1, "{change}");
        let opened = Store::open(kit.settings().clone(), Clock::starting_at(now));
        let why = opened.err().unwrap_or_else(|| panic!("{change} was not seen")).to_string();
        assert!(why.contains("of the prices"), "{change}: {why}");
        kit.database().execute_batch("DELETE FROM prices; INSERT INTO prices SELECT * FROM kept").unwrap();
    }
    kit.database().execute_batch("DROP TABLE kept").unwrap();
    kit.reopen_at(now);
}
