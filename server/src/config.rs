//! Configuration: every setting in one table, from a file, the environment and flags.
//!
//! A flag wins over an environment variable, a variable over the file, the file over the default. The file is the one
//! named by `--config`, else by `METERGATE_CONFIG`, else `metergate.toml` in the working folder where there is one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::backup::BACKUPS;
use crate::retention::FOLDER;

mod file;
mod network;
mod source;
mod value;

pub use network::Networks;
use network::networks;
pub use source::{ConfigError, Origin, Sources};
pub use value::{LogFormat, RateHeaders, Secret};
use value::{choice, flag, log_filter, optional, path, seconds, socket, url, whole, whole_or};

/// One setting, as the command line and the documentation show it.
pub struct Setting {
    /// Its key in the file. Hyphens may stand for the underscores; the flag is `--` and the name with hyphens.
    pub name: &'static str,
    /// The environment variables that set it: the first that is there and not empty counts.
    pub variables: &'static [&'static str],
    /// What holds where nothing sets it; empty for none.
    pub default: &'static str,
    /// Whether its value must never be shown. Such a setting has no flag: other users can read a command line.
    pub secret: bool,
    /// What it does, with its unit and bounds.
    pub doc: &'static str,
    show: fn(&Config) -> String,
}

macro_rules! is_secret {
    () => {
        false
    };
    (secret) => {
        true
    };
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:literal, $parse:expr, [$($variable:literal),+] $(, $secret:ident)?;)+) => {
        /// What is in force. [`Config::origin`] tells where each value comes from.
        #[derive(Clone)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $name: $type,)+
            /// Start although the wall clock is behind the store's last commit. Only ever a flag: it confirms one start.
            pub accept_clock: bool,
            origins: Vec<Origin>,
        }

        /// Every setting, in the order in which they are shown.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            name: stringify!($name),
            variables: &[$($variable),+],
            default: $default,
            secret: is_secret!($($secret)?),
            doc: concat!($($doc),+),
            show: |config| value::Show::show(&config.$name),
        }),+];

        impl Config {
            /// Reads every setting from its sources.
            ///
            /// # Errors
            /// [`ConfigError`] where the file cannot be read or has an unknown key, or a value is not allowed.
            pub fn read(sources: &Sources<'_>) -> Result<Self, ConfigError> {
                let texts = sources.texts()?;
                Ok(Self {
                    $($name: texts.parse(stringify!($name), $parse)?,)+
                    accept_clock: false,
                    origins: texts.origins(),
                })
            }
        }
    };
}

const DAY_SECONDS: u64 = 86_400;

settings! {
    /// Where the server listens: IP address and port; port 0 takes a free one.
    listen: SocketAddr = "127.0.0.1:8080", socket, ["METERGATE_LISTEN"];
    /// The folder that holds everything; made where it is not there.
    data_dir: PathBuf = "./metergate-data", path, ["METERGATE_DATA_DIR"];
    /// The PostgreSQL that any number of nodes share as the record, such as postgresql://user:password@host/database; the data folder is the record where not given.
    database_url: Option<Secret> = "", |text| optional(text, value::database), ["METERGATE_DATABASE_URL", "DATABASE_URL"], secret;
    /// How many loops of a node decide side by side over PostgreSQL, each on a connection of its own, 1 to 16.
    postgres_lanes: usize = "1", |text| whole(text, 1, 16), ["METERGATE_POSTGRES_LANES"];
    /// The folder below which backups are written; else "backups" in the data folder. Choose one on another disk.
    backup_dir: Option<PathBuf> = "", |text| optional(text, path), ["METERGATE_BACKUP_DIR"];
    /// The administrator's API key, 32 to 255 printable characters without spaces; made and printed at the first start where not given.
    admin_key: Option<Secret> = "", |text| optional(text, value::long_secret), ["METERGATE_ADMIN_KEY"], secret;
    /// The secret by which a timer may have rollups made again, 8 to 255 printable characters without spaces; an administrator alone may where not given.
    cron_secret: Option<Secret> = "", |text| optional(text, value::short_secret), ["METERGATE_CRON_SECRET", "CRON_SECRET"], secret;
    /// The address under which others reach the server, such as https://usage.example.com; else made from the listen address.
    public_url: Option<String> = "", |text| optional(text, url), ["METERGATE_PUBLIC_URL"];
    /// Addresses and networks of proxies, separated by commas, whose X-Forwarded-For says from where a request comes. None where not given.
    trusted_proxies: Networks = "", networks, ["METERGATE_TRUSTED_PROXIES"];
    /// The OpenID Connect provider by which people sign in: its issuer, such as https://id.example.com; https but for this machine. Off where not given.
    oidc_issuer: Option<String> = "", |text| optional(text, value::issuer), ["METERGATE_OIDC_ISSUER"];
    /// By what the provider knows Metergate; its redirect address there is the public URL and /auth/oidc/callback.
    oidc_client_id: Option<String> = "", |text| optional(text, value::printable), ["METERGATE_OIDC_CLIENT_ID"];
    /// The secret that goes with it.
    oidc_client_secret: Option<Secret> = "", |text| optional(text, value::short_secret), ["METERGATE_OIDC_CLIENT_SECRET"], secret;
    /// The signing secrets of Stripe's webhook endpoint, separated by commas while one takes another's place; POST /webhooks/stripe is 404 where not given.
    stripe_webhook_secret: Option<Secret> = "", |text| optional(text, value::secrets), ["METERGATE_STRIPE_WEBHOOK_SECRET"], secret;
    /// The key by which Stripe is asked for subscriptions, customers' pages and events that were missed; webhooks' payloads alone count where not given.
    stripe_api_key: Option<Secret> = "", |text| optional(text, value::short_secret), ["METERGATE_STRIPE_API_KEY"], secret;
    /// Where Stripe is asked; https but for this machine.
    stripe_api_url: String = "https://api.stripe.com", value::issuer, ["METERGATE_STRIPE_API_URL"];
    /// Seconds between two looks at every linked subscription, where Stripe can be asked, 1 to 86400.
    stripe_look_seconds: Duration = "3600", |text| seconds(text, 1, 86_400), ["METERGATE_STRIPE_LOOK_SECONDS"];
    /// The server that sends mail: smtp://user:password@host:587?tls=required or smtps://user:password@host:465; without TLS only where no password is sent, or to this machine. None is sent where not given.
    smtp_url: Option<Secret> = "", |text| optional(text, value::smtp), ["METERGATE_SMTP_URL"], secret;
    /// Whom mail is from: an address, or a name and the address in angle brackets; needed with smtp_url.
    smtp_from: Option<String> = "", |text| optional(text, value::mailbox), ["METERGATE_SMTP_FROM"];
    /// Networks, separated by commas, to which webhooks may go though they are not global, and to which they may go over http, such as 10.0.0.0/8. None where not given.
    webhook_allow: Networks = "", networks, ["METERGATE_WEBHOOK_ALLOW"];
    /// Days for which webhooks that were delivered or given up can be seen and sent again, 1 to 3650.
    webhook_retention_days: u32 = "30", |text| whole(text, 1, 3650), ["METERGATE_WEBHOOK_RETENTION_DAYS"];
    /// The Redis that decides on meters of which nothing is recorded: redis://host:6379, redis+sentinel://host:26379,host:26379/master or redis+cluster://host:6379,host:6379; rediss for TLS. None where not given.
    redis_url: Option<Secret> = "", |text| optional(text, value::redis), ["METERGATE_REDIS_URL", "REDIS_URL"], secret;
    /// What the keys in Redis begin with, 1 to 64 letters, digits, hyphens, dots and underscores. All nodes of one installation have the same.
    redis_prefix: String = "metergate", value::prefix, ["METERGATE_REDIS_PREFIX"];
    /// The catalogue file of meters, plans and prices that the first start reads; else the shipped one.
    catalogue: Option<PathBuf> = "", |text| optional(text, path), ["METERGATE_CATALOGUE"];
    /// Whether an organization that nobody has created is created when it is first used: true or false. Its billing periods are counted from the earliest event of the call that creates it.
    auto_create_organizations: bool = "false", flag, ["METERGATE_AUTO_CREATE_ORGANIZATIONS"];
    /// Which rate headers decisions carry: both, ietf (RateLimit), x (X-RateLimit-…) or none.
    rate_limit_headers: RateHeaders = "both", choice, ["METERGATE_RATE_LIMIT_HEADERS"];
    /// Requests a second allowed to one API key, 1 to 1000000; never limits the administrator's. Off where not given.
    key_rate_per_second: Option<u32> = "", |text| optional(text, |t| whole(t, 1, 1_000_000)), ["METERGATE_KEY_RATE_PER_SECOND"];
    /// Days from arrival in which a repeated event or decision id counts once, 1 to 366.
    deduplication_days: u32 = "35", |text| whole(text, 1, 366), ["METERGATE_DEDUPLICATION_DAYS"];
    /// Hours for which a refused decision's id keeps its answer, 1 to 8784.
    refused_id_hours: u32 = "24", |text| whole(text, 1, 8784), ["METERGATE_REFUSED_ID_HOURS"];
    /// Days from arrival for which raw events are kept, 1 to 36500; never for less than their ids are known.
    raw_retention_days: u32 = "90", |text| whole(text, 1, 36_500), ["METERGATE_RAW_RETENTION_DAYS"];
    /// Days for which entries of the audit log are kept, 1 to 36500; older ones go to a file and are dropped. Kept for good where not given.
    audit_retention_days: Option<u32> = "", |text| optional(text, |t| whole(t, 1, 36_500)), ["METERGATE_AUDIT_RETENTION_DAYS"];
    /// The folder for the files of older entries of the audit log; else "audit" in the data folder.
    audit_dir: Option<PathBuf> = "", |text| optional(text, path), ["METERGATE_AUDIT_DIR"];
    /// Ids kept in memory before they go to a file with a filter, some 25 bytes each, 10 to 100000000.
    slice_ids: u64 = "5000000", |text| whole(text, 10, 100_000_000), ["METERGATE_SLICE_IDS"];
    /// Bytes of decisions that may wait on a node's disk while PostgreSQL cannot be reached, where a plan lets a meter pass then, 65536 (64 KiB) to 1099511627776 (1 TiB).
    spool_bytes: u64 = "67108864", |text| whole(text, 64 << 10, 1 << 40), ["METERGATE_SPOOL_BYTES"];
    /// Seconds between two looks at what has fallen due where nobody calls, 1 to 86400.
    sweep_seconds: Duration = "60", |text| seconds(text, 1, 86_400), ["METERGATE_SWEEP_SECONDS"];
    /// Hours between two comparisons of all rollups with the raw records, by which wrong ones are made right, 1 to 8784; 0 for never.
    rollup_check_hours: u32 = "24", |text| whole(text, 0, 8784), ["METERGATE_ROLLUP_CHECK_HOURS"];
    /// Connections open at a time, 1 to 1000000.
    max_connections: u32 = "10000", |text| whole(text, 1, 1_000_000), ["METERGATE_MAX_CONNECTIONS"];
    /// Largest request body in bytes, 65536 (64 KiB) to 1073741824 (1 GiB).
    max_body_bytes: usize = "16777216", |text| whole(text, 64 << 10, 1 << 30), ["METERGATE_MAX_BODY_BYTES"];
    /// Seconds in which a request's headers must have arrived, 1 to 86400.
    header_timeout_seconds: Duration = "10", |text| seconds(text, 1, DAY_SECONDS), ["METERGATE_HEADER_TIMEOUT_SECONDS"];
    /// Seconds in which a request's body must have arrived, 1 to 86400.
    body_timeout_seconds: Duration = "30", |text| seconds(text, 1, DAY_SECONDS), ["METERGATE_BODY_TIMEOUT_SECONDS"];
    /// Seconds after which a connection without a request is closed, 1 to 86400.
    idle_timeout_seconds: Duration = "75", |text| seconds(text, 1, DAY_SECONDS), ["METERGATE_IDLE_TIMEOUT_SECONDS"];
    /// Seconds that requests under way are given when the server stops, 0 to 3600.
    drain_timeout_seconds: Duration = "30", |text| seconds(text, 0, 3600), ["METERGATE_DRAIN_TIMEOUT_SECONDS"];
    /// Cores that answer requests, 1 to 1024; every core of the machine where not given.
    cores: usize = "", |text| whole_or(text, 1, 1024, value::available_cores), ["METERGATE_CORES"];
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,metergate=debug.
    log: String = "info", log_filter, ["METERGATE_LOG"];
    /// The form of the log: text or json.
    log_format: LogFormat = "text", choice, ["METERGATE_LOG_FORMAT"];
    /// api_calls a minute on plan free, a positive integer, set at every start; else as the catalogue says.
    quota_free_per_minute: Option<u64> = "", quota, ["QUOTA_FREE_PER_MINUTE"];
    /// api_calls a day on plan free, a positive integer, set at every start; else as the catalogue says.
    quota_free_per_day: Option<u64> = "", quota, ["QUOTA_FREE_PER_DAY"];
    /// api_calls a minute on plan pro, a positive integer, set at every start; else as the catalogue says.
    quota_pro_per_minute: Option<u64> = "", quota, ["QUOTA_PRO_PER_MINUTE"];
    /// api_calls a day on plan pro, a positive integer, set at every start; else as the catalogue says.
    quota_pro_per_day: Option<u64> = "", quota, ["QUOTA_PRO_PER_DAY"];
    /// api_calls a minute on plan enterprise, a positive integer, set at every start; else as the catalogue says.
    quota_enterprise_per_minute: Option<u64> = "", quota, ["QUOTA_ENTERPRISE_PER_MINUTE"];
    /// api_calls a day on plan enterprise, a positive integer, set at every start; else as the catalogue says.
    quota_enterprise_per_day: Option<u64> = "", quota, ["QUOTA_ENTERPRISE_PER_DAY"];
}

/// A limit on `api_calls`: at most the largest quantity that a store keeps exactly.
fn quota(text: &str) -> Result<Option<u64>, String> {
    optional(text, |digits| whole(digits, 1, i64::MAX.unsigned_abs()))
}

impl Config {
    /// The defaults, with no file and an empty environment.
    ///
    /// # Errors
    /// None: the defaults are valid, which a test proves.
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::read(&Sources::none())
    }

    /// Where the value of a setting comes from.
    pub fn origin(&self, name: &str) -> Origin {
        let place = SETTINGS.iter().position(|setting| setting.name == name);
        place.and_then(|i| self.origins.get(i)).cloned().unwrap_or(Origin::Default)
    }

    /// Every setting with its value as text, `(set)` or `(not set)` in place of a secret, and its origin.
    pub fn shown(&self) -> Vec<(&'static Setting, String, Origin)> {
        SETTINGS.iter().map(|setting| (setting, (setting.show)(self), self.origin(setting.name))).collect()
    }

    /// The folder below which backups are written.
    pub fn backups(&self) -> PathBuf {
        self.backup_dir.clone().unwrap_or_else(|| self.data_dir.join(BACKUPS))
    }

    /// The folder for the files of older entries of the audit log.
    pub fn audit_files(&self) -> PathBuf {
        self.audit_dir.clone().unwrap_or_else(|| self.data_dir.join(FOLDER))
    }

    /// The address under which others reach a server that listens on `address`, without a slash at its end.
    pub fn public_url_at(&self, address: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{address}"),
        }
    }
}

#[cfg(test)]
mod tests;
