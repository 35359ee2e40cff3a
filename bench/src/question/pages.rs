//! Pages of the dashboard and the portal, over the store of a demo, and the list of many organizations.

use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use memchr::memmem;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::reads::{Times, timed};
use super::{Answer, bars};
use crate::chart::Series;
use crate::connection::Connection;
use crate::error::BenchError;
use crate::home::Home;
use crate::process::ServerProcess;
use crate::request::{json_request, page_request};
use crate::row::Side;
use crate::setup::Target;
use crate::spread::{Spread, bytes, shown, thousands};
use crate::stock::Stores;
use crate::suite::Suite;
use crate::table::Table;
use crate::target::{Bound, line};

/// Every page, of a demo's store: an organization's are those of the one that has people, keys and credit.
const OF_A_DEMO: [&str; 28] = [
    "/admin",
    "/admin/organizations",
    "/admin/organizations/northwind",
    "/admin/organizations/northwind?meter=tokens&by=model&range=30d",
    "/admin/organizations/northwind?meter=api_calls&range=12m",
    "/admin/organizations/northwind/limits",
    "/admin/organizations/northwind/cycle",
    "/admin/organizations/northwind/members",
    "/admin/organizations/northwind/keys",
    "/admin/organizations/northwind/audit",
    "/admin/organizations/northwind/explain?meter=tokens",
    "/admin/organizations/northwind/do/plan?plan=enterprise",
    "/admin/plans",
    "/admin/plans/pro",
    "/admin/do/plan?key=pro",
    "/admin/meters",
    "/admin/prices",
    "/admin/prices/recompute",
    "/admin/what-if",
    "/admin/webhooks",
    "/admin/stripe",
    "/admin/audit",
    "/admin/audit/verify",
    "/admin/keys",
    "/admin/settings",
    "/organizations/northwind/settings",
    "/portal?org=northwind",
    "/portal/billing?org=northwind",
];
/// Pages of the list of many.
const OF_MANY: [&str; 3] = [
    "/admin/organizations",
    "/admin/organizations?sort=-createdAt",
    "/admin/organizations?search=org-5&status=active&plan=free",
];
const MANY: u64 = 100_000;
/// Milliseconds aimed at, at the median: of every page, and of the list of many.
const OF_EACH: f64 = 50.0;
const OF_THE_LIST: f64 = 100.0;
/// A demo that takes longer to make its history hangs.
const MADE_WITHIN: Duration = Duration::from_secs(300);
const PASSWORD: &str = "correct horse battery";

/// A page, and what it took in each round.
struct Page {
    path: &'static str,
    store: String,
    target: f64,
    rounds: Vec<Times>,
}

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let (demo, made_in) = demo(suite).await?;
    let stock = suite.stock(MANY, 0);
    let many = stores.open(stock).await?;
    let (of_demo, of_many) = ("a demo".to_owned(), format!("{} organizations", thousands(stock.organizations)));
    let mut pages: Vec<Page> =
        OF_A_DEMO.map(|path| Page { path, store: of_demo.clone(), target: OF_EACH, rounds: Vec::new() }).into();
    pages.extend(OF_MANY.map(|path| Page { path, store: of_many.clone(), target: OF_THE_LIST, rounds: Vec::new() }));
    for number in 1..=suite.few_rounds() {
        for (home, store) in [(&demo, &of_demo), (&many, &of_many)] {
            let server = ServerProcess::start(&suite.program(Side::Metergate), home.clone()).await?;
            let cookie = sign_in(&server.target(), number).await?;
            for page in pages.iter_mut().filter(|page| page.store == *store) {
                let times = times(&server, page.path, &cookie).await?;
                eprintln!(
                    "  round {number}: {} of {store}: p50 {:.2} ms, p99 {:.2} ms",
                    page.path, times.p50, times.p99
                );
                page.rounds.push(times);
            }
        }
    }
    Ok(answer(suite, &pages, made_in))
}

/// The folder of a demo without live traffic, and how long its history took.
async fn demo(suite: &Suite) -> Result<(Rc<Home>, Duration), BenchError> {
    let home = Home::new(&suite.parent)?;
    let what = "making a demo";
    let log = home.new_log().map_err(BenchError::io(what))?;
    let errors = log.try_clone().map_err(BenchError::io(what))?;
    let mut command = Command::new(&suite.metergate);
    command.env_clear().args(["demo", "--once", "--data-dir"]).arg(home.data());
    let began = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().map_err(BenchError::io(what))?;
    let mut running = Running(child);
    loop {
        match running.0.try_wait().map_err(BenchError::io(what))? {
            Some(status) if status.success() => break,
            Some(status) => {
                let (program, said) = ("metergate demo".to_owned(), home.end_of_log());
                return Err(BenchError::Failed { program, how: status.to_string(), said });
            }
            None if began.elapsed() > MADE_WITHIN => return Err(BenchError::TooSlow(what.into())),
            None => sleep(Duration::from_millis(20)).await,
        }
    }
    let took = began.elapsed();
    eprintln!("  made a demo in {:.1} s: {}", took.as_secs_f64(), bytes(home.stored_bytes()));
    Ok((Rc::new(home), took))
}

/// A program that does not outlive this question.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Makes an administrator of this round, and signs them in: the cookie of their session.
async fn sign_in(target: &Target, round: u64) -> Result<String, BenchError> {
    let email = format!("bench-{round}@example.com");
    let body = json!({"email": email, "password": PASSWORD});
    target.call("POST", "/v1/administrators", &body).await?;
    let mut connection = Connection::open(target.address).await?;
    let path = "/api/auth/login";
    let request = json_request("POST", path, target.address, &target.key, &body.to_string());
    let answer = connection.exchange(&request).await?;
    let found: Value = serde_json::from_slice(answer.body).unwrap_or_default();
    let token = found["token"].as_str().ok_or_else(|| BenchError::Setup {
        request: format!("POST {path}"),
        status: answer.status,
        body: String::from_utf8_lossy(answer.body).into_owned(),
    })?;
    Ok(format!("metergate_session={token}"))
}

async fn times(server: &ServerProcess, path: &str, cookie: &str) -> Result<Times, BenchError> {
    let mut connection = Connection::open(server.address).await?;
    let request = page_request(path, server.address, cookie);
    timed(server, async || {
        let answer = connection.exchange(&request).await?;
        let found = usize::from(answer.status == 200) * memmem::find_iter(answer.body, "</html>").count();
        if found == 1 { Ok(answer.size) } else { Err(BenchError::Rows { request: path.into(), found, expected: 1 }) }
    })
    .await
}

fn answer(suite: &Suite, pages: &[Page], made_in: Duration) -> Answer {
    let mut table = Table::new(&["page", "store", "answer", "p50 ms", "p99 ms", "CPU ms"]);
    let figures = |page: &Page, figure: fn(&Times) -> f64| page.rounds.iter().map(figure).collect::<Vec<_>>();
    for page in pages {
        table.push(vec![
            format!("`{}`", page.path),
            page.store.clone(),
            page.rounds.first().map_or_else(String::new, |times| bytes(times.bytes as u64)),
            shown(figures(page, |times| times.p50), 2),
            shown(figures(page, |times| times.p99), 2),
            shown(figures(page, |times| times.cpu), 2),
        ]);
    }
    let targets: Vec<String> = [("every page of a demo", OF_EACH), ("the list of many organizations", OF_THE_LIST)]
        .map(|(what, target)| slowest(pages, what, target))
        .into();
    let series = |name: &str, figure: fn(&Times) -> f64| Series {
        name: name.into(),
        points: pages
            .iter()
            .enumerate()
            .filter_map(|(index, page)| Some((index as f64, Spread::of(figures(page, figure))?)))
            .collect(),
    };
    let names: Vec<String> = pages.iter().map(|page| page.path.to_owned()).collect();
    let panel = bars("ms", &names, vec![series("p50", |times| times.p50), series("p99", |times| times.p99)]);
    let how = format!(
        "Median (least–most) of {} rounds, a server started for each store and round, otherwise idle; one signed-in administrator on 1 \
         connection asks for each page again and again, the first times left out; the time is from the request to the whole page. \
         `metergate demo --once` made its store in {:.1} s.",
        suite.few_rounds(),
        made_in.as_secs_f64(),
    );
    let table = format!("{}\n{how}\n", table.markdown());
    Answer::new(suite, "Pages, milliseconds at the server", &table, &targets, vec![panel])
}

/// The slowest of the pages with a target, by its median, against that.
fn slowest(pages: &[Page], what: &str, target: f64) -> String {
    let median =
        |page: &Page| Spread::of(page.rounds.iter().map(|times| times.p50)).map_or(f64::NAN, |spread| spread.median);
    let slowest = pages.iter().filter(|page| page.target == target).max_by(|a, b| median(a).total_cmp(&median(b)));
    let Some(page) = slowest else { return String::new() };
    let what = format!("median ms, {what}, the slowest being `{}`", page.path);
    line(&what, page.rounds.iter().map(|times| times.p50), 2, Bound::AtMost(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_page_is_held_against_its_target() {
        let page = |path, p50, target| Page {
            path,
            store: String::new(),
            target,
            rounds: vec![Times { p50, p99: 0.0, cpu: 0.0, bytes: 0 }],
        };
        let pages = [page("/a", 3.0, OF_EACH), page("/b", 51.0, OF_EACH), page("/c", 60.0, OF_THE_LIST)];
        let told = slowest(&pages, "every page", OF_EACH);
        assert_eq!(told, "- median ms, every page, the slowest being `/b`: 51.00, at most 50.00: **missed**\n");
        assert!(slowest(&pages, "the list", OF_THE_LIST).ends_with("at most 100.00: met\n"));
    }
}
