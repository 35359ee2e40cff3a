//! Events as they happen (M11): what is sent, from where a stream goes on, whose it is, and how it ends.

use std::io::{BufRead, BufReader};

use metergate::clock;
use serde_json::{Value, json};
use ureq::http::HeaderMap;

use super::client::Client;
use super::people::{join, sign_up};
use super::server::Server;

/// A stream that is being read.
pub(super) struct Following {
    headers: HeaderMap,
    lines: BufReader<ureq::BodyReader<'static>>,
}

/// What was sent between two empty lines.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) id: String,
    name: String,
    pub(super) data: Option<Value>,
    is_comment: bool,
}

impl Following {
    pub(super) fn of(client: &Client, query: &str) -> Self {
        Self::after(client, query, None)
    }

    /// Behind the event of this id.
    fn after(client: &Client, query: &str, last: Option<&str>) -> Self {
        Self::at(client, &format!("/v1/events/stream{query}"), last)
    }

    fn at(client: &Client, path: &str, last: Option<&str>) -> Self {
        let call = client.call("GET", path);
        let call = last.into_iter().fold(call, |call, last| call.header("last-event-id", last));
        let response = call.open();
        let headers = response.headers().clone();
        Self { headers, lines: BufReader::new(response.into_body().into_reader()) }
    }

    /// What comes next; nothing at the end.
    fn sent(&mut self) -> Option<Sent> {
        let mut sent = Sent::default();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            match line.split_once(": ").or_else(|| line.split_once(':')) {
                None => return Some(sent),
                Some(("id", id)) => id.clone_into(&mut sent.id),
                Some(("event", name)) => name.clone_into(&mut sent.name),
                Some(("data", data)) => sent.data = Some(serde_json::from_str(data).unwrap()),
                Some(("", _)) => sent.is_comment = true,
                Some((name, _)) => assert_eq!(name, "retry", "{line}"),
            }
        }
    }

    /// The next event.
    pub(super) fn event(&mut self) -> Sent {
        loop {
            let sent = self.sent().expect("the stream goes on");
            if sent.data.is_some() {
                return sent;
            }
        }
    }

    /// The ids of so many events, as their callers gave them.
    fn names(&mut self, number: usize) -> Vec<String> {
        (0..number).map(|_| self.event().name()).collect()
    }

    fn ends(mut self) {
        while let Some(sent) = self.sent() {
            assert!(sent.data.is_none(), "{sent:?}");
        }
    }
}

impl Sent {
    fn name(&self) -> String {
        self.data.as_ref().unwrap()["id"].as_str().unwrap().to_owned()
    }
}

fn organizations(admin: &Client, keys: &[&str]) {
    for key in keys {
        admin.post("/v1/organizations", json!({"key": key, "plan": "pro"})).is(201);
    }
}

pub(super) fn record(client: &Client, organization: &str, id: &str) {
    let event = json!({"specversion": "1.0", "id": id, "source": "/test", "type": "messages", "subject": organization,
        "data": {"quantity": 1, "note": "a\nb"}});
    // With line breaks between its tokens.
    let body = serde_json::to_string_pretty(&event).unwrap();
    assert_eq!(client.post("/v1/events", body).is(200).json()["accepted"], 1, "{id}");
}

fn consume(client: &Client, organization: &str, id: &str) {
    let body = json!({"organization": organization, "meter": "tokens", "quantity": 2, "id": id});
    assert_eq!(client.post("/v1/consume", body).is(200).json()["allowed"], true, "{id}");
}

#[test]
fn what_happens_is_sent_as_the_list_has_it() {
    let server = Server::start();
    let admin = server.admin();
    organizations(&admin, &["acme", "other"]);
    record(&admin, "acme", "before");
    let mut stream = Following::of(&admin, "?organization=acme");
    for (name, value) in
        [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
    {
        assert_eq!(stream.headers[name], value);
    }
    let begin = stream.sent().unwrap();
    assert!(begin.data.is_none() && !begin.id.is_empty(), "{begin:?}");
    record(&admin, "other", "of another");
    record(&admin, "acme", "e-1");
    consume(&admin, "acme", "d-1");
    let together = json!({"organization": "acme", "id": "t-1", "together": [{"meter": "tokens", "quantity": 1}, {"meter": "messages", "quantity": 1}]});
    admin.post("/v1/consume", together).is(200);
    let sent: Vec<Value> = (0..4).map(|_| stream.event().data.unwrap()).collect();
    let mut listed =
        admin.get("/v1/events?organization=acme&limit=4").is(200).json()["data"].as_array().unwrap().clone();
    // Newest first, but for those of one record.
    listed.swap(0, 1);
    listed.reverse();
    for (sent, listed) in sent.into_iter().zip(listed) {
        let mut sent = sent.as_object().unwrap().clone();
        assert_eq!(sent.remove("organization"), Some("acme".into()));
        assert_eq!(Value::Object(sent), listed);
    }
    let mut tokens = Following::of(&admin, "?organization=acme&meter=tokens");
    record(&admin, "acme", "e-2");
    consume(&admin, "acme", "d-2");
    assert_eq!((tokens.names(1), stream.names(2)), (vec!["d-2".to_owned()], vec!["e-2".to_owned(), "d-2".to_owned()]));
}

#[test]
fn a_stream_of_one_organization_goes_on_exactly_behind_the_last_event_that_was_seen() {
    let mut server = Server::start();
    let admin = server.admin();
    organizations(&admin, &["acme", "other"]);
    let mut stream = Following::of(&admin, "?organization=acme");
    let begin = stream.sent().unwrap().id;
    let batch: Vec<Value> = (1..=3)
        .map(|i| json!({"specversion": "1.0", "id": format!("e-{i}"), "source": "/test", "type": "messages", "subject": "acme"}))
        .collect();
    admin
        .call("POST", "/v1/events")
        .body("application/cloudevents-batch+json", json!(batch).to_string())
        .send()
        .is(200);
    let first = stream.event();
    assert_eq!(first.name(), "e-1");
    drop(stream);
    record(&admin, "acme", "e-4");
    record(&admin, "other", "of another");
    let together = json!({"organization": "acme", "id": "t-1", "together": [{"meter": "tokens", "quantity": 1}, {"meter": "messages", "quantity": 1}]});
    admin.post("/v1/consume", together).is(200);
    let mut again = Following::after(&admin, "?organization=acme", Some(&first.id));
    assert_eq!(again.names(3), ["e-2", "e-3", "e-4"]);
    // Between the two meters of one decision.
    let half = again.event();
    record(&admin, "acme", "e-5");
    assert_eq!(again.names(2), ["t-1", "e-5"]);
    let mut again = Following::after(&admin, "?organization=acme", Some(&half.id));
    assert_eq!(again.names(2), ["t-1", "e-5"]);
    let mut again = Following::after(&admin, "?organization=acme&meter=messages", Some(&begin));
    assert_eq!(again.names(6), ["e-1", "e-2", "e-3", "e-4", "t-1", "e-5"]);
    server.kill();
    server.start_again();
    let admin = server.admin();
    let mut again = Following::after(&admin, "?organization=acme", Some(&half.id));
    record(&admin, "acme", "e-6");
    assert_eq!(again.names(3), ["t-1", "e-5", "e-6"], "over a restart, too");
}

#[test]
fn a_stream_of_all_goes_on_without_skipping_anything() {
    let server = Server::start();
    let admin = server.admin();
    organizations(&admin, &["a", "b"]);
    let mut stream = Following::of(&admin, "");
    record(&admin, "a", "e-1");
    record(&admin, "b", "e-2");
    let first = stream.event();
    assert_eq!((first.name(), &first.data.as_ref().unwrap()["organization"]), ("e-1".to_owned(), &"a".into()));
    assert_eq!(stream.names(1), ["e-2"]);
    drop(stream);
    record(&admin, "a", "e-3");
    consume(&admin, "b", "e-4");
    let mut again = Following::after(&admin, "", Some(&first.id));
    record(&admin, "a", "e-5");
    // Some of what was seen before may come again, in order.
    let mut names = Vec::new();
    while names.last().is_none_or(|name| name != "e-5") {
        names.extend(again.names(1));
    }
    names.retain(|name| name != "e-1");
    assert_eq!(names, ["e-2", "e-3", "e-4", "e-5"]);
}

#[test]
fn everybody_follows_what_they_may_read_and_no_longer_than_that() {
    let server = Server::start();
    let admin = server.admin();
    organizations(&admin, &["a", "b"]);
    let key = |organization: Option<&str>| {
        let body = json!({"name": "reads", "scopes": ["read"], "organization": organization});
        admin.post("/v1/api-keys", body).is(201).json()
    };
    let (of_a, of_all) = (key(Some("a")), key(None));
    let mut bound = Following::of(&server.client(of_a["key"].as_str().unwrap()), "");
    let mut unbound = Following::of(&server.client(of_all["key"].as_str().unwrap()), "");
    let person = sign_up(&server, "ann@example.com");
    join(&admin, "b", &person, "viewer");
    let mut member = Following::of(&person.client, "");
    record(&admin, "a", "of-a");
    record(&admin, "b", "of-b");
    assert_eq!(unbound.names(2), ["of-a", "of-b"]);
    assert_eq!((bound.names(1), member.names(1)), (vec!["of-a".to_owned()], vec!["of-b".to_owned()]));
    server.client(of_a["key"].as_str().unwrap()).get("/v1/events/stream?organization=b").is(404);
    admin.delete(&format!("/v1/api-keys/{}", of_all["id"].as_str().unwrap())).is(204);
    unbound.ends();
    person.client.call("POST", "/api/auth/logout").send().is(204);
    member.ends();
    // Longer than the others, and told that it is still there.
    let still = std::iter::from_fn(|| bound.sent()).find(|sent| sent.is_comment).unwrap();
    assert!(!still.id.is_empty());
    record(&admin, "a", "more");
    assert_eq!(bound.names(1), ["more"]);
}

#[cfg(feature = "faults")]
#[test]
fn a_server_that_is_stopped_ends_its_streams() {
    let mut server = Server::start();
    let admin = server.admin();
    organizations(&admin, &["acme"]);
    let streams = ["", "?organization=acme"].map(|query| Following::of(&admin, query));
    server.stop();
    streams.into_iter().for_each(Following::ends);
}

#[test]
fn a_credential_follows_a_bounded_number_of_times_and_wrong_questions_are_refused() {
    let server = Server::start();
    let admin = server.admin();
    organizations(&admin, &["acme"]);
    let most = admin.get("/v1/limits").is(200).json()["eventStreamsPerCredential"].as_u64().unwrap();
    let mut streams: Vec<_> = (0..most).map(|_| Following::of(&admin, "?organization=acme")).collect();
    let refused = admin.get("/v1/events/stream");
    assert!(refused.header("retry-after").is_some());
    refused.expect_problem(429, "too-many-streams");
    streams.pop();
    let is_free = || admin.get("/v1/events/stream").status == 200;
    assert!((0..500).any(|_| is_free() || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        false
    }));
    drop(streams);
    let person = sign_up(&server, "ann@example.com");
    let ask = |query: &str, last: &str| {
        person.client.call("GET", &format!("/v1/events/stream{query}")).header("last-event-id", last).send()
    };
    ask("?meter=nothing", "").expect_problem(404, "unknown-meter");
    ask("?organization=acme", "").expect_problem(404, "unknown-organization");
    ask("?since=now", "").expect_problem(422, "validation");
    ask("", "the last one").expect_problem(422, "validation");
    ask("", "t1764280000000000").expect_problem(422, "invalid-query");
    server.stranger().get("/v1/events/stream").expect_problem(401, "unauthorized");
}

#[test]
fn more_at_once_than_is_told_live_ends_the_stream_and_is_no_silent_gap() {
    let server = Server::start();
    let admin = server.admin();
    organizations(&admin, &["acme"]);
    let mut stream = Following::of(&admin, "?organization=acme");
    let note = "x".repeat(60_000);
    let event = |i: u32| json!({"specversion": "1.0", "id": format!("e-{i}"), "source": "/test", "type": "messages", "subject": "acme", "data": {"note": note}});
    let batch = json!((0..160).map(event).collect::<Vec<_>>()).to_string();
    admin.call("POST", "/v1/events").body("application/cloudevents-batch+json", batch).send().is(200);
    let lagged = stream.event();
    assert_eq!(lagged.name, "lagged");
    stream.ends();
    let mut again = Following::after(&admin, "?organization=acme", Some(&lagged.id));
    assert_eq!(again.event().name, "gap");
    record(&admin, "acme", "after");
    assert_eq!(again.names(1), ["after"]);
}

#[test]
fn that_something_happened_to_anybody_is_told_without_what_it_was() {
    let server = Server::start();
    let admin = server.admin();
    organizations(&admin, &["acme"]);
    let mut following = Following::at(&admin, "/v1/fleet/stream", None);
    let mut told = || {
        let sent = following.event();
        (sent.name, sent.data.unwrap())
    };
    let changed = ("changed".to_owned(), json!({}));
    assert_eq!(told(), changed, "what was shown before may be seconds old");
    record(&admin, "acme", "one");
    let began = clock::boot();
    assert_eq!((told(), told()), (changed.clone(), changed), "and once more, for the same reason");
    assert!(clock::boot() - began < 20_000_000, "{} µs", clock::boot() - began);
}
