//! As much HTTP/1.1 as the crash tests need: one connection, kept alive, one call at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The administrator's key of the servers of these tests.
pub(super) const ADMINISTRATOR: &str = "the-administrator-of-the-crash-tests";
/// A server that takes longer to answer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to ask for.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) idempotency_key: Option<String>,
    pub(super) body: String,
}

impl Call {
    pub(super) fn get(path: &str) -> Self {
        Self { method: "GET", ..Self::json("GET", path, String::new()) }
    }

    pub(super) fn json(method: &'static str, path: &str, body: impl ToString) -> Self {
        let (path, body) = (path.to_owned(), body.to_string());
        Self { method, path, content_type: "application/json", idempotency_key: None, body }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// Whether the server says that this was answered before.
    pub(super) replayed: bool,
    /// After how many seconds it asks to come again.
    pub(super) retry_after: Option<u64>,
    pub(super) body: String,
}

impl Response {
    pub(super) fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// A connection to a server.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a call and waits for the whole answer. An error says nothing about whether the call had an effect.
    pub(super) fn call(&mut self, call: &Call) -> io::Result<Response> {
        let Call { method, path, content_type, idempotency_key, body } = call;
        let key = idempotency_key.as_ref().map_or_else(String::new, |key| format!("idempotency-key: \"{key}\"\r\n"));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMINISTRATOR}\r\n\
             content-type: {content_type}\r\ncontent-length: {}\r\n{key}\r\n",
            body.len()
        );
        self.stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
        self.read_response().inspect_err(|error| {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "no answer within {PATIENCE:?} to {call:?}");
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn read_response(&mut self) -> io::Result<Response> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let (mut length, mut replayed, mut retry_after) = (0, false, None);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().expect("a length"),
                Some(("idempotent-replayed", value)) => replayed = value == "true",
                Some(("retry-after", value)) => retry_after = Some(value.parse().expect("seconds")),
                Some(("transfer-encoding", value)) => panic!("this client cannot read transfer-encoding: {value}"),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Response { status, replayed, retry_after, body: String::from_utf8(body).expect("text") })
    }
}
