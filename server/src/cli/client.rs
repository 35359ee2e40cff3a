//! Speaks to a running server.

use std::io::Read;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use ureq::http::request::Builder;
use ureq::http::{self, Method, Request, Response};
use ureq::{Agent, AsSendBody, Body, Proxy};

use super::problem::{Failure, Problem};
use super::row::Page;
use crate::config::Secret;

/// Where the server is and who asks.
#[derive(clap::Args)]
pub(super) struct Connection {
    /// The server's address
    #[arg(long, env = "METERGATE_URL", default_value = "http://127.0.0.1:8080", global = true)]
    pub(super) url: String,
    /// The API key; better given by the variable, since other users can read a command line
    #[arg(long, env = "METERGATE_API_KEY", hide_env_values = true, global = true)]
    pub(super) api_key: Option<Secret>,
}

impl Connection {
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let key = self.api_key.clone().filter(|key| !key.expose().is_empty());
        Client::new(&self.url, key)
    }
}

/// How long a client goes on trying.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// How often a request is sent at most.
    pub(super) attempts: u32,
    /// The first wait; each one after is twice as long.
    pub(super) first_wait: Duration,
    /// The longest wait, also where the server asks for more.
    pub(super) longest_wait: Duration,
    /// Whether a lost connection is tried again too, and not only an answer that says "later".
    pub(super) reconnect: bool,
}

impl Patience {
    /// For one question at a prompt.
    pub(super) const SHORT: Self = Self {
        attempts: 4,
        first_wait: Duration::from_millis(500),
        longest_wait: Duration::from_secs(10),
        reconnect: false,
    };
    /// For long work that should survive a restart of the server: about a minute.
    pub(super) const LONG: Self = Self {
        attempts: 10,
        first_wait: Duration::from_millis(250),
        longest_wait: Duration::from_secs(15),
        reconnect: true,
    };

    fn wait(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let own = self.first_wait.saturating_mul(1 << attempt.min(16));
        asked.unwrap_or(own).min(self.longest_wait)
    }
}

/// Whether a request may be sent again when its answer is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or the same once and twice.
    Safe,
    Never,
}

/// A client of one server.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    base: String,
    key: Option<Secret>,
    patience: Patience,
}

impl Client {
    /// # Errors
    /// Where the address is no `http` or `https` address.
    pub(super) fn new(url: &str, key: Option<Secret>) -> anyhow::Result<Self> {
        let base = url.trim_end_matches('/').to_owned();
        let uri: ureq::http::Uri = base.parse().map_err(|_| anyhow::anyhow!("METERGATE_URL: not an address: {url}"))?;
        anyhow::ensure!(
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some(),
            "METERGATE_URL must begin with http:// or https://: {url}"
        );
        Ok(Self { agent: agent(uri.host()), base, key, patience: Patience::SHORT })
    }

    /// The same client, more or less patient.
    #[must_use]
    pub(super) fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The same client for a first question: where no server answers nothing has begun, so it says that at once.
    #[must_use]
    pub(super) fn at_first(&self) -> Self {
        let patience = Patience { reconnect: false, ..self.patience };
        self.clone().patient(patience)
    }

    /// The body of `GET path`.
    pub(super) fn get(&self, path: &str) -> Result<String, Failure> {
        self.send(&Method::GET, path, None, Repeat::Safe)
    }

    /// The body of `GET path` as it comes, which may take as long as it does.
    pub(super) fn stream(&self, path: &str) -> Result<impl Read + use<>, Failure> {
        let answer = self.unhurried(self.request(&Method::GET, path).body(()))?;
        Ok(answer.into_body().into_reader())
    }

    /// `POST` of a JSON body, sent once, whose answer may take as long as it does.
    pub(super) fn work(&self, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        let request = self.request(&Method::POST, path).header("content-type", "application/json").body(json(body));
        let mut answer = self.unhurried(request)?;
        whole(&mut answer).map_err(|error| self.lost(&error))
    }

    /// A good answer to a request, however long it takes.
    fn unhurried<B: AsSendBody>(&self, request: Result<Request<B>, http::Error>) -> Result<Response<Body>, Failure> {
        let request = request.map_err(|error| self.lost(&error.into()))?;
        let request = self.agent.configure_request(request).timeout_global(None).build();
        let mut answer = self.agent.run(request).map_err(|error| self.lost(&error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let text = whole(&mut answer).map_err(|error| self.lost(&error))?;
        Err(self.refused(&answer, &text))
    }

    fn lost(&self, error: &ureq::Error) -> Failure {
        Failure::Unreachable { url: self.base.clone(), reason: reason(error) }
    }

    /// The body of `GET path`, or nothing where it is 404.
    pub(super) fn find(&self, path: &str) -> Result<Option<String>, Failure> {
        match self.get(path) {
            Err(failure) if failure.status() == Some(404) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Every item of a list, over all its pages.
    pub(super) fn list(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<Box<RawValue>>, Failure> {
        let mut items = Vec::new();
        self.each_page(path, query, |page| {
            items.extend(page);
            Ok::<_, Failure>(true)
        })?;
        Ok(items)
    }

    /// Every page of a list, in order, until `each` has enough.
    pub(super) fn each_page<E: From<Failure>>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        mut each: impl FnMut(Vec<Box<RawValue>>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut cursor: Option<String> = None;
        loop {
            let mut pairs = query.to_vec();
            pairs.push(("limit", "200"));
            pairs.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: Page = self.read(path, &self.get(&with_query(path, &pairs))?)?;
            let wants_more = each(page.data)?;
            // A server that repeats its cursor would keep this going for ever.
            match page.next_cursor {
                Some(next) if wants_more && cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => return Ok(()),
            }
        }
    }

    /// `POST` of a JSON body, sent once.
    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        self.send(&Method::POST, path, Some(("application/json", &json(body))), Repeat::Never)
    }

    /// `POST` of a body of another type.
    pub(super) fn post_as(&self, path: &str, kind: &str, body: &[u8], repeat: Repeat) -> Result<String, Failure> {
        self.send(&Method::POST, path, Some((kind, body)), repeat)
    }

    /// `PUT` of a JSON body.
    pub(super) fn put(&self, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        self.send(&Method::PUT, path, Some(("application/json", &json(body))), Repeat::Safe)
    }

    /// `PATCH` with a JSON body that says what a thing is to be, and so the same once and twice.
    pub(super) fn patch(&self, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        self.send(&Method::PATCH, path, Some(("application/json", &json(body))), Repeat::Safe)
    }

    /// `DELETE` with a JSON body, such as the reason.
    pub(super) fn delete_with(&self, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        self.send(&Method::DELETE, path, Some(("application/json", &json(body))), Repeat::Safe)
    }

    /// An answer as what it should be.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T, Failure> {
        let foreign = |error: serde_json::Error| Failure::Foreign { url: self.url(path), reason: error.to_string() };
        serde_json::from_str(body).map_err(foreign)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<(&str, &[u8])>,
        repeat: Repeat,
    ) -> Result<String, Failure> {
        let mut attempt = 0;
        loop {
            let (failure, asked) = match self.send_once(method, path, body) {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            attempt += 1;
            let later = match failure.status() {
                Some(status) => matches!(status, 429 | 502 | 503 | 504),
                None => self.patience.reconnect && matches!(failure, Failure::Unreachable { .. }),
            };
            if repeat == Repeat::Never || !later || attempt >= self.patience.attempts {
                return Err(failure);
            }
            std::thread::sleep(self.patience.wait(attempt - 1, asked));
        }
    }

    /// One attempt; a failure comes with the time after which the server asks to be tried again.
    fn send_once(
        &self,
        method: &Method,
        path: &str,
        body: Option<(&str, &[u8])>,
    ) -> Result<String, (Failure, Option<Duration>)> {
        let lost = |error: ureq::Error| (self.lost(&error), None);
        let mut answer = self.exchange(method, path, body).map_err(lost)?;
        let text = whole(&mut answer).map_err(lost)?;
        if answer.status().is_success() {
            return Ok(text);
        }
        Err((self.refused(&answer, &text), retry_after(&answer)))
    }

    fn refused(&self, answer: &Response<Body>, text: &str) -> Failure {
        Failure::Refused(Box::new(Problem::read(answer.status().as_u16(), text, self.key.is_some())))
    }

    fn request(&self, method: &Method, path: &str) -> Builder {
        let request = Request::builder().method(method).uri(self.url(path));
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {}", key.expose())),
            None => request,
        }
    }

    fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<(&str, &[u8])>,
    ) -> Result<Response<Body>, ureq::Error> {
        let request = self.request(method, path);
        match body {
            // Also for a method that seldom has one: a `DELETE` says why.
            Some((kind, bytes)) => {
                let request = request.header("content-type", kind).body(bytes)?;
                self.agent.run(self.agent.configure_request(request).allow_non_standard_methods(true).build())
            }
            None => self.agent.run(request.body(())?),
        }
    }
}

/// The largest answer that is read.
const MOST_BYTES: u64 = 64 << 20;

/// The whole body of an answer.
fn whole(answer: &mut Response<Body>) -> Result<String, ureq::Error> {
    answer.body_mut().with_config().limit(MOST_BYTES).lossy_utf8(true).read_to_string()
}

fn agent(host: Option<&str>) -> Agent {
    let local = host.is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(if local { None } else { Proxy::try_from_env() })
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_global(Some(Duration::from_secs(120)))
        .user_agent(concat!("metergate/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::new_with_config(config)
}

fn retry_after(answer: &Response<Body>) -> Option<Duration> {
    let seconds = answer.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connection refused".to_owned()
        }
        other => other.to_string(),
    }
}

fn json(body: &impl Serialize) -> Vec<u8> {
    // Bodies are structs and values with text keys: they always have a JSON form.
    serde_json::to_vec(body).unwrap_or_default()
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path below an organization's.
pub(super) fn of_organization(organization: &str, below: &str) -> String {
    format!("/v1/organizations/{}{below}", segment(organization))
}

/// A name as one segment of a path.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, UNRESERVED).to_string()
}

/// A path with a query of these names and values.
pub(super) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", segment(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}
