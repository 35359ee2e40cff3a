//! Query strings in which a name may stand several times. A name that is not known is an error, not silence.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::json::ZERO;
use super::page::{Page, PageQuery};

/// For handlers: a query whose names stand once each. `T` denies what it does not know.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(refused(&rejection.body_text())),
        }
    }
}

/// The decoded pairs of a query.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Reads a query of these names.
    ///
    /// # Errors
    /// 422 where another name stands in it, or what is no UTF-8, or U+0000.
    pub fn of(uri: &Uri, known: &[&str]) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for pair in uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if !known.contains(&name.as_str()) {
                return Err(unknown(&name, &known.join(", ")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// All values of a name.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    /// The value of a name that stands once.
    ///
    /// # Errors
    /// 422 where it stands several times.
    pub fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(twice(name)),
            (value, None) => Ok(value),
        }
    }

    /// The value of a name, read.
    ///
    /// # Errors
    /// 422 with the reason where it cannot be read.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let parse =
            |text: &str| text.parse().map_err(|error| ApiError::invalid(format!("?{name}"), format!("{error}.")));
        self.one(name)?.map(parse).transpose()
    }

    /// `limit` and `cursor`.
    ///
    /// # Errors
    /// As [`PageQuery::page`].
    pub fn page(&self) -> Result<Page, ApiError> {
        let text = |name| Ok::<_, ApiError>(self.one(name)?.map(str::to_owned));
        PageQuery { limit: text("limit")?, cursor: text("cursor")? }.page()
    }

    /// Whether `numbers=string` is asked for.
    ///
    /// # Errors
    /// 422 for anything else.
    pub fn text(&self) -> Result<bool, ApiError> {
        match self.one("numbers")? {
            None => Ok(false),
            Some("string") => Ok(true),
            Some(_) => Err(ApiError::invalid("?numbers", "Send string, or leave it out.")),
        }
    }
}

fn unknown(name: &str, known: &str) -> ApiError {
    let known = if known.is_empty() { "nothing" } else { known };
    ApiError::invalid(format!("?{name}"), format!("This is not known here; known: {known}."))
}

fn twice(name: &str) -> ApiError {
    ApiError::invalid(format!("?{name}"), "Send this once.")
}

/// What serde says of a query, in the words that [`Pairs`] has for it.
fn refused(said: &str) -> ApiError {
    let said = said.split_once("query string: ").map_or(said, |(_, said)| said);
    let named = |what: &str| said.split_once(what)?.1.strip_prefix('`')?.split('`').next();
    if let Some(name) = named("unknown field ") {
        let known = said.rsplit_once(", expected ").map_or("", |(_, known)| known);
        let known = known.trim_start_matches("one of ").replace('`', "").replace(" or ", ", ");
        return unknown(name, &known);
    }
    if let Some(name) = named("duplicate field ") {
        return twice(name);
    }
    if let Some(name) = named("missing field ") {
        return ApiError::invalid(format!("?{name}"), "This is required.");
    }
    match said.split_once(": ") {
        Some((name, why)) => ApiError::invalid(format!("?{name}"), format!("{why}.")),
        None => ApiError::invalid("?", said),
    }
}

fn decoded(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| ApiError::invalid("?", "The query is not UTF-8."))?;
    if decoded.contains('\0') { Err(ApiError::invalid("?", ZERO)) } else { Ok(decoded.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::page::SearchQuery;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only their shape counts")]
    struct Version {
        version: Option<u32>,
        of: String,
    }

    async fn refusal<T: DeserializeOwned>(uri: &str) -> (String, String) {
        let (mut parts, ()) = axum::http::Request::builder().uri(uri).body(()).unwrap().into_parts();
        let error = Query::<T>::from_request_parts(&mut parts, &()).await.map(|_| ()).unwrap_err();
        let fault = &error.faults()[0];
        (fault.pointer.clone(), fault.detail.clone())
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_query_is_named_in_one_way() {
        let cases = [
            (refusal::<PageQuery>("/?bogus=1").await, "?bogus", "This is not known here; known: limit, cursor."),
            (refusal::<SearchQuery>("/?x=1").await, "?x", "This is not known here; known: limit, cursor, search."),
            (refusal::<PageQuery>("/?limit=1&limit=2").await, "?limit", "Send this once."),
            (refusal::<Version>("/?version=1").await, "?of", "This is required."),
            (refusal::<Version>("/?of=a&version=new").await, "?version", "invalid digit found in string."),
        ];
        for ((pointer, detail), place, words) in cases {
            assert_eq!((pointer.as_str(), detail.as_str()), (place, words));
        }
        let none = Pairs::of(&"/?numbers=string".parse().unwrap(), &[]).unwrap_err();
        assert_eq!(none.detail(), "?numbers: This is not known here; known: nothing.");
    }

    #[test]
    fn names_may_repeat_and_unknown_ones_are_refused() {
        let pairs = Pairs::of(&"/?a=1&a=x%20y&b=c+d&dense=true".parse().unwrap(), &["a", "b", "dense"]).unwrap();
        assert_eq!(pairs.all("a"), ["1", "x y"]);
        assert_eq!(pairs.one("b").unwrap(), Some("c d"));
        assert_eq!(pairs.parsed::<bool>("dense").unwrap(), Some(true));
        assert!(pairs.one("a").is_err() && pairs.parsed::<u8>("b").is_err() && !pairs.text().unwrap());
        assert!(Pairs::of(&"/?z=1".parse().unwrap(), &["a"]).is_err());
        assert!(Pairs::of(&"/?a=%00".parse().unwrap(), &["a"]).is_err());
    }
}
