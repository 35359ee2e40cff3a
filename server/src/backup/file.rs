//! Files that are copied with their digest, and are on disk when that is said.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{BackupError, Watch, of};
use crate::hex::hex;
use crate::paced::Paced;

/// Bytes that are read at once.
const STEP: usize = 1 << 20;

/// What was read: its length and its SHA-256 in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// The digest of what is left of a file.
pub(super) fn digest(file: &mut File, path: &Path, watch: &dyn Watch) -> Result<Seen, BackupError> {
    through(file, path, watch, |_| Ok(()))
}

/// Copies what is left of a file into a new one, which is on disk then.
pub(super) fn copy(from: &mut File, path: &Path, to: &Path, watch: &dyn Watch) -> Result<Seen, BackupError> {
    let mut copy = Paced::new(File::create_new(to).map_err(of(to))?);
    let seen = through(from, path, watch, |bytes| copy.write_all(bytes).map_err(of(to)))?;
    copy.into_inner().sync_all().map_err(of(to))?;
    Ok(seen)
}

fn through(
    file: &mut File,
    path: &Path,
    watch: &dyn Watch,
    mut each: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<Seen, BackupError> {
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; STEP]);
    loop {
        if !watch.goes_on() {
            return Err(BackupError::Stopped);
        }
        let read = match file.read(&mut buffer) {
            Ok(0) => return Ok(Seen { bytes, sha256: hex(&hash.finalize()) }),
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(of(path)(error)),
        };
        hash.update(read);
        each(read)?;
        bytes += read.len() as u64;
        watch.advance(read.len() as u64);
    }
}

/// Writes a new file, which is on disk then.
pub(super) fn write(path: &Path, text: &str) -> Result<(), BackupError> {
    let mut file = File::create_new(path).map_err(of(path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(of(path))
}

/// Puts on disk which files are in a folder.
pub(super) fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(of(folder))
}
