//! Reading.
pub mod standing;
