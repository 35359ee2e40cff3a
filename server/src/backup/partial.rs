//! A backup under way: a folder under another name, which goes if the backup does not come to its end.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::file::sync_folder;
use super::{BackupError, of};
use crate::dies_at;

/// What the name of a folder ends in that is no backup yet. It begins with a dot.
const SUFFIX: &str = ".metergate-partial";
/// In such a folder: held by whoever makes it.
const LOCK: &str = "lock";

/// The folder of a backup under way. Removed when this goes, unless it was [kept](Partial::keep).
pub(super) struct Partial {
    folder: PathBuf,
    to: PathBuf,
    parent: PathBuf,
    _lock: File,
    kept: bool,
}

impl Partial {
    /// For a backup that will be `to`; the folder above is made where it is not there, and what others left there goes.
    pub(super) fn begin(to: &Path) -> Result<Self, BackupError> {
        let no_name = || BackupError::NoName(to.to_owned());
        let to = std::path::absolute(to).map_err(of(to))?;
        let name = to.file_name().and_then(|name| name.to_str()).ok_or_else(no_name)?;
        let parent = to.parent().ok_or_else(no_name)?.to_owned();
        fs::create_dir_all(&parent).map_err(of(&parent))?;
        sweep(&parent);
        if to.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(to));
        }
        let folder = parent.join(format!(".{name}{SUFFIX}"));
        fs::create_dir(&folder).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::InProgress(to.clone()),
            _ => of(&folder)(error),
        })?;
        let path = folder.join(LOCK);
        let lock = File::create_new(&path).map_err(of(&path))?;
        lock.lock().map_err(of(&path))?;
        dies_at!("backup-begun");
        Ok(Self { folder, to, parent, _lock: lock, kept: false })
    }

    /// Where its files go.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives it its name. All its files are on disk already, and so will be that they are there: a backup that can be
    /// seen is whole, also after a power cut.
    pub(super) fn keep(mut self) -> Result<PathBuf, BackupError> {
        sync_folder(&self.folder)?;
        dies_at!("backup-unnamed");
        // It fails where a folder with something in it has taken the name meanwhile.
        fs::rename(&self.folder, &self.to).map_err(of(&self.to))?;
        self.folder.clone_from(&self.to);
        let lock = self.to.join(LOCK);
        fs::remove_file(&lock).map_err(of(&lock))?;
        sync_folder(&self.to)?;
        sync_folder(&self.parent)?;
        dies_at!("backup-named");
        self.kept = true;
        Ok(self.to.clone())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            remove(&self.folder);
        }
    }
}

/// Removes what processes that were killed have left of backups below a folder.
pub fn sweep(below: &Path) {
    let Ok(entries) = fs::read_dir(below) else { return };
    for folder in entries.flatten().map(|entry| entry.path()) {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') && name.ends_with(SUFFIX) && is_left(&folder) {
            remove(&folder);
        }
    }
}

/// Whether nobody makes it any more.
fn is_left(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        // Whoever made it was killed before its lock was there; or is about to make it, and finds its folder gone.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(%error, folder = %folder.display(), "what is left of a backup cannot be removed");
    }
}
