//! Behind a real nginx, with the recipe and the commands that `docs/nginx.md` gives: they are read out of it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::http::client::Client;
use crate::http::server::{ADMIN_KEY, Server, free_address};

const GUIDE: &str = "../docs/nginx.md";
/// Debian's place is not in everybody's path.
const PATHS: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";

/// The blocks of the guide in a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let fence = format!("```{language}\n");
    guide.split(&*fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// With every occurrence replaced; there is at least one.
pub(super) fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the guide has no {from:?} any more:\n{text}");
    text.replace(from, to)
}

/// The application: counts what reaches it, and says of whom it was told.
pub(super) struct Application {
    pub(super) address: String,
    requests: Arc<AtomicUsize>,
    bodies: Arc<Mutex<String>>,
}

impl Application {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (requests, bodies) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<String>>::default());
        let (counted, kept) = (Arc::clone(&requests), Arc::clone(&bodies));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (counted, kept) = (Arc::clone(&counted), Arc::clone(&kept));
                std::thread::spawn(move || serve(stream, &counted, &kept));
            }
        });
        Self { address, requests, bodies }
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, counted: &AtomicUsize, kept: &Mutex<String>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let (mut length, mut organization, mut line) = (0, String::new(), String::new());
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "x-organization" => value.clone_into(&mut organization),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        kept.lock().unwrap().push_str(&String::from_utf8_lossy(&body));
        counted.fetch_add(1, Ordering::SeqCst);
        let answer = format!("work of {organization}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// A running nginx. It ends when this goes.
struct Nginx {
    process: Child,
    address: String,
}

impl Nginx {
    /// In a folder that has the site, on a free port.
    fn start(folder: &Path, recipe: &str, address: &str) -> Self {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {name};")).join(" ");
        let main = format!(
            "daemon off; worker_processes 1; pid nginx.pid; error_log error.log info;\n\
             events {{ worker_connections 256; }}\nhttp {{ access_log access.log; {temporary}\ninclude site.conf; }}\n"
        );
        fs::write(folder.join("nginx.conf"), main).unwrap();
        fs::write(folder.join("site.conf"), recipe).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-e", "error.log", "-c", "nginx.conf", "-p"]).arg(folder);
        let mut process = of_ours(&mut command, folder).stdin(Stdio::null()).spawn().expect("nginx-light is installed");
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
                return Self { process, address: address.to_owned() };
            }
            if process.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = process.kill();
        let _ = process.wait();
        panic!("nginx did not start: {}", fs::read_to_string(folder.join("error.log")).unwrap_or_default());
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address), None)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends its worker with it, which a kill would leave behind.
        let _ = rustix::process::kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

pub(super) fn of_ours<'c>(command: &'c mut Command, folder: &Path) -> &'c mut Command {
    command.env_clear().env("PATH", PATHS).current_dir(folder);
    command.envs(std::env::var_os("METERGATE_CHECK").map(|mark| ("METERGATE_CHECK", mark)))
}

/// Runs commands of the guide in a folder, and answers what they print.
fn run(folder: &Path, commands: &str) -> String {
    let nginx = format!("nginx() {{ command nginx -e error.log -c nginx.conf -p '{}' \"$@\"; }}\n", folder.display());
    let mut command = Command::new("sh");
    command.arg("-euc").arg(nginx + commands);
    let done = of_ours(&mut command, folder).env("METERGATE_ADMIN_KEY", ADMIN_KEY).output().unwrap();
    let (printed, said) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{commands}\nprinted {printed}\nand said {said}");
    printed.into_owned()
}

/// Everything that the guide sets up.
struct Site {
    server: Server,
    admin: Client,
    application: Application,
    address: String,
    recipe: String,
}

impl Site {
    /// With the key and the organization of the guide.
    fn new() -> Self {
        let server = Server::start();
        let (application, address) = (Application::start(), free_address());
        let [set_up, ..] = &blocks("sh")[..] else { panic!("the guide has no commands") };
        run(server.folder(), &replaced(set_up, "http://127.0.0.1:8080", &server.url));
        let recipe = replaced(&blocks("nginx")[0], "127.0.0.1:8080", server.url.trim_start_matches("http://"));
        let recipe = replaced(&recipe, "127.0.0.1:3000", &application.address);
        let recipe = replaced(&recipe, "listen 80 default_server;", &format!("listen {address} default_server;"));
        Self { admin: server.admin(), server, application, address, recipe }
    }

    fn nginx(&self, recipe: &str) -> Nginx {
        Nginx::start(self.server.folder(), recipe, &self.address)
    }

    fn used(&self) -> i64 {
        let usage = self.admin.get("/v1/usage?organization=acme&meter=api_calls&dense=true").is(200).json();
        usage["data"][0]["value"].as_i64().unwrap()
    }
}

#[test]
fn the_recipe_passes_what_is_allowed_with_rate_headers_and_refuses_with_429() {
    let site = Site::new();
    let nginx = site.nginx(&site.recipe);
    let client = nginx.client();
    let ask = |key: &str| client.call("GET", "/").header("x-api-key", key).send();

    client.get("/").is(401);
    ask("of nobody").is(401);
    let passed = ask("key-of-acme").is(200);
    assert_eq!(passed.text, "work of acme");
    assert_eq!(passed.header("x-ratelimit-limit-minute"), Some("60"));
    assert_eq!(passed.header("x-ratelimit-remaining-minute"), Some("59"));
    assert_eq!(passed.header("x-ratelimit-remaining-day"), Some("4999"));
    assert!(passed.header("ratelimit").is_some_and(|text| text.starts_with("\"api_calls-minute\";r=59;t=")));
    assert!(passed.header("ratelimit-policy").is_some_and(|text| text.contains("q=60;w=60")));
    assert!(passed.header("retry-after").is_none() && passed.header("x-quota-degraded").is_none());

    // What the client writes says nothing; a body is the application's alone.
    let call = client.call("POST", "/orders?organization=globex&quantity=0").header("x-api-key", "key-of-acme");
    let call = call.header("x-quota-organization", "globex").header("x-quota-id", "same").json(json!({"much": "work"}));
    assert_eq!(call.send().is(200).text, "work of acme");
    assert_eq!(*site.application.bodies.lock().unwrap(), r#"{"much":"work"}"#);

    let commands = blocks("sh");
    run(site.server.folder(), &commands[1]);
    // Its old worker closes the connections that it has.
    std::thread::sleep(Duration::from_millis(500));
    let client = nginx.client();
    let ask = |key: &str| client.call("GET", "/").header("x-api-key", key).send();
    let seen =
        run(site.server.folder(), &replaced(&commands[2], "http://127.0.0.1/", &format!("http://{}/", nginx.address)));
    assert!(seen.starts_with("HTTP/1.1 200 OK") && seen.contains("X-RateLimit-Remaining-Minute: 57"), "{seen}");
    assert_eq!(commands.len(), 3, "every command of the guide is run here");

    for _ in 3..60 {
        ask("key-of-acme").is(200);
    }
    let refused = ask("key-of-acme").is(429);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(
        (refused.json()["code"].as_str(), refused.json()["status"].as_i64()),
        (Some("quota-exceeded"), Some(429))
    );
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(refused.header("x-ratelimit-remaining-minute"), Some("0"));
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert!(refused.header("ratelimit").is_some_and(|text| text.contains("r=0")));
    assert_eq!((site.used(), site.application.requests()), (60, 60));
}

#[test]
fn a_locked_organization_is_403_and_an_ended_trial_402_behind_nginx() {
    let site = Site::new();
    let nginx = site.nginx(&site.recipe);
    let client = nginx.client();
    let ask = |key: &str| client.call("GET", "/").header("x-api-key", key).send();
    site.admin.put("/v1/organizations/acme/lock", json!({"reason": "r"})).is(200);
    let locked = ask("key-of-acme").is(403);
    assert_eq!((locked.json()["code"].as_str(), locked.header("retry-after")), (Some("organization-locked"), None));
    site.admin.post("/v1/organizations", json!({"key": "globex", "plan": "trial", "test": true})).is(201);
    ask("key-of-globex").is(200);
    site.admin.put("/v1/organizations/globex/clock", json!({"now": "2199-01-01T00:00:00Z"})).is(200);
    let ended = ask("key-of-globex").is(402);
    assert_eq!(ended.json()["code"], "trial-expired");
    assert_eq!(ended.header("content-type"), Some("application/problem+json"));
    assert_eq!(site.application.requests(), 1);
}

#[test]
fn nothing_passes_while_metergate_is_away_or_the_recipe_asks_for_what_is_not_there() {
    let mut site = Site::new();
    let nginx = site.nginx(&site.recipe);
    let client = nginx.client();
    let ask = |key: &str| client.call("GET", "/").header("x-api-key", key).send();
    ask("key-of-acme").is(200);
    site.server.kill();
    let away = ask("key-of-acme").is(503);
    assert_eq!((away.header("retry-after"), away.json()["code"].as_str()), (Some("1"), Some("unavailable")));
    assert_eq!(away.header("content-type"), Some("application/problem+json"));
    site.server.start_again();
    ask("key-of-acme").is(200);

    // Of this organization the map knows, and Metergate does not.
    ask("key-of-globex").is(503);
    assert!(site.server.log().contains("unknown-organization"), "{}", site.server.log());
    drop(nginx);
    for (from, to) in [("meter=api_calls", "meter=apicalls"), ("organizationHeader=", "organisationHeader=")] {
        let nginx = site.nginx(&replaced(&site.recipe, from, to));
        nginx.client().call("GET", "/").header("x-api-key", "key-of-acme").send().is(503);
    }
    fs::write(site.server.folder().join("metergate-key.conf"), "proxy_set_header Authorization \"Bearer wrong\";")
        .unwrap();
    let nginx = site.nginx(&site.recipe);
    nginx.client().call("GET", "/").header("x-api-key", "key-of-acme").send().is(503);
    assert_eq!(site.application.requests(), 2);
}

#[test]
fn with_the_open_recipe_requests_pass_only_while_metergate_does_not_answer() {
    let mut site = Site::new();
    let [_, away, leads_there] = &blocks("nginx")[..] else { panic!("the guide has a recipe and two additions") };
    let recipe = replaced(
        &site.recipe,
        "    location = /_quota {\n",
        &format!("{away}    location = /_quota {{\n{leads_there}"),
    );
    let nginx = site.nginx(&recipe);
    let client = nginx.client();
    let ask = |key: &str| client.call("GET", "/").header("x-api-key", key).send();
    assert!(ask("key-of-acme").is(200).header("x-quota-degraded").is_none());
    site.server.kill();
    for _ in 0..70 {
        let passed = ask("key-of-acme").is(200);
        assert_eq!((passed.text.as_str(), passed.header("x-quota-degraded")), ("work of acme", Some("true")));
    }
    client.get("/").is(401);
    site.server.start_again();
    assert!(ask("key-of-acme").is(200).header("x-quota-degraded").is_none());
    ask("key-of-globex").is(503);
    site.admin.put("/v1/organizations/acme/lock", json!({"reason": "r"})).is(200);
    ask("key-of-acme").is(403);
    assert_eq!((site.used(), site.application.requests()), (2, 72));
    drop(nginx);
    let nginx = site.nginx(&replaced(&recipe, "meter=api_calls", "meter=apicalls"));
    nginx.client().call("GET", "/").header("x-api-key", "key-of-acme").send().is(503);
}

/// Takes connections, and answers each request 503 only after so long.
fn slow(wait: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    line.clear();
                }
                std::thread::sleep(wait);
                stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            });
        }
    });
    address
}

/// Its own deadline is five seconds: what it says by then is by the plan.
#[test]
fn while_metergate_takes_its_time_nginx_does_not_decide_in_its_place() {
    let site = Site::new();
    let recipe = replaced(&site.recipe, site.server.url.trim_start_matches("http://"), &slow(Duration::from_secs(3)));
    let [_, away, leads_there] = &blocks("nginx")[..] else { panic!("the guide has a recipe and two additions") };
    let open = format!("{away}    location = /_quota {{\n{leads_there}");
    let nginx = site.nginx(&replaced(&recipe, "    location = /_quota {\n", &open));
    let answer = nginx.client().call("GET", "/").header("x-api-key", "key-of-acme").send().is(503);
    assert_eq!((answer.header("x-quota-degraded"), site.application.requests()), (None, 0));
}

/// Ends of connections of this machine that have a port at either end, also of those that have just ended.
fn ends(port: u16) -> usize {
    let port = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let is_its = |line: &&str| line.split_whitespace().skip(1).take(2).any(|end| end.ends_with(&port));
    table.lines().filter(is_its).count()
}

#[test]
fn connections_to_metergate_are_kept_and_without_the_line_for_it_are_not() {
    let site = Site::new();
    site.admin.put("/v1/organizations/acme/overrides/api_calls/minute", json!({"unlimited": true})).is(200);
    let port = site.server.url.rsplit(':').next().unwrap().parse().unwrap();
    let more = |recipe: &str| {
        let (before, nginx) = (ends(port), site.nginx(recipe));
        let client = nginx.client();
        for _ in 0..100 {
            client.call("GET", "/").header("x-api-key", "key-of-acme").send().is(200);
        }
        ends(port).saturating_sub(before)
    };
    let kept = more(&site.recipe);
    assert!(kept <= 8, "{kept} ends of connections for 100 requests");
    let opened = more(&replaced(&site.recipe, " keepalive 32;", ""));
    assert!(opened >= 50, "{opened} ends of connections for 100 requests");
}
