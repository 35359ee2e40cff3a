//! The dashboard's pages about prices of language models' tokens.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use metergate_pages::answers::{Fault, Job, Problem, Repriced, UnpricedRow};
use metergate_pages::form::Form;
use metergate_pages::organizations::in_query;
use metergate_pages::prices::{PriceFilter, PricesPage, RepricePage, Shown, correction, question, unpriced_path};
use serde_json::{Value, json};

use super::action::once;
use super::api::{Answer, Call};
use super::html;
use super::sent::{Sent, Typed};
use super::trouble::{Trouble, see_other};
use super::visit::{AtDashboard, Visit, in_path, unless};

type Page = Result<Response<Body>, Trouble>;

/// How long a page waits for what is priced again, in seconds.
const WAIT: u32 = 8;

/// The table, or what is looked for of it, and uses of late that have no price.
pub(super) async fn prices(AtDashboard(visit): AtDashboard) -> Page {
    let text = |name: &str| visit.query(name).unwrap_or_default().to_owned();
    let filter = PriceFilter { search: text("search"), provider: text("provider"), state: text("state") };
    let prices = visit.api.get("/v1/prices").await?;
    let lately = visit.api.all::<UnpricedRow>(&unpriced_path(&visit.frame.now)).await;
    // Without a meter of costs, or without these dimensions of it, there are none to tell.
    let lately = match lately {
        Err(Trouble::Refused(StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY, _)) => Vec::new(),
        lately => lately?,
    };
    Ok(html(&PricesPage::new(visit.frame.clone(), prices, filter, &lately)))
}

fn page(visit: &Visit, form: Form, correction: Option<Form>, shown: Shown) -> Response<Body> {
    html(&RepricePage::new(visit.frame.clone(), form, correction, shown))
}

/// The question; where it is being worked out, how far that is, and then the answer.
pub(super) async fn show(AtDashboard(visit): AtDashboard) -> Page {
    let form = question(&visit.frame.now).with(|name| visit.query(name).map(str::to_owned));
    let Some(id) = visit.query("job") else { return Ok(page(&visit, form, None, Shown::Nothing)) };
    let found = visit.api.get::<Job<Repriced>>(&format!("/v1/jobs/{}", in_path(id))).await;
    let shown = match unless(StatusCode::NOT_FOUND, found)? {
        None => Shown::Failed("The server no longer knows of it: price again, which changes nothing twice.".to_owned()),
        Some(Job { result: Some(report), .. }) => Shown::Report(Box::new(report)),
        Some(Job { error: Some(why), .. }) => Shown::Failed(why),
        Some(Job { progress, .. }) => Shown::Going(progress),
    };
    let follows = follows(&shown, |name| visit.query(name).unwrap_or_default().to_owned());
    Ok(page(&visit, form, follows, shown))
}

/// The form by which is recorded what was shown, if there is something.
fn follows(shown: &Shown, typed: impl Fn(&str) -> String) -> Option<Form> {
    match shown {
        Shown::Report(report) if report.is_dry_run() && report.differing > 0 => Some(correction(typed).once(once())),
        _ => None,
    }
}

/// What was asked, and the answer; or what is recorded.
pub(super) async fn sent(sent: Sent) -> Page {
    if !sent.visit.me().operator {
        return Err(Trouble::not_found());
    }
    let (typed, visit) = (&sent.typed, &sent.visit);
    let call = Call::new(Method::POST, format!("/v1/prices/recompute?wait={WAIT}"), asked(typed));
    let answer = visit.api.ask(&call, typed.once()).await?;
    let raw = |name: &str| typed.raw(name).map(str::to_owned);
    let form = question(&visit.frame.now).with(raw);
    match answer.status {
        StatusCode::OK => {
            let shown = Shown::Report(Box::new(answer.read()?));
            let follows = follows(&shown, |name| raw(name).unwrap_or_default());
            Ok(page(visit, form, follows, shown))
        }
        StatusCode::ACCEPTED => {
            let job: Job<Repriced> = answer.read()?;
            let of = |name: &str| in_query(typed.raw(name).unwrap_or_default());
            let [from, to] = ["from", "to"].map(of);
            let [organizations, models] = ["organizations", "models"].map(of);
            let range = format!("from={from}&to={to}&organizations={organizations}&models={models}");
            Ok(see_other(&format!("/admin/prices/recompute?job={}&{range}", in_query(&job.id))))
        }
        StatusCode::UNAUTHORIZED => Err(Trouble::refused(answer.status, answer.problem())),
        status => {
            let problem = problem(&answer);
            let (form, follows) = match typed.is_checked("apply") {
                true => {
                    let again = correction(|name| raw(name).unwrap_or_default()).with(raw);
                    (form, Some(again.refused(&problem).once(once())))
                }
                false => (form.refused(&problem), None),
            };
            let mut response = page(visit, form, follows, Shown::Nothing);
            *response.status_mut() = status;
            Ok(response)
        }
    }
}

/// Why it was refused, at the fields by their names here.
fn problem(answer: &Answer) -> Problem {
    let mut problem = answer.problem();
    if problem.code == "unknown-organization" {
        let detail = "One of these does not exist: give keys or ids, with commas between them.".to_owned();
        problem.errors = vec![Fault { detail, pointer: "#/organizations".to_owned() }];
    }
    for fault in &mut problem.errors {
        if fault.pointer.starts_with("#/models/") {
            fault.pointer = "#/models".to_owned();
        }
    }
    problem
}

fn asked(typed: &Typed) -> Value {
    let day = |name: &str| typed.text(name).map(|date| format!("{date}T00:00:00Z"));
    let mut asked = json!({"from": day("from").unwrap_or_default(), "dryRun": !typed.is_checked("apply")});
    let Some(members) = asked.as_object_mut() else { return asked };
    // The day that is typed is in the range, and its end the beginning of the next.
    members.extend(day("to").map(|to| ("to".to_owned(), super::what_if::day_after(&to).into())));
    for name in ["organizations", "models"] {
        let named = typed.text(name).unwrap_or_default().split(',').map(str::trim);
        let named: Vec<&str> = named.filter(|name| !name.is_empty()).collect();
        if !named.is_empty() {
            members.insert(name.to_owned(), json!(named));
        }
    }
    members.extend(typed.text("reason").map(|reason| ("reason".to_owned(), reason.into())));
    asked
}
