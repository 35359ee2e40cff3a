//! Metergate: usage metering, quotas and entitlements. The rules are in `metergate-rules`; this crate touches the world.

pub mod aggregate;
pub mod app;
pub mod backup;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod degraded;
pub mod faults;
pub mod fleet;
pub mod folder;
pub mod hex;
pub mod http;
pub mod jobs;
pub mod openid;
pub mod paced;
pub mod people;
pub mod random;
pub mod redis;
pub mod report;
pub mod retention;
pub mod spool;
pub mod start;
pub mod store;
pub mod sweep;
