//! The suite on PostgreSQL.

use super::engine::Engine;
use super::{asks, engine};

/// What keeps the record here.
const ENGINE: Engine = Engine::Postgres;

#[path = "aggregate.rs"]
mod aggregate;
#[path = "arithmetic.rs"]
mod arithmetic;
#[path = "audit.rs"]
mod audit;
#[path = "carried.rs"]
mod carried;
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
#[cfg(feature = "faults")]
#[path = "migrating.rs"]
mod migrating;
#[path = "nodes.rs"]
mod nodes;
#[path = "notices.rs"]
mod notices;
#[path = "partitions.rs"]
mod partitions;
#[cfg(feature = "faults")]
#[path = "pooled.rs"]
mod pooled;
#[path = "random_work.rs"]
#[allow(dead_code, reason = "the crash tests ask for the rest")]
mod random_work;
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
#[path = "several.rs"]
mod several;
#[cfg(feature = "faults")]
#[path = "slowed.rs"]
mod slowed;
#[path = "sweep.rs"]
mod sweep;
#[cfg(feature = "faults")]
#[path = "tls.rs"]
mod tls;
#[cfg(feature = "faults")]
#[path = "told.rs"]
mod told;
#[cfg(feature = "faults")]
#[path = "upkeep.rs"]
mod upkeep;
#[path = "voids.rs"]
mod voids;
#[path = "wall.rs"]
mod wall;
#[path = "what_if.rs"]
mod what_if;
