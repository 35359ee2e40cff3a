//! The real program, killed at any time and at each fail point: what was acknowledged is there, counted once.

mod aggregate;
mod backup;
mod checks;
mod cluster;
mod deletion;
mod disk;
mod fail_points;
mod final_phase;
mod history;
mod http;
mod lives;
mod planted;
mod process;
mod random_kills;
mod reports;
mod retention;
mod run;
mod spool;
mod storm;
mod workload;
