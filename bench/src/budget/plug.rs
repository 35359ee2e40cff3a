//! Holds the writer while calls gather, so that they share one commit whatever the threads' turns.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use metergate::catalogue::change::{TeamCommand, TeamRequest};
use metergate::http::state::Shared;
use metergate::store::{Answer, Port};
use metergate_bench::error::BenchError;

/// A change of the team's that changes nothing and is answered only when told. The next plug is put in before the last is
/// let go, so that the writer never finds itself without work, which would have it write rows then.
pub(crate) struct Plugs {
    shared: Arc<Shared>,
    port: Port,
    holding: RefCell<VecDeque<Arc<Gate>>>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Plugs {
    /// For the store of `shared`. Runs on the thread whose `LocalSet` runs now.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let port = shared.store.port();
        tokio::task::spawn_local(port.clone().receive());
        Self { shared: Arc::clone(shared), port, holding: RefCell::default() }
    }

    /// Takes the shipped prices away, so that a price more is not told as decisions that cost more: a change of the team's, as a plug
    /// is, makes the catalogue anew.
    ///
    /// # Errors
    /// [`BenchError::Io`] where the store does not.
    pub(crate) async fn leave_no_prices(&self) -> Result<(), BenchError> {
        let request = change(TeamCommand::PutPrices(Vec::new(), None), || ());
        let done = self.shared.store.change_team(&self.port, request).await;
        done.map(drop).map_err(|error| BenchError::io("prices")(std::io::Error::other(error)))
    }

    /// Puts a plug in, as a task: calls made after it wait until [`Self::let_go`].
    ///
    /// # Errors
    /// [`BenchError::Io`] where there is no plan that it could leave as it is.
    pub(crate) fn put_in(&self) -> Result<(), BenchError> {
        let catalogue = self.shared.store.catalogue();
        let plan =
            catalogue.plan_entry("free").ok_or_else(|| BenchError::io("free")(std::io::ErrorKind::NotFound.into()))?;
        let gate = Arc::<Gate>::default();
        self.holding.borrow_mut().push_back(Arc::clone(&gate));
        let command = TeamCommand::PutPlan(plan.key.clone(), plan.spec.clone());
        let request = change(command, move || gate.wait());
        let (shared, port) = (Arc::clone(&self.shared), self.port.clone());
        tokio::task::spawn_local(async move { shared.store.change_team(&port, request).await });
        Ok(())
    }

    /// Lets go of the plug that was put in first.
    pub(crate) fn let_go(&self) {
        if let Some(gate) = self.holding.borrow_mut().pop_front() {
            *gate.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
            gate.opened.notify_all();
        }
    }
}

/// Where a run fails the writer must not be held: its end is waited for.
impl Drop for Plugs {
    fn drop(&mut self) {
        while !self.holding.borrow().is_empty() {
            self.let_go();
        }
    }
}

/// A change that is answered once `wait` is over.
fn change(command: TeamCommand, wait: impl Fn() + Send + Sync + 'static) -> TeamRequest {
    TeamRequest {
        actor: Arc::from("budget"),
        reason: String::new(),
        receipt: None,
        command,
        only_if_version: None,
        respond: Arc::new(move |_| {
            wait();
            Answer { status: 200, body: Vec::new(), version: None }
        }),
    }
}

impl Gate {
    fn wait(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self.opened.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
