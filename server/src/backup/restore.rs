//! Making a store of a backup.
//!
//! Everything is made and checked in a folder of its own inside the data folder, which no server starts on meanwhile, nor
//! after a restore that was killed. The database takes its place last: there is a store when all of it is there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::file::{self, sync_folder};
use super::manifest::{Manifest, Unusable};
use super::{BACKUPS, BackupError, FileEntry, SLICES, Watch, of};
use crate::clock::Clock;
use crate::dies_at;
use crate::folder::{FolderError, LOCK, Locked, RESTORING};
use crate::store::error::EngineError;
use crate::store::examine::{Census, examine};
use crate::store::sqlite;
use crate::store::{Settings, Store};

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// What the store holds now.
    pub counts: Census,
}

/// Why nothing was restored. The data folder is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is no backup, or not one that this program can read.
    #[error("{folder}: {why}")]
    Unusable {
        /// The backup.
        folder: PathBuf,
        /// Why.
        why: Unusable,
    },
    /// A file of the backup is not there.
    #[error("{0} is missing from the backup")]
    Missing(PathBuf),
    /// A file of the backup has changed since.
    #[error("{0} is not what was backed up: its digest does not match, the stored bytes have changed")]
    Changed(PathBuf),
    /// The backup comes from a later program.
    #[error(
        "the backup has schema version {backup}, this program knows versions up to {}: use a newer metergate",
        sqlite::SCHEMA
    )]
    Newer {
        /// Its schema version.
        backup: u32,
    },
    /// There is something already where the store should go.
    #[error(
        "{0} is not empty: name another folder with --data-dir, or move this one away. Nothing is restored over a store"
    )]
    NotEmpty(PathBuf),
    /// The data folder cannot be had.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What was restored is damaged.
    #[error("what was restored is damaged: {}", .0.join("; "))]
    Damaged(Vec<String>),
    /// What was restored is not what the manifest says.
    #[error("what was restored is not what the manifest says: {}", .0.join("; "))]
    Differs(Vec<String>),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] EngineError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(BackupError),
}

impl From<BackupError> for RestoreError {
    fn from(error: BackupError) -> Self {
        Self::File(error)
    }
}

impl From<rusqlite::Error> for RestoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Makes a store of the backup `from` in the folder `data`, which must be empty, or is made.
///
/// # Errors
/// [`RestoreError`]; there is no store in `data` then.
pub fn restore(from: &Path, data: &Path, clock: Clock, watch: &dyn Watch) -> Result<Restored, RestoreError> {
    let unusable = |why| RestoreError::Unusable { folder: from.to_owned(), why };
    let manifest = Manifest::read(from).map_err(unusable)?;
    if manifest.schema > sqlite::SCHEMA {
        return Err(RestoreError::Newer { backup: manifest.schema });
    }
    let staging = Staging::begin(data)?;
    watch.total(manifest.bytes());
    for entry in &manifest.files {
        staging.copy(from, entry, watch)?;
    }
    dies_at!("restore-copied");
    let counts = staging.check(&manifest, clock)?;
    dies_at!("restore-checked");
    staging.put_in_force()?;
    Ok(Restored { manifest, counts })
}

/// The folder in which the store is made. Everything that was made goes with it, unless it was put in force.
struct Staging {
    data: PathBuf,
    folder: PathBuf,
    /// The data folder was not there.
    made: bool,
    in_force: bool,
    _locked: Locked,
}

impl Staging {
    fn begin(data: &Path) -> Result<Self, RestoreError> {
        // Looked at twice: a folder of somebody else's gets no lock, and one that is empty may have been taken meanwhile.
        let made = !data.exists();
        if !made {
            assert_empty(data)?;
        }
        let locked = Locked::take(data)?;
        assert_empty(data)?;
        let folder = data.join(RESTORING);
        remove_all(&folder)?;
        remove_all(&data.join(SLICES))?;
        fs::create_dir(&folder).map_err(of(&folder))?;
        Ok(Self { data: data.to_owned(), folder, made, in_force: false, _locked: locked })
    }

    /// Copies a file of the backup, if it still is what was backed up.
    fn copy(&self, from: &Path, entry: &FileEntry, watch: &dyn Watch) -> Result<(), RestoreError> {
        let (path, to) = (from.join(&entry.path), self.folder.join(&entry.path));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(of(folder))?;
        }
        let mut file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => RestoreError::Missing(path.clone()),
            _ => of(&path)(error).into(),
        })?;
        let seen = file::copy(&mut file, &path, &to, watch)?;
        let as_it_was = (seen.bytes, &seen.sha256) == (entry.bytes, &entry.sha256);
        dies_at!("restore-file-copied");
        if as_it_was { Ok(()) } else { Err(RestoreError::Changed(path)) }
    }

    /// Starts the store, which folds what lags, stops it again, and goes through all of it.
    fn check(&self, manifest: &Manifest, clock: Clock) -> Result<Census, RestoreError> {
        drop(Store::open(forgetting_nothing(&self.folder), clock)?);
        let examined = examine(&self.folder, &|| true)?;
        if !examined.findings.is_empty() {
            return Err(RestoreError::Damaged(examined.findings));
        }
        let differences = examined.census.differences(&manifest.counts);
        if differences.is_empty() { Ok(examined.census) } else { Err(RestoreError::Differs(differences)) }
    }

    /// Moves everything to where a server finds it, the database last.
    fn put_in_force(mut self) -> Result<(), RestoreError> {
        settle(&self.folder)?;
        let slices = self.folder.join(SLICES);
        if slices.exists() {
            sync_folder(&slices)?;
            self.put(SLICES)?;
            sync_folder(&self.data)?;
        }
        dies_at!("restore-half-in-force");
        self.put(sqlite::FILE)?;
        self.in_force = true;
        dies_at!("restore-in-force");
        sync_folder(&self.data)?;
        Ok(remove_all(&self.folder)?)
    }

    fn put(&self, name: &str) -> Result<(), BackupError> {
        let to = self.data.join(name);
        fs::rename(self.folder.join(name), &to).map_err(of(&to))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.in_force {
            return;
        }
        let removed = remove_all(&self.folder).and_then(|()| remove_all(&self.data.join(SLICES)));
        if let Err(error) = removed {
            tracing::warn!(%error, "what is left of a restore cannot be removed");
        }
        if self.made {
            let _ = fs::remove_file(self.data.join(LOCK)).and_then(|()| fs::remove_dir(&self.data));
        }
    }
}

/// For a start that only proves that there is one: a backup may be older than what is kept, and still must be counted.
fn forgetting_nothing(folder: &Path) -> Settings {
    let (keep_ids, keep_records, slice_ids) = (i64::MAX, i64::MAX, u64::MAX);
    Settings { keep_ids, keep_records, slice_ids, ..Settings::in_folder(folder) }
}

/// Brings what is in the write-ahead file into the database file.
fn settle(folder: &Path) -> Result<(), RestoreError> {
    let connection = Connection::open(folder.join(sqlite::FILE))?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)?;
    let path = folder.join(sqlite::FILE);
    File::open(&path).and_then(|file| file.sync_all()).map_err(of(&path))?;
    Ok(sync_folder(folder)?)
}

/// # Errors
/// [`RestoreError::NotEmpty`] unless a folder has nothing but what never is a store: its lock, backups, and what a restore
/// that was killed has left, which has no database yet.
fn assert_empty(folder: &Path) -> Result<(), RestoreError> {
    let names = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    let names: Vec<OsString> = names.map_err(of(folder))?;
    let half = names.iter().any(|name| name == RESTORING);
    let harmless = |name: &OsString| {
        [LOCK, BACKUPS].iter().any(|known| name == known)
            || half && [RESTORING, SLICES].iter().any(|known| name == known)
    };
    if names.iter().all(harmless) { Ok(()) } else { Err(RestoreError::NotEmpty(folder.to_owned())) }
}

fn remove_all(folder: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(of(folder)(error)),
        _ => Ok(()),
    }
}
