use super::*;
use crate::store::known::NEWEST;

fn extent() -> Extent {
    Extent { first: 1, last: 1_000_000, last_at: metergate_rules::time::Time::from_micros(7) }
}

/// Hashes that are spread over all, of which every hundredth is that of two ids.
fn ids(count: u64) -> Vec<(u64, Place)> {
    let hash = |i: u64| (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let one = |i: u64| (hash(if i % 100 == 99 { i - 1 } else { i }), Place { sequence: 1 + i / 3, offset: i as u32 });
    let mut ids: Vec<_> = (0..count).map(one).collect();
    ids.sort_unstable();
    ids
}

fn written(folder: &Path, ids: &[(u64, Place)]) -> IdFile {
    let path = folder.join("1-1000000.ids");
    let mut out = IdWriter::new(&path, extent(), ids.len() as u64).unwrap();
    ids.iter().for_each(|(hash, place)| out.push(*hash, *place).unwrap());
    out.finish().unwrap();
    IdFile::open(&path).unwrap()
}

#[test]
fn ids_are_found_at_all_their_places_newest_first_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    for count in [0, 1, 2, 199, 10_000] {
        let ids = ids(count);
        let file = written(folder.path(), &ids);
        assert_eq!((file.ids(), file.extent()), (count, extent()));
        for (hash, place) in &ids {
            let mut places = Vec::new();
            let mut before = NEWEST;
            while let Some(found) = file.candidate(*hash, before).unwrap() {
                places.push(found);
                before = found;
            }
            assert!(places.contains(place) && places.is_sorted_by(|a, b| a > b), "{count}: {hash:x} at {places:?}");
            assert!(places.len() <= 2);
        }
        // The filter says yes to some of these; the page does not.
        let wrong = ids.iter().filter(|(hash, _)| file.candidate(hash ^ 1 << 20, NEWEST).unwrap().is_some());
        assert_eq!(wrong.count(), 0, "{count}");
        let mut entries = file.entries();
        let all: Vec<_> = std::iter::from_fn(|| entries.next().unwrap()).collect();
        assert_eq!(all, ids);
    }
}

#[test]
fn an_id_in_a_file_takes_less_than_two_bytes_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), &ids(1_000_000));
    let bytes = file.bytes_in_memory();
    assert!(bytes < 1_800_000, "{bytes} bytes for a million ids; 0.2 of the two are for the lists of records");
}

#[test]
fn a_changed_byte_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let ids = ids(402);
    let path = folder.path().join("1-1000000.ids");
    drop(written(folder.path(), &ids));
    let good = std::fs::read(&path).unwrap();
    // Every seventh: each place of an id in its page comes up, and the file is opened a thousand times as it is.
    for i in (0..good.len()).step_by(7).chain(good.len() - 30..good.len()) {
        let mut changed = good.clone();
        changed[i] ^= 0x10;
        std::fs::write(&path, &changed).unwrap();
        let read = IdFile::open(&path).and_then(|file| {
            let mut entries = file.entries();
            for id in &ids {
                assert_eq!(entries.next()?, Some(*id), "byte {i} hides an id");
            }
            Ok(())
        });
        let error = read.expect_err("it is found").to_string();
        assert!(error.starts_with("the slice file 1-1000000.ids: "), "byte {i}: {error}");
    }
    for length in [0, 10, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(IdFile::open(&path).is_err(), "cut at {length}");
    }
}
