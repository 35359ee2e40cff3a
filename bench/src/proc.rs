//! What the kernel says about a process: CPU time, memory, bytes written.

use std::fs;
use std::io;
use std::time::Duration;

use crate::error::BenchError;

/// One clock tick of `/proc`: `USER_HZ` is 100 on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);
/// How many fields hold a process's own time (`utime`, `stime`), and how many also that of its children that have ended
/// (`cutime`, `cstime`).
const OWN: usize = 2;
const WITH_ENDED: usize = 4;

/// User and system time of all threads of a process, to 10 ms.
///
/// # Errors
/// [`BenchError::Io`] where there is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration, BenchError> {
    Ok(time(read(pid, "stat", |stat| ticks_in(stat, OWN))?))
}

/// The same of a process and of those that it started: the ones that run, and the ones that ended and were waited for.
///
/// # Errors
/// [`BenchError::Io`] where there is no such process.
pub fn cpu_time_with_children(pid: u32) -> Result<Duration, BenchError> {
    let own = time(read(pid, "stat", |stat| ticks_in(stat, WITH_ENDED))?);
    let path = format!("/proc/{pid}/task/{pid}/children");
    let listed = fs::read_to_string(&path).map_err(BenchError::io(path))?;
    let children = listed.split_ascii_whitespace().filter_map(|child| child.parse().ok());
    // One that has ended since it was listed is missing from this look, and is there in the next.
    Ok(own + children.map(|child| cpu_time(child).unwrap_or_default()).sum::<Duration>())
}

fn time(ticks: u64) -> Duration {
    TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// What a process holds in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it that is in memory: `VmRSS`.
    pub resident: u64,
    /// What of it stands in no file and so cannot be given back: `RssAnon`.
    pub anonymous: u64,
}

/// What a process holds in memory now.
///
/// # Errors
/// [`BenchError::Io`] where there is no such process.
pub fn memory(pid: u32) -> Result<Memory, BenchError> {
    read(pid, "status", |text| {
        let bytes = |name| Some(number_after(text, name)? * 1024);
        Some(Memory { resident: bytes("VmRSS:")?, anonymous: bytes("RssAnon:")? })
    })
}

/// Bytes that a process has had written to a disk so far. A page that is written over before it reaches the disk counts
/// once, and what only lay in the page cache not at all.
///
/// # Errors
/// [`BenchError::Io`] where there is no such process, or it is somebody else's.
pub fn written(pid: u32) -> Result<u64, BenchError> {
    read(pid, "io", |text| number_after(text, "\nwrite_bytes:"))
}

fn read<T>(pid: u32, file: &str, find: impl FnOnce(&str) -> Option<T>) -> Result<T, BenchError> {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).map_err(BenchError::io(path.as_str()))?;
    find(&text).ok_or_else(|| BenchError::io(path)(io::ErrorKind::InvalidData.into()))
}

/// The sum of so many fields from 14 on of proc(5); field 2 is the program's name, which may hold spaces and brackets.
fn ticks_in(stat: &str, count: usize) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    (0..count).try_fold(0_u64, |sum, _| sum.checked_add(fields.next()?.parse().ok()?))
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    text.split_once(name)?.1.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_program_is_called() {
        let stat = "77 (a) b 1 (c)) S 1 77 77 0 -1 4194304 100 0 0 0 250 31 3 4 20 0 3 0 9000 1 2";
        assert_eq!((ticks_in(stat, OWN), ticks_in(stat, WITH_ENDED)), (Some(281), Some(288)));
        assert_eq!(ticks_in("77 (x) S 1", OWN), None);
    }

    #[test]
    fn bytes_written_are_told_from_those_taken_back() {
        let io = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 60\ncancelled_write_bytes: 7\n";
        assert_eq!(number_after(io, "\nwrite_bytes:"), Some(60));
        assert_eq!(number_after("VmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(number_after("VmRSS:\n", "VmRSS:"), None);
    }

    #[test]
    fn the_own_process_has_figures_and_an_impossible_one_has_none() {
        let own = std::process::id();
        assert!(cpu_time(own).is_ok() && cpu_time_with_children(own).is_ok() && written(own).is_ok());
        let memory = memory(own).unwrap();
        assert!(0 < memory.anonymous && memory.anonymous <= memory.resident, "{memory:?}");
        assert!(cpu_time(u32::MAX).is_err() && cpu_time_with_children(u32::MAX).is_err());
    }
}
