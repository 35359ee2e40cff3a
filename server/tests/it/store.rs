//! What every store does, as sentences. Which store it is, only the kit knows.

mod aggregate;
mod arithmetic;
mod asks;
mod audit;
mod backup;
mod checkpoints;
mod conservation;
mod deletion;
#[cfg(feature = "faults")]
mod failed_commit;
mod hard_limit;
mod idempotent;
mod kit;
mod random_work;

pub(crate) use random_work::Random;
mod receipts;
mod refusal_is_final;
mod reservations;
mod reset_once;
mod retention;
mod rows_behind;
mod slices;
mod sweep;
mod thrown_away;
mod voids;
