//! HTTP.
pub mod number;
