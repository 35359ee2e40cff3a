//! Why a measurement could not be made.

use std::io;
use std::net::SocketAddr;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The target is another machine, or reachable as one.
    #[error("{0} is not a loopback address: this generator loads only the machine that it runs on")]
    NotLoopback(SocketAddr),
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server sent what this client does not read.
    #[error("an answer that this client does not read: {0}")]
    Answer(&'static str),
    /// Preparing the server failed.
    #[error("{request} was answered with {status}: {body}")]
    Setup {
        /// Method and path.
        request: String,
        /// The status of the answer.
        status: u16,
        /// The beginning of the answer's body.
        body: String,
    },
    /// The server did not start.
    #[error("{program} was not ready ({why}); the end of its log:\n{log}")]
    NotReady {
        /// The program started.
        program: String,
        /// Whether it ended or took too long.
        why: String,
        /// The last lines that it wrote.
        log: String,
    },
    /// A program that helps to measure failed.
    #[error("{program} failed ({how}); the end of what it said:\n{said}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        how: String,
        /// The last lines that it wrote.
        said: String,
    },
    /// A program that a question needs is not installed.
    #[error("{0} is not installed, which this question needs")]
    Missing(&'static str),
    /// Nothing was answered in the measured window.
    #[error("no request was answered in the measured window")]
    NothingMeasured,
    /// More requests were due than the generator is willing to owe.
    #[error("the server fell {0} requests behind the rate; choose a lower one")]
    Overloaded(u64),
    /// Something took longer than is sensible.
    #[error("{0} took too long")]
    TooSlow(String),
    /// An answer did not hold what had been stored.
    #[error("{request} answered {found} rows in place of {expected}")]
    Rows {
        /// What was asked.
        request: String,
        /// How many there were.
        found: usize,
        /// How many there should have been.
        expected: usize,
    },
    /// The README has no place for a result.
    #[error("the README has no marks <!-- {0}:begin --> and <!-- {0}:end -->")]
    NoMarks(String),
    /// Some questions could not be answered; each has said why.
    #[error("not answered: {0}")]
    Unanswered(String),
    /// A signal asked to end.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// Says what was tried when the system refused, for `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
