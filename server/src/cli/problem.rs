//! What went wrong on the way to the server or there, in words that say what to do.

use std::fmt;

use serde::Deserialize;

use super::screen::plain;

/// Why a request had no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server refused.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// No server could be reached.
    #[error(
        "no answer from a Metergate server at {url}: {reason}\n  \
         start one with `metergate serve`, or name another by METERGATE_URL or --url"
    )]
    Unreachable {
        /// The address that was tried.
        url: String,
        /// What the connection met.
        reason: String,
    },
    /// The answer is not what a Metergate server says.
    #[error("{url} gave an answer that is not Metergate's: {reason}")]
    Foreign {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl Failure {
    /// The HTTP status, where there was an answer.
    pub(super) const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Unreachable { .. } | Self::Foreign { .. } => None,
        }
    }
}

/// An answer of `application/problem+json` (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    title: String,
    status: u16,
    detail: Option<String>,
    code: Option<String>,
    instance: Option<String>,
    errors: Vec<Fault>,
    /// All that the documented paths say.
    error: Option<String>,
    /// What the caller can do about it, said by this side.
    #[serde(skip)]
    hint: Option<&'static str>,
}

/// One thing that is wrong in a request's body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fault {
    detail: String,
    pointer: Option<String>,
}

impl Problem {
    /// Reads the body of an answer with this status; a body of another form is quoted in part.
    pub(super) fn read(status: u16, body: &str, with_key: bool) -> Self {
        let read = serde_json::from_str::<Self>(body).unwrap_or_default();
        let problem = if read.title.is_empty() {
            let quoted = || Some(body.chars().take(200).collect::<String>()).filter(|text| !text.trim().is_empty());
            let title = "The server answered with an error".to_owned();
            Self { title, detail: read.error.or_else(quoted), ..Self::default() }
        } else {
            read
        };
        Self { status, hint: hint(status, with_key), ..problem }
    }
}

const fn hint(status: u16, with_key: bool) -> Option<&'static str> {
    match (status, with_key) {
        (401, false) => Some("set METERGATE_API_KEY to an API key of this server (or pass --api-key)"),
        (401, true) => Some("this server does not know the key in METERGATE_API_KEY (or --api-key)"),
        _ => None,
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", plain(&self.title), self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {}", plain(code))?;
        }
        f.write_str(")")?;
        if let Some(detail) = &self.detail {
            write!(f, ": {}", plain(detail))?;
        }
        for fault in &self.errors {
            write!(f, "\n  {}: {}", plain(fault.pointer.as_deref().unwrap_or("#")), plain(&fault.detail))?;
        }
        if let Some(instance) = &self.instance {
            write!(f, "\n  request {}", plain(instance.trim_start_matches("urn:request:")))?;
        }
        self.hint.map_or(Ok(()), |hint| write!(f, "\n  {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_its_places_and_its_request() {
        let body = r##"{"type": "about:blank", "title": "Invalid body", "status": 422, "detail": "Two fields are wrong",
            "code": "invalid-body", "instance": "urn:request:17",
            "errors": [{"detail": "not a number", "pointer": "#/quantity"}, {"detail": "missing"}]}"##;
        let told = Problem::read(422, body, true).to_string();
        assert_eq!(
            told,
            "Invalid body (422 invalid-body): Two fields are wrong\n  #/quantity: not a number\n  #: missing\n  request 17"
        );
    }

    #[test]
    fn any_other_answer_is_told_too() {
        let told = Problem::read(502, "<html>bad\u{1b}gateway", true).to_string();
        assert_eq!(told, "The server answered with an error (502): <html>bad gateway");
        assert!(
            Problem::read(401, "", false)
                .to_string()
                .ends_with("(401)\n  set METERGATE_API_KEY to an API key of this server (or pass --api-key)")
        );
        assert!(Problem::read(401, "{}", true).to_string().contains("does not know the key in METERGATE_API_KEY"));
    }
}
