//! A form that was sent.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::trouble::Trouble;
use super::visit::{Anybody, Pages, Visit};
use crate::http::body;

/// The most names in a form or a query: a plan of 600 limits has some thousands.
const MOST_PAIRS: usize = 6_000;

/// The pairs of a form, or of a query.
///
/// # Errors
/// Where they are not UTF-8, or too many.
pub(super) fn pairs(bytes: &[u8]) -> Result<Vec<(String, String)>, Trouble> {
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
pub(super) struct Typed(Vec<(String, String)>);

impl Typed {
    /// Whether nothing was sent.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, as they were sent.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// What was typed under a name, without the blanks around it; nothing where that is empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.raw(name).map(str::trim).filter(|text| !text.is_empty())
    }

    /// Exactly what was typed.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
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
        let chosen = self.0.iter().filter(|(_, value)| value == "true");
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
        let typed = read(&parts.headers, body).await?;
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
        Ok(Self { visitor, typed: read(&parts.headers, body).await? })
    }
}

async fn read(headers: &axum::http::HeaderMap, body: axum::body::Body) -> Result<Typed, Trouble> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Trouble::unreadable());
    }
    let bytes = body::read(body).await.map_err(|_| Trouble::too_large())?;
    Ok(Typed(pairs(&bytes)?))
}

impl FromIterator<(String, String)> for Typed {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

#[cfg(test)]
impl Typed {
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let typed = Typed(pairs(b"a=x+y%26z&b=&c&reason=one%0D%0Atwo&scope.read=true&scope.admin=no").ok().unwrap());
        assert_eq!(
            (typed.text("a"), typed.text("b"), typed.raw("b"), typed.text("c")),
            (Some("x y&z"), None, Some(""), None)
        );
        assert_eq!((typed.text("reason"), typed.chosen("scope.")), (Some("one\ntwo"), vec!["read"]));
        assert!(pairs(b"a=%ff").is_err());
        assert!(pairs("a=1&".repeat(MOST_PAIRS + 1).as_bytes()).is_err());
    }
}
