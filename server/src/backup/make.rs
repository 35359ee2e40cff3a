//! Making a backup.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use metergate_rules::time::Time;
use rusqlite::Transaction;

use super::copy::copy_database;
use super::file::{self, Seen};
use super::partial::Partial;
use super::{BackupError, FileEntry, MANIFEST, Manifest, SLICES, Watch, of};
use crate::dies_at;
use crate::store::examine::examine;
use crate::store::sqlite::{self, Sqlite};

/// How often slices are listed before one that is not there is held to be lost.
const ATTEMPTS: u32 = 10;

/// Copies the store in the folder `data` into the folder `to`, which is made. A server may be using the store meanwhile.
/// Answers where the backup is and what is in it.
///
/// # Errors
/// [`BackupError`]; nothing of the backup is left then.
pub fn make(data: &Path, to: &Path, now: Time, watch: &dyn Watch) -> Result<(PathBuf, Manifest), BackupError> {
    let partial = Partial::begin(to)?;
    let folder = partial.folder();
    let files = copy_all(data, folder, watch)?;
    dies_at!("backup-copied");
    // What is examined is the copy, with nothing waiting for it any more.
    let examined = examine(folder, &|| watch.goes_on())?;
    if !watch.goes_on() {
        return Err(BackupError::Stopped);
    }
    if !examined.findings.is_empty() {
        return Err(BackupError::Damaged(examined.findings));
    }
    let manifest = Manifest::new(now.to_string(), examined.folded_to, examined.census, files);
    let path = folder.join(MANIFEST);
    let text = manifest.text().map_err(|error| of(&path)(error.into()))?;
    file::write(&path, &text)?;
    Ok((partial.keep()?, manifest))
}

/// Copies the database and its slices; all of it is on disk then.
fn copy_all(data: &Path, folder: &Path, watch: &dyn Watch) -> Result<Vec<FileEntry>, BackupError> {
    let source = Sqlite::open_to_read(data)?;
    let (snapshot, slices) = snapshot(&source, data)?;
    dies_at!("backup-snapshot");
    let to = folder.join(sqlite::FILE);
    let bytes: i64 =
        snapshot.query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |row| {
            row.get(0)
        })?;
    let in_slices: u64 = slices.iter().map(|slice| slice.bytes).sum();
    // The database is read twice: copied page by page, then for its digest.
    watch.total(2 * bytes.unsigned_abs() + in_slices);
    copy_database(&source, data, &to, watch)?;
    snapshot.rollback()?;
    let mut copied = File::open(&to).map_err(of(&to))?;
    let mut files = vec![entry(sqlite::FILE.to_owned(), file::digest(&mut copied, &to, watch)?)];
    if !slices.is_empty() {
        let below = folder.join(SLICES);
        fs::create_dir(&below).map_err(of(&below))?;
        for slice in slices {
            let path = format!("{SLICES}/{}", slice.name);
            files.push(entry(path, slice.put_into(&below, watch)?));
        }
        file::sync_folder(&below)?;
    }
    Ok(files)
}

fn entry(path: String, seen: Seen) -> FileEntry {
    FileEntry { path, bytes: seen.bytes, sha256: seen.sha256 }
}

/// A closed slice. Open, it can be read also after the store has merged it with others and removed it.
struct Slice {
    name: String,
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// One instant of the store: a snapshot of its database, with every slice that the database names at that instant.
///
/// A slice that is named may be gone: merged into another, by a commit after the snapshot. Then a later snapshot, which
/// names the other, is taken. Merging takes longer than opening files, so this ends.
fn snapshot<'a>(source: &'a Sqlite, data: &Path) -> Result<(Transaction<'a>, Vec<Slice>), BackupError> {
    let mut attempts = 0;
    loop {
        // A transaction has its snapshot from its first read on: the list of the slices.
        let snapshot = source.connection().unchecked_transaction()?;
        let slices = source.slice_files()?.into_iter().map(|name| Slice::open(data, name)).collect::<Result<_, _>>();
        attempts += 1;
        match slices {
            Ok(slices) => return Ok((snapshot, slices)),
            Err(BackupError::File { source, .. })
                if source.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
}

impl Slice {
    fn open(data: &Path, name: String) -> Result<Self, BackupError> {
        let path = data.join(SLICES).join(&name);
        let file = File::open(&path).map_err(of(&path))?;
        let bytes = file.metadata().map_err(of(&path))?.len();
        Ok(Self { name, path, file, bytes })
    }

    /// A closed slice never changes, so on the same file system it is the same file under a second name.
    fn put_into(mut self, folder: &Path, watch: &dyn Watch) -> Result<Seen, BackupError> {
        let to = folder.join(&self.name);
        match fs::hard_link(&self.path, &to) {
            Ok(()) => file::digest(&mut self.file, &self.path, watch),
            Err(_) => file::copy(&mut self.file, &self.path, &to, watch),
        }
    }
}
