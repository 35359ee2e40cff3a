//! Reports beside a million organizations (S7): one organization's year, a hundred at once, pages of lists, all together.

use std::rc::Rc;
use std::time::{Duration, Instant};

use memchr::memmem;

use super::{Answer, bars};
use crate::chart::Series;
use crate::connection::Connection;
use crate::error::BenchError;
use crate::proc::cpu_time;
use crate::process::ServerProcess;
use crate::request::json_request;
use crate::row::Side;
use crate::setup::Target;
use crate::sheet::millis;
use crate::spread::{Spread, bytes, shown, thousands};
use crate::stock::{Stock, Stores};
use crate::suite::Suite;
use crate::table::Table;
use crate::target::{Bound, line};
use fleet::Made;
use history::History;

mod fleet;
mod history;

/// How often a query is asked in a round at most, one after another on one connection, and for how long.
const ASKED: usize = 200;
const FOR: Duration = Duration::from_secs(2);
/// Left out before.
const WARM_UP: usize = 3;

/// A report that is read again and again.
struct Query {
    name: &'static str,
    /// Path and query, of which the answers bring the next page where there is one.
    path: String,
    /// What stands once in every row of the answer, and how many rows it has.
    word: &'static str,
    rows: usize,
    /// Milliseconds aimed at, at the median.
    target: Option<f64>,
}

/// What a query gave in a round, in milliseconds.
pub(super) struct Times {
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// CPU of the server a query.
    pub(super) cpu: f64,
    /// Bytes of the answer.
    pub(super) bytes: usize,
}

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let stock = suite.stock(1_000_000, 0);
    let home = Rc::new(stores.prepared(stock).await?.copy(&suite.parent)?);
    let program = suite.program(Side::Metergate);
    let history = History::until_today(stock.organizations);
    {
        let server = ServerProcess::start(&program, home.clone()).await?;
        let began = Instant::now();
        history.record(&server.target()).await?;
        eprintln!("  recorded {} past events in {:.1} s", thousands(history.events()), began.elapsed().as_secs_f64());
    }
    let queries = queries(&history);
    let (mut rounds, mut views): (Vec<Vec<Times>>, Vec<Made>) = (Vec::new(), Vec::new());
    for number in 1..=suite.few_rounds() {
        let server = ServerProcess::start(&program, home.clone()).await?;
        let mut round = Vec::new();
        for query in &queries {
            if query.path == fleet::PATH {
                views.push(Made::by(&server).await?);
            }
            let times = times(&server, query).await?;
            eprintln!("  round {number}: {}: p50 {:.2} ms, p99 {:.2} ms", query.name, times.p50, times.p99);
            round.push(times);
        }
        rounds.push(round);
    }
    let views = Made::told(&views, stock.organizations);
    Ok(answer(suite, (stock, home.stored_bytes()), &queries, &rounds, &views))
}

fn queries(history: &History) -> Vec<Query> {
    let first = history.organization(0);
    let query = |name, path, word, rows, target| Query { name, path, word, rows, target };
    vec![
        query(
            "one organization, 10 meters, a year by day",
            history.year(),
            "\"start\":",
            history.year_rows(),
            Some(5.0),
        ),
        query(
            "100 organizations, 100 meters, 30 days in total",
            history.bulk(),
            "\"start\":",
            history.bulk_rows(),
            Some(10.0),
        ),
        query("one organization, use now", format!("/v1/organizations/{first}/usage"), "\"meters\":", 1, None),
        query(
            "organizations, page after page of 200",
            "/v1/organizations?limit=200".into(),
            "\"planVersion\":",
            200,
            None,
        ),
        query(
            "one organization's events, page after page of 200",
            format!("/v1/events?organization={first}&limit=200"),
            "\"source\":",
            200,
            None,
        ),
        // The last, since the view is kept up to date from its first question on.
        query("all organizations together, once the view is whole", fleet::PATH.into(), "\"asOf\":", 1, Some(10.0)),
    ]
}

async fn times(server: &ServerProcess, query: &Query) -> Result<Times, BenchError> {
    let target = server.target();
    let mut connection = Connection::open(target.address).await?;
    let mut cursor = None;
    timed(server, async || {
        let (next, size) = read(&mut connection, &target, query, cursor.take()).await?;
        cursor = next;
        Ok(size)
    })
    .await
}

/// Has something asked of a server again and again, one after another; it says how many bytes it got.
pub(super) async fn timed(
    server: &ServerProcess,
    mut ask: impl AsyncFnMut() -> Result<usize, BenchError>,
) -> Result<Times, BenchError> {
    let (mut size, mut took) = (0, Vec::new());
    for _ in 0..WARM_UP {
        size = ask().await?;
    }
    let (before, began) = (cpu_time(server.pid())?, Instant::now());
    while took.len() < ASKED && began.elapsed() < FOR {
        let start = Instant::now();
        size = ask().await?;
        took.push(start.elapsed());
    }
    let cpu = cpu_time(server.pid())?.saturating_sub(before);
    took.sort_unstable();
    let at = |percent: usize| millis(took[(took.len() * percent / 100).min(took.len() - 1)]);
    Ok(Times { p50: at(50), p99: at(99), cpu: millis(cpu) / took.len() as f64, bytes: size })
}

/// Asks once, looks whether the answer has its rows, and gives the next page's cursor with the answer's bytes.
async fn read(
    connection: &mut Connection,
    target: &Target,
    query: &Query,
    cursor: Option<String>,
) -> Result<(Option<String>, usize), BenchError> {
    let path = cursor.map_or_else(|| query.path.clone(), |cursor| format!("{}&cursor={cursor}", query.path));
    let request = json_request("GET", &path, target.address, &target.key, "");
    let answer = connection.exchange(&request).await?;
    let found = memmem::find_iter(answer.body, query.word).count();
    let next = next_cursor(answer.body);
    if answer.status != 200 || (found != query.rows && next.is_some()) || found > query.rows || found == 0 {
        return Err(BenchError::Rows { request: shortened(&path), found, expected: query.rows });
    }
    Ok((next, answer.size))
}

fn shortened(path: &str) -> String {
    path.chars().take(80).collect()
}

fn next_cursor(body: &[u8]) -> Option<String> {
    let word = br#""nextCursor":""#;
    let rest = &body[memmem::rfind(body, word)? + word.len()..];
    let end = memchr::memchr(b'"', rest)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

fn answer(
    suite: &Suite,
    (stock, stored): (Stock, u64),
    queries: &[Query],
    rounds: &[Vec<Times>],
    views: &str,
) -> Answer {
    let mut table = Table::new(&["query", "rows", "answer", "p50 ms", "p99 ms", "CPU ms"]);
    let figures = |index: usize, figure: fn(&Times) -> f64| rounds.iter().map(move |round| figure(&round[index]));
    let mut targets = Vec::new();
    for (index, query) in queries.iter().enumerate() {
        table.push(vec![
            query.name.into(),
            thousands(query.rows as u64),
            rounds.first().map_or_else(String::new, |round| bytes(round[index].bytes as u64)),
            shown(figures(index, |times| times.p50), 2),
            shown(figures(index, |times| times.p99), 2),
            shown(figures(index, |times| times.cpu), 2),
        ]);
        if let Some(target) = query.target {
            let what = format!("S7, median ms, {}", query.name);
            targets.push(line(&what, figures(index, |times| times.p50), 2, Bound::AtMost(target)));
        }
    }
    let series = |name: &str, figure: fn(&Times) -> f64| Series {
        name: name.into(),
        points: (0..queries.len())
            .filter_map(|index| Some((index as f64, Spread::of(figures(index, figure))?)))
            .collect(),
    };
    let names: Vec<String> = queries.iter().map(|query| query.name.to_owned()).collect();
    let panel = bars("ms", &names, vec![series("p50", |times| times.p50), series("p99", |times| times.p99)]);
    let how = format!(
        "Median (least–most) of {} rounds, a server started for each on a store of {} organizations ({}), otherwise idle; 1 connection, up to {ASKED} \
         times within {FOR:?}, the first {WARM_UP} left out. Every answer's rows are counted. {views}",
        rounds.len(),
        thousands(stock.organizations),
        bytes(stored),
    );
    let table = format!("{}\n{how}\n", table.markdown());
    Answer::new(suite, "Reports beside a million organizations", &table, &targets, vec![panel])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_cursor_is_found_behind_the_data() {
        for (body, cursor) in [
            (r#"{"data":[{"nextCursor":"x"}],"nextCursor":"01ab"}"#, Some("01ab")),
            (r#"{"data":[],"nextCursor":null}"#, None),
            ("", None),
        ] {
            assert_eq!(next_cursor(body.as_bytes()).as_deref(), cursor, "{body}");
        }
    }
}
