//! Browsers that have gone to the provider and are to come back: each once, within ten minutes, with the cookie that it was
//! given. They are in memory: a server that is started anew asks people to begin again.

use std::collections::HashMap;

use metergate_rules::time::{MINUTE, Time};
use openidconnect::core::CoreAuthenticationFlow;
use openidconnect::{CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier, Scope};
use parking_lot::Mutex;

use super::Client;
use crate::hex::hex;
use crate::people::token::{self, TokenHash, hash_of};

/// How long a visit may take, in microseconds.
pub const VISIT: i64 = 10 * MINUTE;
/// Visits at a time.
const MOST: usize = 20_000;

/// A browser at the provider.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Where it goes afterwards: a path of this server.
    pub next: String,
    /// The invitation that somebody who is new accepts.
    pub invitation: Option<TokenHash>,
    /// What the token must repeat, so that no other sign-in's is taken.
    pub(super) nonce: String,
    /// What the code is exchanged with (PKCE), so that nobody else can.
    pub(super) verifier: String,
}

impl Visit {
    /// A new one.
    pub fn new(next: String, invitation: Option<TokenHash>) -> Self {
        let secret = || hex(&crate::random::bytes::<32>());
        Self { next, invitation, nonce: secret(), verifier: secret() }
    }

    pub(super) fn address(&self, client: &Client, state: &str) -> String {
        let (state, nonce) = (CsrfToken::new(state.to_owned()), Nonce::new(self.nonce.clone()));
        let verifier = PkceCodeVerifier::new(self.verifier.clone());
        let asked = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || nonce)
            .add_scope(Scope::new("email".to_owned()))
            .add_scope(Scope::new("profile".to_owned()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        asked.url().0.into()
    }
}

/// A visit that goes on.
struct Open {
    visit: Visit,
    state: TokenHash,
    ends: Time,
}

/// Visits that go on, by the token in the browser's cookie.
#[derive(Default)]
pub struct Visits(Mutex<HashMap<TokenHash, Open>>);

impl Visits {
    /// Begins a visit: the token for the cookie. `state` is what the provider sends back along.
    /// `None` where too many go on.
    pub fn begin(&self, visit: Visit, state: TokenHash, now: Time) -> Option<String> {
        let mut open = self.0.lock();
        if open.len() >= MOST {
            open.retain(|_, visit| now < visit.ends);
            if open.len() >= MOST {
                return None;
            }
        }
        let (cookie, hash) = token::generate();
        open.insert(hash, Open { visit, state, ends: now.plus(VISIT) });
        Some(cookie)
    }

    /// The visit of a browser that comes back: once, and only with the state of this very visit. Another state leaves it as it
    /// is, since anybody can send a browser here with one.
    pub fn end(&self, cookie: Option<TokenHash>, state: &str, now: Time) -> Option<Visit> {
        let (cookie, state) = (cookie?, hash_of(state)?);
        let mut open = self.0.lock();
        open.get(&cookie).filter(|visit| visit.state == state && now < visit.ends)?;
        open.remove(&cookie).map(|open| open.visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(visits: &Visits, now: Time) -> (Option<TokenHash>, String) {
        let (state, hash) = token::generate();
        let cookie = visits.begin(Visit::new("/".to_owned(), None), hash, now).unwrap();
        (hash_of(&cookie), state)
    }

    #[test]
    fn a_visit_ends_once_for_its_own_browser_and_state_in_time() {
        let (visits, now) = (Visits::default(), Time::from_micros(0));
        let (ada, eve) = (begun(&visits, now), begun(&visits, now));
        let tries = [(None, &ada.1), (ada.0, &eve.1), (eve.0, &ada.1)];
        for (cookie, state) in tries {
            assert!(visits.end(cookie, state, now).is_none());
        }
        assert!(visits.end(ada.0, "", now).is_none());
        assert!(visits.end(ada.0, &ada.1, now.plus(VISIT - 1)).is_some());
        assert!(visits.end(ada.0, &ada.1, now).is_none(), "it was ended");
        assert!(visits.end(eve.0, &eve.1, now.plus(VISIT)).is_none(), "it took too long");
    }

    #[test]
    fn visits_are_bounded_and_those_that_are_over_make_room() {
        let (visits, now) = (Visits::default(), Time::from_micros(0));
        let (_, state) = token::generate();
        let begin = |now: Time| visits.begin(Visit::new("/".to_owned(), None), state, now);
        (0..MOST).for_each(|_| assert!(begin(now).is_some()));
        assert!(begin(now.plus(VISIT - 1)).is_none());
        assert!(begin(now.plus(VISIT)).is_some());
    }
}
