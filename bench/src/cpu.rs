//! The CPU time that a process has used, as the kernel counts it.

use std::fs;
use std::io;
use std::time::Duration;

use crate::error::BenchError;

/// One clock tick of `/proc`: `USER_HZ` is 100 on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all threads of a process, to 10 ms.
///
/// # Errors
/// [`BenchError::Io`] where there is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration, BenchError> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).map_err(BenchError::io(path.as_str()))?;
    let ticks = ticks_in(&stat).ok_or_else(|| BenchError::io(path)(io::ErrorKind::InvalidData.into()))?;
    Ok(TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX)))
}

/// `utime` and `stime`, fields 14 and 15 of proc(5); field 2 is the program's name, which may hold spaces and brackets.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_program_is_called() {
        let stat = "77 (a) b 1 (c)) S 1 77 77 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 3 0 9000 1 2";
        assert_eq!(ticks_in(stat), Some(281));
        assert_eq!(ticks_in("77 (x) S 1"), None);
    }

    #[test]
    fn the_own_process_has_a_cpu_time_and_an_impossible_one_has_none() {
        assert!(cpu_time(std::process::id()).is_ok());
        assert!(cpu_time(u32::MAX).is_err());
    }
}
