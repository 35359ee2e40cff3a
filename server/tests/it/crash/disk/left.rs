//! What a server that was stopped has left, put back with other bytes, and whether a server on it still tells the truth.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use metergate::store::sqlite::FILE;
use rusqlite::Connection;
use serde_json::json;

use crate::crash::checks::Counted;
use crate::crash::history::{Answer, DOOMED, Operation};
use crate::crash::http::{Call, Client, Response};
use crate::crash::process::{Faults, Server};
use crate::crash::reports::usage_paths;
use crate::crash::run::Run;
use crate::crash::workload::{answer, call};

use super::failing::copy;

/// Of a row, so many bytes are looked for.
pub(super) const BEGIN: usize = 40;

/// What a server that was stopped has left, and what it had told.
pub(super) struct Left {
    pub(super) run: Run,
    counted: Counted,
    reported: BTreeMap<(String, &'static str), [i64; 2]>,
    listed: BTreeMap<String, Vec<String>>,
    pub(super) database: Vec<u8>,
}

/// What a start on changed bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It did not start, and said this.
    Refused(String),
    /// It started. So many answers were refused, all others right.
    Started { refused: usize },
    /// This is wrong.
    Wrong(String),
}

/// How many answers were refused, where all others are right; or what is wrong.
pub(super) type Told = Result<usize, String>;

impl Left {
    pub(super) fn by(test: &str) -> Self {
        let mut run = Run::new(test);
        let server = run.start(&Faults::default());
        run.work(server, 250, Server::stop);
        let server = run.start(&Faults::default());
        run.repeat(&server, Operation::is_unknown);
        let mut client = server.client();
        let mut counted = run.read(&server);
        // One that was to live for a moment may never have been made: what does that is not repeated.
        counted.retain(|(organization, _), _| !organization.starts_with(DOOMED) || is_there(&mut client, organization));
        let told = |place: &(String, &'static str)| (place.clone(), reported(&mut client, place).unwrap());
        let reported = counted.keys().map(told).collect();
        let organizations = counted.keys().map(|(organization, _)| organization.clone());
        let listed = organizations.map(|one| (one.clone(), events(&mut client, &one).unwrap())).collect();
        server.stop();
        copy(&run.data(), &run.folder().join("left"));
        let database = fs::read(run.data().join(FILE)).unwrap();
        Self { run, counted, reported, listed, database }
    }

    /// What this statement answers, one column.
    pub(super) fn contents(&self, sql: &str) -> Vec<Vec<u8>> {
        let database = Connection::open(self.run.folder().join("left").join(FILE)).unwrap();
        let mut query = database.prepare(sql).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Where the database has this. It is told by its beginning, since a long one is in several places.
    pub(super) fn places_of(&self, content: &[u8]) -> Vec<usize> {
        let begin = &content[..BEGIN.min(content.len())];
        let windows = self.database.windows(begin.len()).enumerate();
        let places: Vec<_> = windows.filter(|(_, window)| *window == begin).map(|(at, _)| at).collect();
        assert!(!places.is_empty(), "not found in the file");
        places
    }

    /// Puts back what was left, with other bytes in a file, or without it.
    pub(super) fn put_back(&self, file: &Path, bytes: Option<&[u8]>) {
        fs::remove_dir_all(self.run.data()).unwrap();
        copy(&self.run.folder().join("left"), &self.run.data());
        let path = self.run.data().join(file);
        bytes.map_or_else(|| fs::remove_file(&path), |bytes| fs::write(&path, bytes)).unwrap();
    }

    /// A start on what was left with another database.
    pub(super) fn start(&self, database: &[u8], planted: Option<&'static str>) -> Outcome {
        self.put_back(Path::new(FILE), Some(database));
        let said = self.run.log().len();
        let server = match Server::start(self.run.folder(), &Faults { planted, ..Faults::default() }) {
            Err(_) => return Outcome::Refused(self.run.log().split_off(said)),
            Ok(server) => server,
        };
        let told = self.figures(&server).and_then(|figures| Ok(figures + self.repeated(&server)?));
        server.kill();
        told.map_or_else(Outcome::Wrong, |refused| Outcome::Started { refused })
    }

    /// Reads every figure.
    pub(super) fn figures(&self, server: &Server) -> Told {
        let (mut client, mut refused) = (server.client(), 0);
        for (place, expected) in &self.counted {
            match figures(&mut client, place) {
                Ok(told) if told == (*expected, self.reported[place]) => {}
                Ok(told) => {
                    return Err(format!("{place:?}: {told:?} for {expected}, {:?}", self.reported[place]));
                }
                Err(response) if is_refused(&response) => refused += 1,
                Err(response) => return Err(format!("{place:?}: {response:?}")),
            }
        }
        Ok(refused)
    }

    /// Repeats what was answered.
    pub(super) fn repeated(&self, server: &Server) -> Told {
        let (mut client, mut refused) = (server.client(), 0);
        for operation in self.run.history.all().iter().filter(|one| one.is_repeatable() && !one.is_unknown()) {
            let response = client.call(&call(operation)).unwrap();
            if is_refused(&response) {
                refused += 1;
            } else if response.status >= 300 || !is_the_same(operation, &answer(operation, &response)) {
                return Err(format!("{operation:?} was repeated: {response:?}"));
            }
        }
        Ok(refused)
    }

    /// Lists every event.
    pub(super) fn listed(&self, server: &Server) -> Told {
        let (mut client, mut refused) = (server.client(), 0);
        for (organization, expected) in &self.listed {
            match events(&mut client, organization) {
                Ok(told) if told == *expected => {}
                Ok(told) => return Err(format!("events of {organization}: {told:?} for {expected:?}")),
                Err(response) if is_refused(&response) => refused += 1,
                Err(response) => return Err(format!("events of {organization}: {response:?}")),
            }
        }
        Ok(refused)
    }
}

/// A clear refusal says that what is stored is damaged.
fn is_refused(response: &Response) -> bool {
    response.status == 500 && response.value()["code"] == "damaged"
}

fn is_the_same(operation: &Operation, repeated: &Answer) -> bool {
    match (operation.first_answer(), repeated) {
        (Some(Answer::Decided { body, .. }), Answer::Decided { body: again, .. })
        | (Some(Answer::Made { body, .. }), Answer::Made { body: again, .. }) => body == again,
        (Some(Answer::Recorded { .. }), Answer::Recorded { accepted, .. }) => *accepted == 0,
        _ => false,
    }
}

/// The counter, and what the reports say.
fn figures(client: &mut Client, place: &(String, &'static str)) -> Result<(i64, [i64; 2]), Response> {
    let (organization, meter) = place;
    let body = json!({"organization": organization, "meter": meter, "quantity": 0});
    let checked = client.call(&Call::json("POST", "/v1/check", body)).unwrap();
    if checked.status != 200 {
        return Err(checked);
    }
    let value = checked.value();
    let lifetime = value["limits"].as_array().unwrap().iter().find(|limit| limit["window"] == "lifetime").unwrap();
    Ok((lifetime["used"].as_i64().unwrap(), reported(client, place)?))
}

fn is_there(client: &mut Client, organization: &str) -> bool {
    client.call(&Call::get(&format!("/v1/organizations/{organization}"))).unwrap().status == 200
}

fn reported(client: &mut Client, (organization, meter): &(String, &'static str)) -> Result<[i64; 2], Response> {
    let mut told = [0; 2];
    for (told, path) in told.iter_mut().zip(usage_paths(organization, meter)) {
        let response = client.call(&Call::get(&path)).unwrap();
        if response.status != 200 {
            return Err(response);
        }
        *told = response.value()["data"].as_array().unwrap().iter().map(|row| row["value"].as_i64().unwrap()).sum();
    }
    Ok(told)
}

/// Ids of all events, page by page.
fn events(client: &mut Client, organization: &str) -> Result<Vec<String>, Response> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page =
            client.call(&Call::get(&format!("/v1/events?organization={organization}&limit=50{cursor}"))).unwrap();
        if page.status != 200 {
            return Err(page);
        }
        let page = page.value();
        ids.extend(page["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["nextCursor"].as_str() else { return Ok(ids) };
        cursor = format!("&cursor={next}");
    }
}

pub(super) fn flip(bytes: &mut [u8], at: usize) {
    bytes[at] ^= 0x10;
}
