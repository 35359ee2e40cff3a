//! The view of all organizations together: how long the first question waits until all of them are in it, and what memory
//! that takes.

use std::time::{Duration, Instant};

use memchr::memmem;

use crate::connection::Connection;
use crate::error::BenchError;
use crate::proc::memory;
use crate::process::ServerProcess;
use crate::request::json_request;
use crate::spread::shown;

/// Where it is asked for.
pub(super) const PATH: &str = "/v1/fleet";
/// A view that takes longer hangs.
const WITHIN: Duration = Duration::from_secs(300);

/// What it took to make the view.
pub(super) struct Made {
    /// From the first question to the first answer with every organization.
    took: Duration,
    /// Bytes that the process holds more then.
    bytes: f64,
}

impl Made {
    /// Asks until the view is whole.
    pub(super) async fn by(server: &ServerProcess) -> Result<Self, BenchError> {
        let target = server.target();
        let mut connection = Connection::open(target.address).await?;
        let request = json_request("GET", PATH, target.address, &target.key, "");
        let (before, began) = (memory(server.pid())?.resident, Instant::now());
        while memmem::find(connection.exchange(&request).await?.body, br#""complete":true"#).is_none() {
            if began.elapsed() > WITHIN {
                return Err(BenchError::TooSlow("the view of all organizations".into()));
            }
        }
        let bytes = memory(server.pid())?.resident as f64 - before as f64;
        Ok(Self { took: began.elapsed(), bytes })
    }

    /// A sentence about all rounds, of so many organizations.
    pub(super) fn told(all: &[Self], organizations: u64) -> String {
        format!(
            "From the first question until every organization was in the fleet view: {} s; the process held {} bytes an organization more then.",
            shown(all.iter().map(|one| one.took.as_secs_f64()), 1),
            shown(all.iter().map(|one| one.bytes / organizations as f64), 0),
        )
    }
}
