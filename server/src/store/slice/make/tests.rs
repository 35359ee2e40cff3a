use super::*;
use crate::store::Place;
use crate::store::known::NEWEST;
use crate::store::slice::Files;
use crate::store::slice::records::tests::{block, extent, organization};
use crate::store::sqlite::SliceChange;

/// A data folder with so many blocks.
fn folder_with(blocks: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(folder.path()).unwrap();
    let mut insert = sqlite.connection().prepare("INSERT INTO blocks (sequence, at, data) VALUES (?, 0, ?)").unwrap();
    for sequence in 1..=blocks {
        insert.execute((sequence.cast_signed(), block(sequence, 9))).unwrap();
    }
    Files::open(folder.path(), &sqlite).unwrap();
    folder
}

fn maker<'a>(folder: &'a Path, stop: &'a AtomicBool) -> Maker<'a> {
    Maker { folder, stop }
}

/// Ids of every second hash, the other ones being those of the next table, and one hash that all have.
fn table(first: u64, blocks: u64, odd: u64) -> IdTable {
    let mut table = IdTable::beginning_at(first, 0);
    for sequence in first..first + blocks {
        let hash = (2 * sequence + odd).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        table.insert(hash, Place { sequence, offset: 5 });
    }
    table.insert(1 << 63, Place { sequence: first, offset: 9 });
    table
}

#[test]
fn a_slice_that_closes_has_its_records_and_ids_in_files() {
    let folder = folder_with(600);
    let stop = AtomicBool::new(false);
    let (records, ids) = maker(folder.path(), &stop).close(extent(600), &table(1, 600, 0)).unwrap();
    let ids = ids.unwrap();
    assert_eq!((records.extent(), ids.extent(), ids.ids()), (extent(600), extent(600), 601));
    let mut blocks = 0;
    let count = |_, _| {
        blocks += 1;
        true
    };
    records.of(organization(7), u64::MAX, count).unwrap();
    assert_eq!(blocks, 600);
    let (records, none) = maker(folder.path(), &stop).close(extent(600), &IdTable::beginning_at(1, 0)).unwrap();
    assert!(none.is_none(), "without ids there is no file of ids");
    records.unlink();
    assert!(!extent(600).records_in(folder.path()).exists());
    assert!(records.chunk(0).is_ok(), "who has it open can still read it");
}

#[test]
fn merged_files_answer_as_both_did() {
    let folder = folder_with(300);
    let stop = AtomicBool::new(false);
    let maker = maker(folder.path(), &stop);
    let (extent_a, extent_b) = (extent(100), Extent { first: 101, ..extent(300) });
    let (a, b) = (table(1, 100, 0), table(101, 200, 1));
    let older = maker.close(extent_a, &a).unwrap().1.unwrap();
    let newer = maker.close(extent_b, &b).unwrap().1.unwrap();
    let merged = maker.merge(&older, &newer).unwrap();
    assert_eq!((merged.ids(), merged.extent()), (302, extent(300)));
    for (hash, place) in a.in_order().chain(b.in_order()).filter(|(hash, _)| *hash != 1 << 63) {
        assert_eq!(merged.candidate(hash, NEWEST).unwrap(), Some(place));
    }
    let newest = merged.candidate(1 << 63, NEWEST).unwrap().unwrap();
    assert_eq!(newest, Place { sequence: 101, offset: 9 });
    assert_eq!(merged.candidate(1 << 63, newest).unwrap(), Some(Place { sequence: 1, offset: 9 }));
}

#[test]
fn a_block_that_is_missing_or_changed_is_named_and_no_slice_is_made() {
    let stop = AtomicBool::new(false);
    for (sql, said) in [
        ("DELETE FROM blocks WHERE sequence = 40", "the block before block 41 cannot be read: it is not there"),
        ("DELETE FROM blocks WHERE sequence = 50", "block 50 cannot be read: it is missing"),
        ("UPDATE blocks SET data = zeroblob(9) WHERE sequence = 3", "block 3 cannot be read: "),
    ] {
        let folder = folder_with(50);
        Sqlite::open(folder.path()).unwrap().connection().execute(sql, []).unwrap();
        let error = maker(folder.path(), &stop).close(extent(50), &table(1, 50, 0)).expect_err("no slice");
        assert!(error.to_string().contains(said), "{error}");
        assert!(!extent(50).records_in(folder.path()).exists());
    }
}

#[test]
fn a_store_that_closes_stops_what_is_being_made() {
    let folder = folder_with(10);
    let stop = AtomicBool::new(true);
    let error = maker(folder.path(), &stop).close(extent(10), &table(1, 10, 0)).expect_err("it stops");
    assert!(matches!(error, Unmade::Stopped), "{error}");
}

#[test]
fn files_count_from_their_row_on_and_others_are_removed() {
    let folder = folder_with(20);
    let stop = AtomicBool::new(false);
    maker(folder.path(), &stop).close(extent(20), &table(1, 20, 0)).unwrap();
    let mut sqlite = Sqlite::open(folder.path()).unwrap();
    sqlite.change_slices(SliceChange::Closed(extent(20), Some(extent(20)))).unwrap();
    let left = [extent(19).ids_in(folder.path()), extent(19).records_in(folder.path())];
    left.iter().for_each(|path| std::fs::write(path, "half a file").unwrap());
    let files = Files::open(folder.path(), &sqlite).unwrap();
    assert_eq!((files.records.len(), files.ids.len()), (1, 1));
    assert!(left.iter().all(|path| !path.exists()));
}

#[test]
fn a_file_that_is_missing_or_another_is_refused_and_named() {
    let folder = folder_with(20);
    let stop = AtomicBool::new(false);
    let mut sqlite = Sqlite::open(folder.path()).unwrap();
    sqlite.change_slices(SliceChange::Closed(extent(20), Some(extent(20)))).unwrap();
    let refused = |sqlite: &Sqlite| Files::open(folder.path(), sqlite).err().expect("it is refused").to_string();
    assert!(refused(&sqlite).contains("1-20.records"), "{}", refused(&sqlite));
    maker(folder.path(), &stop).close(Extent { first: 2, ..extent(20) }, &table(2, 19, 0)).unwrap();
    std::fs::rename(Extent { first: 2, ..extent(20) }.records_in(folder.path()), extent(20).records_in(folder.path()))
        .unwrap();
    let error = refused(&sqlite);
    assert!(error.contains("1-20.records") && error.contains("other blocks"), "{error}");
}
