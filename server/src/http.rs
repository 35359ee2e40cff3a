//! HTTP: how requests come in and how answers are written, apart from what any route means.

pub mod cloudevents;
pub mod error;
pub mod json;
pub mod page;
pub mod rate;
pub mod request_id;
