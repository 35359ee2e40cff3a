//! How fast Metergate is, and compared with what.
//!
//! A bare echo server is the floor ([`echo`]); a cheap load generator speaks HTTP/1.1 by hand ([`load`]). Each
//! [`question`] starts servers in turn on prepared folders ([`stock`]), measures its rows round after round ([`sheet`]), and
//! gives one table and one chart. [`soak`] looks at one server for long. Linux only: CPU time, memory and bytes written come
//! from `/proc`, the pace of the open loop from a timerfd. Everything stays on loopback, is bounded in time and count, and
//! ends what it started by process id.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a load generator measures real time and prints what it saw"
)]

pub mod answer;
pub mod budgets;
pub mod chart;
pub mod connection;
pub mod disk;
pub mod echo;
pub mod error;
pub mod home;
pub mod load;
pub mod open_loop;
pub mod page;
pub mod postgres;
pub mod proc;
pub mod process;
pub mod question;
pub mod recorder;
pub mod redis;
pub mod report;
pub mod request;
pub mod row;
pub mod setup;
pub mod sheet;
pub mod soak;
pub mod spread;
pub mod stock;
pub mod suite;
pub mod table;
pub mod target;
pub mod workload;
