//! The tests from outside, in one binary so that they link once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod http;
mod import;
mod invariant;
mod store;
mod tidy;
