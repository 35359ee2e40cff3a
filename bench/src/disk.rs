//! What the disk alone takes to make something durable: the floor under every durable decision.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::BenchError;

/// How many writes are timed: enough for a p99, a moment even on a slow disk.
const WRITES: usize = 500;
/// One page of SQLite.
const PAGE: [u8; 4096] = [0xA5; 4096];

/// How long a 4 KiB append and its `fdatasync` take.
#[derive(Clone, Copy, Debug)]
pub struct SyncTimes {
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

/// Appends 4 KiB and syncs, 500 times, to a new file in `folder`; the file is gone afterwards.
///
/// # Errors
/// [`BenchError::Io`] where the folder cannot be written.
pub fn measure_sync(folder: &Path) -> Result<SyncTimes, BenchError> {
    let what = || format!("timing fdatasync in {}", folder.display());
    let mut file = tempfile::tempfile_in(folder).map_err(BenchError::io(what()))?;
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let start = Instant::now();
        append(&mut file).map_err(BenchError::io(what()))?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(SyncTimes { p50: times[WRITES / 2], p99: times[WRITES * 99 / 100] })
}

fn append(file: &mut File) -> std::io::Result<()> {
    file.write_all(&PAGE)?;
    file.sync_data()
}
