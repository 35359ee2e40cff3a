//! One hash over the ends of all chains, and this installation's signature of it: kept elsewhere, they show whether a chain
//! was cut off or written anew, which no chain can show of itself.

use hmac::{Hmac, KeyInit, Mac};
use metergate_rules::audit::Hash;
use metergate_rules::time::Time;
use sha2::{Digest, Sha256};

/// The root of chains as they are added: SHA-256 over name, place and hash of the last entry of each, in order of names,
/// the place as a big-endian integer.
#[derive(Clone, Debug, Default)]
pub struct Root(Sha256);

impl Root {
    /// Adds the end of the next chain.
    pub fn add(&mut self, chain: &[u8; 16], sequence: u64, hash: &Hash) {
        self.0.update(chain);
        self.0.update(sequence.to_be_bytes());
        self.0.update(hash);
    }

    /// The root of what was added.
    pub fn finish(self) -> Hash {
        self.0.finalize().into()
    }
}

/// What is signed of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// When it was taken.
    pub at: Time,
    /// Over how many chains.
    pub chains: u64,
    /// The root.
    pub root: Hash,
}

impl Signed {
    /// The signature, in lower-case hex: HMAC-SHA256 over `metergate-audit-head-1`, the time in microseconds and the number of
    /// chains as big-endian integers, and the root.
    pub fn signature(&self, key: &[u8; 16]) -> String {
        crate::hex::hex(&self.mac(key).finalize().into_bytes())
    }

    /// Whether `signature` was made with this key, in constant time.
    pub fn is_signed(&self, key: &[u8; 16], signature: &Hash) -> bool {
        self.mac(key).verify_slice(signature).is_ok()
    }

    fn mac(&self, key: &[u8; 16]) -> Hmac<Sha256> {
        let mut mac = keyed(key);
        mac.update(b"metergate-audit-head-1");
        mac.update(&self.at.micros().to_be_bytes());
        mac.update(&self.chains.to_be_bytes());
        mac.update(&self.root);
        mac
    }
}

/// What signs by the key of this installation.
#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
pub(super) fn keyed(key: &[u8; 16]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_and_the_key_are_in_the_signature() {
        let signed = Signed { at: Time::from_micros(7), chains: 2, root: [3; 32] };
        let mac: Hash = signed.mac(&[1; 16]).finalize().into_bytes().into();
        assert!(signed.is_signed(&[1; 16], &mac));
        let others = [
            Signed { at: Time::from_micros(8), ..signed },
            Signed { chains: 3, ..signed },
            Signed { root: [4; 32], ..signed },
        ];
        assert!(others.iter().all(|other| !other.is_signed(&[1; 16], &mac)));
        assert!(!signed.is_signed(&[2; 16], &mac) && !signed.is_signed(&[1; 16], &[0; 32]));
    }
}
