use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;

use super::*;
use crate::store::rollup::{Day, Slot};
use crate::store::sqlite::FILE;
use crate::store::sqlite::pages::{PAGE, is_of_the_tree, pages_of};

/// One byte in so many is changed.
const EVERY: usize = 257;
type Rows = BTreeMap<(OrganizationId, MeterId, i32, String), i64>;

/// Meters with no days, with few and with many.
fn rows() -> Rows {
    let mut rows = Rows::new();
    for organization in [1, 2, 3].map(|number| OrganizationId([number; 16])) {
        for (meter, days) in [(1, 3), (2, 40), (4, 1), (5, 90), (6, 17), (9, 16), (10, 2)] {
            for day in (0..days).map(|day| day * 2 - 50) {
                for dimensions in ["", r#"{"model":"a"}"#].iter().take(1 + usize::from(meter == 2)) {
                    rows.insert((organization, MeterId(meter), day, (*dimensions).to_owned()), i64::from(day) + 70);
                }
            }
        }
    }
    rows
}

fn stored(rows: &Rows) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(folder.path()).unwrap();
    let transaction = sqlite.connection.unchecked_transaction().unwrap();
    for ((organization, meter, day, dimensions), count) in rows {
        let row = RollupRow { organization: *organization, meter: *meter, day: *day, dimensions };
        let mut slots = Day::default();
        slots.add(7, &Slot { count: *count, ..Slot::default() });
        let sql = "INSERT INTO rollups (organization, meter, day, dimensions, data) VALUES (?, ?, ?, ?, ?)";
        let values = (organization.bytes(), meter.0, day, dimensions, row.seal(&slots).unwrap());
        transaction.execute(sql, values).unwrap();
    }
    transaction.commit().unwrap();
    folder
}

/// Meters and days.
fn questions() -> Vec<(Vec<MeterId>, (i32, i32))> {
    let meters = [&[1, 2, 4, 5, 6, 9, 10][..], &[2], &[1, 10], &[3, 5, 7, 9], &[7, 8], &[11], &[5, 6]];
    let days = [(i32::MIN, i32::MAX), (-50, -50), (-49, -49), (-12, 4), (60, 99), (7, 3)];
    let meters = meters.map(|some| some.iter().map(|meter| MeterId(*meter)).collect::<Vec<_>>());
    meters.iter().flat_map(|some| days.map(|days| (some.clone(), days))).collect()
}

type Answer = Result<Vec<(MeterId, i32, String, i64)>, EngineError>;

fn row(meter: MeterId, day: i32, dimensions: &str, data: &[u8]) -> (MeterId, i32, String, i64) {
    (meter, day, dimensions.to_owned(), Day::total(data).unwrap().count)
}

fn several(sqlite: &Sqlite, organization: OrganizationId, meters: &[MeterId], (first, last): (i32, i32)) -> Answer {
    let of = |meter: &MeterId| RollupRange { organization, meter: *meter, first, last, newest_first: false };
    Ok(meters.iter().map(|meter| one(sqlite, &of(meter))).collect::<Result<Vec<_>, _>>()?.concat())
}

fn one(sqlite: &Sqlite, range: &RollupRange) -> Answer {
    let mut found = Vec::new();
    sqlite.each_rollup::<EngineError>(range, |day, dimensions, data| {
        found.push(row(range.meter, day, dimensions, data));
        Ok(true)
    })?;
    Ok(found)
}

fn expected(
    rows: &Rows,
    organization: OrganizationId,
    meters: &[MeterId],
    (first, last): (i32, i32),
) -> Vec<(MeterId, i32, String, i64)> {
    let asked = |(of, meter, day, _): &(OrganizationId, MeterId, i32, String)| {
        *of == organization && meters.contains(meter) && (first..=last).contains(day)
    };
    let rows = rows.iter().filter(|(key, _)| asked(key));
    rows.map(|((_, meter, day, dimensions), count)| (*meter, *day, dimensions.clone(), *count)).collect()
}

#[test]
fn a_range_has_its_rows_and_no_others_whatever_lies_between() {
    let rows = rows();
    let folder = stored(&rows);
    let sqlite = Sqlite::open_to_read(folder.path()).unwrap();
    for organization in [0, 1, 2, 3, 4].map(|number| OrganizationId([number; 16])) {
        for (meters, days) in questions() {
            let mut expected = expected(&rows, organization, &meters, days);
            assert_eq!(several(&sqlite, organization, &meters, days).unwrap(), expected, "{meters:?} {days:?}");
            let [meter] = meters[..] else { continue };
            let range = |newest_first| RollupRange { organization, meter, first: days.0, last: days.1, newest_first };
            assert_eq!(one(&sqlite, &range(false)).unwrap(), expected);
            expected.reverse();
            assert_eq!(one(&sqlite, &range(true)).unwrap(), expected);
        }
    }
}

#[test]
fn a_changed_byte_of_rows_is_refused_or_does_no_harm() {
    let rows = rows();
    let folder = stored(&rows);
    let path = folder.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    let pages = pages_of(folder.path(), "rollups");
    assert!(pages.len() > 5, "{pages:?}");
    let (mut refused, mut harmless) = (0, 0);
    for (number, start) in pages.into_iter().enumerate() {
        for at in (number * 13 % EVERY..PAGE).step_by(EVERY) {
            if is_of_the_tree(&whole[start..start + PAGE], at) {
                continue;
            }
            let mut changed = whole.clone();
            changed[start + at] ^= 0x10;
            fs::write(&path, changed).unwrap();
            let sqlite = Sqlite::open_to_read(folder.path()).unwrap();
            let mut any = false;
            for organization in [1, 2, 3].map(|number| OrganizationId([number; 16])) {
                for (meters, days) in questions() {
                    match several(&sqlite, organization, &meters, days) {
                        Ok(told) => {
                            assert_eq!(told, expected(&rows, organization, &meters, days), "byte {at} of {start}")
                        }
                        Err(_) => any = true,
                    }
                }
            }
            refused += usize::from(any);
            harmless += usize::from(!any);
        }
    }
    println!("{refused} changed bytes were refused, {harmless} did no harm");
    assert!(refused > harmless && harmless > 0);
}
