//! The rules of Metergate: what an organization may use, and what follows from what it did.
//!
//! Everything here is pure: time is a parameter, there is no input or output, no clock, no float. The server asks
//! [`decide::decide`] and records the [`outcome::Outcome`]; [`apply::apply`] folds outcomes into the [`account::Account`].

#![deny(clippy::float_arithmetic)]

pub mod account;
pub mod apply;
pub mod audit;
pub mod catalogue;
pub mod command;
pub mod decide;
pub mod due;
pub mod forecast;
pub mod grant;
pub mod id;
pub mod limits;
pub mod meter;
pub mod notice;
pub mod outcome;
pub mod period;
pub mod plan;
pub mod price;
pub mod quantity;
pub mod reservation;
pub mod role;
pub mod subscription;
pub mod time;
pub mod timing;
pub mod what_if;
pub mod window;
