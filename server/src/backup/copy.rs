//! The database as it was at one instant, copied while it is being written.
//!
//! The copy is made by SQLite's backup interface, which begins again from the first page whenever another connection has
//! committed between two steps: beside a writer with hundreds of commits a second it would never end. So one read
//! transaction is open from before the first step to after the last, and every step reads the same snapshot. In WAL mode
//! that holds up no commit; what it costs is that the write-ahead file cannot begin anew, and so grows by what is
//! committed meanwhile. `VACUUM INTO` costs the same, but builds every index again, in one statement that cannot pause.
//!
//! What could hold up commits is the disk: their syncs wait behind whatever the copy has not written yet. So it is sent to
//! the disk every few megabytes, and then the disk is left to the others for as long as that took.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{BackupError, Watch, of};
use crate::clock;
use crate::dies_at;
use crate::faults::planted;
use crate::store::error::EngineError;
use crate::store::sqlite::{self, Sqlite};

/// Pages in a step: a megabyte.
const PAGES: i32 = 256;
/// Steps after which the copy is sent to the disk.
const STEPS: u32 = 8;
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Copies the database that `source` sees in its open transaction into the file `to`, which is on disk then.
pub(super) fn copy_database(source: &Sqlite, data: &Path, to: &Path, watch: &dyn Watch) -> Result<(), BackupError> {
    if planted("backup-without-wal") {
        return fs::copy(data.join(sqlite::FILE), to).map(|_| ()).map_err(of(to));
    }
    // Open for longer than SQLite has it open: closing a file drops the locks of the whole process on it.
    let file = File::create_new(to).map_err(of(to))?;
    let mut copy = Connection::open(to)?;
    // Nothing is read from it before it is whole, and it is synced here.
    copy.pragma_update(None, "journal_mode", "off")?;
    copy.pragma_update(None, "synchronous", "off")?;
    step_by_step(source, &mut copy, &file, watch)?;
    // The source's write-ahead mode came along; a backup is read from a folder that may not be written.
    copy.pragma_update(None, "journal_mode", "delete")?;
    drop(copy);
    file.sync_all().map_err(of(to))
}

fn step_by_step(source: &Sqlite, copy: &mut Connection, file: &File, watch: &dyn Watch) -> Result<(), BackupError> {
    let page: i64 = source.connection().pragma_query_value(None, "page_size", |row| row.get(0))?;
    let path = copy.path().unwrap_or_default().to_owned();
    let backup = Backup::new(source.connection(), copy)?;
    let (mut steps, mut copied, mut began) = (0, 0, clock::boot());
    loop {
        if !watch.goes_on() {
            return Err(BackupError::Stopped);
        }
        let step = backup.step(PAGES)?;
        dies_at!("backup-step");
        let progress = backup.progress();
        let done = u64::from((progress.pagecount - progress.remaining).unsigned_abs()) * page.unsigned_abs();
        watch.advance(done.saturating_sub(copied));
        copied = done;
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => return Err(EngineError::Unusable(format!("{path} is locked by another program")).into()),
        }
        steps += 1;
        if steps % STEPS == 0 {
            file.sync_data().map_err(of(Path::new(&path)))?;
            let took = Duration::from_micros((clock::boot() - began).unsigned_abs());
            std::thread::sleep(took.min(LONGEST_PAUSE));
            began = clock::boot();
        }
    }
}
