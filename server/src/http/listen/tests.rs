//! Real sockets, short times: a client is plain blocking `std`.

use super::*;
use crate::http::body::{self, Limits};
use axum::body::Body as AxumBody;
use bytes::Bytes;
use hyper::service::service_fn;
use std::io::{Read, Write};
use std::net::TcpStream;

const SOON: Duration = Duration::from_millis(200);
const LATE: Duration = Duration::from_secs(20);

struct Running {
    server: Server,
    stop: watch::Sender<bool>,
}

/// All times long, so that a test shortens only what it is about.
fn listening() -> Listening {
    let address = "127.0.0.1:0".parse().unwrap();
    Listening {
        address,
        max_connections: 100,
        header_timeout: LATE,
        write_timeout: LATE,
        idle_timeout: LATE,
        drain_timeout: LATE,
    }
}

/// A server whose paths do what they say; everything else echoes its body.
fn start(listening: Listening, cores: usize) -> Running {
    let (stop, stopped) = watch::channel(false);
    let make = |core: usize| service_fn(move |request: Request<Incoming>| answer(core, request));
    Running { server: serve(listening, cores, make, stopped).unwrap(), stop }
}

async fn answer(core: usize, request: Request<Incoming>) -> Result<Response<AxumBody>, std::io::Error> {
    match request.uri().path() {
        "/slow" => tokio::time::sleep(SOON * 5).await,
        "/never" => std::future::pending().await,
        "/error" => return Err(std::io::Error::other("no answer")),
        "/panic" => panic!("as asked"),
        "/core" => return Ok(Response::new(core.to_string().into())),
        "/peer" => return Ok(Response::new(request.extensions().get::<Peer>().unwrap().0.to_string().into())),
        "/large" => return Ok(Response::new(Bytes::from(vec![b'x'; 64 << 20]).into())),
        _ => {}
    }
    let limits = Limits { bytes: 1_000, timeout: SOON };
    match body::read(body::Limited::new(request.into_body(), limits)).await {
        Ok(bytes) => Ok(Response::new(bytes.into())),
        Err(error) => Ok(error.response(None)),
    }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.address()).unwrap();
        stream.set_read_timeout(Some(LATE / 2)).unwrap();
        stream
    }

    fn send(&self, text: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// Begins the shutdown and waits for its end; how many connections were cut off.
    fn end(self) -> usize {
        self.stop.send(true).unwrap();
        self.server.join().unwrap()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn post(length: usize, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// One answer with a content length: its status, head and body.
fn read_answer(stream: &mut TcpStream) -> (u16, String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, String::from_utf8(body).unwrap())
}

/// Everything until the server closes; a reset is an end too.
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => String::from_utf8_lossy(&text).into_owned(),
    }
}

#[test]
fn requests_on_one_connection_are_answered_in_order_also_when_sent_at_once() {
    let server = start(listening(), 2);
    let mut stream = server.send(&[post(3, "one"), post(3, "two"), get("/x")].concat());
    assert_eq!([1, 2, 3].map(|_| read_answer(&mut stream).2), ["one", "two", ""]);
    stream.write_all(get("/peer").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).2, stream.local_addr().unwrap().to_string());
    assert_eq!(server.end(), 0);
}

#[test]
fn every_core_has_a_socket_of_its_own_on_the_same_port() {
    let server = start(listening(), 2);
    let mut cores: Vec<String> = (0..64).map(|_| read_answer(&mut server.send(&get("/core"))).2).collect();
    cores.sort();
    cores.dedup();
    assert_eq!(cores, ["0", "1"]);
}

#[test]
fn an_address_that_another_server_has_is_refused() {
    let server = start(listening(), 1);
    let again = Listening { address: server.server.address(), ..listening() };
    let service = |_| service_fn(|request| answer(0, request));
    let refused = serve(again, 1, service, server.stop.subscribe()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_slow_header_is_cut_however_steadily_it_drips() {
    let server = start(Listening { header_timeout: SOON, ..listening() }, 1);
    let mut silent = server.connect();
    let mut second = server.send(&get("/x"));
    read_answer(&mut second);
    let mut dripping = server.connect();
    let drip = |stream: &mut TcpStream| {
        (0..200).find(|_| {
            std::thread::sleep(SOON / 10);
            stream.write_all(b"X").is_err()
        })
    };
    assert!(drip(&mut dripping).is_some());
    assert!(drip(&mut second).is_some(), "also the second request of a connection");
    assert_eq!(read_to_end(&mut silent), "");
}

#[test]
fn a_slow_body_is_answered_408_and_closed() {
    let server = start(listening(), 1);
    let answer = read_to_end(&mut server.send(&post(10, "half")));
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.to_lowercase().contains("connection: close"), "{answer}");
    let answer = read_to_end(&mut server.send(&post(2_000, "large")));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn an_idle_connection_is_closed_and_a_slow_service_is_not_idle() {
    let server = start(Listening { idle_timeout: SOON, header_timeout: SOON, write_timeout: SOON, ..listening() }, 1);
    let mut stream = server.send(&get("/slow"));
    assert_eq!(read_answer(&mut stream).0, 200);
    assert_eq!(read_to_end(&mut stream), "");
}

#[test]
fn an_answer_that_is_not_taken_is_cut() {
    let server = start(Listening { write_timeout: SOON * 2, ..listening() }, 1);
    let mut stream = server.send(&get("/large"));
    std::thread::sleep(SOON * 6);
    assert!(read_to_end(&mut stream).len() < 64 << 20);
    let mut steady = server.send(&get("/large"));
    assert!(read_to_end_of_length(&mut steady, 64 << 20), "one that is taken comes whole");
}

fn read_to_end_of_length(stream: &mut TcpStream, length: usize) -> bool {
    let (mut read, mut buffer) = (0, vec![0; 1 << 16]);
    while read < length {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(bytes) => read += bytes,
        }
    }
    true
}

#[test]
fn connections_above_the_bound_hear_503_and_there_is_room_again_when_one_closes() {
    let server = start(Listening { max_connections: 2, ..listening() }, 2);
    let mut open: Vec<TcpStream> = (0..2).map(|_| server.send(&get("/x"))).collect();
    open.iter_mut().for_each(|stream| assert_eq!(read_answer(stream).0, 200));
    for _ in 0..3 {
        let answer = read_to_end(&mut server.send(&post(3, "abc")));
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("connection: close"), "{answer}");
    }
    open.pop();
    let room = (0..100).any(|_| {
        std::thread::sleep(SOON / 10);
        read_answer(&mut server.send(&get("/x"))).0 == 200
    });
    assert!(room);
}

#[test]
fn a_service_that_fails_or_panics_closes_its_own_connection_only() {
    let server = start(listening(), 1);
    let mut beside = server.send(&get("/slow"));
    for path in ["/error", "/panic"] {
        assert_eq!(read_to_end(&mut server.send(&get(path))), "");
    }
    assert_eq!(read_answer(&mut beside).0, 200);
    assert_eq!(server.end(), 0);
}

#[test]
fn the_shutdown_finishes_what_runs_closes_what_is_idle_and_refuses_what_is_new() {
    let server = start(listening(), 2);
    let mut idle = server.send(&get("/x"));
    read_answer(&mut idle);
    let mut running = server.send(&get("/slow"));
    std::thread::sleep(SOON / 4);
    let just_sent: Vec<TcpStream> = (0..20).map(|_| server.send(&post(3, "abc"))).collect();
    let mut silent = server.connect();
    let address = server.server.address();
    server.stop.send(true).unwrap();
    assert_eq!(read_to_end(&mut idle), "");
    assert_eq!(read_to_end(&mut silent), "");
    for mut stream in just_sent {
        assert_eq!(read_answer(&mut stream).0, 200, "sent before the shutdown, so answered");
    }
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let (status, head, _) = read_answer(&mut running);
    assert!(status == 200 && head.contains("connection: close"), "{head}");
    assert_eq!(server.server.join().unwrap(), 0);
}

#[test]
fn the_shutdown_waits_no_longer_than_its_time() {
    let server = start(Listening { drain_timeout: SOON, ..listening() }, 1);
    let mut never = server.send(&get("/never"));
    std::thread::sleep(SOON / 2);
    assert_eq!(server.end(), 1);
    assert_eq!(read_to_end(&mut never), "");
}

#[test]
fn a_header_that_is_too_large_is_431() {
    let server = start(listening(), 1);
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let answer = read_to_end(&mut server.send(&large));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn an_axum_router_serves_as_the_service() {
    let router = axum::Router::new().route("/hello", axum::routing::get(async || "hello"));
    let make = move |_| {
        let router = router.clone();
        service_fn(move |request: Request<Incoming>| {
            let router = router.clone();
            tower::ServiceExt::oneshot(
                router,
                request.map(|body| body::Limited::new(body, Limits::default())).map(AxumBody::new),
            )
        })
    };
    let (stop, stopped) = watch::channel(false);
    let server = Running { server: serve(listening(), 1, make, stopped).unwrap(), stop };
    assert_eq!(read_answer(&mut server.send(&get("/hello"))).2, "hello");
}

/// In a process of its own, because descriptors are counted for the whole process.
#[test]
fn accepting_goes_on_when_descriptors_ran_out_and_came_back() {
    const CHILD: &str = "METERGATE_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(CHILD).is_some() {
        return run_out_of_descriptors();
    }
    let name = "http::listen::tests::accepting_goes_on_when_descriptors_ran_out_and_came_back";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

fn run_out_of_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let server = start(listening(), 1);
    let few = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, few).unwrap();
    let mut clients: Vec<TcpStream> =
        std::iter::from_fn(|| TcpStream::connect(server.server.address()).ok()).take(64).collect();
    assert!(clients.len() < 64, "descriptors ran out");
    std::thread::sleep(SOON);
    let mut last = clients.pop().unwrap();
    clients.truncate(10);
    last.write_all(get("/x").as_bytes()).unwrap();
    last.set_read_timeout(Some(LATE / 2)).unwrap();
    assert_eq!(read_answer(&mut last).0, 200);
}
