//! A Redis that asks for a password, and one behind TLS.

use tempfile::TempDir;

use super::kit::{ask, becomes, server, used};
use crate::certificates::Authority;
use crate::http::server::free_address;
use crate::servers::OwnRedis;

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

#[test]
fn a_password_opens_it_and_is_nowhere_to_be_seen() {
    let (address, secret) = (free_address(), "canary-of-redis");
    let options = ["--port", port(&address), "--requirepass", secret].map(str::to_owned).to_vec();
    let _own = OwnRedis::with(address.clone(), options);
    let (with, admin) = server(&format!("redis://:{secret}@{address}"), &[]);
    assert_eq!(used(&ask(&admin, "hits", 4).is(200).json()), 4);
    let (wrong, stranger) = server(&format!("redis://:not-{secret}@{address}"), &[]);
    ask(&stranger, "hits", 1).expect_problem(503, "unavailable");
    for server in [&with, &wrong] {
        let log = becomes("it is told", || Some(server.log()).filter(|log| log.contains("Redis")));
        assert!(!log.contains("canary"), "{log}");
    }
}

#[test]
fn tls_is_by_the_authorities_that_the_system_trusts() {
    let (authority, address, folder) = (Authority::new(), free_address(), TempDir::new().unwrap());
    let signed = authority.sign("IP:127.0.0.1");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, private) = (file("redis.pem", &signed.certificate), file("redis.key", &signed.key));
    let trusted = authority.file();
    let options = [
        ("--port", "0"),
        ("--tls-port", port(&address)),
        ("--tls-auth-clients", "no"),
        ("--tls-ca-cert-file", &trusted),
        ("--tls-cert-file", &certificate),
        ("--tls-key-file", &private),
    ];
    let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect();
    let _own = OwnRedis::with(address.clone(), options);
    let url = format!("rediss://{address}");
    let (_trusting, admin) = server(&url, &[("SSL_CERT_FILE", &trusted)]);
    assert_eq!(used(&ask(&admin, "hits", 4).is(200).json()), 4);
    let (wary, admin) = server(&url, &[]);
    ask(&admin, "hits", 1).expect_problem(503, "unavailable");
    becomes("it is told why", || wary.log().contains("certificate").then_some(()));
}
