//! Use as CSV: what spreadsheets read.

use super::UsageRow;
use crate::spreadsheet::cell;
use crate::store::StoreError;

/// The rows as CSV (RFC 4180) with a line of names: `organization,meter,start,end,value,count`, then a column for each
/// dimension of `group_by`, empty where an event did not have it; what would be a formula is a text.
///
/// # Errors
/// [`StoreError::Internal`] if it cannot be written; a defect.
pub fn csv(rows: &[UsageRow], group_by: &[String]) -> Result<Vec<u8>, StoreError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let names = ["organization", "meter", "start", "end", "value", "count"].map(str::to_owned);
    let cells = |text: &String| cell(text).into_owned();
    writer.write_record(names.iter().chain(group_by).map(cells)).map_err(|_| StoreError::Internal)?;
    for row in rows {
        let fixed = [
            row.organization.to_string(),
            row.meter.to_string(),
            row.start.0.to_string(),
            row.end.0.to_string(),
            row.value.to_string(),
            row.count.to_string(),
        ];
        let groups = group_by.iter().map(|name| row.group.text(name));
        writer
            .write_record(fixed.into_iter().chain(groups).map(|text| cells(&text)))
            .map_err(|_| StoreError::Internal)?;
    }
    writer.into_inner().map_err(|_| StoreError::Internal)
}
