//! A small client to whom every status is an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request};

/// A client of one server with one credential.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    url: String,
    key: Option<String>,
}

/// A request to be sent.
pub(crate) struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// What was asked, for the message of a failing test.
    asked: String,
}

impl Client {
    pub(crate) fn new(url: &str, key: Option<&str>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { agent: config.new_agent(), url: url.to_owned(), key: key.map(str::to_owned) }
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call<'_> {
        let method = method.to_ascii_uppercase().parse().unwrap();
        Call { client: self, method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send()
    }

    pub(crate) fn post(&self, path: &str, body: impl ToString) -> Answer {
        self.call("POST", path).json(body).send()
    }

    pub(crate) fn put(&self, path: &str, body: impl ToString) -> Answer {
        self.call("PUT", path).json(body).send()
    }

    pub(crate) fn patch(&self, path: &str, body: impl ToString) -> Answer {
        self.call("PATCH", path).json(body).send()
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).send()
    }

    /// Of what is not taken away without a reason.
    pub(crate) fn delete_because(&self, path: &str, reason: &str) -> Answer {
        self.call("DELETE", path).json(serde_json::json!({ "reason": reason })).send()
    }

    /// Every entry of a list, over all its pages.
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        let (mut entries, mut next) = (Vec::new(), path.to_owned());
        loop {
            let page = self.get(&next).is(200).json();
            entries.extend(page["data"].as_array().unwrap().iter().cloned());
            let Some(cursor) = page["nextCursor"].as_str() else { return entries };
            let separator = if path.contains('?') { '&' } else { '?' };
            next = format!("{path}{separator}cursor={cursor}");
        }
    }
}

impl Call<'_> {
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub(crate) fn json(self, body: impl ToString) -> Self {
        self.body("application/json", body.to_string().into_bytes())
    }

    #[must_use]
    pub(crate) fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", media_type)
    }

    /// # Panics
    /// If no answer comes.
    pub(crate) fn send(self) -> Answer {
        let asked = format!("{} {}", self.method, self.path);
        self.try_send().unwrap_or_else(|error| panic!("{asked}: {error}"))
    }

    /// An error where no answer comes, such as from a server that was killed. A stream that does not end by itself is not read.
    pub(crate) fn try_send(self) -> Result<Answer, ureq::Error> {
        let (mut response, asked) = self.begun()?;
        let is_stream = response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = response.body_mut().with_config().limit(1 << 30);
        let bytes = if is_stream { Vec::new() } else { body.read_to_vec()? };
        let text = String::from_utf8(bytes).unwrap();
        Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), text, asked })
    }

    /// An answer whose body is read as it comes.
    pub(crate) fn open(self) -> ureq::http::Response<ureq::Body> {
        let (response, asked) = self.begun().unwrap();
        assert_eq!(response.status().as_u16(), 200, "{asked}");
        response
    }

    /// What was answered as far as the head, and what was asked.
    fn begun(self) -> Result<(ureq::http::Response<ureq::Body>, String), ureq::Error> {
        let mut request = Request::builder().method(&self.method).uri(format!("{}{}", self.client.url, self.path));
        if let Some(key) = &self.client.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let shown: String = String::from_utf8_lossy(&self.body).chars().take(500).collect();
        let asked = format!("{} {} {shown}", self.method, self.path);
        let response = if self.body.is_empty() {
            self.client.agent.run(request.body(())?)?
        } else {
            self.client.agent.run(request.body(self.body)?)?
        };
        Ok((response, asked))
    }
}

impl Answer {
    /// This answer, if it has that status.
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\nanswered {}", self.asked, self.text);
        self
    }

    /// A problem of that status and code: its type is exactly `application/problem+json`, and it names the request.
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Value {
        let answer = self.is(status);
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{}\nanswered {}", answer.asked, answer.text);
        assert_eq!(problem["status"], status, "{}", answer.asked);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.asked);
        let request = answer.header("x-request-id").unwrap();
        assert_eq!(problem["instance"], format!("urn:request:{request}"), "{}", answer.asked);
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "{}: no {member} in {}", answer.asked, answer.text);
        }
        problem
    }

    /// The error of a documented path: exactly `{"error": "<text>"}`. Answers the text.
    pub(crate) fn expect_error_text(self, status: u16) -> String {
        let answer = self.is(status);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.asked);
        let body = answer.json();
        let members = body.as_object().unwrap_or_else(|| panic!("{} answered {body}", answer.asked));
        assert_eq!(members.len(), 1, "{} answered {body}", answer.asked);
        body["error"].as_str().unwrap_or_else(|| panic!("{} answered {body}", answer.asked)).to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}: {}", self.asked, self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The text of a value as it stands in the body, which a float would not keep.
    pub(crate) fn raw(&self, pointer: &str) -> String {
        let mut text = self.text.clone();
        for part in pointer.split('/').skip(1) {
            let inner = match part.parse::<usize>() {
                Ok(index) => serde_json::from_str::<Vec<&RawValue>>(&text).unwrap()[index].get().to_owned(),
                Err(_) => {
                    let members: BTreeMap<String, &RawValue> = serde_json::from_str(&text).unwrap();
                    let member = members.get(part);
                    member.unwrap_or_else(|| panic!("no {pointer} in {}", self.text)).get().to_owned()
                }
            };
            text = inner;
        }
        text
    }
}

/// Status, headers and body, but for the date.
pub(crate) fn comparable(answer: &Answer) -> (u16, BTreeMap<String, String>, String) {
    let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (answer.status, headers.filter(|(name, _)| name != "date").collect(), answer.text.clone())
}
