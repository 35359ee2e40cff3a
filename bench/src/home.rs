//! The folder of a server: its data and its log. Copied instead of prepared again where that is quicker.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use crate::error::BenchError;

/// How much of a log is shown when its server did not start.
const LOG_LINES: usize = 20;

/// A server's folder. Dropping it removes it.
#[derive(Debug)]
pub struct Home(TempDir);

impl Home {
    /// An empty one in `parent`.
    ///
    /// # Errors
    /// [`BenchError::Io`] where it cannot be made.
    pub fn new(parent: &Path) -> Result<Self, BenchError> {
        let what = || format!("making a folder in {}", parent.display());
        let folder = TempDir::with_prefix_in("metergate-bench-", parent).map_err(BenchError::io(what()))?;
        let home = Self(folder);
        fs::create_dir(home.data()).map_err(BenchError::io(what()))?;
        Ok(home)
    }

    /// Another with the same data, durable, so that writing it back does not fall into a measurement. No server may run
    /// on this one.
    ///
    /// # Errors
    /// [`BenchError::Io`] where it cannot be copied.
    pub fn copy(&self, parent: &Path) -> Result<Self, BenchError> {
        let copy = Self::new(parent)?;
        let copied = copy_files(&self.data(), &copy.data());
        copied.map_err(BenchError::io(format!("copying {}", self.data().display())))?;
        Ok(copy)
    }

    /// Where the server keeps its data.
    pub fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// A new log, in place of an older one.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn new_log(&self) -> io::Result<File> {
        File::create(self.0.path().join("log"))
    }

    /// The last lines of the log.
    pub fn end_of_log(&self) -> String {
        last_lines(&fs::read_to_string(self.0.path().join("log")).unwrap_or_default())
    }

    /// Bytes of all files of the data; what vanishes meanwhile is not counted.
    pub fn stored_bytes(&self) -> u64 {
        let mut bytes = 0;
        let _ = each_file(&self.data(), &mut |path| {
            bytes += fs::metadata(path).map_or(0, |data| data.len());
            Ok(())
        });
        bytes
    }

    /// Asks the kernel to forget what it keeps of the data in memory, as after a reboot.
    ///
    /// # Errors
    /// [`BenchError::Io`] where a file cannot be opened.
    pub fn forget_cached(&self) -> Result<(), BenchError> {
        let forget = |path: &Path| {
            let file = File::open(path)?;
            // Pages that wait to be written are kept, so they are written first.
            file.sync_all()?;
            Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
        };
        each_file(&self.data(), &mut { forget }).map_err(BenchError::io(self.data().display().to_string()))
    }
}

/// As much of a log's end as is shown.
pub fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    each_file(from, &mut |path| {
        let target = to.join(path.strip_prefix(from).map_err(io::Error::other)?);
        target.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(path, &target)?;
        File::open(&target)?.sync_all()
    })
}

/// Calls `visit` with every file in `folder` and below.
fn each_file(folder: &Path, visit: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { each_file(&path, visit)? } else { visit(&path)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_files_and_a_life_of_its_own() {
        let parent = TempDir::new().unwrap();
        let home = Home::new(parent.path()).unwrap();
        fs::create_dir(home.data().join("slices")).unwrap();
        fs::write(home.data().join("slices/1"), "abc").unwrap();
        fs::write(home.data().join("store"), "de").unwrap();
        home.forget_cached().unwrap();
        let copy = home.copy(parent.path()).unwrap();
        drop(home);
        assert_eq!(copy.stored_bytes(), 5);
        assert_eq!(fs::read_to_string(copy.data().join("slices/1")).unwrap(), "abc");
        drop(copy);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        let parent = TempDir::new().unwrap();
        let home = Home::new(parent.path()).unwrap();
        assert_eq!(home.end_of_log(), "");
        let lines: Vec<String> = (0..30).map(|line| line.to_string()).collect();
        fs::write(home.0.path().join("log"), lines.join("\n")).unwrap();
        assert_eq!(home.end_of_log(), lines[10..].join("\n"));
    }
}
