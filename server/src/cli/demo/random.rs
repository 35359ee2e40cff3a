//! Numbers that look random and are always the same for the same words.

use sha2::{Digest, Sha256};

/// A generator (SplitMix64, Steele and others 2014) seeded by words: the same words give the same numbers.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn of(words: &[&str]) -> Self {
        let digest = Sha256::digest(words.join("\0"));
        Self(digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte)))
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`; 0 where `end` is.
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// A number in `least..=most`.
    pub(super) const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// A whole number whose mean is `thousandths` / 1000, spread by a quarter to either side.
    pub(super) const fn around(&mut self, thousandths: u64) -> u64 {
        let spread = thousandths * self.between(750, 1250) / 1000;
        spread / 1000 + if self.below(1000) < spread % 1000 { 1 } else { 0 }
    }
}
