//! What goes by itself: deliveries to endpoints that are disabled or gone are canceled once they have waited for a day, and
//! messages that were kept for long enough go. Part of the sweep, a few at a time.

use std::time::Duration;

use metergate_rules::time::{DAY, Time};
use tokio::sync::watch;

use crate::store::outbox::{AT_ONCE, OutboxWork};
use crate::store::{Port, Store, StoreError};

/// For how long a delivery waits for an endpoint to be enabled again, in microseconds.
const WAITS: i64 = DAY;
/// How long is rested after each step, so that those who call wait for one at most.
const REST: Duration = Duration::from_millis(20);

/// Cancels and forgets what is old enough. Messages are kept for so many microseconds.
///
/// # Errors
/// [`StoreError`] where the store takes nothing now. What was done before that stays done.
pub async fn tend(store: &Store, port: &Port, keep: i64, stop: &watch::Receiver<bool>) -> Result<(), StoreError> {
    let now: Time = store.now();
    let catalogue = store.catalogue();
    let enabled = catalogue.stored.endpoints.values().filter(|entry| entry.is_enabled());
    let enabled: Vec<_> = enabled.map(|entry| entry.id.clone()).collect();
    let cancel = OutboxWork::Cancel { enabled, before: now.plus(-WAITS) };
    for work in [cancel, OutboxWork::Forget { before: now.plus(-keep) }] {
        while !*stop.borrow() && store.keep_outbox(port, work.clone()).await? >= AT_ONCE as u64 {
            tokio::time::sleep(REST).await;
        }
    }
    Ok(())
}
