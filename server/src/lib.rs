//! Server.

pub mod http;
