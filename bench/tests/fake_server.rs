//! The client and the load generator against a server that answers in every awkward way.
#![allow(clippy::unwrap_used, reason = "a test fails where a step of it fails")]

use std::net::SocketAddr;
use std::time::Duration;

use metergate_bench::connection::Connection;
use metergate_bench::error::BenchError;
use metergate_bench::load::{self, Load};
use metergate_bench::report::Report;
use metergate_bench::workload::{Kind, Workload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Serves every connection on a free port with `serve`, for as long as the test runs.
async fn fake_server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads one whole request; false at the end of the connection.
async fn take_request(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return true;
            }
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return false;
        }
    }
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Any\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn load(target: SocketAddr, kind: Kind, batch: u64) -> Load {
    let meter = "api_calls".into();
    Load {
        targets: vec![target],
        workload: Workload { kind, batch, organizations: 10, meter, ids: true, hot: 0, key: "key".into() },
        connections: 2,
        rate: None,
        warm_up: Duration::ZERO,
        window: Duration::from_secs(10),
        count: Some(20),
        pid: Some(std::process::id()),
    }
}

/// The counts of a run of at least 20 answers from a server that answers the given ones in turn.
async fn counts_over(kind: Kind, batch: u64, answers: Vec<Vec<u8>>) -> Report {
    let target = fake_server(move |mut stream| {
        let answers = answers.clone();
        async move {
            for next in answers.iter().cycle() {
                if !take_request(&mut stream).await || stream.write_all(next).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    load::run(&load(target, kind, batch)).await.unwrap()
}

#[tokio::test]
async fn an_answer_in_many_pieces_is_one_answer() {
    let target = fake_server(|mut stream| async move {
        while take_request(&mut stream).await {
            for byte in answer(200, "{\"allowed\":true}") {
                stream.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let mut connection = Connection::open(target).await.unwrap();
    for _ in 0..3 {
        let got = connection.exchange(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
        assert_eq!((got.status, got.body), (200, &b"{\"allowed\":true}"[..]));
    }
}

#[tokio::test]
async fn several_answers_in_one_read_are_taken_one_by_one() {
    let long = "x".repeat(100_000);
    let all = [answer(200, "one"), answer(429, ""), answer(200, &long), answer(200, "last")].concat();
    let target = fake_server(move |mut stream| {
        let all = all.clone();
        async move {
            take_request(&mut stream).await;
            stream.write_all(&all).await.unwrap();
            sleep(Duration::from_secs(5)).await;
        }
    })
    .await;
    let mut connection = Connection::open(target).await.unwrap();
    connection.send(b"GET / HTTP/1.1\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    for (status, body) in [(200, "one"), (429, ""), (200, long.as_str()), (200, "last")] {
        let got = connection.receive().await.unwrap();
        assert_eq!((got.status, got.body.len()), (status, body.len()));
        assert_eq!(got.body, body.as_bytes());
    }
}

#[tokio::test]
async fn refusals_errors_and_other_statuses_are_counted_apart() {
    let (yes, no) = (answer(200, r#"{"allowed":true}"#), answer(200, r#"{"allowed":false}"#));
    let report = counts_over(Kind::Consume, 1, vec![yes, no, answer(503, "{}"), answer(200, "{}")]).await;
    assert!(report.requests >= 20);
    assert_eq!(report.requests, report.operations + report.failed);
    assert!(report.refused > 0 && report.refused < report.operations, "{report}");
    assert!(report.non_2xx > 0 && report.failed > report.non_2xx, "{report}");
    assert_eq!(report.broken, 0, "{report}");
    assert!(report.cpu_micros.is_some());
}

#[tokio::test]
async fn arrays_and_batches_are_counted_by_item() {
    let mixed = r#"{"data":[{"allowed":true},{"allowed":false},{"code":"unknown-meter"}]}"#;
    let report = counts_over(Kind::ConsumeArray, 3, vec![answer(200, mixed)]).await;
    let requests = report.requests;
    assert_eq!((report.operations, report.refused, report.failed), (2 * requests, requests, requests));
    let batch = r#"{"accepted":2,"duplicates":1,"rejected":[]}"#;
    let report = counts_over(Kind::Events, 3, vec![answer(200, batch)]).await;
    let requests = report.requests;
    assert_eq!((report.operations, report.refused, report.failed), (3 * requests, requests, 0));
}

#[tokio::test]
async fn a_server_that_closes_politely_breaks_nothing_and_one_that_hangs_up_does() {
    let target = fake_server(|mut stream| async move {
        take_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let report = load::run(&load(target, Kind::Check, 1)).await.unwrap();
    assert_eq!(report.broken, 0, "{report}");
    let target = fake_server(|mut stream| async move {
        take_request(&mut stream).await;
        let _ = stream.write_all(&answer(200, r#"{"allowed":true}"#)).await;
    })
    .await;
    let report = load::run(&load(target, Kind::Check, 1)).await.unwrap();
    assert!(report.broken > 0 && report.operations >= 20, "{report}");
    assert!(report.first_break.unwrap().starts_with("reading an answer"));
}

#[tokio::test]
async fn a_stall_counts_for_every_request_that_was_due_meanwhile() {
    let stall = Duration::from_millis(400);
    let target = fake_server(move |mut stream| async move {
        let mut answered = 0;
        while take_request(&mut stream).await {
            if answered == 100 {
                sleep(stall).await;
            }
            stream.write_all(&answer(200, r#"{"allowed":true}"#)).await.unwrap();
            answered += 1;
        }
    })
    .await;
    let paced = Load {
        rate: Some(500),
        connections: 1,
        window: Duration::from_secs(1),
        count: None,
        ..load(target, Kind::Consume, 1)
    };
    let report = load::run(&paced).await.unwrap();
    // 200 of the 500 due in that second waited for up to 400 ms; a closed loop would have seen one slow answer.
    assert!(report.latency_ms.p90 > 100.0, "{report}");
    assert!(report.latency_ms.p50 < 200.0, "{report}");
    assert_eq!(report.broken, 0, "{report}");
}

#[tokio::test]
async fn other_machines_are_refused() {
    for target in ["192.0.2.1:80", "0.0.0.0:80", "[2001:db8::1]:80"] {
        let target = target.parse().unwrap();
        let refused = load::run(&load(target, Kind::Consume, 1)).await;
        assert!(matches!(refused, Err(BenchError::NotLoopback(address)) if address == target));
    }
}
