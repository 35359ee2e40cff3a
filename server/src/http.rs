//! HTTP: how requests come in and how answers are written, apart from what any route means.

pub mod body;
pub mod cloudevents;
pub mod docs;
pub mod error;
pub mod json;
pub mod listen;
pub mod number;
pub mod page;
pub mod rate;
pub mod request_id;
