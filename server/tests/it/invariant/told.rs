//! `told`: a message is there exactly when the entry is that it tells, where an endpoint has wanted everything from the beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use metergate::store::sqlite::Sqlite;
use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::id::OrganizationId;
use metergate_rules::notice;

use super::journal::Journal;
use super::{Held, equal, holds};

const NAME: &str = "told";

/// The types of an organization's messages, in order.
type Types = BTreeMap<OrganizationId, Vec<String>>;

/// Checks one snapshot of a data folder; the store may be at work meanwhile. Answers how many messages there are.
pub(crate) fn told(folder: &Path) -> Result<usize, super::Violation> {
    let sqlite = Sqlite::open_to_read(folder).expect("the store can be read");
    let snapshot = sqlite.connection().unchecked_transaction().unwrap();
    let (journal, mut stored) = (Journal::in_snapshot(folder, &sqlite), stored(&sqlite));
    snapshot.rollback().unwrap();
    let (mut expected, deleted) = told_by(&journal);
    // What is told of who is deleted goes little by little.
    for types in [&mut stored, &mut expected] {
        types.retain(|organization, _| !deleted.contains(organization));
    }
    let count = stored.values().map(Vec::len).sum();
    for organization in stored.keys().chain(expected.keys()) {
        let of = |types: &Types| types.get(organization).cloned().unwrap_or_default();
        equal(NAME, format!("messages of {organization}"), &of(&stored), &of(&expected))?;
    }
    is_delivered(&sqlite).map(|()| count)
}

fn stored(sqlite: &Sqlite) -> Types {
    let mut query = sqlite.connection().prepare("SELECT organization, type FROM messages ORDER BY id").unwrap();
    let rows = query.query_map([], |row| Ok((OrganizationId(row.get(0)?), row.get::<_, String>(1)?))).unwrap();
    let mut types = Types::new();
    rows.map(Result::unwrap).for_each(|(organization, kind)| types.entry(organization).or_default().push(kind));
    types
}

/// What the entries tell, and who is deleted.
fn told_by(journal: &Journal) -> (Types, BTreeSet<OrganizationId>) {
    let mut accounts: BTreeMap<OrganizationId, Account> = BTreeMap::new();
    let (mut types, mut deleted) = (Types::new(), BTreeSet::new());
    for (_, id, record) in &journal.records {
        let entry = &record.entry;
        if entry.what.deletes() {
            deleted.insert(*id);
        }
        let Some(account) = accounts.get_mut(id) else {
            accounts.insert(*id, apply::create(*id, entry).expect("an organization begins with its creation"));
            continue;
        };
        let before = account.clone();
        apply::apply(account, entry);
        let told = notice::told(entry, &before, account).into_iter().map(|told| told.kind().as_str().to_owned());
        types.entry(*id).or_default().extend(told);
    }
    (types, deleted)
}

/// Every message goes to somebody, and nothing else does.
fn is_delivered(sqlite: &Sqlite) -> Held {
    let count = |sql: &str| sqlite.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let left = |from: &str, to: &str, columns: &str| {
        count(&format!(
            "SELECT count(*) FROM (SELECT organization, {columns} FROM {from} EXCEPT SELECT organization, {} FROM {to})",
            if columns == "id" { "message" } else { "id" }
        ))
    };
    let stray = (left("messages", "deliveries", "id"), left("deliveries", "messages", "message"));
    // Of who is deleted some of it may have gone before the rest.
    let leaving = count("SELECT count(*) FROM deletions") > 0;
    holds(NAME, leaving || stray == (0, 0), || format!("messages to nobody, deliveries of nothing: {stray:?}"))
}
