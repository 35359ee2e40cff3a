//! The API from outside: a real server in its own process, asked over HTTP.

mod backups;
pub(crate) mod client;
mod consume;
mod documented;
mod events;
mod isolation;
mod keys;
mod limits;
mod openapi;
mod organizations;
mod overrides;
mod quantities;
mod refusals;
mod repeats;
mod reservations;
pub(crate) mod server;
mod team;
