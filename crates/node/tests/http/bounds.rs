//! Bodies, requests, time and heads are bounded, and what is refused is counted.

use std::sync::atomic::Ordering;

use reqwest::{Body, Method};
use serde_json::json;
use sofie_model::Span;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::world::{Server, problem};

const REFUSED: &str = "sofie_http_bodies_refused_total";

#[tokio::test]
async fn a_body_over_its_limit_is_refused_and_counted() {
    let server = Server::limited(|limits| limits.body_bytes = 100).await;
    let description = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    let put = || server.request(Method::PUT, "/things/urn:x").header("content-type", "application/td+json");
    let chunked = |length: usize| {
        let chunks = description(length).into_bytes().chunks(60).map(<[u8]>::to_vec).collect::<Vec<_>>();
        Body::wrap_stream(futures::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)))
    };
    assert_eq!(put().body(description(100)).send().await.unwrap().status(), 201);
    assert_eq!(put().body(chunked(100)).send().await.unwrap().status(), 204);
    assert_eq!(server.measure(REFUSED).await, Some(0));
    for (refused, request) in
        [put().body(description(101)), put().body(chunked(101)), put().body(description(1600))]
            .into_iter()
            .enumerate()
    {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 413);
        assert_eq!(problem(answer).await["detail"], "the body is over the limit of 100 bytes");
        assert_eq!(server.measure(REFUSED).await, Some(refused as u64 + 1));
    }
}

/// A body that is declared as far too large is not read at all.
#[tokio::test]
async fn a_huge_body_is_refused_by_its_head() {
    let server = Server::limited(|limits| limits.body_bytes = 100).await;
    let answer = server
        .raw("PUT /things/urn:x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/td+json\r\nContent-Length: 99999999\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(server.measure(REFUSED).await, Some(1));
}

fn platform() -> serde_json::Value {
    json!({ "owner": "locker-co", "kind": "coap", "url": "coap://127.0.0.1" })
}

/// The answer comes in time; the change that had begun goes on to its end.
#[tokio::test]
async fn what_takes_too_long_is_answered_in_time_and_ends_nevertheless() {
    let server = Server::limited(|limits| limits.request_timeout = Span::from_millis(100)).await;
    let answer = server.request(Method::POST, "/api/v1/platforms").json(&platform()).send().await.unwrap();
    assert_eq!(answer.status(), 504);
    assert_eq!(problem(answer).await["detail"], "no answer within 100 ms");
    assert_eq!(server.double.joined.load(Ordering::SeqCst), 0);
    server.double.gate.add_permits(1);
    while server.double.joined.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

/// A change keeps its place among the requests until it is done, also when its client has gone.
#[tokio::test]
async fn one_request_too_many_is_refused() {
    let server = Server::limited(|limits| limits.requests = 1).await;
    let request = server.request(Method::POST, "/api/v1/platforms").json(&platform());
    let waiting = tokio::spawn(request.send());
    server.double.begun.subscribe().wait_for(|begun| *begun == 1).await.unwrap();
    waiting.abort();
    let refused = server.get("/healthz").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(problem(refused).await["detail"], "1 requests are open already");
    server.double.gate.add_permits(1);
    while server.get("/healthz").await.status() != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let server = Server::limited(|limits| limits.header_timeout = Span::from_millis(100)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let many: String = (0..100).map(|i| format!("x-{i}: y\r\n")).collect();
    for head in [format!("x: {}\r\n", "y".repeat(20_000)), many] {
        let answer = server.raw(&format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{head}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[tokio::test]
async fn measures_are_well_formed_and_the_runtime_adds_its_own() {
    let server = Server::start().await;
    server.double.step("offered");
    server.get("/api/v1/contracts/x%22y").await;
    server.get("/nowhere/x").await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.unwrap();
    let mut families = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let (name, kind) = head.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(families.insert(name), "{name} has two heads");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            let name = series.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(families.contains(name) || family.is_some_and(|name| families.contains(name)), "{line}");
        }
    }
    for line in [
        "sofie_http_requests_total{method=\"GET\",route=\"/api/v1/contracts/{id}\",status=\"400\"} 1",
        "sofie_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "double_steps 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}
