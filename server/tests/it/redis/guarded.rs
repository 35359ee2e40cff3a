//! A Redis that asks for a password, and one behind TLS.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::kit::{ask, server, used};
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
    for log in [with.log(), wrong.log()] {
        assert!(log.contains("Redis") && !log.contains("canary"), "{log}");
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let output =
        command.args(arguments.split(' ')).current_dir(folder).output().expect("openssl is there: ./check installs it");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn tls_is_by_the_authorities_that_the_system_trusts() {
    let (folder, address) = (TempDir::new().unwrap(), free_address());
    std::fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(
        folder.path(),
        &format!("req -x509 {key} -days 30 -subj /CN=authority -keyout authority.key -out authority.pem"),
    );
    openssl(folder.path(), &format!("req {key} -subj /CN=redis -keyout redis.key -out redis.csr"));
    let sign = "x509 -req -in redis.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 30 -extfile names -out redis.pem";
    openssl(folder.path(), sign);
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (authority, certificate, private) = (file("authority.pem"), file("redis.pem"), file("redis.key"));
    let options = [
        ("--port", "0"),
        ("--tls-port", port(&address)),
        ("--tls-auth-clients", "no"),
        ("--tls-ca-cert-file", &authority),
        ("--tls-cert-file", &certificate),
        ("--tls-key-file", &private),
    ];
    let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect();
    let _own = OwnRedis::with(address.clone(), options);
    let url = format!("rediss://{address}");
    let (_trusting, admin) = server(&url, &[("SSL_CERT_FILE", &authority)]);
    assert_eq!(used(&ask(&admin, "hits", 4).is(200).json()), 4);
    let (wary, admin) = server(&url, &[]);
    ask(&admin, "hits", 1).expect_problem(503, "unavailable");
    assert!(wary.log().contains("certificate"), "{}", wary.log());
}
