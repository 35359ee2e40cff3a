//! The end of every run of nodes: all is healed, what is unknown is repeated, everything is read on every node, and what is
//! stored is checked.

use std::sync::atomic::Ordering;

use metergate::clock::{Clock, boot};
use metergate::config::Secret;
use metergate::store::{Settings, Store};
use metergate_rules::time::SECOND;

use super::super::checks::{Reached, durable_ack, places, rate_limit, reset_once};
use super::super::final_phase::{Names, moved_exist};
use super::super::history::{Act, Operation};
use super::super::http::Client;
use super::super::workload::{MOVED, answer, call};
use super::super::{lives, reports};
use super::nodes::{DEADLINE, Node};
use super::{Cluster, within};
use crate::invariant::{Held, Image, Violation, all_hold, equal, holds};

/// Seconds in which a node serves again once all is healed.
const AGAIN: i64 = 20;
/// Calls of which each is answered soon then, and in how many microseconds.
const CALLS: usize = 20;
const SOON: i64 = 4 * SECOND;

impl Cluster {
    /// Answers which states the run has reached.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub(super) fn finish(&self) -> Result<Reached, Violation> {
        let Self { run, nodes, .. } = self;
        nodes.all.iter().for_each(Node::heal);
        // What was held back and whose sender has given up does not arrive any more.
        nodes.all.iter().for_each(|node| node.postgres.cut());
        let longest = nodes.longest.load(Ordering::Relaxed);
        holds("liveness", longest <= DEADLINE, || format!("somebody waited {longest} µs for an answer"))?;
        self.serve()?;
        let (first, last) = (&nodes.all[0], nodes.all.last().expect("there are some"));
        durable_ack(&run.history.all(), &first.with(|server| run.read(server)))?;
        let is_known = || {
            first.with(|server| run.repeat(server, Operation::is_unknown));
            run.history.all().into_iter().all(|one| !one.is_repeatable() || !one.is_unknown())
        };
        holds("liveness", within(AGAIN, is_known), || "healthy nodes leave it unknown what happened".to_owned())?;
        last.with(|server| run.repeat(server, |operation| operation.first_answer().is_some()));
        let counted = last.with(|server| run.read(server));
        for node in &nodes.all {
            equal("read_sanity", "what nodes say", &node.with(|server| run.read(server)), &counted)?;
        }
        run.check(&counted)?;
        let reached = last.with(|server| {
            moved_exist(server)?;
            reports::agree(server, &counted)?;
            lives::agree(server, &run.history.all())?;
            let reached = Reached::by(&run.history.all(), run.history.mismatches(), &counted);
            run.lift(server).map(|()| reached)
        })?;
        nodes.all.iter().for_each(Node::stop);
        self.stored()?;
        self.elsewhere.check()?;
        self.locks.check()?;
        Ok(reached)
    }

    /// Each node serves again by itself, and soon.
    pub(super) fn serve(&self) -> Held {
        for (at, node) in self.nodes.all.iter().enumerate() {
            let served = within(AGAIN, || self.is_served(node, 0));
            holds("liveness", served, || format!("node {at} does not serve again: {}", node.log()))?;
            for number in 1..CALLS {
                let began = boot();
                let served = self.is_served(node, number);
                let took = boot() - began;
                holds("liveness", served && took <= SOON, || format!("call {number} on node {at} took {took} µs"))?;
            }
        }
        Ok(())
    }

    fn is_served(&self, node: &Node, number: usize) -> bool {
        let act = Act::Consume { meter: "calls", quantity: 1 };
        let (organization, id) = (MOVED[number % MOVED.len()].to_owned(), format!("served-{}", self.run.history.len()));
        let operation = Operation { organization, act, id: Some(id), answers: Vec::new() };
        let number = self.run.history.begin(operation.clone());
        node.with(|server| {
            let told = Client::connect(server.address).and_then(|mut client| client.call(&call(&operation)));
            let Ok(told) = told else { return false };
            self.run.history.answer(number, answer(&operation, &told));
            told.status == 200
        })
    }

    /// The invariants of what PostgreSQL holds.
    fn stored(&self) -> Held {
        let folder = tempfile::tempdir().unwrap();
        let database = Some(Secret::new(self.database.clone()));
        let settings = Settings { database, ..Settings::in_folder(folder.path()) };
        let store = Store::open(settings, Clock::start()).expect("the store opens");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let image = Image::of_store(&store, &runtime);
        let history = self.run.history.all();
        let meter = |name: &str| (name.to_owned(), store.catalogue().meter(name).expect("it is there").id);
        let meters = places(&history).into_iter().map(|(_, name)| meter(name)).chain([meter("rate")]).collect();
        store.close();
        let organization = |account: &metergate_rules::account::Account| (account.profile.key.to_string(), account.id);
        let organizations = image.rows.values().map(|(_, account)| organization(account)).collect();
        let names = Names { organizations, meters };
        all_hold(&image)?;
        durable_ack(&history, &names.counted(&history, &image.rollups))?;
        reset_once(&history, &image.journal, &names.organizations)?;
        let most = rate_limit(&image.journal, &names.organizations, names.meters["rate"])?;
        println!("{} entries in the journals; most in a minute: {most}", image.journal.records.len());
        Ok(())
    }
}
