//! The end of every run: heal, repeat what is unknown, read everything, check.

use std::collections::BTreeMap;
use std::thread;

use metergate::store::rollup::{Day, RollupKey, Slot};
use metergate::store::sqlite::Sqlite;
use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::outcome::What;
use serde_json::json;

use super::checks::{
    Counted, Organizations, Reached, durable_ack, hard_limit, idempotent, places, rate_limit, refusal_is_final,
    reset_once,
};
use super::history::{Act, Answer, Operation};
use super::http::{Call, Client};
use super::lives;
use super::process::{Faults, Server};
use super::reports;
use super::run::Run;
use super::workload::{MOVED, answer, call};
use crate::invariant::{Held, Journal, Violation, holds, stored, stored_rollups};

/// Callers that repeat.
const CALLERS: usize = 4;

impl Run {
    /// All of it on a healthy server. Answers which states the run has reached.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub(super) fn finish(&self) -> Result<Reached, Violation> {
        stored(&self.data())?;
        let server = self.start(&Faults::default());
        let counted = self.read(&server);
        durable_ack(&self.history.all(), &counted)?;
        self.repeat(&server, Operation::is_unknown);
        let left = self.history.all().into_iter().find(|one| one.is_repeatable() && one.is_unknown());
        holds("liveness", left.is_none(), || format!("a healthy server does not answer {left:?}"))?;
        self.repeat(&server, |operation| operation.first_answer().is_some());
        let counted = self.read(&server);
        self.check(&counted)?;
        moved_exist(&server)?;
        reports::agree(&server, &counted)?;
        lives::agree(&server, &self.history.all())?;
        let reached = Reached::by(&self.history.all(), self.history.mismatches(), &counted);
        self.lift(&server)?;
        server.stop();
        stored(&self.data())?;
        durable_ack(&self.history.all(), &self.on_disk())?;
        self.rates()?;
        Ok(reached)
    }

    /// The invariants of the history.
    pub(super) fn check(&self, counted: &Counted) -> Held {
        let history = self.history.all();
        durable_ack(&history, counted)?;
        hard_limit(&history, counted)?;
        refusal_is_final(&history)?;
        idempotent(&history)
    }

    /// Asks again for everything that `which` picks and that can be asked for again.
    pub(super) fn repeat(&self, server: &Server, which: impl Fn(&Operation) -> bool) {
        let history = self.history.all();
        let numbers: Vec<_> = history.iter().enumerate().filter(|(_, one)| one.is_repeatable() && which(one)).collect();
        thread::scope(|scope| {
            for numbers in numbers.chunks(numbers.len().div_ceil(CALLERS).max(1)) {
                let mut client = server.client();
                scope.spawn(move || {
                    for (number, operation) in numbers {
                        let response = client.call(&call(operation)).expect("a healthy server answers");
                        self.history.answer(*number, answer(operation, &response));
                    }
                });
            }
        });
    }

    /// Makes room everywhere and repeats what was refused: it stays refused, and something new passes.
    pub(super) fn lift(&self, server: &Server) -> Held {
        let history = self.history.all();
        let refused = |one: &&Operation| one.was_refused() && one.id.is_some();
        let mut places: Vec<_> = history.iter().filter(refused).map(|one| (&one.organization, one.use_of())).collect();
        places.sort();
        places.dedup_by_key(|(organization, used)| (*organization, used.map(|(meter, _)| meter)));
        let mut client = server.client();
        for (organization, used) in places {
            let (meter, quantity) = used.expect("only decisions are refused");
            if meter == "rate" {
                continue;
            }
            let path = format!("/v1/organizations/{organization}/extra/{meter}");
            assert_eq!(client.call(&Call::json("PUT", &path, json!({"quantity": 100_000}))).unwrap().status, 200);
            let act = Act::Consume { meter, quantity };
            let id = Some(format!("lifted-{}", self.history.len()));
            let new = Operation { organization: organization.clone(), act, id, answers: Vec::new() };
            let number = self.history.begin(new.clone());
            let answer = answer(&new, &client.call(&call(&new)).unwrap());
            let allowed = matches!(answer, Answer::Decided { allowed: true, .. });
            self.history.answer(number, answer);
            holds("refusal_is_final", allowed, || format!("after quota freed up a new id does not pass: {new:?}"))?;
        }
        self.repeat(server, Operation::was_refused);
        refusal_is_final(&self.history.all())?;
        idempotent(&self.history.all())
    }

    /// What the server says was counted: the lifetime's use in an answer to a check.
    pub(super) fn read(&self, server: &Server) -> Counted {
        let mut client = server.client();
        places(&self.history.all()).into_iter().map(|place| (place.clone(), counter(&mut client, &place))).collect()
    }

    /// What the rollups on disk say was counted.
    pub(super) fn on_disk(&self) -> Counted {
        let sqlite = Sqlite::open_to_read(&self.data()).unwrap();
        names(&sqlite).counted(&self.history.all(), &stored_rollups(&sqlite))
    }

    fn rates(&self) -> Held {
        let sqlite = Sqlite::open_to_read(&self.data()).unwrap();
        let names = names(&sqlite);
        let journal = Journal::of(&self.data());
        let most = rate_limit(&journal, &names.organizations, names.meters["rate"])?;
        reset_once(&self.history.all(), &journal, &names.organizations)?;
        let decided = journal.records.iter().filter(|(_, _, record)| matches!(record.entry.what, What::Decided(_)));
        println!("{} decisions in the journal; most in a minute: {most}", decided.count());
        Ok(())
    }
}

pub(super) fn counter(client: &mut Client, (organization, meter): &(String, &'static str)) -> i64 {
    let body = json!({"organization": organization, "meter": meter, "quantity": 0});
    let response = client.call(&Call::json("POST", "/v1/check", body)).unwrap();
    if response.status == 404 {
        // Nothing of it ever became durable, its creation on first use included.
        return 0;
    }
    let value = response.value();
    let limits = value["limits"].as_array().unwrap_or_else(|| panic!("no limits in {response:?}"));
    let lifetime = limits.iter().find(|limit| limit["window"] == "lifetime").expect("every meter has such a limit");
    lifetime["used"].as_i64().unwrap()
}

/// How what is stored calls what a history names.
pub(super) struct Names {
    pub(super) organizations: Organizations,
    pub(super) meters: BTreeMap<String, MeterId>,
}

impl Names {
    /// What rollups say was counted.
    pub(super) fn counted(&self, history: &[Operation], rollups: &BTreeMap<RollupKey, Day>) -> Counted {
        let sum = |(organization, meter): &(String, &'static str)| {
            let Some(id) = self.organizations.get(organization) else { return 0 };
            let of_it = rollups.iter().filter(|(key, _)| (key.organization, key.meter) == (*id, self.meters[*meter]));
            let mut total = Slot::default();
            of_it.for_each(|(_, day)| day.slots().for_each(|(_, slot)| total.merge(slot)));
            total.sum
        };
        places(history).into_iter().map(|place| (place.clone(), sum(&place))).collect()
    }
}

fn names(sqlite: &Sqlite) -> Names {
    let connection = sqlite.connection();
    let mut query = connection.prepare("SELECT key, id FROM organizations").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, OrganizationId(row.get(1)?)))).unwrap();
    let organizations = rows.map(Result::unwrap).collect();
    let mut query = connection.prepare("SELECT key, id FROM meters").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, MeterId(row.get(1)?)))).unwrap();
    Names { organizations, meters: rows.map(Result::unwrap).collect() }
}

/// The organizations that were made before anything else are there.
pub(super) fn moved_exist(server: &Server) -> Held {
    let mut client = server.client();
    MOVED.iter().try_for_each(|key| {
        let found = client.call(&Call::get(&format!("/v1/organizations/{key}"))).expect("a healthy server answers");
        holds("durable_ack", found.status == 200, || format!("{key} was made, and now: {found:?}"))
    })
}
