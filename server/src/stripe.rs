//! Stripe (P7): what it tells by webhooks, what is asked of it, and the thread that brings organizations to where their
//! subscriptions are.
//!
//! An event is taken in under its id, durably, and answered; applying it is the thread's. With an API key an event is only the
//! sign that a subscription is to be asked for, and what Stripe answers is taken whole. Without one its payload is applied.

use metergate_rules::time::Time;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::{Config, Secret};
use crate::store::Store;

pub mod api;
pub mod event;
pub mod signature;
mod worker;

pub use api::Api;
pub use worker::Syncing;

/// What is configured of Stripe.
pub struct Stripe {
    /// What signs its webhooks: any of them. Without one none is taken.
    pub secrets: Vec<Secret>,
    /// By what it is asked, where there is an API key.
    pub api: Option<Api>,
    /// Wakes the thread: something has come.
    pub wake: Notify,
    /// When the newest event was made that was known before the server listened.
    newest: Mutex<Option<Time>>,
}

impl Stripe {
    /// What a configuration says; `None` where it says nothing of Stripe.
    pub fn of(config: &Config) -> Option<Self> {
        let secrets = config.stripe_webhook_secret.iter().flat_map(|all| all.expose().split(','));
        let secrets: Vec<_> = secrets.map(|secret| Secret::new(secret.to_owned())).collect();
        let api = config.stripe_api_key.clone().map(|key| Api::new(&config.stripe_api_url, key));
        (!secrets.is_empty() || api.is_some()).then(|| Self {
            secrets,
            api,
            wake: Notify::new(),
            newest: Mutex::default(),
        })
    }

    /// Before others can come: what was made since the newest that is known may have been missed. Where that cannot be read, the
    /// first look reads it.
    pub fn note_newest(&self, store: &Store) {
        let now = store.now();
        *self.newest.lock() = store.reader().read_here(|view| Ok(view.rows().stripe_newest(now)?)).ok().flatten();
    }
}
