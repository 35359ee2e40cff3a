//! The file of a spool: entries one after the other, each the length and the CRC-32 of its bytes (little-endian) and then these,
//! a postcard value.

use std::fs::{self, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::Passed;
use crate::hex::hex;
use crate::random;

/// What the names of the files end with.
const ENDING: &str = "spool";
/// What stands before the bytes of an entry.
const HEADER: usize = 8;

/// Why something cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// There are as many bytes as there may be.
    #[error("the spool is full")]
    Full,
    /// The disk failed, and nobody knows what is on it: nothing is kept any more until the next start.
    #[error("the disk of the spool failed")]
    Failed,
    /// It cannot be written down: a defect.
    #[error("an entry cannot be encoded: {0}")]
    Encoded(#[from] postcard::Error),
}

/// Something to keep, with the bytes of it.
pub(super) struct Entry {
    passed: Passed,
    bytes: Vec<u8>,
}

impl Entry {
    pub(super) fn new(passed: Passed) -> Result<Self, SpoolError> {
        let content = postcard::to_allocvec(&passed)?;
        let mut bytes = Vec::with_capacity(HEADER + content.len());
        bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&content).to_le_bytes());
        bytes.extend_from_slice(&content);
        Ok(Self { passed, bytes })
    }
}

/// The file of this node.
pub(super) struct File {
    folder: PathBuf,
    most: u64,
    queue: Mutex<Queue>,
    disk: Mutex<Disk>,
}

/// What waits for whoever writes next.
#[derive(Default)]
struct Queue {
    entries: Vec<Entry>,
    /// Of the file and of what waits.
    bytes: u64,
    /// The number of the last entry that came.
    last: u64,
}

struct Disk {
    file: fs::File,
    path: PathBuf,
    /// The number of the last entry that is on disk.
    synced: u64,
    /// A write or a sync failed.
    failed: bool,
}

impl File {
    /// Takes a file of the folder, or makes one, and answers what is in all that nobody else has.
    ///
    /// # Errors
    /// Where the folder or a file cannot be read or written.
    pub(super) fn open(folder: &Path, most: u64) -> io::Result<(Self, Vec<Passed>)> {
        fs::create_dir_all(folder)?;
        let ((mut file, own), mut left) = (create(folder)?, Vec::new());
        for path in others(folder)? {
            let mut other = fs::OpenOptions::new().read(true).write(true).open(&path)?;
            match other.try_lock() {
                Ok(()) => {}
                // Our own, or that of a node that runs.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let (entries, bytes) = read(&path, &mut other)?;
            // Only when it is in ours does theirs go; what is in both counts once.
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::remove_file(&path)?;
            left.extend(entries);
        }
        fs::File::open(folder)?.sync_all()?;
        let bytes = file.stream_position()?;
        let queue = Mutex::new(Queue { bytes, ..Queue::default() });
        let disk = Mutex::new(Disk { file, path: own, synced: 0, failed: false });
        Ok((Self { folder: folder.to_owned(), most, queue, disk }, left))
    }

    /// Writes an entry, with all that wait, and syncs the file. Whoever writes tells `written` of what is on disk.
    ///
    /// # Errors
    /// [`SpoolError`] where it is not on disk.
    pub(super) fn append(&self, entry: Entry, written: impl FnOnce(Vec<Passed>)) -> Result<(), SpoolError> {
        let number = self.queue.lock().push(entry, self.most)?;
        let mut disk = self.disk.lock();
        if disk.synced >= number {
            return Ok(());
        }
        if disk.failed {
            return Err(SpoolError::Failed);
        }
        let (entries, last) = {
            let mut queue = self.queue.lock();
            (std::mem::take(&mut queue.entries), queue.last)
        };
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| &entry.bytes).copied().collect();
        if let Err(error) = disk.file.write_all(&bytes).and_then(|()| disk.file.sync_data()) {
            tracing::error!(%error, "the spool cannot be written: nothing passes undecided any more until the next start");
            disk.failed = true;
            return Err(SpoolError::Failed);
        }
        disk.synced = last;
        written(entries.into_iter().map(|entry| entry.passed).collect());
        Ok(())
    }

    /// Cuts the file to what `needed` says that is needed of it, if nothing else is: what is not written yet is not in it.
    pub(super) fn clear(&self, needed: impl FnOnce() -> Option<Vec<Passed>>) {
        let mut disk = self.disk.lock();
        let Some(needed) = needed().filter(|_| !disk.failed) else { return };
        let left = match self.cut(&mut disk, needed) {
            Ok(left) => left,
            Err(error) => {
                // It is read again at the next start, and counts nothing twice.
                tracing::error!(%error, "the spool cannot be cut");
                disk.failed = true;
                return;
            }
        };
        let mut queue = self.queue.lock();
        queue.bytes = left + queue.entries.iter().map(|entry| entry.bytes.len() as u64).sum::<u64>();
    }

    /// How many bytes are left.
    fn cut(&self, disk: &mut Disk, needed: Vec<Passed>) -> io::Result<u64> {
        if needed.is_empty() {
            disk.file.set_len(0)?;
            disk.file.seek(SeekFrom::Start(0))?;
            disk.file.sync_all()?;
            return Ok(0);
        }
        let entries: Vec<_> = needed.into_iter().map(Entry::new).collect::<Result<_, _>>().map_err(io::Error::other)?;
        let bytes: Vec<u8> = entries.into_iter().flat_map(|entry| entry.bytes).collect();
        if disk.file.stream_position()? == bytes.len() as u64 {
            return Ok(bytes.len() as u64);
        }
        // Only when it is in the new one does the old one go; what is in both counts once.
        let (mut file, path) = create(&self.folder)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::File::open(&self.folder)?.sync_all()?;
        fs::remove_file(&disk.path)?;
        (disk.file, disk.path) = (file, path);
        Ok(bytes.len() as u64)
    }
}

impl Queue {
    fn push(&mut self, entry: Entry, most: u64) -> Result<u64, SpoolError> {
        let bytes = self.bytes + entry.bytes.len() as u64;
        if bytes > most {
            return Err(SpoolError::Full);
        }
        (self.bytes, self.last) = (bytes, self.last + 1);
        self.entries.push(entry);
        Ok(self.last)
    }
}

/// A new file, which is this node's, and where it is.
fn create(folder: &Path) -> io::Result<(fs::File, PathBuf)> {
    loop {
        let path = folder.join(format!("{}.{ENDING}", hex(&random::bytes::<8>())));
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        file.lock()?;
        // Before that another node that starts may have taken it for one that was left, and removed it.
        if path.exists() {
            return Ok((file, path));
        }
    }
}

fn others(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// What is in a file, and the bytes of that. An entry that was being written when its node ended was answered to nobody.
fn read(path: &Path, file: &mut fs::File) -> io::Result<(Vec<Passed>, Vec<u8>)> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let (mut entries, mut good) = (Vec::new(), 0);
    while let Some((passed, length)) = first(&bytes[good..]) {
        entries.push(passed);
        good += length;
    }
    if good < bytes.len() {
        let aside = path.with_extension("torn");
        tracing::error!(
            path = %aside.display(),
            from = good,
            "a file of the spool ends in bytes that are no entry: they are kept there, and what stands before them is recorded"
        );
        fs::copy(path, aside)?;
        bytes.truncate(good);
    }
    Ok((entries, bytes))
}

/// The first entry, and how many bytes it has.
fn first(bytes: &[u8]) -> Option<(Passed, usize)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let content = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return None;
    }
    Some((postcard::from_bytes(content).ok()?, HEADER + content.len()))
}

#[cfg(test)]
mod tests {
    use metergate_rules::command::{Completion, Event};
    use metergate_rules::id::OrganizationId;
    use metergate_rules::time::Time;
    use tempfile::tempdir;

    use super::*;

    fn entry(id: &str) -> Entry {
        let event = Event {
            id: id.parse().unwrap(),
            source: "metergate:consume/calls".parse().unwrap(),
            event_type: "calls".parse().unwrap(),
            time: Some(Time::from_micros(7)),
            data: String::new(),
            items: Vec::new(),
            outcome: Completion::default(),
            calls: None,
            llm: None,
        };
        let organization = OrganizationId([1; 16]);
        Entry::new(Passed { organization, name: "acme".parse().unwrap(), under: None, event }).unwrap()
    }

    fn ids(left: &[Passed]) -> Vec<&str> {
        let mut ids: Vec<_> = left.iter().map(|passed| passed.event.id.as_str()).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_file_is_one_nodes_and_what_others_have_left_is_taken_over() {
        let folder = tempdir().unwrap();
        let open = || File::open(folder.path(), 1 << 20).unwrap();
        let (first, left) = open();
        assert!(left.is_empty());
        first.append(entry("a"), |_| ()).unwrap();
        let (second, left) = open();
        assert!(left.is_empty(), "the first has its own");
        second.append(entry("b"), |_| ()).unwrap();
        drop(first);
        let (third, left) = open();
        assert_eq!(ids(&left), ["a"]);
        drop((second, third));
        assert_eq!(ids(&open().1), ["a", "b"]);
    }

    #[test]
    fn those_who_wait_together_are_all_on_disk() {
        let folder = tempdir().unwrap();
        let (file, _) = File::open(folder.path(), 1 << 20).unwrap();
        let told = Mutex::new(0);
        std::thread::scope(|scope| {
            for i in 0..8 {
                let (file, told) = (&file, &told);
                scope.spawn(move || {
                    (0..20).for_each(|j| {
                        file.append(entry(&format!("{i}-{j}")), |written| *told.lock() += written.len()).unwrap();
                    });
                });
            }
        });
        drop(file);
        assert_eq!((*told.lock(), File::open(folder.path(), 1 << 20).unwrap().1.len()), (160, 160));
    }

    #[test]
    fn a_full_file_takes_nothing_until_it_is_cut() {
        let folder = tempdir().unwrap();
        let most = 2 * entry("a").bytes.len() as u64;
        let (file, _) = File::open(folder.path(), most).unwrap();
        file.append(entry("a"), |_| ()).unwrap();
        file.append(entry("b"), |_| ()).unwrap();
        assert!(matches!(file.append(entry("c"), |_| ()), Err(SpoolError::Full)));
        file.clear(|| None);
        assert!(matches!(file.append(entry("c"), |_| ()), Err(SpoolError::Full)), "something is needed still");
        file.clear(|| Some(Vec::new()));
        file.append(entry("d"), |_| ()).unwrap();
        file.append(entry("e"), |_| ()).unwrap();
        // What nobody can record now stays, and there is room behind it.
        file.clear(|| Some(vec![entry("e").passed]));
        file.append(entry("f"), |_| ()).unwrap();
        assert!(matches!(file.append(entry("g"), |_| ()), Err(SpoolError::Full)));
        drop(file);
        let (file, left) = File::open(folder.path(), most).unwrap();
        assert_eq!(ids(&left), ["e", "f"]);
        assert_eq!(others(folder.path()).unwrap().len(), 1, "the one before is gone");
        drop(file);
    }

    #[test]
    fn bytes_that_are_no_entry_end_what_is_read_and_are_kept_aside() {
        let folder = tempdir().unwrap();
        let (file, _) = File::open(folder.path(), 1 << 20).unwrap();
        ["a", "b", "c"].iter().for_each(|id| file.append(entry(id), |_| ()).unwrap());
        drop(file);
        let path = others(folder.path()).unwrap().pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(ids(&File::open(folder.path(), 1 << 20).unwrap().1), ["a", "b"]);
        assert_eq!(fs::read(path.with_extension("torn")).unwrap(), bytes);
    }
}
