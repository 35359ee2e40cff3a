//! Connections to read with, which are kept open for the next read.

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::store::error::EngineError;
use crate::store::sqlite::Sqlite;

/// So many are kept.
const MOST: usize = 8;
/// So long reads that are at work are waited for when the store is closed.
const PATIENCE: Duration = Duration::from_secs(2);

/// All connections of a folder that are read with.
pub(super) struct Connections {
    folder: PathBuf,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Sqlite>,
    lent: usize,
    closed: bool,
}

impl Connections {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Reads with one of them. After an error it is closed.
    pub(super) fn lend<T, E: From<EngineError>>(&self, read: impl FnOnce(&Sqlite) -> Result<T, E>) -> Result<T, E> {
        let lent = Lent::new(self);
        let kept = self.state.lock().idle.pop();
        let sqlite = kept.map_or_else(|| Sqlite::open_to_read(&self.folder), Ok)?;
        let result = read(&sqlite)?;
        lent.keep(sqlite);
        Ok(result)
    }

    /// Closes those that nobody uses and, for a while, waits until the others are closed: only the last connection of all
    /// removes the write-ahead file, in which what was deleted may still stand. None is kept from now on.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.idle.clear();
        self.returned.wait_while_for(&mut state, |state| state.lent > 0, PATIENCE);
    }
}

/// That somebody reads.
struct Lent<'a>(&'a Connections);

impl<'a> Lent<'a> {
    fn new(connections: &'a Connections) -> Self {
        connections.state.lock().lent += 1;
        Self(connections)
    }

    fn keep(&self, sqlite: Sqlite) {
        let mut state = self.0.state.lock();
        if state.idle.len() < MOST && !state.closed {
            state.idle.push(sqlite);
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.state.lock().lent -= 1;
        self.0.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::store::sqlite::FILE;

    /// A store with something in its write-ahead file, and connections to read it with.
    fn opened() -> (tempfile::TempDir, Sqlite, Connections) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Sqlite::open(folder.path()).unwrap();
        let connections = Connections::new(folder.path().to_owned());
        (folder, writer, connections)
    }

    fn read(connections: &Connections, during: impl FnOnce()) {
        let look = |sqlite: &Sqlite| {
            sqlite.totals()?;
            during();
            Ok::<_, EngineError>(())
        };
        connections.lend(look).unwrap();
    }

    fn is_left(folder: &tempfile::TempDir) -> bool {
        folder.path().join(format!("{FILE}-wal")).exists()
    }

    #[test]
    fn a_read_that_is_at_work_when_all_is_closed_is_waited_for_so_that_the_write_ahead_file_goes() {
        let (folder, writer, connections) = opened();
        let is_done = AtomicBool::new(false);
        let (begun, begins) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                read(&connections, || {
                    begun.send(()).unwrap();
                    std::thread::sleep(Duration::from_millis(100));
                    is_done.store(true, Ordering::SeqCst);
                });
            });
            begins.recv().unwrap();
            connections.close();
            assert!(is_done.load(Ordering::SeqCst), "it was waited for");
            assert!(is_left(&folder), "the writer has not closed it yet");
            drop(writer);
            assert!(!is_left(&folder), "the writer was the last");
        });
    }

    #[test]
    fn connections_are_kept_until_all_is_closed_and_then_no_more() {
        let (folder, writer, connections) = opened();
        read(&connections, || ());
        assert_eq!(connections.state.lock().idle.len(), 1);
        connections.close();
        read(&connections, || ());
        assert_eq!(connections.state.lock().idle.len(), 0);
        drop(writer);
        assert!(!is_left(&folder));
    }
}
