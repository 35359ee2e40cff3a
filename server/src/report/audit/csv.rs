//! Entries of the audit log as CSV: what spreadsheets read.

use super::AuditEntryBody;
use crate::spreadsheet::cell;
use crate::store::StoreError;

/// The names of the columns.
const NAMES: [&str; 13] = [
    "seq",
    "time",
    "actor",
    "action",
    "category",
    "before",
    "after",
    "details",
    "reason",
    "resolvedAt",
    "resolvedBy",
    "resolvedNote",
    "hash",
];

/// The entries as CSV (RFC 4180) with a line of names. Objects are JSON texts; what is not there is empty; what
/// would be a formula is a text.
///
/// # Errors
/// [`StoreError::Internal`] if it cannot be written; a defect.
pub fn csv(entries: &[AuditEntryBody]) -> Result<Vec<u8>, StoreError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(NAMES).map_err(|_| StoreError::Internal)?;
    for entry in entries {
        let columns = columns(entry);
        writer.write_record(columns.iter().map(|text| cell(text).into_owned())).map_err(|_| StoreError::Internal)?;
    }
    writer.into_inner().map_err(|_| StoreError::Internal)
}

fn columns(entry: &AuditEntryBody) -> [String; 13] {
    let resolved = entry.resolved.as_ref();
    [
        entry.seq.to_string(),
        entry.time.0.to_string(),
        entry.actor.clone(),
        entry.action.clone(),
        entry.category.clone(),
        entry.before.get().to_owned(),
        entry.after.get().to_owned(),
        entry.details.get().to_owned(),
        entry.reason.clone().unwrap_or_default(),
        resolved.map(|it| it.at.0.to_string()).unwrap_or_default(),
        resolved.map(|it| it.by.clone()).unwrap_or_default(),
        resolved.map(|it| it.note.clone()).unwrap_or_default(),
        entry.hash.clone(),
    ]
}
