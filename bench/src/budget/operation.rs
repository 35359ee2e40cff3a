//! What is counted: requests of one kind, always the same.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};

use clap::ValueEnum;
use metergate_bench::request::{json_request, organization_key, whole_request};
use metergate_bench::setup::{METER, WINDOWS, array};
use metergate_bench::workload::Kind;
use serde_json::json;

/// The administrator's key.
pub(crate) const KEY: &str = "budget-0123456789-0123456789-0123456789";
/// What stands in the `host` of requests.
const HOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// When the server's clock begins, in microseconds: 2026-11-22T11:06:00Z.
pub(crate) const NOW: i64 = 1_795_345_560_000_000;
/// Organizations.
const ORGANIZATIONS: u64 = 256;
/// Events in a batch.
const BATCH: u64 = 100;
/// Days of use, and events a day, that the report reads.
const DAYS: u64 = 30;
const A_DAY: u64 = 4;
/// Organizations, and meters, of a report on many.
const MANY: u64 = 10;

/// What an answer must say, or it was not for this that instructions were counted.
pub(crate) enum Expected {
    /// So many were accepted.
    Accepted(Kind, u64),
    /// A report has so many rows.
    Rows(usize),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// A decision over three windows; 64 share a commit
    Consume,
    /// The same with an id
    ConsumeWithId,
    /// A check over three windows
    Check,
    /// A batch of 100 events; 16 batches share a commit
    #[value(name = "ingest-100")]
    Ingest,
    /// A report: one organization and meter, 30 days by day
    Usage,
    /// A report: ten organizations and ten meters, 30 days in total
    #[value(name = "usage-10x10")]
    UsageOfMany,
}

impl Operation {
    /// Its name in the file of budgets.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Connections that ask at the same time.
    pub(crate) const fn clients(self) -> usize {
        match self {
            Self::Consume | Self::ConsumeWithId => 64,
            Self::Ingest => 16,
            // Reads run on threads of their own; side by side, how many there are would be a matter of luck.
            Self::Check | Self::Usage | Self::UsageOfMany => 1,
        }
    }

    /// Rounds in the shorter run; in each every connection asks once.
    pub(crate) const fn rounds(self) -> usize {
        match self {
            Self::Consume | Self::ConsumeWithId => 32,
            Self::Ingest => 12,
            // So many that what differs from start to start, some million instructions, is a hundredth of them.
            Self::Check => 2_000,
            Self::Usage => 800,
            Self::UsageOfMany => 60,
        }
    }

    /// Accounts whose rows a commit brings up to the journal: about one in ten of those that it touches, as a server does.
    /// A report finds all rows up to it.
    pub(crate) const fn rows_a_commit(self) -> usize {
        match self {
            Self::Consume | Self::ConsumeWithId => 6,
            Self::Ingest => 25,
            Self::Check | Self::Usage | Self::UsageOfMany => usize::MAX,
        }
    }

    /// By what its answers are judged.
    pub(crate) const fn expected(self) -> Expected {
        match self {
            Self::Consume | Self::ConsumeWithId => Expected::Accepted(Kind::Consume, 1),
            Self::Check => Expected::Accepted(Kind::Check, 1),
            Self::Ingest => Expected::Accepted(Kind::Events, BATCH),
            Self::Usage => Expected::Rows(DAYS as usize),
            Self::UsageOfMany => Expected::Rows((MANY * MANY) as usize),
        }
    }

    /// The request of one connection in one round.
    pub(crate) fn request(self, round: usize, client: usize) -> Vec<u8> {
        let number = (round * self.clients() + client) as u64;
        let organization = organization_key(number % ORGANIZATIONS, ORGANIZATIONS);
        let decision = |id: &str| format!(r#"{{"organization":"{organization}","meter":"{METER}","quantity":1{id}}}"#);
        match self {
            Self::Consume => json_request("POST", "/v1/consume", HOST, KEY, &decision("")),
            Self::ConsumeWithId => {
                let id = format!(r#","id":"req-{number:016x}""#);
                json_request("POST", "/v1/consume", HOST, KEY, &decision(&id))
            }
            Self::Check => json_request("POST", "/v1/check", HOST, KEY, &decision("")),
            Self::Ingest => events(number * BATCH..(number + 1) * BATCH, |number| {
                (number % ORGANIZATIONS, METER.to_owned(), "2026-11-22T11:05:00.123Z".to_owned())
            }),
            Self::Usage => {
                let path = format!(
                    "/v1/usage?organization={}&meter={METER}&from=2026-10-01T00:00:00Z&to=2026-10-31T00:00:00Z&granularity=day",
                    organization_key(0, ORGANIZATIONS)
                );
                json_request("GET", &path, HOST, KEY, "")
            }
            Self::UsageOfMany => {
                let mut path =
                    "/v1/usage?from=2026-10-01T00:00:00Z&to=2026-10-31T00:00:00Z&granularity=total".to_owned();
                for number in 0..MANY {
                    let organization = organization_key(number, ORGANIZATIONS);
                    let _ = write!(path, "&organization={organization}&meter=m{number}");
                }
                json_request("GET", &path, HOST, KEY, "")
            }
        }
    }

    /// What makes the store ready for it.
    pub(crate) fn preparation(self) -> Vec<Vec<u8>> {
        let mut requests = preparation().to_vec();
        if self == Self::UsageOfMany {
            let meter =
                |number| json_request("PUT", &format!("/v1/meters/m{number}"), HOST, KEY, r#"{"aggregation":"sum"}"#);
            requests.extend((0..MANY).map(meter));
            requests.push(events(0..MANY * MANY * DAYS, |number| {
                let (organization, meter, day) = (number % MANY, number / MANY % MANY, 1 + number / MANY / MANY);
                (organization, format!("m{meter}"), format!("2026-10-{day:02}T12:30:00Z"))
            }));
        }
        requests
    }
}

/// What makes the store ready for every operation: the plan, the organizations, one's use in October.
fn preparation() -> [Vec<u8>; 3] {
    let limit = |window: &str| json!({"meter": METER, "window": window, "max": 1_000_000_000, "enforcement": "hard"});
    let plan = json!({"name": "Bench", "limits": WINDOWS.map(limit)}).to_string();
    let (decisions, _) = array(0..ORGANIZATIONS, |text, number| {
        let key = organization_key(number, ORGANIZATIONS);
        let _ = write!(text, r#"{{"organization":"{key}","meter":"{METER}"}}"#);
    });
    let past = |number: u64| {
        let (day, hour) = (1 + number % DAYS, 6 * (number / DAYS % A_DAY));
        (0, METER.to_owned(), format!("2026-10-{day:02}T{hour:02}:30:00Z"))
    };
    // Numbers far from those of the counted events, whose ids they would be otherwise.
    let first = 1 << 40;
    [
        json_request("PUT", "/v1/plans/free", HOST, KEY, &plan),
        json_request("POST", "/v1/consume", HOST, KEY, &decisions),
        events(first..first + DAYS * A_DAY, past),
    ]
}

/// A batch of events; `of` gives an event's organization, meter and time.
fn events(numbers: std::ops::Range<u64>, of: impl Fn(u64) -> (u64, String, String)) -> Vec<u8> {
    let (body, _) = array(numbers, |text, number| {
        let (organization, meter, time) = of(number);
        let subject = organization_key(organization, ORGANIZATIONS);
        let _ = write!(
            text,
            r#"{{"specversion":"1.0","id":"e-{number:016x}","source":"/bench","type":"{meter}","subject":"{subject}","time":"{time}","data":{{"quantity":1}}}}"#
        );
    });
    whole_request(("POST", Kind::Events.path()), Kind::Events.content_type(), HOST, KEY, &body)
}
