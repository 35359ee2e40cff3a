use super::*;
use crate::store::slice::records::tests::block;

#[test]
fn what_is_spilled_comes_back_in_order_however_little_memory_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sorting");
    let sorted = |memory: usize, blocks: u64| {
        let mut sorter = Sorter::new(&path, memory).unwrap();
        assert!(!path.exists(), "the file has no name, so that nothing of it is left");
        for sequence in 1..=blocks {
            sorter.add(sequence, &Block::read(block(sequence, 30)).unwrap()).unwrap();
        }
        let mut all = Vec::new();
        sorter
            .finish(|key, stored| {
                all.push((key, stored.to_vec()));
                Ok(())
            })
            .unwrap();
        all
    };
    let at_once = sorted(usize::MAX, 100);
    assert!(at_once.len() > 1000 && at_once.is_sorted());
    assert!(at_once.iter().all(|(key, stored)| run_header(stored.first_chunk().unwrap()).0 == *key));
    for memory in [1, 3_000, 100_000] {
        assert_eq!(sorted(memory, 100), at_once, "{memory} bytes");
    }
    assert_eq!(sorted(1, 0), []);
}
