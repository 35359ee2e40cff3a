use std::fs;
use std::path::Path;

use metergate_rules::time::MINUTE;
use tempfile::TempDir;

use super::*;
use crate::store::examine::examine;
use crate::store::sqlite::FILE;
use crate::store::sqlite::pages::{PAGE, is_of_the_tree, pages_of};

/// One byte in so many is changed.
const EVERY: usize = 61;
const QUARTER: i64 = 15 * MINUTE;

type Rows = BTreeMap<ValueKey, i64>;

fn rows() -> Rows {
    let mut rows = Rows::new();
    for number in 0..216_u8 {
        let (organization, meter) = (OrganizationId([number % 3 + 1; 16]), MeterId(u32::from(number / 3 % 2) + 1));
        let value = ValueHash(
            u128::from(number / 6 % 12 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_0C66_2FCF_3A51).to_be_bytes(),
        );
        let bucket = Time::from_micros((i64::from(number / 72) + 1_990_000) * QUARTER);
        rows.insert(ValueKey { organization, meter, value, bucket }, i64::from(number % 5));
    }
    rows
}

/// A database with them, closed, so that all of it is in one file.
fn stored(rows: &Rows) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut sqlite = Sqlite::open(folder.path()).unwrap();
    let transaction = sqlite.connection.transaction().unwrap();
    write_values(&transaction, rows).unwrap();
    transaction.commit().unwrap();
    folder
}

type Answer = Result<Vec<(Time, [u8; 16], i64)>, String>;

/// Everything that reports and decisions ask, of organizations and meters that are there and of some that are not.
fn answers(folder: &Path) -> Vec<Answer> {
    let Ok(sqlite) = Sqlite::open_to_read(folder) else { return Vec::new() };
    let mut answers = Vec::new();
    let bucket = |number: i64| Time::from_micros((number + 1_990_000) * QUARTER);
    for organization in 0..=4 {
        for (meter, first, last) in
            (0..=3).flat_map(|meter| [(meter, 0, 3), (meter, 1, 2), (meter, 2, 9), (meter, -9, 0)])
        {
            let (mut found, span) = (Vec::new(), Span { start: bucket(first), end: bucket(last) });
            let id = OrganizationId([organization; 16]);
            let read = sqlite.each_value(id, MeterId(meter), span, |at, value, count| found.push((at, value, count)));
            answers.push(read.map(|()| found).map_err(|error| error.to_string()));
        }
    }
    for key in rows().into_keys().step_by(5) {
        for (key, to) in
            [(key, key.bucket.plus(1)), (key, bucket(9)), (ValueKey { value: ValueHash([9; 16]), ..key }, bucket(9))]
        {
            let seen = sqlite.is_seen(key, to, []);
            answers.push(seen.map(|seen| vec![(to, key.value.0, i64::from(seen))]).map_err(|error| error.to_string()));
        }
    }
    answers
}

/// What the rows themselves say.
fn expected(rows: &Rows) -> Vec<Answer> {
    let folder = stored(rows);
    let answers = answers(folder.path());
    let told: i64 = answers[20..36].iter().flat_map(|answer| answer.as_ref().unwrap()).map(|(.., count)| count).sum();
    let one = rows.iter().filter(|(key, _)| key.organization.0 == [1; 16]);
    let asked_twice = one.clone().filter(|(key, _)| key.bucket > Time::from_micros(1_990_000 * QUARTER));
    assert_eq!(told, one.map(|(_, count)| count).sum::<i64>() + asked_twice.map(|(_, count)| count).sum::<i64>());
    answers
}

#[test]
fn counts_add_up_in_one_row_with_a_checksum() {
    let rows = rows();
    let folder = stored(&rows);
    let mut sqlite = Sqlite::open(folder.path()).unwrap();
    let transaction = sqlite.connection.transaction().unwrap();
    write_values(&transaction, &rows).unwrap();
    transaction.commit().unwrap();
    let twice = rows.iter().map(|(key, count)| (*key, 2 * count)).collect();
    drop(sqlite);
    assert_eq!(answers(folder.path()), expected(&twice));
}

#[test]
fn rows_of_a_store_from_before_get_their_checksums() {
    let rows = rows();
    let folder = stored(&rows);
    let mut sqlite = Sqlite::open(folder.path()).unwrap();
    sqlite.connection.execute("UPDATE unique_values SET checksum = 0", []).unwrap();
    assert!(answers(folder.path())[20].is_err(), "not yet");
    let transaction = sqlite.connection.transaction().unwrap();
    fill(&transaction).unwrap();
    transaction.commit().unwrap();
    drop(sqlite);
    assert_eq!(answers(folder.path()), expected(&rows));
}

/// What stays unseen to who reads is a count of rows on a page, or where a page is: the examination finds those.
#[test]
fn a_changed_byte_is_refused_or_does_no_harm_and_the_examination_finds_what_does() {
    let rows = rows();
    let (folder, expected) = (stored(&rows), expected(&rows));
    let pages = ["unique_values", "unique_values_by_time"].map(|name| pages_of(folder.path(), name)).concat();
    assert!(pages.len() > 6, "{pages:?}");
    let path = folder.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut harmless) = (0, 0);
    for (number, start) in pages.into_iter().enumerate() {
        for at in (number * 5 % EVERY..PAGE).step_by(EVERY) {
            let mut changed = whole.clone();
            changed[start + at] ^= 0x10;
            fs::write(&path, changed).unwrap();
            let told = answers(folder.path());
            let is_wrong = told.iter().zip(&expected).any(|(told, expected)| told.is_ok() && told != expected);
            let is_refused = told.is_empty() || told.iter().any(Result::is_err);
            let findings =
                examine(folder.path(), &|| true).map_or_else(|error| vec![error.to_string()], |seen| seen.findings);
            let what = format!("byte {at} of the page at {start}: {findings:?}");
            assert!(!is_wrong || is_of_the_tree(&whole[start..start + PAGE], at), "a wrong answer: {what}");
            assert!(!(is_wrong || is_refused) || !findings.is_empty(), "what is refused is found: {what}");
            refused += usize::from(is_refused);
            harmless += usize::from(!is_refused && !is_wrong);
        }
    }
    println!("{refused} changed bytes were refused, {harmless} did no harm");
    assert!(refused > harmless && harmless > 0);
}
