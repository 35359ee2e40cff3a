//! A store that an older program left is copied, and brought up to date.

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
    kit.database().execute_batch("DROP TABLE audit_resolutions; DROP TABLE fleet_usage; DROP TABLE day_totals; DROP TABLE users; DROP TABLE members; DROP TABLE sessions; DROP TABLE links; DROP TABLE deletions; DROP TABLE portals; DROP TABLE identities; DROP TABLE verified_emails; DROP TABLE letters; DROP TABLE messages; DROP TABLE deliveries; DROP TABLE delivery_attempts; DROP TABLE webhook_endpoints; DROP TABLE stripe_events; DROP TABLE prices; DROP TABLE audit_checkpoints; DROP INDEX organizations_by_subscription; DROP INDEX organizations_by_customer; ALTER TABLE organizations DROP COLUMN subscription; ALTER TABLE organizations DROP COLUMN customer; DROP INDEX receipts_about; DROP INDEX receipts_by_time; ALTER TABLE receipts DROP COLUMN about; ALTER TABLE api_keys DROP COLUMN created_by; ALTER TABLE api_keys DROP COLUMN replaces; ALTER TABLE audit DROP COLUMN redacted; ALTER TABLE unique_values DROP COLUMN checksum; PRAGMA user_version = 2").unwrap();
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
