//! Entries that say where their chain begins: what came before was exported and dropped (O6).

use hmac::Mac;
use metergate_rules::audit::actions::CHECKPOINT;
use metergate_rules::audit::{Draft, Fields, Hash, Object};
use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};

use super::root::keyed;
use super::{AuditRow, Broken};
use crate::hex::{hex, unhex};
use crate::store::error::{EngineError, unreadable};
use crate::store::ledger::Head;
use crate::store::rows::Rows;

/// The older entries of a chain that go, and what stays known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Which chain.
    pub chain: [u8; 16],
    /// The place of the last entry that goes.
    pub sequence: u64,
    /// The hash of that entry, from which the chain goes on.
    pub hash: Hash,
    /// Entries that go.
    pub entries: u64,
    /// They are all from before this.
    pub until: Time,
    /// SHA-256 of the file that they were exported to.
    pub file: Hash,
}

#[derive(Serialize, Deserialize)]
struct Details {
    dropped: Written,
}

/// As it stands in the details of its entry. Hashes are lower-case hex.
#[derive(Serialize, Deserialize)]
struct Written {
    seq: u64,
    hash: String,
    entries: u64,
    until: String,
    file: String,
    signature: String,
}

impl Cut {
    /// The entry that says so, signed by the key of this installation.
    pub fn draft(&self, at: Time, key: &[u8; 16]) -> Draft {
        let details = Details {
            dropped: Written {
                seq: self.sequence,
                hash: hex(&self.hash),
                entries: self.entries,
                until: self.until.to_string(),
                file: hex(&self.file),
                signature: hex(&self.mac(key).finalize().into_bytes()),
            },
        };
        let begins = i64::try_from(self.sequence + 1).unwrap_or(i64::MAX);
        let after = Fields::default().with("begins", begins);
        // Texts and numbers always have a JSON form.
        let details = Object::Text(serde_json::to_string(&details).unwrap_or_default());
        Draft { by_system: true, details, ..Draft::new(at, CHECKPOINT, "config", Fields::default(), after) }
    }

    /// Whether `signature` was made with this key, in constant time.
    pub fn is_signed(&self, key: &[u8; 16], signature: &Hash) -> bool {
        self.mac(key).verify_slice(signature).is_ok()
    }

    /// HMAC-SHA256 over `metergate-audit-checkpoint-1`, chain, place, hash, number of entries and time in microseconds as
    /// big-endian integers, and the digest of the file.
    fn mac(&self, key: &[u8; 16]) -> hmac::Hmac<sha2::Sha256> {
        let mut mac = keyed(key);
        mac.update(b"metergate-audit-checkpoint-1");
        mac.update(&self.chain);
        mac.update(&self.sequence.to_be_bytes());
        mac.update(&self.hash);
        mac.update(&self.entries.to_be_bytes());
        mac.update(&self.until.micros().to_be_bytes());
        mac.update(&self.file);
        mac
    }

    /// The end of the chain's part that was dropped.
    const fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash }
    }
}

impl AuditRow {
    /// What it says was dropped before it, with its signature.
    pub fn dropped(&self) -> Option<(Cut, Hash)> {
        if self.action != CHECKPOINT {
            return None;
        }
        let Details { dropped } = serde_json::from_str(&self.details).ok()?;
        let cut = Cut {
            chain: self.chain,
            sequence: dropped.seq,
            hash: unhex(&dropped.hash)?,
            entries: dropped.entries,
            until: dropped.until.parse().ok()?,
            file: unhex(&dropped.file)?,
        };
        Some((cut, unhex(&dropped.signature)?))
    }
}

/// Where a chain begins, if not at its first entry.
///
/// # Errors
/// [`EngineError`] if it cannot be read. The answer is [`Broken::Unfounded`] where no entry of the chain says so, or not
/// with this installation's signature.
pub fn beginning(rows: &dyn Rows, chain: [u8; 16]) -> Result<Result<Option<Cut>, Broken>, EngineError> {
    let Some(stored) = rows.audit_checkpoint(chain)? else { return Ok(Ok(None)) };
    let said = rows.audit_entry(chain, stored.entry)?.and_then(|row| row.dropped());
    let key = key(rows)?;
    let holds = |(cut, signature): &(Cut, Hash)| cut.sequence == stored.sequence && cut.is_signed(&key, signature);
    Ok(said.filter(holds).map_or(Err(Broken::Unfounded(stored.sequence)), |(cut, _)| Ok(Some(cut))))
}

/// The end from which the entries of a chain are followed.
pub(super) fn origin(begins: Option<&Cut>) -> Head {
    begins.map_or(Head::EMPTY, Cut::head)
}

/// The key by which this installation signs.
pub(in crate::store) fn key(rows: &dyn Rows) -> Result<[u8; 16], EngineError> {
    let text = rows.setting("audit_key")?.unwrap_or_default();
    u128::from_str_radix(&text, 16).map(u128::to_be_bytes).map_err(|error| unreadable("audit_key", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Cut = Cut {
        chain: [1; 16],
        sequence: 7,
        hash: [2; 32],
        entries: 5,
        until: Time::from_micros(1_700_000_000_123_456),
        file: [3; 32],
    };

    #[test]
    fn every_field_is_in_the_signature_and_comes_back_out_of_the_entry() {
        let draft = CUT.draft(Time::from_micros(9), &[4; 16]);
        let row = AuditRow::after(Head::EMPTY, CUT.chain, &draft, "key:x", "");
        assert_eq!(row.actor, "system");
        let (read, signature) = row.dropped().unwrap();
        assert_eq!(read, CUT);
        assert!(CUT.is_signed(&[4; 16], &signature) && !CUT.is_signed(&[5; 16], &signature));
        let others = [
            Cut { chain: [9; 16], ..CUT },
            Cut { sequence: 8, ..CUT },
            Cut { hash: [9; 32], ..CUT },
            Cut { entries: 6, ..CUT },
            Cut { until: Time::from_micros(8), ..CUT },
            Cut { file: [9; 32], ..CUT },
        ];
        for other in others {
            assert!(!other.is_signed(&[4; 16], &signature), "{other:?}");
        }
        for changed in
            [AuditRow { action: "x".to_owned(), ..row.clone() }, AuditRow { details: "{}".to_owned(), ..row }]
        {
            assert_eq!(changed.dropped(), None);
        }
    }
}
