//! Prepares a fresh Metergate through its API: one plan with three windows, many organizations on it.

use std::net::SocketAddr;

use serde_json::json;
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::error::BenchError;
use crate::request::{json_request, organization_key};

/// Connections that create organizations side by side, so that they share commits.
const CREATORS: u64 = 64;
/// How much of an unexpected answer is shown.
const SHOWN: usize = 500;

/// The meter that is consumed.
pub const METER: &str = "api_calls";
/// The windows over which it is limited, none of them ever reached.
pub const WINDOWS: [&str; 3] = ["minute", "day", "billingPeriod"];

/// Creates the plan `bench` and `organizations` organizations on it.
///
/// # Errors
/// [`BenchError::Setup`] for any answer but a 2xx.
pub async fn prepare(target: SocketAddr, key: &str, organizations: u64) -> Result<(), BenchError> {
    let mut connection = Connection::open(target).await?;
    let limit = |window: &str| json!({"meter": METER, "window": window, "max": 1_000_000_000, "enforcement": "hard"});
    let plan = json!({"name": "Bench", "limits": WINDOWS.map(limit)});
    call(&mut connection, target, "PUT", "/v1/plans/bench", key, &plan).await?;
    let mut creators = JoinSet::new();
    for first in 0..CREATORS.min(organizations) {
        creators.spawn(create(target, key.to_owned(), first, organizations));
    }
    while let Some(ended) = creators.join_next().await {
        ended.map_err(|error| BenchError::io("creating organizations")(error.into()))??;
    }
    Ok(())
}

/// Creates every [`CREATORS`]th organization from `first` on.
async fn create(target: SocketAddr, key: String, first: u64, organizations: u64) -> Result<(), BenchError> {
    let mut connection = Connection::open(target).await?;
    for number in (first..organizations).step_by(CREATORS as usize) {
        let name = organization_key(number, organizations);
        let organization = json!({"key": name, "name": format!("Organization {number}"), "plan": "bench"});
        call(&mut connection, target, "POST", "/v1/organizations", &key, &organization).await?;
    }
    Ok(())
}

async fn call(
    connection: &mut Connection,
    target: SocketAddr,
    method: &str,
    path: &str,
    key: &str,
    body: &serde_json::Value,
) -> Result<(), BenchError> {
    let answer = connection.exchange(&json_request(method, path, target, key, &body.to_string())).await?;
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    let shown = &answer.body[..answer.body.len().min(SHOWN)];
    let body = String::from_utf8_lossy(shown).into_owned();
    Err(BenchError::Setup { request: format!("{method} {path}"), status: answer.status, body })
}
