//! Holds the writer while calls gather, so that they share one commit whatever the threads' turns.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use metergate::catalogue::change::{TeamCommand, TeamRequest};
use metergate::http::state::Shared;
use metergate::store::{Answer, Port};
use metergate_bench::error::BenchError;

/// A change of the team's that changes nothing and is answered only when told.
pub(crate) struct Plug {
    shared: Arc<Shared>,
    port: Port,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Plug {
    /// For the store of `shared`. Runs on the thread whose `LocalSet` runs now.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let port = shared.store.port();
        tokio::task::spawn_local(port.clone().receive());
        Self { shared: Arc::clone(shared), port, gate: Arc::default() }
    }

    /// Puts the plug in, as a task: calls made after it wait for [`Self::release`].
    ///
    /// # Errors
    /// [`BenchError::Io`] where there is no plan that it could leave as it is.
    pub(crate) fn put_in(&self) -> Result<(), BenchError> {
        *self.gate.open.lock().unwrap_or_else(PoisonError::into_inner) = false;
        let catalogue = self.shared.store.catalogue();
        let plan =
            catalogue.plan_entry("free").ok_or_else(|| BenchError::io("free")(std::io::ErrorKind::NotFound.into()))?;
        let gate = Arc::clone(&self.gate);
        let request = TeamRequest {
            actor: Arc::from("budget"),
            reason: String::new(),
            receipt: None,
            command: TeamCommand::PutPlan(plan.key.clone(), plan.spec.clone()),
            only_if_version: None,
            respond: Arc::new(move |_| {
                gate.wait();
                Answer { status: 200, body: Vec::new(), version: None }
            }),
        };
        let (shared, port) = (Arc::clone(&self.shared), self.port.clone());
        tokio::task::spawn_local(async move { shared.store.change_team(&port, request).await });
        Ok(())
    }

    /// Lets the writer go on.
    pub(crate) fn release(&self) {
        *self.gate.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.gate.opened.notify_all();
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
