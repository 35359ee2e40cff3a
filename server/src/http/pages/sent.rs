//! A form that was sent.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use percent_encoding::percent_decode;
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::multipart;
use super::trouble::Trouble;
use super::visit::{Anybody, Pages, Visit};
use crate::http::body;

/// The most names in a form or a query: a plan of 600 limits has some thousands.
pub(super) const MOST_PAIRS: usize = 6_000;

/// A name and what was typed under it.
pub(super) type Pair = (String, String);

/// The pairs of a form, or of a query.
///
/// # Errors
/// Where they are not UTF-8, or too many.
pub(super) fn pairs(bytes: &[u8]) -> Result<Vec<Pair>, Trouble> {
    let mut pairs = Vec::new();
    for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = (&pair[..at], pair.get(at + 1..).unwrap_or_default());
        pairs.push((decoded(name)?, decoded(value)?));
        if pairs.len() > MOST_PAIRS {
            return Err(Trouble::too_large());
        }
    }
    Ok(pairs)
}

fn decoded(text: &[u8]) -> Result<String, Trouble> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded = percent_decode(&spaced).decode_utf8().map_err(|_| Trouble::unreadable())?;
    Ok(decoded.replace("\r\n", "\n"))
}

/// What somebody typed.
#[derive(Clone, Debug, Default)]
pub(super) struct Typed {
    pairs: Vec<Pair>,
    file: Option<Bytes>,
}

impl Typed {
    /// Whether nothing was sent.
    pub(super) const fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The file that was chosen.
    pub(super) fn file(&self) -> Option<&Bytes> {
        self.file.as_ref()
    }

    /// The same with other values under the same names.
    pub(super) fn each(&self, value: impl Fn(&str, &str) -> String) -> Self {
        let pairs = self.pairs.iter().map(|(name, typed)| (name.clone(), value(name, typed))).collect();
        Self { pairs, file: self.file.clone() }
    }

    /// Names and values, as they were sent.
    pub(super) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// What was typed under a name, without the blanks around it; nothing where that is empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.raw(name).map(str::trim).filter(|text| !text.is_empty())
    }

    /// Exactly what was typed.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The same for a body: `null` where it is empty.
    pub(super) fn value(&self, name: &str) -> Value {
        self.text(name).map_or(Value::Null, Value::from)
    }

    /// The same where the API has to say that it is missing.
    pub(super) fn word(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    pub(super) fn is_checked(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// Under which key the change is made once.
    pub(super) fn once(&self) -> Option<&str> {
        self.text("once")
    }

    /// All that begin with a prefix and were chosen.
    pub(super) fn chosen(&self, prefix: &str) -> Vec<&str> {
        let chosen = self.pairs.iter().filter(|(_, value)| value == "true");
        chosen.filter_map(|(name, _)| name.strip_prefix(prefix)).collect()
    }
}

/// A form that somebody sent who is signed in, from a page of their session.
pub(super) struct Sent {
    pub(super) visit: Visit,
    pub(super) typed: Typed,
}

impl FromRequest<Pages> for Sent {
    type Rejection = Trouble;
    async fn from_request(request: Request, pages: &Pages) -> Result<Self, Trouble> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, pages).await?;
        let typed = read(&parts.headers, body, Files::Taken).await?;
        let proof = typed.raw("csrf").unwrap_or_default();
        if visit.frame.csrf.is_empty() || !bool::from(proof.as_bytes().ct_eq(visit.frame.csrf.as_bytes())) {
            return Err(Trouble::stale());
        }
        let own = pages.app.shared.cookies.refuse_other_sites(&parts.headers, &parts.method);
        own.map_err(|_| Trouble::stale())?;
        Ok(Self { visit, typed })
    }
}

/// A form of somebody who need not be signed in. The API refuses those that another site sends.
pub(super) struct SentByAnybody {
    pub(super) visitor: Anybody,
    pub(super) typed: Typed,
}

impl FromRequest<Pages> for SentByAnybody {
    type Rejection = Trouble;
    async fn from_request(request: Request, pages: &Pages) -> Result<Self, Trouble> {
        let (mut parts, body) = request.into_parts();
        let visitor = Anybody::from_request_parts(&mut parts, pages).await?;
        let own = pages.app.shared.cookies.refuse_sign_in_elsewhere(&parts.headers);
        own.map_err(|_| Trouble::stale())?;
        Ok(Self { visitor, typed: read(&parts.headers, body, Files::Refused).await? })
    }
}

/// Whether a form may have a file with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    Taken,
    Refused,
}

async fn read(headers: &axum::http::HeaderMap, body: axum::body::Body, files: Files) -> Result<Typed, Trouble> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = content_type.split(';').next().unwrap_or("").trim();
    let has_files = files == Files::Taken && kind.eq_ignore_ascii_case("multipart/form-data");
    if !has_files && !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Trouble::unreadable());
    }
    let bytes = body::read(body).await.map_err(|_| Trouble::too_large())?;
    let (pairs, file) = match has_files {
        true => multipart::read(content_type, &bytes).ok_or_else(Trouble::unreadable)?,
        false => (pairs(&bytes)?, None),
    };
    Ok(Typed { pairs, file })
}

impl FromIterator<(String, String)> for Typed {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self { pairs: pairs.into_iter().collect(), file: None }
    }
}

#[cfg(test)]
impl Typed {
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let typed = pairs(b"a=x+y%26z&b=&c&reason=one%0D%0Atwo&scope.read=true&scope.admin=no").ok().unwrap();
        let typed: Typed = typed.into_iter().collect();
        assert_eq!(
            (typed.text("a"), typed.text("b"), typed.raw("b"), typed.text("c")),
            (Some("x y&z"), None, Some(""), None)
        );
        assert_eq!((typed.text("reason"), typed.chosen("scope.")), (Some("one\ntwo"), vec!["read"]));
        assert!(pairs(b"a=%ff").is_err());
        assert!(pairs("a=1&".repeat(MOST_PAIRS + 1).as_bytes()).is_err());
    }
}
