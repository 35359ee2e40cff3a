//! Who looks at a page, and what they may see of the API.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use metergate_pages::answers::Me;
use metergate_pages::frame::{self, Frame};
use sha2::{Digest, Sha256};

use super::api::Api;
use super::sent::pairs;
use super::trouble::Trouble;
use crate::catalogue::logo::Picture;
use crate::hex::hex;
use crate::http::settings::SettingsBody;
use crate::http::state::App;
use crate::report::Timestamp;

/// What pages have at hand.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) app: App,
    /// Every route of the API.
    pub(super) api: Router,
}

/// Somebody at a page, signed in or not.
pub(super) struct Anybody {
    pub(super) api: Api,
    pub(super) app: App,
    pub(super) frame: Frame,
    query: BTreeMap<String, String>,
}

impl Anybody {
    /// The value of a name in the query; nothing where it is empty.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl FromRequestParts<Pages> for Anybody {
    type Rejection = Trouble;
    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Trouble> {
        let api = Api::of(parts, &pages.api);
        let app = pages.app.clone();
        let query: BTreeMap<_, _> = pairs(parts.uri.query().unwrap_or("").as_bytes())?.into_iter().collect();
        let frame = Frame::nobody();
        let mut visitor = Self { api, frame, query, app };
        visitor.frame = frame_of(&visitor, parts)?;
        Ok(visitor)
    }
}

/// Somebody who is signed in, or has opened a portal.
pub(super) struct Visit(pub(super) Anybody);

impl std::ops::Deref for Visit {
    type Target = Anybody;
    fn deref(&self) -> &Anybody {
        &self.0
    }
}

impl Visit {
    pub(super) fn me(&self) -> &Me {
        self.0.frame.me.as_ref().unwrap_or(&NOBODY)
    }
}

static NOBODY: Me = Me::nobody();

impl FromRequestParts<Pages> for Visit {
    type Rejection = Trouble;
    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Trouble> {
        let mut visitor = Anybody::from_request_parts(parts, pages).await?;
        // Whatever is sent is sent to where its form is, so that one finds it again.
        let next = (parts.uri.path() != "/sign-out").then(|| parts.uri.to_string());
        let me = visitor.api.get::<Me>("/v1/me").await.map_err(|trouble| match trouble {
            Trouble::SignIn(_) => Trouble::SignIn(next),
            trouble => trouble,
        })?;
        visitor.frame.me = Some(me);
        Ok(Self(visitor))
    }
}

/// An operator. Anybody else is answered as if there were no dashboard.
pub(super) struct AtDashboard(pub(super) Visit);

impl FromRequestParts<Pages> for AtDashboard {
    type Rejection = Trouble;
    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Trouble> {
        let visit = Visit::from_request_parts(parts, pages).await?;
        if visit.me().operator { Ok(Self(visit)) } else { Err(Trouble::not_found()) }
    }
}

fn frame_of(visitor: &Anybody, parts: &Parts) -> Result<Frame, Trouble> {
    let stored = serde_json::to_value(SettingsBody::of(&visitor.app.snapshot().stored.settings, Picture::path));
    let team = stored.and_then(serde_json::from_value).map_err(|_| Trouble::broken())?;
    let csrf = visitor.app.shared.cookies.token(&parts.headers).map_or_else(String::new, |token| {
        // Only who has the cookie can make it, and it tells nothing of the cookie.
        hex(&Sha256::new().chain_update(b"metergate form\0").chain_update(token.0).finalize())
    });
    let now = serde_json::to_value(Timestamp(visitor.app.now())).ok();
    let now = now.as_ref().and_then(|now| now.as_str()).unwrap_or_default().to_owned();
    let mut frame = Frame::new(None, team, csrf, now);
    frame.toast = visitor.query("done").and_then(frame::toast);
    Ok(frame)
}

/// A path of this server to go on to, and never another's.
pub(super) fn own_path(next: Option<&str>) -> Option<&str> {
    next.filter(|path| path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n', '\t']))
}

/// A text in a path.
pub(super) fn in_path(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, UNRESERVED).to_string()
}

const UNRESERVED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the API refuses with this status is no trouble, but nothing.
pub(super) fn unless<T>(status: StatusCode, found: Result<T, Trouble>) -> Result<Option<T>, Trouble> {
    match found {
        Err(Trouble::Refused(refused, _)) if refused == status => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_to_this_server_alone() {
        for (next, expected) in [
            (Some("/portal?org=a"), Some("/portal?org=a")),
            (Some("//evil.example"), None),
            (Some("/\\evil.example"), None),
            (Some("/\t/evil.example"), None),
            (Some("https://evil.example"), None),
            (None, None),
        ] {
            assert_eq!(own_path(next), expected, "{next:?}");
        }
    }

    #[test]
    fn what_stands_in_a_path_is_one_part_of_it() {
        assert_eq!(in_path("a/b?c#d%e-f.g"), "a%2Fb%3Fc%23d%25e-f.g");
    }
}
