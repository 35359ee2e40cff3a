//! The tests from outside, in one binary so that they link once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test tells its seed and where a failed run is kept")]

mod certificates;
#[cfg(feature = "faults")]
mod crash;
mod http;
mod import;
mod invariant;
mod proxy;
mod redis;
mod servers;
mod store;
mod tidy;
