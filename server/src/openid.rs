//! Signing in by an OpenID Connect provider: what is asked of it, and what its answers prove. Everything is asked of it when
//! it is needed, so that a server starts without it, on threads that may wait, within bounds of time and size.

use std::sync::Arc;

use metergate_rules::time::{DAY, HOUR, SECOND, Time};
use openidconnect::core::{CoreClient, CoreClientAuthMethod, CoreProviderMetadata};
use openidconnect::{
    AuthType, ClientId, ClientSecret, EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, RedirectUrl,
};
use tokio::sync::{Mutex, Semaphore};

use crate::config::Secret;

mod exchange;
mod transport;
mod visits;

pub use exchange::Said;
use transport::Transport;
pub use visits::{VISIT, Visit, Visits};

/// For how long what a provider says of itself, its keys too, is taken without asking again, in microseconds.
const FRESH: i64 = HOUR;
/// For how long it is taken where asking again fails.
const STALE: i64 = DAY;
/// After a failure nobody asks again for so long.
const REST: i64 = 2 * SECOND;
/// Calls to the provider at a time. Beyond it a sign-in hears at once that it is not possible now.
const AT_ONCE: usize = 32;

/// Where the provider is, and who we are to it.
#[derive(Clone)]
pub struct Settings {
    /// Its issuer.
    pub issuer: String,
    /// By what it knows us.
    pub client_id: String,
    /// What proves that.
    pub client_secret: Secret,
}

/// Why a provider proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be asked, or answers what cannot be understood: later perhaps.
    #[error("the identity provider cannot be asked: {0}")]
    Unavailable(String),
    /// What it has said is not to be believed, or it does not take what we have sent.
    #[error("the identity provider's answer is refused: {0}")]
    Refused(String),
}

/// A client of the provider, ready to be asked.
type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// What the provider says of itself, and when it was asked.
type Known = (Arc<CoreProviderMetadata>, Time);

#[derive(Default)]
struct Cache {
    known: Option<Known>,
    failed: Option<Time>,
}

/// The provider by which people sign in.
pub struct Provider {
    /// Who has gone there and has not come back yet.
    pub visits: Visits,
    settings: Settings,
    transport: Transport,
    cache: Mutex<Cache>,
    running: Arc<Semaphore>,
}

impl Provider {
    /// The provider of these settings. Nothing is asked yet.
    pub fn new(settings: Settings) -> Self {
        let transport = Transport::to(&settings.issuer);
        let running = Arc::new(Semaphore::new(AT_ONCE));
        Self { visits: Visits::default(), settings, transport, cache: Mutex::default(), running }
    }

    /// Its issuer.
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Where a browser is sent that makes this visit.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] where the provider cannot be asked.
    pub async fn address(&self, visit: &Visit, state: &str, back: &str, now: Time) -> Result<String, ProviderError> {
        let (metadata, _) = self.metadata(now, None).await?;
        Ok(visit.address(&self.client(&metadata, back)?, state))
    }

    fn client(&self, metadata: &CoreProviderMetadata, back: &str) -> Result<Client, ProviderError> {
        let back = RedirectUrl::new(back.to_owned())
            .map_err(|error| ProviderError::Unavailable(format!("{back} is no address to come back to: {error}")))?;
        let secret = ClientSecret::new(self.settings.client_secret.expose().to_owned());
        let id = ClientId::new(self.settings.client_id.clone());
        let takes = |method: CoreClientAuthMethod| {
            metadata.token_endpoint_auth_methods_supported().is_some_and(|methods| methods.contains(&method))
        };
        let in_body = takes(CoreClientAuthMethod::ClientSecretPost) && !takes(CoreClientAuthMethod::ClientSecretBasic);
        let auth = if in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
        let client = Client::from_provider_metadata(metadata.clone(), id, Some(secret));
        Ok(client.set_redirect_uri(back).set_auth_type(auth))
    }

    /// What the provider says of itself, as it was asked after `newer_than`, where that is given: a key may have been
    /// changed. One asks, and all others wait for the answer.
    async fn metadata(&self, now: Time, newer_than: Option<Time>) -> Result<Known, ProviderError> {
        let mut cache = self.cache.lock().await;
        let within = |(_, at): &Known, age: i64| now < at.plus(age) && newer_than.is_none_or(|than| than < *at);
        if let Some(known) = cache.known.as_ref().filter(|known| within(known, FRESH)) {
            return Ok(known.clone());
        }
        let rests = newer_than.is_none() && cache.failed.is_some_and(|failed| now < failed.plus(REST));
        let asked = if rests {
            Err(ProviderError::Unavailable("it could not be asked a moment ago".to_owned()))
        } else {
            self.discover().await
        };
        match asked {
            Ok(metadata) => {
                *cache = Cache { known: Some((Arc::new(metadata), now)), failed: None };
                cache.known.clone().ok_or_else(|| ProviderError::Unavailable(String::new()))
            }
            Err(error) => {
                if !rests {
                    cache.failed = Some(now);
                    tracing::warn!(%error, issuer = self.settings.issuer, "the identity provider cannot be asked");
                }
                cache.known.clone().filter(|known| within(known, STALE)).ok_or(error)
            }
        }
    }

    async fn discover(&self) -> Result<CoreProviderMetadata, ProviderError> {
        let issuer = IssuerUrl::new(self.settings.issuer.clone());
        let issuer =
            issuer.map_err(|error| ProviderError::Unavailable(format!("its issuer is no address: {error}")))?;
        self.ask(move |transport| {
            let asked = CoreProviderMetadata::discover(&issuer, transport);
            asked.map_err(|error| ProviderError::Unavailable(transport::told(&error)))
        })
        .await
    }

    /// Does what waits for the provider, on a thread that may wait.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transport) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let busy = |_| ProviderError::Unavailable("too many sign in at a time".to_owned());
        let running = Arc::clone(&self.running).try_acquire_owned().map_err(busy)?;
        let transport = self.transport.clone();
        let task = move || {
            let _running = running;
            work(&transport)
        };
        let ended = tokio::task::spawn_blocking(task).await;
        ended.unwrap_or_else(|_| Err(ProviderError::Unavailable("its answer could not be understood".to_owned())))
    }
}
