//! The API from outside: a real server in its own process, asked over HTTP.

mod adjustments;
mod audit;
mod backups;
pub(crate) mod client;
mod commands;
mod consume;
mod cycles;
mod documented;
mod events;
mod export;
mod isolation;
mod keys;
mod limits;
mod matrix;
mod openapi;
mod organizations;
mod overrides;
mod past;
mod people;
mod quantities;
mod refusals;
mod repeats;
mod reservations;
mod rights;
pub(crate) mod server;
mod team;
mod voids;
