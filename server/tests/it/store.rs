//! What every store does, as sentences: one suite, which runs on each engine.
#![allow(clippy::duplicate_mod, reason = "one behaviour is one test, and each engine has all of them")]

mod asks;
mod embedded;
mod engine;
mod postgres;

pub(crate) use embedded::random_work::Random;
pub(crate) use engine::Database;
#[cfg(feature = "faults")]
pub(crate) use engine::Stranger;
