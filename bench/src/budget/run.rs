//! Runs one operation again and again on a server in this process.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use metergate::app;
use metergate::catalogue::key;
use metergate::clock::Clock;
use metergate::config::Config;
use metergate::http::state::Shared;
use metergate::store::{Pace, Settings, Store};
use metergate_bench::answer::{Answer, find_answer};
use metergate_bench::error::BenchError;
use metergate_bench::workload::Judge;
use metergate_rules::time::Time;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::operation::{Expected, KEY, NOW, Operation};
use crate::plug::Plugs;
use crate::wire::{Client, Post};

/// Prepares a store in a new folder and runs `operation` on it in so many rounds, after one of which every answer is read.
pub(crate) fn run(operation: Operation, rounds: usize) -> Result<(), BenchError> {
    let folder = TempDir::new().map_err(BenchError::io("making a folder"))?;
    // As many in the shorter run as in the longer, so that making them cancels out; more where more rounds are asked for.
    let most = rounds.max(2 * operation.rounds());
    let requests: Vec<Vec<Vec<u8>>> = (0..=most).map(|round| requests(operation, round)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(BenchError::io("starting the runtime"))?;
    let (_stop, draining) = watch::channel(false);
    let shared = Arc::new(open(folder.path(), operation, draining)?);
    LocalSet::new().block_on(&runtime, async {
        let bench = Bench::new(&shared, operation.clients());
        bench.plugs.leave_no_prices().await?;
        for request in operation.preparation() {
            read(&bench.ask_one(&request).await)?;
        }
        if operation.clients() > 1 {
            bench.plugs.put_in()?;
            yield_now().await;
        }
        bench.clients.iter().for_each(Client::keep);
        bench.round(&requests[0]).await?;
        bench.clients.iter().try_for_each(|client| judge(operation, &client.kept()))?;
        for round in &requests[1..=rounds] {
            bench.round(round).await?;
        }
        bench.plugs.let_go();
        shared.store.close();
        Ok(())
    })
}

fn requests(operation: Operation, round: usize) -> Vec<Vec<u8>> {
    (0..operation.clients()).map(|client| operation.request(round, client)).collect()
}

/// A store whose rows follow the journal by a fixed number of accounts, not by the time that a commit takes.
fn open(folder: &Path, operation: Operation, draining: watch::Receiver<bool>) -> Result<Shared, BenchError> {
    let failed = |error: String| BenchError::io("opening a store")(io::Error::other(error));
    let config = Config::defaults().map_err(|error| failed(error.to_string()))?;
    let pace = Pace::Accounts(operation.rows_a_commit());
    let settings = Settings { create_organizations: true, pace, ..Settings::in_folder(folder) };
    let clock = Clock::starting_at(Time::from_micros(NOW));
    let store = Store::open(settings, clock).map_err(|error| failed(error.to_string()))?;
    app::shared(&config, store, key::hash(KEY), draining).map_err(|error| failed(format!("{error:#}")))
}

/// A server with clients on connections without sockets.
struct Bench {
    clients: Vec<Client>,
    post: Rc<Post>,
    plugs: Plugs,
}

impl Bench {
    fn new(shared: &Arc<Shared>, clients: usize) -> Self {
        let (service, post) = (app::service(shared), Rc::<Post>::default());
        let client = |_| {
            let client = Client::new(&post);
            let connection = http1::Builder::new()
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(client.wire()), service.clone());
            spawn_local(connection);
            client
        };
        Self { clients: (0..clients).map(client).collect(), post: Rc::clone(&post), plugs: Plugs::new(shared) }
    }

    /// The answer to one request.
    async fn ask_one(&self, request: &[u8]) -> Vec<u8> {
        let client = &self.clients[0];
        client.keep();
        client.send(request);
        self.post.answers(1).await;
        client.kept()
    }

    /// Every client asks once. Where there are several, all of them are gathered before the first is decided: one plug
    /// holds the writer meanwhile, another afterwards, until the next round.
    async fn round(&self, requests: &[Vec<u8>]) -> Result<(), BenchError> {
        for (client, request) in self.clients.iter().zip(requests) {
            client.send(request);
        }
        if self.clients.len() > 1 {
            while self.clients.iter().any(Client::is_unread) {
                yield_now().await;
            }
            self.plugs.put_in()?;
            // The plug is a task that must have run once before it waits behind the requests.
            yield_now().await;
            self.plugs.let_go();
        }
        self.post.answers(self.clients.len()).await;
        Ok(())
    }
}

/// The one whole answer in `bytes`, which must be a 2xx.
fn read(bytes: &[u8]) -> Result<Answer<'_>, BenchError> {
    let layout = find_answer(bytes)?.ok_or(BenchError::Answer("it is not whole"))?;
    let answer = Answer { status: layout.status, body: &bytes[layout.head..layout.size()], size: layout.size() };
    if (200..300).contains(&answer.status) { Ok(answer) } else { Err(refused(answer)) }
}

/// Whether the operation did what it is counted for.
fn judge(operation: Operation, bytes: &[u8]) -> Result<(), BenchError> {
    let answer = read(bytes)?;
    let good = match operation.expected() {
        Expected::Accepted(kind, batch) => Judge::new(kind, batch).verdict(answer).accepted == batch,
        Expected::Rows(rows) => memchr::memmem::find_iter(answer.body, "\"start\":").count() == rows,
    };
    if good { Ok(()) } else { Err(refused(answer)) }
}

fn refused(answer: Answer<'_>) -> BenchError {
    let body = String::from_utf8_lossy(answer.body).into_owned();
    BenchError::Setup { request: "a request".into(), status: answer.status, body }
}
