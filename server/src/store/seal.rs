//! Rows that carry a checksum, so that bytes which changed on the disk are found, and never taken for a figure.
//!
//! SQLite has no checksums of its own outside of the write-ahead file. Version 5 of a sealed content: one byte `5`; CRC-32,
//! little-endian, over the columns by which the row is found and the content; the content. With the columns in it, a
//! row that has come under another key is found, too.

use super::block::Unreadable;
use crate::faults::planted;

pub(super) const VERSION: u8 = 5;
const HEADER: usize = 5;

/// The content of the row with these columns, sealed.
pub(super) fn seal(columns: &[&[u8]], content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER + content.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&checksum(columns, content).to_le_bytes());
    sealed.extend_from_slice(content);
    sealed
}

/// The content of the row with these columns.
///
/// # Errors
/// [`Unreadable`] where it is not what was sealed under them.
pub(super) fn unseal<'d>(columns: &[&[u8]], sealed: &'d [u8]) -> Result<&'d [u8], Unreadable> {
    let (header, content) = sealed.split_at_checked(HEADER).ok_or(Unreadable::Short)?;
    if header[0] != VERSION {
        return Err(Unreadable::Version(header[0]));
    }
    if header[1..] != checksum(columns, content).to_le_bytes() && !planted("checksums-ignored") {
        return Err(Unreadable::Checksum);
    }
    Ok(content)
}

/// CRC-32 over columns and content. Each column comes with its length, so that none can pass for the beginning of the next.
pub(super) fn checksum(columns: &[&[u8]], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for column in columns {
        hasher.update(&(column.len() as u64).to_le_bytes());
        hasher.update(column);
    }
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_of_content_or_columns_is_found() {
        let (columns, content) = ([&b"acme"[..], &b"7"[..]], b"what is kept");
        let sealed = seal(&columns, content);
        assert_eq!(unseal(&columns, &sealed).unwrap(), content);
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 0x10;
            assert!(unseal(&columns, &changed).is_err(), "byte {i}");
            assert!(unseal(&columns, &sealed[..i]).is_err(), "cut at {i}");
        }
        for columns in [[&b"acmd"[..], b"7"], [b"acme", b"8"], [b"acme7", b""]] {
            assert!(unseal(&columns, &sealed).is_err(), "{columns:?}");
        }
    }
}
