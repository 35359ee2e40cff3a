//! HTTP: how requests come in, what each route does, how answers are written.

pub mod auth;
pub mod body;
pub mod cloudevents;
pub mod consume;
pub mod decision;
pub mod docs;
pub mod error;
pub mod events;
pub mod health;
pub mod hot;
pub mod idempotency;
pub mod json;
pub mod keys;
pub mod listen;
pub mod measure;
pub mod number;
pub mod organizations;
pub mod page;
pub mod query;
pub mod rate;
pub mod reports;
pub mod request_id;
pub mod routes;
pub mod service;
pub mod state;
pub mod team;
