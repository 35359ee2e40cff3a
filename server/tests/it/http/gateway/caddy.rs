//! Behind a real Caddy, with the recipe that `docs/gateways.md` gives: it is read out of it.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::nginx::{Application, of_ours, replaced};
use crate::http::client::Client;
use crate::http::server::{Server, free_address};

const GUIDE: &str = "../docs/gateways.md";

fn recipe() -> String {
    let guide = fs::read_to_string(GUIDE).unwrap();
    guide.split("```caddyfile\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

/// A running Caddy. It ends when this goes.
struct Caddy {
    process: Child,
    address: String,
}

impl Caddy {
    /// In a folder, on a free port, with a key for Metergate.
    fn start(folder: &Path, recipe: &str, key: &str) -> Self {
        let address = free_address();
        let site = replaced(recipe, "example.com {", &format!("http://{address} {{"));
        fs::write(folder.join("Caddyfile"), format!("{{\n    admin off\n}}\n{site}")).unwrap();
        let log = fs::File::create(folder.join("caddy.log")).unwrap();
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]).stdin(Stdio::null()).stderr(log);
        let command = of_ours(&mut command, folder);
        command.env("METERGATE_API_KEY", key).env("HOME", folder);
        let mut caddy = Self { process: command.spawn().expect("caddy is installed"), address };
        for _ in 0..500 {
            if TcpStream::connect(&caddy.address).is_ok() {
                return caddy;
            }
            if caddy.process.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("Caddy did not start: {}", fs::read_to_string(folder.join("caddy.log")).unwrap_or_default());
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address), None)
    }
}

impl Drop for Caddy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn behind_caddy_the_organization_is_that_of_the_key_whatever_else_the_client_writes() {
    let server = Server::start();
    let (admin, application) = (server.admin(), Application::start());
    for organization in ["acme", "globex"] {
        admin.post("/v1/organizations", json!({"key": organization, "plan": "free"})).is(201);
    }
    let made = admin.post("/v1/api-keys", json!({"name": "caddy", "scopes": ["consume"]})).is(201).json();
    let recipe = replaced(&recipe(), "metergate:8080", server.url.trim_start_matches("http://"));
    let recipe = replaced(&recipe, "application:3000", &application.address);
    let caddy = Caddy::start(server.folder(), &recipe, made["key"].as_str().unwrap());
    let client = caddy.client();
    let used = |organization: &str| {
        let usage = format!("/v1/usage?organization={organization}&meter=api_calls&dense=true");
        admin.get(&usage).is(200).json()["data"][0]["value"].clone()
    };

    let ask = || client.call("GET", "/").header("x-api-key", "key-of-acme");
    assert_eq!(ask().send().is(200).text, "work of acme");
    assert_eq!(ask().header("x-organization", "globex").send().is(200).text, "work of acme");
    assert_eq!(ask().header("x-metergate-key", "wrong").send().is(200).text, "work of acme");
    let body = client.call("POST", "/?organization=globex&quantity=0").header("x-api-key", "key-of-acme");
    assert_eq!(body.json(json!({"much": "work"})).send().is(200).text, "work of acme");
    client.call("GET", "/").header("x-organization", "globex").send().is(401);
    client.get("/").is(401);
    assert_eq!((used("acme"), used("globex"), application.requests()), (json!(4), json!(0), 4));

    for _ in 4..60 {
        ask().send().is(200);
    }
    let refused = ask().header("x-organization", "globex").send().is(429);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.header("retry-after").is_some() && refused.json()["code"] == "quota-exceeded");
    assert_eq!((used("acme"), used("globex"), application.requests()), (json!(60), json!(0), 60));
    let other = client.call("GET", "/").header("x-api-key", "key-of-globex").send().is(200);
    assert_eq!((other.text.as_str(), used("globex")), ("work of globex", json!(1)));
}
