//! Lists in pages: `?limit=50&cursor=…` in, `{"data", "nextCursor"}` and a `Link` to the next page out.
//!
//! Pages are cut by key, not by offset: a cursor holds the last key of the page before, so what is added or removed
//! meanwhile neither repeats nor skips an entry.

use std::fmt::Write as _;

use axum::Json;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderValue, Response, Uri};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use super::error::ApiError;

/// Entries in a page unless the caller says otherwise.
pub const DEFAULT_LIMIT: usize = 50;
/// The most entries in a page.
pub const MAX_LIMIT: usize = 200;

/// The first byte of a cursor; changed with what cursors hold, so that an old one is refused and not misread.
const VERSION: u8 = 1;
/// Far above any key, far below what a header or a log line bears.
const MAX_CURSOR_BYTES: usize = 512;

/// Which page a caller asks for, as it stands in the query.
///
/// Texts, so that a wrong one gets this module's answer.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The most entries in the answer: 1 to 200, 50 if absent.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<String>,
    /// Where to go on: the `nextCursor` of the page before.
    pub cursor: Option<String>,
}

/// A page, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The most entries, 1 to [`MAX_LIMIT`].
    pub limit: usize,
    /// The list's own key of the last entry before this page; nothing for the first.
    pub after: Option<Vec<u8>>,
}

/// The same of a list in which one can look for something.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// The most entries in the answer: 1 to 200, 50 if absent.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<String>,
    /// Where to go on: the `nextCursor` of the page before.
    pub cursor: Option<String>,
    /// What stands somewhere in a name, an address or an id, whatever its case.
    pub search: Option<String>,
}

impl SearchQuery {
    /// The page.
    ///
    /// # Errors
    /// As [`PageQuery::page`].
    pub fn page(&self) -> Result<Page, ApiError> {
        PageQuery { limit: self.limit.clone(), cursor: self.cursor.clone() }.page()
    }

    /// Tells whether one of some texts has what is looked for.
    pub fn finder(&self) -> impl Fn(&[&str]) -> bool + use<> {
        let wanted = self.search.as_deref().unwrap_or("").trim().to_lowercase();
        move |texts| wanted.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(&wanted))
    }
}

impl PageQuery {
    /// The page.
    ///
    /// # Errors
    /// 422 for a limit outside 1 to [`MAX_LIMIT`] or a cursor that we did not write.
    pub fn page(&self) -> Result<Page, ApiError> {
        let limit = match self.limit.as_deref() {
            None => DEFAULT_LIMIT,
            Some(text) => limit(text).ok_or_else(bad_limit)?,
        };
        let after = self.cursor.as_deref().map(|text| decode(text).ok_or_else(bad_cursor)).transpose()?;
        Ok(Page { limit, after })
    }
}

fn limit(text: &str) -> Option<usize> {
    text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit))
}

fn bad_limit() -> ApiError {
    ApiError::invalid("?limit", format!("Send a whole number from 1 to {MAX_LIMIT}."))
}

/// 422: for this module, and for a list that finds that the bytes in a cursor are not a key of its own.
pub fn bad_cursor() -> ApiError {
    ApiError::invalid("?cursor", "This is not a cursor of this list. Leave it out to begin with the first page.")
}

/// The text of a cursor that goes on after the entry with this key.
pub fn encode(key: &[u8]) -> String {
    std::iter::once(&VERSION).chain(key).fold(String::with_capacity(2 * key.len() + 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let nibble =
        |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f').then(|| char::from(digit).to_digit(16)).flatten();
    if text.len() > 2 * MAX_CURSOR_BYTES || !text.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok();
    let bytes: Vec<u8> = text.as_bytes().chunks_exact(2).map(byte).collect::<Option<_>>()?;
    bytes.strip_prefix(&[VERSION]).map(<[u8]>::to_vec)
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Paged<T> {
    /// The entries.
    pub data: Vec<T>,
    /// What to send as `cursor` for the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

impl<T> Paged<T> {
    /// A page from a list that was asked for one entry more than `page.limit`: that one only tells that there are more.
    pub fn cut(mut data: Vec<T>, page: &Page, key: impl Fn(&T) -> Vec<u8>) -> Self {
        let more = data.len() > page.limit;
        data.truncate(page.limit);
        let next_cursor = data.last().filter(|_| more).map(|last| encode(&key(last)));
        Self { data, next_cursor }
    }
}

impl<T: Serialize> Paged<T> {
    /// The answer to a request for `uri`, with its `Link` to the next page.
    pub fn response(&self, uri: &Uri) -> Response<Body> {
        let mut response = Json(self).into_response();
        if let Some(link) = self.next_cursor.as_deref().and_then(|cursor| next_link(uri, cursor)) {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}

impl<T> Paged<T> {
    /// The page as `body` in another form. Its `Link` alone leads to the next one, with the query that it was asked by.
    pub fn response_as(&self, uri: &Uri, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(link) = self.next_cursor.as_deref().and_then(|cursor| next_link(uri, cursor)) {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}

/// `</path?query&cursor=…>; rel="next"`, with the query as it was but for the cursor.
fn next_link(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let kept = uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let query: String = kept.flat_map(|pair| [pair, "&"]).collect();
    HeaderValue::try_from(format!("<{}?{query}cursor={cursor}>; rel=\"next\"", uri.path())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: Option<&str>, cursor: Option<&str>) -> PageQuery {
        PageQuery { limit: limit.map(str::to_owned), cursor: cursor.map(str::to_owned) }
    }

    #[test]
    fn a_page_has_50_entries_unless_1_to_200_are_asked_for() {
        for (limit, expected) in [(None, 50), (Some("1"), 1), (Some("200"), 200)] {
            assert_eq!(query(limit, None).page().unwrap(), Page { limit: expected, after: None });
        }
        for bad in ["", "0", "201", "-1", "5.0", "ten", "99999999999999999999"] {
            let problem = query(Some(bad), None).page().unwrap_err().to_value(None);
            assert_eq!(
                (&problem["status"], &problem["errors"][0]["pointer"]),
                (&422.into(), &"?limit".into()),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_is_looked_for_stands_somewhere_in_one_of_the_texts() {
        for (search, found) in
            [(None, true), (Some(" "), true), (Some("RIB"), true), (Some("@example"), true), (Some("zoe"), false)]
        {
            let query = SearchQuery { search: search.map(str::to_owned), ..SearchQuery::default() };
            assert_eq!(query.finder()(&["Tom Ribeiro", "tom@example.com"]), found, "{search:?}");
        }
    }

    #[test]
    fn a_cursor_brings_back_its_key_and_a_foreign_one_is_refused() {
        for key in [&b""[..], b"acme", b"\0\xff"] {
            assert_eq!(query(None, Some(&encode(key))).page().unwrap().after.as_deref(), Some(key));
        }
        for bad in ["", "1", "02ff", "01f", "01FF", "01gg", "01€", &encode(&[0; 600])] {
            let problem = query(None, Some(bad)).page().unwrap_err().to_value(None);
            assert_eq!(
                (&problem["status"], &problem["errors"][0]["pointer"]),
                (&422.into(), &"?cursor".into()),
                "{bad}"
            );
        }
    }

    #[test]
    fn one_entry_more_than_the_limit_makes_a_next_page() {
        let page = Page { limit: 2, after: None };
        for (entries, kept, more) in [(0, 0, false), (2, 2, false), (3, 2, true)] {
            let paged = Paged::cut((0..entries).collect(), &page, |entry| vec![*entry]);
            assert_eq!(paged.data.len(), kept);
            assert_eq!(paged.next_cursor, more.then(|| encode(&[1])));
        }
    }

    #[tokio::test]
    async fn the_answer_has_data_next_cursor_and_a_link_that_keeps_the_query() {
        let link = |uri: &'static str| next_link(&Uri::from_static(uri), "01aa").unwrap();
        assert_eq!(link("/v1/meters"), "</v1/meters?cursor=01aa>; rel=\"next\"");
        assert_eq!(link("/v1/x?a=%20b&cursor=0100&limit=5"), "</v1/x?a=%20b&limit=5&cursor=01aa>; rel=\"next\"");
        let last = Paged { data: vec![1], next_cursor: None }.response(&Uri::from_static("/v1/x"));
        assert!(!last.headers().contains_key(LINK));
        let body = axum::body::to_bytes(last.into_body(), 100).await.unwrap();
        assert_eq!(body, r#"{"data":[1],"nextCursor":null}"#);
    }
}
