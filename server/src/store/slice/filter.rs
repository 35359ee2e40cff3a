//! The filter of a closed slice's ids: whether an id may be in it, without touching the disk.
//!
//! A Bloom filter in which all bits of an id lie in one line of 64 bytes, one bit in each of its eight words, so that a
//! lookup costs one miss of the cache (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters", 2007).
//! It says yes for every id that was put in, and for about one in six hundred that was not.

use super::file::Damage;

/// Bits of the filter for one id.
const BITS_PER_ID: u64 = 14;
/// Bytes of a line.
const LINE: usize = 64;
/// An odd number with its bits well spread: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Which ids may have been seen.
#[derive(Debug)]
pub(super) struct Filter {
    lines: Box<[Line]>,
}

#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Line([u64; LINE / 8]);

impl Filter {
    /// An empty filter for so many ids.
    pub(super) fn for_ids(ids: u64) -> Self {
        let lines = (ids * BITS_PER_ID).div_ceil(8 * LINE as u64).max(1);
        Self { lines: vec![Line::default(); usize::try_from(lines).unwrap_or(usize::MAX)].into() }
    }

    /// Puts the hash of an id in.
    pub(super) fn insert(&mut self, hash: u64) {
        let line = self.line(hash);
        for (word, mask) in self.lines[line].0.iter_mut().zip(masks(hash)) {
            *word |= mask;
        }
    }

    /// Whether the id of this hash may be in it. Never no for one that is.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        let line = &self.lines[self.line(hash)].0;
        line.iter().zip(masks(hash)).fold(0, |missing, (word, mask)| missing | (!word & mask)) == 0
    }

    /// Its size in memory and in the file, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.lines.len() * LINE
    }

    /// The line that the upper bits of a hash choose.
    fn line(&self, hash: u64) -> usize {
        super::scale(hash, self.lines.len())
    }

    /// Its lines as they are stored, little-endian.
    pub(super) fn stored(&self) -> impl Iterator<Item = [u8; LINE]> {
        self.lines.iter().map(|line| {
            let mut bytes = line.0.iter().flat_map(|word| word.to_le_bytes());
            std::array::from_fn(|_| bytes.next().unwrap_or_default())
        })
    }

    /// The filter that was stored.
    pub(super) fn read(data: &[u8]) -> Result<Self, Damage> {
        let (lines, rest) = data.as_chunks::<LINE>();
        if lines.is_empty() || !rest.is_empty() {
            return Err(Damage::Malformed("the filter has no whole number of lines"));
        }
        let line = |line: &[u8; LINE]| {
            let mut words = line.as_chunks::<8>().0.iter().copied();
            Line(std::array::from_fn(|_| words.next().map_or(0, u64::from_le_bytes)))
        };
        Ok(Self { lines: lines.iter().map(line).collect() })
    }
}

/// One bit for each word of a line. The upper bits of a hash have chosen the line, so these come from all of it.
fn masks(hash: u64) -> impl Iterator<Item = u64> {
    let spread = hash.wrapping_mul(SPREAD);
    (0..LINE / 8).map(move |word| 1 << (spread >> (16 + 6 * word) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// splitmix64: the hashes of a million ids.
    fn hashes(seed: u64) -> impl Iterator<Item = u64> {
        (1..=1_000_000).map(move |i: u64| {
            let mixed = (seed + i).wrapping_mul(SPREAD);
            let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ mixed >> 31
        })
    }

    #[test]
    fn every_id_is_found_and_few_others_at_less_than_two_bytes_an_id() {
        let mut filter = Filter::for_ids(1_000_000);
        hashes(0).for_each(|hash| filter.insert(hash));
        assert!(hashes(0).all(|hash| filter.may_have(hash)));
        let wrong = hashes(1 << 40).filter(|hash| filter.may_have(*hash)).count();
        assert!(wrong < 3_000, "{wrong} of a million");
        assert!(filter.bytes() < 2_000_000, "{} bytes", filter.bytes());
    }

    #[test]
    fn an_empty_filter_has_nothing() {
        let filter = Filter::for_ids(0);
        assert!(hashes(0).take(1000).all(|hash| !filter.may_have(hash)));
    }
}
