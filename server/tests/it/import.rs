//! Importing past usage, with the real program against a real server: totals are exact however often it runs and wherever
//! it, or the server, is killed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::http::client::Client;
use crate::http::server::{ADMIN_KEY, Server, metergate};

/// As many rows as the real trace has.
pub(crate) const ROWS: u64 = 19_366;
/// The real trace, which stands beside the checkout where there is one (data/README.md there has its totals).
const TRACE: &str = "../../shared/data/azure_llm_conv_2023.csv";
const TRACE_TOKENS: u64 = 22_361_870 + 4_088_665;
const SOURCE: &str = "trace";

/// Tokens by hour, such as `2023-11-16T18` → 5, and in total, found apart from the program.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    rows: u64,
    tokens: u64,
    by_hour: BTreeMap<String, u64>,
}

impl Expected {
    fn of(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let mut expected = Self { rows: 0, tokens: 0, by_hour: BTreeMap::new() };
        for line in text.lines().skip(1) {
            let cells: Vec<_> = line.split(',').collect();
            let tokens = cells[1].parse::<u64>().unwrap() + cells[2].parse::<u64>().unwrap();
            expected.rows += 1;
            expected.tokens += tokens;
            *expected.by_hour.entry(cells[0][..13].replace(' ', "T")).or_default() += tokens;
        }
        expected
    }

    /// What the server reports of all the time around.
    fn reported(client: &Client) -> Self {
        let path = "/v1/usage?organization=conv&meter=tokens&from=2023-11-01T00:00:00Z&to=2023-12-01T00:00:00Z";
        let hours = client.get(&format!("{path}&granularity=hour")).is(200).json();
        let total = client.get(path).is(200).json();
        let row = |row: &Value| (row["start"].as_str().unwrap()[..13].to_owned(), row["value"].as_u64().unwrap());
        let by_hour: BTreeMap<_, _> = hours["data"].as_array().unwrap().iter().map(row).collect();
        let total = &total["data"][0];
        Self { rows: total["count"].as_u64().unwrap(), tokens: total["value"].as_u64().unwrap(), by_hour }
    }
}

/// A file like the real one, over a few hours: the numbers come from a fixed sequence, so they are the same on every run.
fn made_up(folder: &Path) -> PathBuf {
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned();
    let mut state: u64 = 2023;
    for row in 0..ROWS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (context, generated) = (1 + (state >> 33) % 4000, 1 + (state >> 20) % 500);
        let second = 3 * row;
        let (hour, minute, second) = (6 + second / 3600, second / 60 % 60, second % 60);
        let fraction = state % 10_000_000;
        let _ = writeln!(text, "2023-11-16 {hour:02}:{minute:02}:{second:02}.{fraction:07},{context},{generated}");
    }
    let path = folder.join("made-up.csv");
    fs::write(&path, text.trim_end()).unwrap();
    path
}

/// The files to import: one made up, and the real one where it is.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![made_up(folder)];
    files.extend(fs::canonicalize(TRACE).ok());
    files
}

/// Whether it is the real one.
pub(crate) fn is_trace(file: &Path) -> bool {
    fs::canonicalize(TRACE).is_ok_and(|trace| file == trace)
}

fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "conv", "plan": "enterprise"})).is(201);
    (server, admin)
}

pub(crate) fn import(server: &Server, file: &Path, batch: u64) -> Command {
    let mut command = metergate(server.folder());
    command.env("METERGATE_URL", &server.url).env("METERGATE_API_KEY", ADMIN_KEY);
    command.arg("import").arg(file).args(["--organization", "conv", "--meter", "tokens", "--time-column", "TIMESTAMP"]);
    command.args(["--property", "inputTokens=ContextTokens", "--property", "outputTokens=GeneratedTokens"]);
    command.args(["--source", SOURCE, "--json", "--batch", &batch.to_string()]);
    command
}

/// Runs an import to its end: rows, accepted, duplicates, rejected.
fn imported(server: &Server, file: &Path) -> [u64; 4] {
    tally(&import(server, file, 1000).output().unwrap())
}

pub(crate) fn tally(output: &Output) -> [u64; 4] {
    assert!(output.status.success(), "{output:?}");
    let tally: Value = serde_json::from_slice(&output.stdout).unwrap();
    ["rows", "accepted", "duplicates", "rejected"].map(|name| tally[name].as_u64().unwrap())
}

/// Rows that the server's record says are done.
fn rows_done(client: &Client) -> u64 {
    let answer = client.get(&format!("/v1/imports/{SOURCE}"));
    if answer.status == 404 { 0 } else { answer.is(200).json()["rowsDone"].as_u64().unwrap() }
}

/// Starts an import in small batches and waits until some of its rows are done.
fn begun(server: &Server, client: &Client, file: &Path) -> Child {
    let mut importer = import(server, file, 50).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while rows_done(client) < 500 {
        assert!(importer.try_wait().unwrap().is_none(), "the import ended before it began");
    }
    importer
}

#[test]
fn an_import_is_exact_in_total_and_by_hour_and_twice_is_once() {
    let (first, _) = started();
    for file in files(first.folder()) {
        let (server, admin) = started();
        let expected = Expected::of(&file);
        assert_eq!(expected.rows, ROWS, "{}", file.display());
        if is_trace(&file) {
            assert_eq!(expected.tokens, TRACE_TOKENS);
        }
        assert_eq!(imported(&server, &file), [ROWS, ROWS, 0, 0]);
        assert_eq!(Expected::reported(&admin), expected, "{}", file.display());
        assert_eq!(imported(&server, &file), [0, 0, 0, 0], "nothing is left to do");
        let again = import(&server, &file, 10_000).arg("--restart").output().unwrap();
        assert_eq!(tally(&again), [ROWS, 0, ROWS, 0], "every row is known");
        assert_eq!(Expected::reported(&admin), expected, "{}", file.display());
    }
}

#[test]
fn an_import_that_was_killed_goes_on_where_it_was() {
    let (server, admin) = started();
    let file = files(server.folder()).pop().unwrap();
    let mut importer = begun(&server, &admin, &file);
    importer.kill().unwrap();
    importer.wait().unwrap();
    let done = rows_done(&admin);
    assert!(done < ROWS, "it was not killed in the middle");
    let [rows, accepted, duplicates, rejected] = imported(&server, &file);
    // A batch may have been taken whose record was not written.
    assert!(
        (rows, rejected) == (ROWS - done, 0) && accepted + duplicates == rows && duplicates <= 50,
        "{rows} {duplicates}"
    );
    assert_eq!(Expected::reported(&admin), Expected::of(&file));
}

#[test]
fn an_import_outlives_a_server_that_was_killed_and_running_it_again_counts_nothing_twice() {
    let (mut server, admin) = started();
    let file = files(server.folder()).pop().unwrap();
    let importer = begun(&server, &admin, &file);
    server.kill();
    server.start_again();
    let admin = server.admin();
    let done = rows_done(&admin);
    assert!((500..ROWS).contains(&done), "{done}: not in the middle");
    let output = importer.wait_with_output().unwrap();
    assert!(output.status.success(), "the importer tries again: {output:?}");
    assert_eq!(Expected::reported(&admin), Expected::of(&file));
    assert_eq!(imported(&server, &file), [0, 0, 0, 0]);
    assert_eq!(Expected::reported(&admin), Expected::of(&file));
}

#[test]
fn a_file_that_grew_adds_its_new_rows_and_another_file_asks_first() {
    let (server, admin) = started();
    let file = server.folder().join("small.csv");
    let heading = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    let rows =
        |range: std::ops::Range<u64>| range.map(|i| format!("2023-11-16 18:00:0{i},{i},1\n")).collect::<String>();
    fs::write(&file, format!("{heading}{}", rows(0..3))).unwrap();
    assert_eq!(imported(&server, &file), [3, 3, 0, 0]);
    fs::write(&file, format!("{heading}{}", rows(0..5))).unwrap();
    assert_eq!(imported(&server, &file), [2, 2, 0, 0]);
    assert_eq!(Expected::reported(&admin), Expected::of(&file));
    // Another file under the same name, and nobody there to ask: code 2, and nothing is imported.
    fs::write(&file, format!("{heading}{}", rows(5..9))).unwrap();
    let output = import(&server, &file, 1000).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(Expected::reported(&admin).rows, 5);
    assert_eq!(tally(&import(&server, &file, 1000).arg("--yes").output().unwrap()), [4, 4, 0, 0]);
    assert_eq!(Expected::reported(&admin).rows, 9);
}

#[test]
fn the_same_trace_by_plain_http_is_exact_too() {
    let (server, admin) = started();
    let file = files(server.folder()).pop().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = text.lines().skip(1).collect();
    let event = |(i, line): (usize, &&str)| {
        let cells: Vec<_> = line.split(',').collect();
        let time = format!("{}Z", cells[0].replace(' ', "T"));
        let data =
            json!({"inputTokens": cells[1].parse::<u64>().unwrap(), "outputTokens": cells[2].parse::<u64>().unwrap()});
        json!({"specversion": "1.0", "id": i.to_string(), "source": "/trace", "type": "tokens", "subject": "conv", "time": time, "data": data})
    };
    let events: Vec<Value> = lines.iter().enumerate().map(event).collect();
    for (round, batch) in [(1, 1000), (2, 10_000)] {
        for batch in events.chunks(batch) {
            let body = Value::from(batch).to_string();
            let call = admin.call("POST", "/v1/events").body("application/cloudevents-batch+json", body);
            let answer = call.send().is(200).json();
            let counted = if round == 1 { &answer["accepted"] } else { &answer["duplicates"] };
            assert_eq!(counted, &json!(batch.len()), "round {round}");
        }
        assert_eq!(Expected::reported(&admin), Expected::of(&file), "round {round}");
    }
}
