//! Behind a real Envoy, with the filters that `docs/gateways.md` gives: they are read out of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::key;
use super::nginx::{Application, of_ours, replaced};
use crate::http::client::{Answer, Client};
use crate::http::server::{Server, free_address};

const GUIDE: &str = "../docs/gateways.md";
/// What stands around the filters in every configuration: a listener, a route, and the clusters that they name.
const AROUND: &str = r#"
static_resources:
  listeners:
    - address: { socket_address: { address: 127.0.0.1, port_value: LISTEN } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: tests
                route_config: { virtual_hosts: [{ name: all, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: application } }] }] }
FILTERS
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
CLUSTERS
"#;
/// By which the identity provider signs.
const SECRET: &[u8] = b"the-secret-of-the-tests-0123456789";

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

/// The filters of the guide in their place.
fn configuration(address: &str, key: &str, [metergate, provider, application]: [&str; 3]) -> String {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let filters = guide.split("```yaml\nhttp_filters:\n").nth(1).unwrap().split("```").next().unwrap();
    let filters = replaced(filters, "http://metergate:8080", &format!("http://{metergate}"));
    let filters = replaced(&filters, "mgk_…", key);
    let indent = |line: &str| format!("                {line}\n");
    let filters: String = std::iter::once("http_filters:").chain(filters.lines()).map(indent).collect();
    let cluster = |(name, address): (&str, &str)| {
        let address = format!("{{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}", port(address));
        let endpoints = format!("[{{ lb_endpoints: [{{ endpoint: {{ address: {address} }} }}] }}]");
        format!("    - {{ name: {name}, load_assignment: {{ cluster_name: {name}, endpoints: {endpoints} }} }}\n")
    };
    let clusters = [("metergate", metergate), ("sign-in", provider), ("application", application)];
    let clusters: String = clusters.into_iter().map(cluster).collect();
    AROUND.replace("LISTEN", port(address)).replace("FILTERS\n", &filters).replace("CLUSTERS\n", &clusters)
}

/// An identity provider as far as Envoy asks it: its keys. Where it listens.
fn provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let keys =
        json!({"keys": [{"kty": "oct", "alg": "HS256", "kid": "tests", "k": BASE64.encode(SECRET)}]}).to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = String::new();
            if BufReader::new(&stream).read_line(&mut asked).is_err() {
                continue;
            }
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", keys.len());
            let _ = stream.write_all((head + &keys).as_bytes());
        }
    });
    address
}

/// A token of the provider's.
fn token(issuer: &str, organization: &str) -> String {
    let [head, claims] = [json!({"alg": "HS256", "kid": "tests"}), json!({"iss": issuer, "org": organization})]
        .map(|part| BASE64.encode(part.to_string()));
    let signed = format!("{head}.{claims}");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(signed.as_bytes());
    format!("Bearer {signed}.{}", BASE64.encode(mac.finalize().into_bytes()))
}

/// A running Envoy. It ends when this goes.
struct Envoy {
    process: Child,
    address: String,
}

impl Envoy {
    fn start(folder: &Path, address: &str, configuration: &str) -> Self {
        fs::write(folder.join("envoy.yaml"), configuration).unwrap();
        let log = fs::File::create(folder.join("envoy.log")).unwrap();
        let program = std::env::var_os("METERGATE_ENVOY").unwrap_or_else(|| "envoy".into());
        let mut command = Command::new(program);
        command.args(["-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
        let command = of_ours(&mut command, folder).stdin(Stdio::null()).stderr(log);
        let process = command.spawn().expect("METERGATE_ENVOY names Envoy, or it is installed");
        let mut envoy = Self { process, address: address.to_owned() };
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
                return envoy;
            }
            if envoy.process.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("Envoy did not start: {}", fs::read_to_string(folder.join("envoy.log")).unwrap_or_default());
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address), None)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn behind_envoy_the_organization_is_that_of_the_token_whatever_else_the_client_writes() {
    let mut server = Server::start();
    let (admin, application) = (server.admin(), Application::start());
    for organization in ["acme", "globex"] {
        admin.post("/v1/organizations", json!({"key": organization, "plan": "free"})).is(201);
    }
    let (provider, address) = (provider(), free_address());
    let clusters = [server.url.trim_start_matches("http://"), &provider, &application.address];
    let configuration = configuration(&address, &key(&admin, "consume"), clusters);
    let envoy = Envoy::start(server.folder(), &address, &configuration);
    let client = envoy.client();
    let used = |organization: &str| {
        let usage = format!("/v1/usage?organization={organization}&meter=api_calls&dense=true");
        admin.get(&usage).is(200).json()["data"][0]["value"].clone()
    };

    let acme = token("https://sign-in.example.com", "acme");
    let ask = |method: &str, path: &str| client.call(method, path).header("authorization", &acme);
    let first = ask("GET", "/").send().is(200);
    assert_eq!(first.text, "work of acme");
    let rates = |answer: &Answer| {
        ["limit", "remaining"].map(|name| answer.header(&format!("x-ratelimit-{name}-minute")).map(str::to_owned))
    };
    assert_eq!(rates(&first), ["60", "59"].map(|text| Some(text.to_owned())));
    assert!(first.header("ratelimit").is_some() && first.header("ratelimit-policy").is_some());
    for (name, value) in
        [("x-organization", "globex"), ("x-metergate-key", "wrong"), ("x-quota-authorize", "organization=globex")]
    {
        let path = "/v1/me?organization=globex&quantity=0";
        let said = ask("POST", path).header(name, value).json(json!({"much": "work"})).send();
        assert_eq!(said.is(200).text, "work of acme", "{name}");
    }
    client.call("GET", "/").header("x-organization", "acme").send().is(401);
    let foreign = token("https://elsewhere.example.com", "acme");
    client.call("GET", "/").header("authorization", &foreign).send().is(401);
    assert_eq!((used("acme"), used("globex"), application.requests()), (json!(4), json!(0), 4));

    for _ in 4..60 {
        ask("GET", "/").send().is(200);
    }
    let refused = ask("GET", "/").send().is(429);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!((refused.header("cache-control"), rates(&refused)[1].as_deref()), (Some("no-store"), Some("0")));
    assert!(refused.header("retry-after").is_some() && refused.json()["code"] == "quota-exceeded");
    assert_eq!((used("acme"), application.requests()), (json!(60), 60));
    server.kill();
    ask("GET", "/").send().is(503);
    assert_eq!(application.requests(), 60, "nothing passes while Metergate is away");
}
