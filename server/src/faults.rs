//! For the tests of the tests: bugs that can be planted, and points at which the process can be made to die.
//!
//! Without the feature `faults` all of this is compiled away.

/// Whether the bug of this name is planted, by the environment variable `METERGATE_PLANTED`.
#[cfg(feature = "faults")]
pub fn planted(name: &str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("METERGATE_PLANTED").ok()).as_deref() == Some(name)
}

/// Whether the bug of this name is planted: never.
#[cfg(not(feature = "faults"))]
pub const fn planted(_name: &str) -> bool {
    false
}

/// By how many microseconds the wall clock of this process is wrong: the environment variable `METERGATE_CLOCK_OFF`.
#[cfg(feature = "faults")]
pub fn clock_off() -> i64 {
    static OFF: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    *OFF.get_or_init(|| std::env::var("METERGATE_CLOCK_OFF").ok().and_then(|off| off.parse().ok()).unwrap_or(0))
}

/// By how many microseconds the wall clock of this process is wrong: none.
#[cfg(not(feature = "faults"))]
pub const fn clock_off() -> i64 {
    0
}

/// Sets the fail points as the environment variable `FAILPOINTS` says, for the life of the process.
#[cfg(feature = "faults")]
pub fn arm() {
    std::mem::forget(fail::FailScenario::setup());
}

/// Sets no fail points: there are none.
#[cfg(not(feature = "faults"))]
pub const fn arm() {}

/// A point at which `FAILPOINTS` can end the process at once, as `kill -9` does: `name=return` or `name=5*off->return`.
#[macro_export]
macro_rules! dies_at {
    ($name:literal) => {
        fail::fail_point!($name, |_| { $crate::faults::die() });
    };
}

/// Ends the process without unwinding, flushing or answering anybody.
#[cfg(feature = "faults")]
pub fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
