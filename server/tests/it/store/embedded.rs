//! The suite on the embedded store, and what only that has.

use super::engine::Engine;
use super::{asks, engine};

/// What keeps the record here.
const ENGINE: Engine = Engine::Embedded;

#[path = "aggregate.rs"]
mod aggregate;
#[path = "arithmetic.rs"]
mod arithmetic;
#[path = "audit.rs"]
mod audit;
#[path = "backup.rs"]
mod backup;
#[path = "checkpoints.rs"]
mod checkpoints;
#[path = "conservation.rs"]
mod conservation;
#[path = "costs.rs"]
mod costs;
#[path = "daily.rs"]
mod daily;
#[path = "deletion.rs"]
mod deletion;
#[path = "explained.rs"]
mod explained;
#[cfg(feature = "faults")]
#[path = "failed_commit.rs"]
mod failed_commit;
#[path = "hard_limit.rs"]
mod hard_limit;
#[path = "idempotent.rs"]
mod idempotent;
#[path = "kit.rs"]
#[allow(dead_code, reason = "not every suite asks for everything")]
mod kit;
#[path = "moving.rs"]
mod moving;
#[path = "notices.rs"]
mod notices;
#[path = "older.rs"]
mod older;
#[path = "random_work.rs"]
pub(crate) mod random_work;
#[path = "receipts.rs"]
mod receipts;
#[path = "refusal_is_final.rs"]
mod refusal_is_final;
#[path = "repriced_voids.rs"]
mod repriced_voids;
#[path = "reservations.rs"]
mod reservations;
#[path = "reset_once.rs"]
mod reset_once;
#[path = "retention.rs"]
mod retention;
#[path = "rows_behind.rs"]
mod rows_behind;
#[path = "several.rs"]
mod several;
#[path = "slices.rs"]
mod slices;
#[path = "sweep.rs"]
mod sweep;
#[path = "thrown_away.rs"]
mod thrown_away;
#[path = "voids.rs"]
mod voids;
#[path = "what_if.rs"]
mod what_if;
