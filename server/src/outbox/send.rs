//! One try: a request to an endpoint, and what it answered. Waits for the network.

use std::error::Error as _;
use std::io::Read as _;
use std::time::Duration;

use metergate_rules::time::Time;
use ureq::Agent;
use ureq::unversioned::resolver::{DefaultResolver, Resolver};
use ureq::unversioned::transport::DefaultConnector;

use super::address::{Guard, Guarded, Refused};
use super::backoff::asked_for;
use crate::catalogue::endpoint::EndpointEntry;
use crate::store::outbox::{DeliveryRow, storable};

/// Until a host is found and a connection made, and until an answer is read.
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read, and those that are kept to show.
const MOST_READ: u64 = 4096;
const MOST_KEPT: usize = 1024;
/// The longest text of an error that is kept, in characters.
const MOST_ERROR: usize = 300;

/// What an endpoint answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// How long it wants to be left alone, in microseconds.
    pub(super) retry_after: Option<i64>,
    /// The beginning of its body.
    pub(super) body: String,
}

impl Answer {
    /// Whether it took the message: any 2xx, and nothing else. Where a redirection leads nobody has said.
    pub(super) const fn is_taken(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// Whether it does not want to be told any more.
    pub(super) const fn is_gone(&self) -> bool {
        self.status == 410
    }

    /// Whether it cannot keep up.
    pub(super) const fn is_overloaded(&self) -> bool {
        matches!(self.status, 429 | 502 | 504)
    }
}

/// Sends to endpoints. Connections are not kept: each host is looked up for each try.
#[derive(Clone)]
pub struct Sender(Agent);

impl Sender {
    /// To addresses that this admits.
    pub fn new(guard: Guard) -> Self {
        Self::by_names(DefaultResolver::default(), guard)
    }

    /// The same, where hosts are looked up otherwise.
    fn by_names(names: impl Resolver, guard: Guard) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Whoever sets a proxy for other programs has not said that it may hear what we tell.
            .proxy(None)
            .max_idle_connections(0)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .user_agent(concat!("Metergate/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(Agent::with_parts(config, DefaultConnector::default(), Guarded::new(names, guard)))
    }

    /// Sends a delivery at a time, or says why nothing was answered.
    pub(super) fn send(&self, endpoint: &EndpointEntry, row: &DeliveryRow, at: Time) -> Result<Answer, String> {
        let id = row.key.message.to_string();
        let seconds = at.micros().div_euclid(metergate_rules::time::SECOND);
        let request = self
            .0
            .post(&endpoint.url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", endpoint.secrets.signatures(&id, at, &row.body));
        let mut response = request.send(row.body.as_bytes()).map_err(|error| told(&error))?;
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| asked_for(text, at));
        let status = response.status().as_u16();
        // Whatever becomes of the rest of its body, the status is the answer.
        let mut body = Vec::new();
        let _ = response.body_mut().as_reader().take(MOST_READ).read_to_end(&mut body);
        body.truncate(MOST_KEPT);
        Ok(Answer { status, retry_after, body: storable(&body) })
    }
}

/// Why there is no answer, for operators.
fn told(error: &ureq::Error) -> String {
    let text = match error {
        ureq::Error::Timeout(ureq::Timeout::Resolve) => "the host was not found in time".to_owned(),
        ureq::Error::Timeout(ureq::Timeout::Connect) => "no connection was made in time".to_owned(),
        ureq::Error::Timeout(_) => "no answer came in time".to_owned(),
        ureq::Error::HostNotFound => "the host is not known".to_owned(),
        ureq::Error::Other(why) => why.downcast_ref::<Refused>().map_or_else(|| why.to_string(), ToString::to_string),
        other => {
            let mut text = other.to_string();
            let mut cause = other.source();
            while let Some(error) = cause {
                let more = error.to_string();
                if !text.contains(&more) {
                    text = format!("{text}: {more}");
                }
                cause = error.source();
            }
            text
        }
    };
    text.chars().filter(|c| !c.is_control()).take(MOST_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::Uri;
    use ureq::config::Config;
    use ureq::unversioned::resolver::ResolvedSocketAddrs;
    use ureq::unversioned::transport::NextTimeout;

    use super::*;
    use crate::catalogue::endpoint::{EndpointId, EndpointState, Secrets};
    use crate::store::message::MessageId;
    use crate::store::outbox::{DeliveryKey, DeliveryState, OF_TEAM, Tries};

    /// Names that lead to another address each time somebody asks.
    #[derive(Debug)]
    struct Rebinding {
        answers: Vec<Vec<SocketAddr>>,
        asked: Arc<AtomicUsize>,
    }

    impl Resolver for Rebinding {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            let mut found = self.empty();
            for address in self.answers.get(number).or_else(|| self.answers.last()).unwrap() {
                found.push(*address);
            }
            Ok(found)
        }
    }

    fn endpoint(url: &str) -> EndpointEntry {
        EndpointEntry {
            id: EndpointId::generate(),
            url: url.to_owned(),
            types: Vec::new(),
            description: String::new(),
            state: EndpointState::Enabled,
            secrets: Secrets::generate(),
            created_at: Time::from_micros(0),
            began_at: Time::from_micros(0),
        }
    }

    fn delivery(endpoint: &EndpointEntry) -> DeliveryRow {
        let message = MessageId::new(Time::from_micros(0), 0);
        DeliveryRow {
            key: DeliveryKey { organization: OF_TEAM, message, endpoint: endpoint.id.clone() },
            kind: "usage.reset".to_owned(),
            at: Time::from_micros(0),
            body: r#"{"type":"usage.reset"}"#.to_owned(),
            state: DeliveryState::Pending,
            due_at: Time::from_micros(0),
            tries: Tries::default(),
        }
    }

    /// A receiver that says 200 to whoever comes, and how many came.
    fn receiver() -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, came) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&came);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|read| read > 2) {
                    line.clear();
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            }
        });
        (address, came)
    }

    fn by(answers: Vec<Vec<SocketAddr>>, allowed: &str) -> (Sender, Arc<AtomicUsize>) {
        let asked = Arc::<AtomicUsize>::default();
        let names = Rebinding { answers, asked: Arc::clone(&asked) };
        (Sender::by_names(names, Guard::new(allowed.parse().unwrap())), asked)
    }

    #[test]
    fn a_host_that_leads_elsewhere_the_second_time_is_asked_once_for_each_try() {
        let ((inside, came_inside), (outside, came_outside)) = (receiver(), receiver());
        // The receiver outside stands in a network that is allowed, as global ones are; the one inside in none.
        let inside = SocketAddr::new("127.0.0.2".parse().unwrap(), inside.port());
        let (sender, asked) = by(vec![vec![outside], vec![inside]], "127.0.0.1");
        let endpoint = endpoint(&format!("http://hooks.example:{}/", outside.port()));
        let row = delivery(&endpoint);
        let answer = sender.send(&endpoint, &row, Time::from_micros(0)).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
        assert_eq!((asked.load(Ordering::SeqCst), came_outside.load(Ordering::SeqCst)), (1, 1), "one look for one try");
        let refused = sender.send(&endpoint, &row, Time::from_micros(0)).unwrap_err();
        assert!(refused.starts_with("127.0.0.2 is a loopback address"), "{refused}");
        assert_eq!((asked.load(Ordering::SeqCst), came_outside.load(Ordering::SeqCst)), (2, 1));
        assert_eq!(came_inside.load(Ordering::SeqCst), 0, "nobody connects to what was refused");
    }

    #[test]
    fn one_address_of_a_host_that_is_not_global_refuses_all_of_them() {
        let (address, came) = receiver();
        let private: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let (sender, _) = by(vec![vec![address, private]], "127.0.0.1");
        let endpoint = endpoint(&format!("http://hooks.example:{}/", address.port()));
        let refused = sender.send(&endpoint, &delivery(&endpoint), Time::from_micros(0)).unwrap_err();
        assert!(refused.starts_with("10.0.0.1 is a private address"), "{refused}");
        assert_eq!(came.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_global_address_is_not_sent_to_without_tls() {
        let (sender, _) = by(vec![vec!["93.184.215.14:80".parse().unwrap()]], "127.0.0.1");
        let endpoint = endpoint("http://hooks.example/");
        let refused = sender.send(&endpoint, &delivery(&endpoint), Time::from_micros(0)).unwrap_err();
        assert!(refused.starts_with("webhooks go over https"), "{refused}");
    }
}
