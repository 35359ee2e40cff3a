//! TLS to PostgreSQL, as the URL says.

use metergate::clock::Clock;
use metergate::config::Secret;
use metergate::store::{Settings, Store};

use super::kit::start;
use crate::certificates::Authority;
use crate::servers::OwnPostgres;

/// Why a store does not open; nothing where it does.
pub(super) fn refused(url: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { database: Some(Secret::new(url.to_owned())), ..Settings::in_folder(folder.path()) };
    match Store::open(settings, Clock::starting_at(start())) {
        Ok(store) => {
            store.close();
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn what_the_url_asks_of_the_servers_certificate_is_looked_at() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = OwnPostgres::with_tls(&authority.sign("IP:127.0.0.1"));
    let (ours, theirs) = (authority.file(), other.file());
    let rows = [
        ("sslmode=disable".to_owned(), Some("pg_hba.conf")),
        ("sslmode=prefer".to_owned(), None),
        (String::new(), None),
        ("sslmode=require".to_owned(), None),
        (format!("sslmode=require&sslrootcert={theirs}"), Some("invalid peer certificate")),
        (format!("sslmode=verify-ca&sslrootcert={ours}"), None),
        (format!("sslmode=verify-ca&sslrootcert={theirs}"), Some("invalid peer certificate")),
        (format!("sslmode=verify-full&sslrootcert={ours}"), None),
        ("sslmode=verify-full".to_owned(), Some("invalid peer certificate")),
        ("sslmode=verify-full&sslrootcert=/nowhere".to_owned(), Some("cannot be read")),
        ("sslmode=verify".to_owned(), Some("sslmode must be")),
    ];
    for (parameters, expected) in rows {
        let why = refused(&server.urls_with(&parameters)[0]);
        let is_so = match (&why, expected) {
            (Some(why), Some(expected)) => why.contains(expected),
            (None, None) => true,
            _ => false,
        };
        assert!(is_so, "{parameters}: {why:?}");
    }
    // Signed by the authority, and of another name.
    assert_eq!(refused(&server.urls_with(&format!("sslmode=verify-ca&sslrootcert={ours}"))[1]), None);
    let why = refused(&server.urls_with(&format!("sslmode=verify-full&sslrootcert={ours}"))[1]).expect("it is refused");
    assert!(why.contains("not valid for name"), "{why}");
}
