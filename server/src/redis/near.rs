//! A connection of its own for each thread that asks Redis. Over one that another thread drives every call wakes that thread, and
//! is woken by it, which costs more than the call. Over its own a core of the server sends what all its callers ask in one go.
//!
//! It stands beside the connection that is known to work and goes with it, so there is still one place that knows whether Redis
//! can be used. Until it is made, and where that fails, the thread asks over the other.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock, Weak};

use redis::aio::MultiplexedConnection;
use tokio::runtime::Handle;

use super::address::{Address, Form};
use super::link::{Connection, connect_soon};

thread_local! {
    /// Those of this thread: one for each Redis that it asks.
    static NEAR: RefCell<Vec<Near>> = const { RefCell::new(Vec::new()) };
}

struct Near {
    /// The connection beside which it stands.
    beside: Weak<Connection>,
    /// Nothing until it is made.
    own: Arc<OnceLock<MultiplexedConnection>>,
}

impl Near {
    fn is_beside(&self, connection: &Arc<Connection>) -> bool {
        std::ptr::eq(self.beside.as_ptr(), Arc::as_ptr(connection))
    }
}

/// This thread's, beside a connection that works. Where there is none yet it begins to be made. A cluster has a connection to each
/// server, which is left as it is; and the thread that drives the other needs none.
pub(super) fn of(connection: &Arc<Connection>, address: &Address, driver: &Handle) -> Option<MultiplexedConnection> {
    if address.form == Form::Cluster {
        return None;
    }
    NEAR.with_borrow_mut(|all| {
        if let Some(near) = all.iter().find(|near| near.is_beside(connection)) {
            return near.own.get().cloned();
        }
        let here = Handle::current();
        if here.id() == driver.id() {
            return None;
        }
        all.retain(|near| near.beside.strong_count() > 0);
        let own = Arc::new(OnceLock::new());
        all.push(Near { beside: Arc::downgrade(connection), own: Arc::clone(&own) });
        let address = address.clone();
        here.spawn(async move {
            match connect_soon(&address).await {
                Ok(Connection::One(made)) => _ = own.set(made),
                Ok(Connection::Cluster(_)) => {}
                Err(why) => tracing::debug!(why, "a core has no connection to Redis of its own"),
            }
        });
        None
    })
}

/// This thread's has ended: it is made again with the next call.
pub(super) fn forget(connection: &Arc<Connection>) {
    NEAR.with_borrow_mut(|all| all.retain(|near| !near.is_beside(connection)));
}
