//! The cookie of a session, and the refusal of changes that another site has a browser make with it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::http::header::{COOKIE, HOST, HeaderName, HeaderValue, ORIGIN};
use axum::http::{HeaderMap, Method};

use crate::http::error::ApiError;
use crate::people::SESSION;
use crate::people::token::{TokenHash, hash_of};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How the cookie is written and read.
#[derive(Clone, Debug)]
pub struct Cookies {
    /// The address under which others reach the server, without a slash at its end, where it is known.
    public_url: Option<String>,
    /// Where it listens, once it does.
    listens_on: Arc<OnceLock<SocketAddr>>,
}

impl Cookies {
    /// For a server that others reach under this address.
    pub fn new(public_url: Option<&str>) -> Self {
        let public_url = public_url.map(|url| url.trim_end_matches('/').to_owned());
        Self { public_url, listens_on: Arc::default() }
    }

    /// Says where the server listens.
    pub fn listens_on(&self, address: SocketAddr) {
        let _ = self.listens_on.set(address);
    }

    /// The address of this server, without a slash at its end, for what is sent to others. Never the one by which a request
    /// reached it, which anybody can make up: a link with another's address would give its token to them.
    ///
    /// # Errors
    /// 503 before it listens.
    pub fn base(&self) -> Result<String, ApiError> {
        match (&self.public_url, self.listens_on.get()) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(address)) => Ok(format!("http://{address}")),
            (None, None) => Err(ApiError::unavailable(1)),
        }
    }

    /// Whether the address under which others reach the server is known, and then whether they reach it by https.
    pub fn is_public(&self) -> Option<bool> {
        self.public_url.as_ref().map(|url| url.starts_with("https://"))
    }

    fn is_secure(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }

    /// With `__Host-` a browser takes it from nobody but this very host.
    fn name(&self) -> &'static str {
        if self.is_secure() { "__Host-metergate_session" } else { "metergate_session" }
    }

    /// The same of the cookie by which a browser is known that went to an identity provider.
    fn visit_name(&self) -> &'static str {
        if self.is_secure() { "__Host-metergate_visit" } else { "metergate_visit" }
    }

    /// The token in the cookie of a request.
    pub fn token(&self, headers: &HeaderMap) -> Option<TokenHash> {
        token_in(headers, self.name())
    }

    /// The token of a visit at an identity provider.
    pub fn visit(&self, headers: &HeaderMap) -> Option<TokenHash> {
        token_in(headers, self.visit_name())
    }

    /// `Set-Cookie` for a token of a session; without one the cookie goes.
    pub fn set(&self, token: Option<&str>) -> Option<HeaderValue> {
        self.set_for(token, SESSION)
    }

    /// The same for a token that is refused after so many microseconds.
    pub fn set_for(&self, token: Option<&str>, lasts: i64) -> Option<HeaderValue> {
        self.written(self.name(), token, lasts)
    }

    /// The same for a visit at an identity provider.
    pub fn set_visit(&self, token: Option<&str>, lasts: i64) -> Option<HeaderValue> {
        self.written(self.visit_name(), token, lasts)
    }

    /// `Lax`: a browser sends it when a page of another site leads here, as the provider's does, and with nothing else of theirs.
    fn written(&self, name: &str, token: Option<&str>, lasts: i64) -> Option<HeaderValue> {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let age = if token.is_some() { lasts / 1_000_000 } else { 0 };
        let token = token.unwrap_or_default();
        let text = format!("{name}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&text).ok()
    }

    /// # Errors
    /// 403 for a change unless the browser says that a page of this very server made it.
    pub fn refuse_other_sites(&self, headers: &HeaderMap, method: &Method) -> Result<(), ApiError> {
        if method.is_safe() || self.is_own_site(headers) == Some(true) {
            return Ok(());
        }
        Err(refused())
    }

    /// # Errors
    /// 403 where the browser says that a page of another site signs somebody in.
    pub fn refuse_sign_in_elsewhere(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if self.is_own_site(headers) == Some(false) { Err(refused()) } else { Ok(()) }
    }

    /// Whether a page of this server made the request, where the browser says so.
    fn is_own_site(&self, headers: &HeaderMap) -> Option<bool> {
        let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        if let Some(site) = text(&SEC_FETCH_SITE) {
            return Some(site == "same-origin");
        }
        let origin = text(&ORIGIN)?;
        let host = origin.split_once("://").map(|(_, host)| host);
        Some(self.public_url.as_deref() == Some(origin) || (host.is_some() && host == text(&HOST)))
    }

    /// The address of a page of this server.
    ///
    /// # Errors
    /// As [`Self::base`].
    pub fn page(&self, path: &str) -> Result<String, ApiError> {
        Ok(format!("{}{path}", self.base()?))
    }

    /// A link to a page of this server.
    ///
    /// # Errors
    /// As [`Self::base`].
    pub fn link(&self, path: &str, token: &str) -> Result<String, ApiError> {
        Ok(format!("{}{path}?token={token}", self.base()?))
    }
}

fn token_in(headers: &HeaderMap, name: &str) -> Option<TokenHash> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).and_then(|(_, token)| hash_of(token))
}

fn refused() -> ApiError {
    ApiError::forbidden("A page of another site cannot do this: open Metergate's own.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_change_by_cookie_needs_a_page_of_this_server() {
        let cookies = Cookies::new(Some("https://usage.example.com/"));
        type Sent = &'static [(&'static str, &'static str)];
        #[rustfmt::skip]
        let cases: [(Sent, bool, bool); 8] = [ // headers, a change, a sign-in
            (&[],                                                                                 false, true),
            (&[("sec-fetch-site", "same-origin")],                                                true,  true),
            (&[("sec-fetch-site", "same-site")],                                                  false, false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://usage.example.com")],        false, false),
            (&[("origin", "https://usage.example.com")],                                          true,  true),
            (&[("origin", "https://evil.example"), ("host", "usage.example.com")],                false, false),
            (&[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")],                  true,  true),
            (&[("origin", "null"), ("host", "null")],                                             false, false),
        ];
        for (given, change, sign_in) in cases {
            let headers = headers(given);
            assert_eq!(cookies.refuse_other_sites(&headers, &Method::POST).is_ok(), change, "{given:?}");
            assert_eq!(cookies.refuse_sign_in_elsewhere(&headers).is_ok(), sign_in, "{given:?}");
            assert!(cookies.refuse_other_sites(&headers, &Method::GET).is_ok());
        }
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_secure_where_the_server_is() {
        let (token, hash) = crate::people::token::generate();
        let plain = Cookies::new(None);
        let set = plain.set(Some(&token)).unwrap();
        assert_eq!(set, format!("metergate_session={token}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"));
        let secure = Cookies::new(Some("https://a.example"));
        let gone = "__Host-metergate_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(secure.set(None).unwrap(), gone);
        let sent = headers(&[("cookie", &format!("a=b; metergate_session={token}"))]);
        assert_eq!((plain.token(&sent), secure.token(&sent)), (Some(hash), None));
        assert_eq!(plain.visit(&sent), None, "a session is no visit");
    }

    #[test]
    fn a_link_leads_to_the_address_that_is_known_and_to_no_other() {
        let cookies = Cookies::new(None);
        assert!(cookies.link("/join", "t").is_err(), "nothing listens yet");
        cookies.listens_on("127.0.0.1:8080".parse().unwrap());
        assert_eq!(cookies.link("/join", "t").unwrap(), "http://127.0.0.1:8080/join?token=t");
        let public = Cookies::new(Some("https://usage.example.com/"));
        public.listens_on("127.0.0.1:8080".parse().unwrap());
        assert_eq!(public.link("/join", "t").unwrap(), "https://usage.example.com/join?token=t");
    }
}
