//! How fast Metergate is, and compared with what.
//!
//! A bare echo server is the floor ([`echo`]); a cheap load generator speaks HTTP/1.1 by hand ([`load`]); the suite
//! starts both kinds of server in turn and prints one table ([`suite`]). Linux only: CPU time comes from `/proc`, the
//! pace of the open loop from a timerfd. Everything stays on loopback, is bounded in time and count, and ends what it
//! started by process id.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a load generator measures real time and prints what it saw"
)]

pub mod answer;
pub mod connection;
pub mod cpu;
pub mod disk;
pub mod echo;
pub mod error;
pub mod load;
pub mod open_loop;
pub mod process;
pub mod recorder;
pub mod report;
pub mod request;
pub mod setup;
pub mod suite;
pub mod table;
pub mod workload;
