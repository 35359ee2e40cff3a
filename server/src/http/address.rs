//! From where a request comes.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::error::ApiError;
use super::listen::Peer;
use super::state::App;
use crate::config::Networks;

/// For handlers: the address that a request comes from.
pub struct Address(pub IpAddr);

impl FromRequestParts<App> for Address {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<Peer>();
        let peer = peer.ok_or_else(|| ApiError::internal("a request without an address"))?.0.ip();
        Ok(Self(client(peer, &parts.headers, &app.shared.trusted_proxies)))
    }
}

/// Who sent a request, where proxies that are trusted have passed it on. Each adds to `X-Forwarded-For` from whom it has
/// the request: so it is read from its end, as long as who has said it is trusted. What stands before may be made up.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    let values = headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or("?"));
    let said: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut client = peer.to_canonical();
    for text in said.into_iter().rev() {
        let Some(before) = address(text).filter(|_| trusted.contains(client)) else { break };
        client = before.to_canonical();
    }
    client
}

/// Some proxies write the port, too.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    fn trusted(text: &str) -> Networks {
        let sources = Sources { flags: vec![("trusted_proxies", text.to_owned())], ..Sources::none() };
        Config::read(&sources).unwrap().trusted_proxies
    }

    #[test]
    fn a_proxy_that_is_trusted_says_from_whom_it_has_a_request() {
        let cases: [(&str, &str, &[&str], &str); 9] = [
            ("", "192.0.2.1", &["203.0.113.9"], "192.0.2.1"),
            ("10.0.0.0/8", "192.0.2.1", &["203.0.113.9"], "192.0.2.1"),
            ("10.0.0.0/8", "10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            // What the client itself has sent stands before it, and says nothing.
            ("10.0.0.0/8", "10.0.0.1", &["198.51.100.7, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.0/8", "10.0.0.1", &["198.51.100.7", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.0/8", "10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
        ];
        for (given, peer, said, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            let found = client(peer.parse().unwrap(), &headers, &trusted(given));
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{given} {peer} {said:?}");
        }
    }
}
