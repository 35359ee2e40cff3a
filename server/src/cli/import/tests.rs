//! Imports against a server that fails at chosen times.

use std::fmt::Write as _;
use std::path::Path;

use clap::Parser;
use serde_json::{Value, json};

use super::super::fake::{Fake, Fault, Paper};
use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

const COLUMNS: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";

/// Rows `from..to`, each a second after the one before.
fn rows(from: u32, to: u32) -> String {
    (from..to).fold(String::new(), |mut text, i| {
        let _ = writeln!(text, "2023-11-16 18:{:02}:{:02}.1234567,{},{}", i / 60, i % 60, 100 + i, 10 + i);
        text
    })
}

struct Case {
    fake: Fake,
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let fake = Fake::start();
        fake.answer(
            "GET /v1/meters/tokens",
            200,
            &json!({"key": "tokens", "eventType": "llm", "valueProperty": "quantity"}),
        );
        Self { fake, folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, content: &str) {
        std::fs::write(self.file(), content).unwrap();
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("trace.csv")
    }

    /// Runs an import in batches of ten with more arguments.
    fn import(&self, arguments: &[&str], paper: &Paper) -> anyhow::Result<Ending> {
        run(&self.fake.client(), &options(&self.file(), arguments), paper)
    }

    /// Runs an import that must succeed, and gives its summary.
    fn summary(&self, arguments: &[&str]) -> String {
        let paper = Paper::default();
        assert_eq!(self.import(arguments, &paper).unwrap(), Ending::Done);
        paper.text()
    }

    /// Input tokens over everything that was counted.
    fn total(&self) -> u64 {
        self.fake.state().events.values().filter_map(|event| event["data"]["inputTokens"].as_u64()).sum()
    }
}

fn options(file: &Path, arguments: &[&str]) -> Options {
    let fixed = ["import", file.to_str().unwrap(), "--organization", "conv", "--meter", "tokens", "--batch", "10"];
    let mapping = ["--time-column", "TIMESTAMP", "--property", "inputTokens=ContextTokens"];
    Line::try_parse_from(fixed.iter().chain(&mapping).chain(arguments)).unwrap().options
}

fn expected(rows: u32) -> u64 {
    (0..u64::from(rows)).map(|i| 100 + i).sum()
}

#[test]
fn rows_become_events_in_bounded_batches_with_a_record_after_each() {
    let case = Case::new();
    case.write(&format!("\u{feff}{COLUMNS}{}", rows(0, 25)).replace('\n', "\r\n"));
    let summary = case.summary(&["--property", "outputTokens=GeneratedTokens", "--quantity-column", "GeneratedTokens"]);
    assert_eq!(summary, "25 rows: 25 accepted, 0 duplicates, 0 rejected");
    assert_eq!((case.total(), case.fake.count("POST /v1/events"), case.fake.count("PUT")), (expected(25), 3, 3));
    let state = case.fake.state();
    let record = &state.imports["import%3Aconv%2Ftokens%2Ftrace.csv"];
    assert_eq!((record["rowsDone"].as_u64(), record["digest"].as_str().unwrap().len()), (Some(25), 64));
    let first: Vec<Value> =
        serde_json::from_str(&state.requests.iter().find(|(r, _)| r.starts_with("POST")).unwrap().1).unwrap();
    assert!(first[0]["id"].as_str().unwrap().starts_with("1-"));
    let mut event = first[0].clone();
    event["id"] = json!("");
    assert_eq!(
        event,
        json!({
            "specversion": "1.0", "id": "", "source": "import:conv/tokens/trace.csv", "type": "llm", "subject": "conv",
            "time": "2023-11-16T18:00:00.123456Z", "data": {"inputTokens": 100, "outputTokens": 10, "quantity": 10},
        })
    );
}

#[test]
fn what_is_the_same_of_every_row_is_said_once() {
    let case = Case::new();
    case.write(&format!("{COLUMNS}{}", rows(0, 3)));
    case.summary(&["--set", "model=gpt-4o", "--set", "tier=2"]);
    let state = case.fake.state();
    assert_eq!(state.events.len(), 3);
    assert!(state.events.values().all(|event| event["data"]["model"] == "gpt-4o" && event["data"]["tier"] == 2));
    drop(state);
    let twice = case.import(&["--set", "inputTokens=7"], &Paper::default()).map(drop).unwrap_err();
    assert_eq!(twice.to_string(), "the property inputTokens is given twice");
}

#[test]
fn a_second_run_sends_nothing_and_a_grown_file_only_its_new_rows() {
    let case = Case::new();
    let short = format!("{COLUMNS}{}", rows(0, 25));
    case.write(short.trim_end());
    case.summary(&[]);
    assert_eq!(case.summary(&[]), "0 rows: 0 accepted, 0 duplicates, 0 rejected (25 rows done before)");
    assert_eq!(case.fake.count("POST /v1/events"), 3);
    case.write(&format!("{COLUMNS}{}", rows(0, 31)));
    assert_eq!(case.summary(&[]), "6 rows: 6 accepted, 0 duplicates, 0 rejected (25 rows done before)");
    assert_eq!((case.total(), case.fake.count("POST /v1/events")), (expected(31), 4));
}

#[test]
fn whatever_fails_a_repeated_import_counts_each_row_once() {
    let kinds = ["POST /v1/events", "PUT /v1/imports"];
    let faults = [Fault::Status(503), Fault::HangUp, Fault::LoseAnswer, Fault::Status(500)];
    for (kind, fault, skip) in
        kinds.iter().flat_map(|k| faults.iter().flat_map(move |f| (0..3).map(move |s| (k, f, s))))
    {
        let case = Case::new();
        case.write(&format!("{COLUMNS}{}", rows(0, 25)));
        // Three times in a row is as often as this client tries.
        for skip in [skip, 0, 0] {
            case.fake.fail(kind, skip, *fault);
        }
        let paper = Paper::default();
        let error = case.import(&[], &paper).unwrap_err().to_string();
        assert!(paper.notes().contains(&format!("stopped after {} rows", skip * 10)), "{error} {}", paper.notes());
        case.fake.state().clear_faults();
        assert!(case.summary(&[]).contains(", 0 rejected"));
        assert_eq!((case.total(), case.fake.state().events.len()), (expected(25), 25), "{kind} {skip}");
    }
}

#[test]
fn a_fault_that_heals_is_not_seen_in_the_total() {
    for fault in [Fault::Status(503), Fault::HangUp, Fault::LoseAnswer] {
        let case = Case::new();
        case.write(&format!("{COLUMNS}{}", rows(0, 25)));
        case.fake.fail("POST /v1/events", 1, fault);
        case.fake.fail("PUT /v1/imports", 2, fault);
        assert!(case.summary(&[]).starts_with("25 rows: "));
        assert_eq!(case.total(), expected(25));
    }
}

#[test]
fn another_file_under_a_known_name_must_be_confirmed() {
    let case = Case::new();
    case.write(&format!("{COLUMNS}{}", rows(0, 25)));
    case.summary(&[]);
    for other in [rows(1, 30), rows(0, 24)] {
        case.write(&format!("{COLUMNS}{other}"));
        let nobody = Paper::default();
        assert_eq!(case.import(&[], &nobody).unwrap(), Ending::Unconfirmed);
        assert!(nobody.notes().contains("pass --yes"));
        assert_eq!(case.import(&[], &Paper::saying(false)).unwrap(), Ending::Unconfirmed);
    }
    assert_eq!(case.total(), expected(25));
    // The first twenty rows stand where they stood: they still count once.
    case.write(&format!("{COLUMNS}{}{}", rows(0, 20), rows(40, 45)));
    assert_eq!(case.summary(&["--yes"]), "25 rows: 5 accepted, 20 duplicates, 0 rejected");
    assert_eq!(case.summary(&[]), "0 rows: 0 accepted, 0 duplicates, 0 rejected (25 rows done before)");
    case.write(&format!("{COLUMNS}{}", rows(50, 51)));
    assert_eq!(case.import(&[], &Paper::saying(true)).unwrap(), Ending::Done);
}

#[test]
fn a_bad_row_is_told_with_its_line_and_stops_no_other() {
    let case = Case::new();
    case.write(&format!("{COLUMNS}{}yesterday,1,2\n2023-11-16 19:00:00\n{}", rows(0, 12), rows(12, 14)));
    case.fake.state().refused_times.insert("2023-11-16T18:00:13.123456Z".to_owned());
    let paper = Paper::default();
    assert_eq!(case.import(&[], &paper).unwrap(), Ending::Failed);
    assert_eq!(paper.text(), "16 rows: 13 accepted, 0 duplicates, 3 rejected");
    let notes = paper.notes();
    assert!(notes.contains("line 14: TIMESTAMP: not a time such as"), "{notes}");
    assert!(notes.contains("line 15: no column ContextTokens"), "{notes}");
    assert!(notes.contains("line 17: refused: as planned"), "{notes}");
    let rejected = case.folder.path().join("trace.rejected.csv");
    assert!(notes.contains(rejected.to_str().unwrap()) && notes.contains("--restart"), "{notes}");
    let heading = "rejectedLine,rejectedReason,TIMESTAMP,ContextTokens,GeneratedTokens\n";
    let text = std::fs::read_to_string(&rejected).unwrap();
    assert!(text.starts_with(heading) && text.lines().count() == 4, "{text}");
    assert!(text.contains("15,no column ContextTokens,2023-11-16 19:00:00\n"), "{text}");
    assert!(text.contains("17,refused: as planned,2023-11-16 18:00:13.1234567,113,23\n"), "{text}");
    // A grown file adds to it, and what is sent again begins it anew.
    case.write(&format!("{COLUMNS}{}yesterday,1,2\n2023-11-16 19:00:00\n{}today,1,2\n", rows(0, 12), rows(12, 14)));
    assert_eq!(case.import(&[], &paper).unwrap(), Ending::Failed);
    assert_eq!(std::fs::read_to_string(&rejected).unwrap().lines().count(), 5);
    case.write(&format!("{COLUMNS}{}yesterday,1,2\n2023-11-16 19:00:00\n{}", rows(0, 12), rows(12, 14)));
    case.fake.state().refused_times.clear();
    assert_eq!(case.import(&["--restart", "--json"], &paper).unwrap(), Ending::Failed);
    assert_eq!(std::fs::read_to_string(&rejected).unwrap().lines().count(), 3);
    assert!(
        paper.text().ends_with(r#"{"accepted":1,"duplicates":13,"rejected":2,"rows":16,"rowsDoneBefore":0}"#),
        "{}",
        paper.text()
    );
}

#[test]
fn rejected_rows_are_mended_and_imported_from_their_own_file() {
    let case = Case::new();
    case.write(&format!("{COLUMNS}{}yesterday,1000,2\n", rows(0, 12)));
    let mended = case.folder.path().join("again.csv");
    let to = ["--rejected", mended.to_str().unwrap()];
    assert_eq!(case.import(&to, &Paper::default()).unwrap(), Ending::Failed);
    let text = std::fs::read_to_string(&mended).unwrap();
    std::fs::write(&mended, text.replace("yesterday", "2023-11-16 19:00:00")).unwrap();
    assert_eq!(run(&case.fake.client(), &options(&mended, &[]), &Paper::default()).unwrap(), Ending::Done);
    assert_eq!(case.total(), expected(12) + 1000);
    // Where there is nothing more to reject, what was mended stays as it is.
    assert_eq!(case.summary(&to), "0 rows: 0 accepted, 0 duplicates, 0 rejected (13 rows done before)");
    assert_eq!(run(&case.fake.client(), &options(&mended, &[]), &Paper::default()).unwrap(), Ending::Done);
    assert_eq!(case.total(), expected(12) + 1000);
}

#[test]
fn what_cannot_be_imported_is_said_before_anything_is_sent() {
    let case = Case::new();
    case.write(&format!("{COLUMNS}{}", rows(0, 2)));
    let refused = |arguments: &[&str]| format!("{:#}", case.import(arguments, &Paper::default()).unwrap_err());
    assert_eq!(
        refused(&["--property", "model=Model"]),
        "the file has no column \"Model\"; it has TIMESTAMP, ContextTokens, GeneratedTokens"
    );
    assert_eq!(refused(&["--property", "inputTokens=GeneratedTokens"]), "the property inputTokens is given twice");
    case.write(&format!("\u{1b}[2J\u{7},{}\n", "x,".repeat(500)));
    let foreign = refused(&[]);
    assert!(foreign.len() < 300 && foreign.ends_with(", …") && !foreign.contains('\u{1b}'), "{foreign:?}");
    case.write(&format!("{COLUMNS}{}", rows(0, 2)));
    case.fake.state().answers.clear();
    assert!(refused(&[]).starts_with("Not found (404 not-found)"));
    // Where no server answers, it is asked once and nothing is waited for.
    case.fake.fail("GET /v1/meters", 0, Fault::HangUp);
    let before = case.fake.count("GET /v1/meters");
    assert!(refused(&[]).starts_with("no answer from a Metergate server"), "{}", refused(&[]));
    assert_eq!(case.fake.count("GET /v1/meters"), before + 1);
    assert_eq!(case.fake.count("POST"), 0);
}
