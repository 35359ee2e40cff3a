//! The ids of the open slice, in memory.

use hashbrown::HashTable;

use super::scale;
use crate::store::Place;

/// Parts of the table: each grows on its own, so that no commit waits until millions of ids have moved. So many that
/// they are nine tenths full at five million ids.
const SHARDS: usize = 192;

/// Where each id stands in the journal, by its hash. An id that was used again is in it twice, and so are two ids with
/// one hash.
pub struct IdTable {
    /// The first block of the slice. Places are kept relative to it, so that one takes eight bytes.
    first: u64,
    shards: Vec<HashTable<(u64, u64)>>,
    len: u64,
}

impl IdTable {
    /// Empty, for a slice that begins with the block `first`.
    pub fn beginning_at(first: u64) -> Self {
        Self { first, shards: (0..SHARDS).map(|_| HashTable::new()).collect(), len: 0 }
    }

    /// The first block of the slice.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// How many ids are in it.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether none is.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Remembers where the id of a hash stands, at most 2^32 blocks after the first.
    pub fn insert(&mut self, hash: u64, place: Place) {
        let packed = (place.sequence - self.first) << 32 | u64::from(place.offset);
        self.shards[scale(hash, SHARDS)].insert_unique(inner(hash), (hash, packed), |(hash, _)| inner(*hash));
        self.len += 1;
    }

    /// The newest place before `before` at which an id of this hash stands.
    pub fn candidate(&self, hash: u64, before: Place) -> Option<Place> {
        let same = self.shards[scale(hash, SHARDS)].iter_hash(inner(hash)).filter(|(other, _)| *other == hash);
        same.map(|(_, packed)| self.place(*packed)).filter(|place| *place < before).max()
    }

    /// All hashes in order, each with its place.
    pub fn in_order(&self) -> impl Iterator<Item = (u64, Place)> {
        self.shards.iter().flat_map(|shard| {
            let mut entries: Vec<_> = shard.iter().copied().collect();
            entries.sort_unstable();
            entries.into_iter().map(|(hash, packed)| (hash, self.place(packed)))
        })
    }

    const fn place(&self, packed: u64) -> Place {
        Place { sequence: self.first + (packed >> 32), offset: packed as u32 }
    }
}

/// The hash within a part: the upper bits, by which an entry is told from its neighbours, have chosen the part.
const fn inner(hash: u64) -> u64 {
    hash.rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Place = Place { sequence: u64::MAX, offset: u32::MAX };

    fn place(sequence: u64, offset: u32) -> Place {
        Place { sequence, offset }
    }

    #[test]
    fn the_newest_place_comes_first_and_equal_hashes_are_kept_apart() {
        let mut table = IdTable::beginning_at(7);
        for (hash, place) in [(5, place(7, 9)), (5, place(8, 1)), (u64::MAX, place(7, 30)), (5, place(7, 10))] {
            table.insert(hash, place);
        }
        let mut found = Vec::new();
        let mut before = LAST;
        while let Some(candidate) = table.candidate(5, before) {
            found.push(candidate);
            before = candidate;
        }
        assert_eq!(found, [place(8, 1), place(7, 10), place(7, 9)]);
        assert_eq!(table.candidate(u64::MAX, LAST), Some(place(7, 30)));
        assert_eq!(table.candidate(6, LAST), None);
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn hashes_come_in_order() {
        let mut table = IdTable::beginning_at(1);
        for i in 0..10_000_u64 {
            table.insert(i.wrapping_mul(0x9E37_79B9_7F4A_7C15), place(1 + i, 5));
        }
        let all: Vec<_> = table.in_order().collect();
        assert_eq!(all.len(), 10_000);
        assert!(all.is_sorted());
        assert!(all.iter().all(|(hash, place)| table.candidate(*hash, LAST) == Some(*place)));
    }
}
