//! Large files written beside a store at work: a little at a time, so that no commit waits for the disk behind them.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use crate::clock;

/// Bytes that wait for the disk at most. Whoever syncs another file meanwhile may have to wait for as much: some milliseconds.
const STEP: usize = 512 << 10;
/// How many times as long as a sync took it rests after it.
const RESTS: u32 = 4;
/// The longest rest after one step.
const REST: Duration = Duration::from_millis(250);

/// A file that is synced every half megabyte. After each sync it rests four times as long as the disk took, so that it takes a
/// fifth of the disk at most.
pub struct Paced<F> {
    file: F,
    waiting: usize,
}

impl<F: Borrow<File>> Paced<F> {
    /// A file that is written like this from here on.
    pub const fn new(file: F) -> Self {
        Self { file, waiting: 0 }
    }

    /// The file; what was written last may still wait for the disk.
    pub fn into_inner(self) -> F {
        self.file
    }
}

impl<F: Borrow<File>> Write for Paced<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.borrow().write(&bytes[..bytes.len().min(STEP)])?;
        self.waiting += written;
        if self.waiting >= STEP {
            let began = clock::boot();
            self.file.borrow().sync_data()?;
            self.waiting = 0;
            let took = Duration::from_micros((clock::boot() - began).unsigned_abs());
            std::thread::sleep((RESTS * took).min(REST));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has this thread yield to others wherever they want the processor. What it does can wait.
pub fn yield_to_others() {
    // Of a process number 0 the kernel takes the calling thread. Where it is not allowed, it only goes on as before.
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}
