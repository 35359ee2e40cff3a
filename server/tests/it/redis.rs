//! What Redis decides, against real ones.

mod cluster;
mod counting;
#[cfg(feature = "faults")]
mod crash;
mod early;
mod guarded;
mod hard_limit;
mod kit;
mod marks;
mod near;
mod routes;
mod sentinel;
mod standing;
