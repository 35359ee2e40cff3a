//! The signals by which a server is told to stop. Whichever comes, it answers what is under way and ends.

use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A termination signal, Ctrl-C, the end of the terminal that it was started from, or Ctrl-\ there.
#[derive(Debug)]
pub struct StopSignals(Vec<Signal>);

impl StopSignals {
    /// Takes them from now on. For use within a runtime that has I/O.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn new() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        // Who starts it by `nohup`, or behind a script, has these ignored so that it goes on.
        let of_terminal = [SignalKind::hangup(), SignalKind::quit()].into_iter();
        let of_terminal = of_terminal.filter(|kind| !is_ignored(kind.as_raw_value(), &status));
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()].into_iter().chain(of_terminal);
        kinds.map(signal).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for one of them.
    pub async fn recv(&mut self) {
        let signals = &mut self.0;
        std::future::poll_fn(|context| {
            let came = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if came { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Whether a signal is among those that a process ignores, as Linux tells it of that process.
fn is_ignored(signal: i32, status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // The first signal is 1.
    signal > 0 && mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_ignores_is_read_from_what_linux_tells_of_it() {
        let status = |mask: &str| format!("Name:\tx\nSigIgn:\t{mask}\nSigCgt:\t000000000000ffff\n");
        for (mask, expected) in
            [("0000000000001001", [true, false]), ("0000000000001004", [false, true]), ("", [false, false])]
        {
            assert_eq!([1, 3].map(|signal| is_ignored(signal, &status(mask))), expected, "{mask}");
        }
        assert!(!is_ignored(1, "Name:\tx\n"));
    }
}
