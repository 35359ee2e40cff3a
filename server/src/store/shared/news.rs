//! What other nodes have changed of the team's and this one does not show yet. Before it says that somebody or a meter is not known
//! it asks the record: behind the same load balancer a key, a session or a meter may have been made a moment ago.

use std::sync::Arc;
use std::time::Duration;

use metergate_rules::time::SECOND;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::shown::Shown;
use crate::clock::boot;
use crate::store::inbox::Inbox;
use crate::store::postgres::lock::TeamRow;
use crate::store::postgres::pool::Pool;

/// So long after a look began the next one does, in microseconds: strangers may ask for what is not there as often as they like.
const RARELY: i64 = SECOND / 100;
/// So long after one that failed nobody looks, in microseconds.
const AWAY: i64 = SECOND / 5;
/// Nobody is kept from an answer for longer than this.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often it is looked whether what has changed is shown, and how many times until the first loop is asked for it again.
const OFTEN: (Duration, u32) = (Duration::from_millis(1), 20);

/// By what a node hears of it.
pub(in crate::store) struct News {
    shown: Arc<Shown>,
    pool: Arc<Pool>,
    inbox: Arc<Inbox>,
    looked: Arc<Mutex<Looked>>,
}

/// What came of the last look.
struct Looked {
    /// It serves those who came until then, since boot.
    until: i64,
    /// What the team's row said of catalogue and people.
    epochs: (i64, i64),
}

impl News {
    pub(super) fn new(shown: Arc<Shown>, pool: Arc<Pool>, inbox: Arc<Inbox>) -> Self {
        let looked = Arc::new(Mutex::new(Looked { until: 0, epochs: (i64::MIN, i64::MIN) }));
        Self { shown, pool, inbox, looked }
    }

    /// Waits until all is shown that has changed by now. Where the record does not say soon what that is, what is shown holds.
    pub(in crate::store) async fn hear(&self) {
        let _ = tokio::time::timeout(PATIENCE, self.look()).await;
    }

    async fn look(&self) {
        let came = boot();
        let looked = Arc::clone(&self.looked).lock_owned().await;
        let epochs = if looked.until >= came { looked.epochs } else { self.read(looked).await };
        for round in 0.. {
            if !self.shown.is_before(epochs) {
                return;
            }
            if round % OFTEN.1 == 0 {
                self.inbox.wake_first();
            }
            tokio::time::sleep(OFTEN.0).await;
        }
    }

    /// One reads at a time, also where nobody waits for it any more.
    async fn read(&self, mut looked: OwnedMutexGuard<Looked>) -> (i64, i64) {
        let rests = u64::try_from(looked.until + RARELY - boot()).unwrap_or(0);
        tokio::time::sleep(Duration::from_micros(rests)).await;
        let pool = Arc::clone(&self.pool);
        let read = tokio::task::spawn_blocking(move || {
            let began = boot();
            *looked = match pool.read(|session| session.epochs(TeamRow::Seen)) {
                Ok(said) => Looked { until: began, epochs: (said.catalogue, said.people) },
                Err(error) => {
                    tracing::debug!(%error, "it is not known what others have changed");
                    Looked { until: boot() + AWAY, epochs: (i64::MIN, i64::MIN) }
                }
            };
            looked.epochs
        });
        read.await.unwrap_or((i64::MIN, i64::MIN))
    }
}
