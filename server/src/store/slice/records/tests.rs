use super::*;
use crate::store::block::{Block, order, pack};
use crate::store::slice::sort::Sorter;
use metergate_rules::outcome::{Effect, Entry, What};
use metergate_rules::time::{Span, Time};

pub(in crate::store::slice) fn extent(last: u64) -> Extent {
    Extent { first: 1, last, last_at: Time::from_micros(7) }
}

pub(in crate::store::slice) fn organization(number: u64) -> OrganizationId {
    OrganizationId(u128::from(number).to_be_bytes())
}

/// A record that can be told from others.
pub(in crate::store::slice) fn record(number: u64) -> Record {
    let at = Time::from_micros(number.cast_signed());
    let what = What::Due(Effect::DayBegan(Span { start: at, end: at.plus(1) }));
    Record { key: None, fingerprint: number, entry: Entry { at, what } }
}

/// A block in which each organization has as many records as its number modulo 4.
pub(in crate::store::slice) fn block(sequence: u64, organizations: u64) -> Vec<u8> {
    let of =
        |number: u64| (0..number % 4).map(move |i| (organization(number), record(sequence * 1000 + number * 4 + i)));
    let records: Vec<_> = (0..organizations).rev().flat_map(of).collect();
    pack(&records, &order(&records), &[]).unwrap().0
}

/// The file of these blocks.
fn written(path: &Path, blocks: &[Vec<u8>], memory: usize) -> Records {
    let mut sorter = Sorter::new(&path.with_extension("sorting"), memory).unwrap();
    for (sequence, data) in (1..).zip(blocks) {
        sorter.add(sequence, &Block::read(data).unwrap()).unwrap();
    }
    let mut out = RecordWriter::new(path).unwrap();
    sorter.finish(|key, stored| out.push(key, stored)).unwrap();
    out.finish(extent(blocks.len() as u64)).unwrap();
    Records::open(path).unwrap()
}

/// What an organization has in blocks up to `sequence`, newest first.
fn of(records: &Records, organization: OrganizationId, sequence: u64) -> Vec<(u64, u32, Record)> {
    let mut found = Vec::new();
    let take = |in_block, of_block: Vec<(u32, Record)>| {
        found.extend(of_block.into_iter().rev().map(|(offset, record)| (in_block, offset, record)));
        true
    };
    assert!(records.of(organization, sequence, take).unwrap());
    found
}

#[test]
fn an_organizations_records_come_newest_first_and_each_is_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let blocks: Vec<_> = (1..=200).map(|sequence| block(sequence, 40)).collect();
    let records = written(&folder.path().join("1-200.records"), &blocks, 10_000);
    assert!(records.tail.chunks.len() > 5, "the records are in several chunks");
    for number in [0, 1, 2, 7, 38, 39, 40] {
        let id = organization(number);
        for up_to in [0, 1, 77, 200, u64::MAX] {
            let expected = (1..=200.min(up_to)).rev().flat_map(|sequence| {
                let block = Block::read(&blocks[sequence as usize - 1]).unwrap();
                let of_block: Vec<_> = block.of(id).unwrap().into_iter().rev().collect();
                of_block.into_iter().map(move |(offset, record)| (sequence, offset, record))
            });
            let expected: Vec<_> = expected.collect();
            assert_eq!(of(&records, id, up_to), expected, "organization {number} up to {up_to}");
        }
        for (sequence, offset, record) in of(&records, id, u64::MAX) {
            let place = Place { sequence, offset };
            let at = |id| records.chunk_of(id, sequence).and_then(|n| records.chunk(n).unwrap().at(id, place).unwrap());
            assert_eq!(at(id), Some(record));
            assert_eq!(at(organization(number + 1)), None, "the place is another organization's");
        }
    }
    let mut taken = 0;
    let two = |_, _| {
        taken += 1;
        taken < 2
    };
    assert!(!records.of(organization(7), u64::MAX, two).unwrap());
    assert_eq!(taken, 2);
}

#[test]
fn all_records_are_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let blocks: Vec<_> = (1..=50).map(|sequence| block(sequence, 10)).collect();
    let records = written(&folder.path().join("1-50.records"), &blocks, 1);
    let (mut all, mut keys) = (Vec::new(), Vec::new());
    let each = |sequence, organization, of_block: Vec<(u32, Record)>| {
        keys.push((organization, sequence));
        all.extend(of_block.into_iter().map(|(offset, record)| (sequence, organization, offset, record)));
        Ok::<_, SliceError>(())
    };
    records.each(each).unwrap();
    assert!(keys.is_sorted());
    all.sort_by_key(|(sequence, _, offset, _)| (*sequence, *offset));
    let expected = (1..).zip(&blocks).flat_map(|(sequence, data)| {
        let all = Block::read(data).unwrap().all().unwrap().into_iter();
        all.map(move |(organization, offset, record)| (sequence, organization, offset, record))
    });
    assert_eq!(all, expected.collect::<Vec<_>>());
}

#[test]
fn a_changed_byte_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1-3.records");
    let blocks: Vec<_> = (1..=3).map(|sequence| block(sequence, 9)).collect();
    let records = written(&path, &blocks, 1_000_000);
    let expected: Vec<_> = (0..9).map(|number| of(&records, organization(number), 3)).collect();
    let good = std::fs::read(&path).unwrap();
    for i in (0..good.len()).step_by(3).chain(good.len() - 30..good.len()) {
        let mut changed = good.clone();
        changed[i] ^= 0x10;
        std::fs::write(&path, &changed).unwrap();
        let read = Records::open(&path).and_then(|records| {
            for (number, expected) in (0..).zip(&expected) {
                let mut count = 0;
                records.of(organization(number), 3, |_, of_block| {
                    count += of_block.len();
                    true
                })?;
                assert_eq!(count, expected.len(), "byte {i} hides a record");
            }
            Ok(())
        });
        let error = read.expect_err("it is found").to_string();
        assert!(error.starts_with("the slice file 1-3.records: "), "byte {i}: {error}");
    }
}
