//! How the door opens and closes.

use std::{net::Ipv4Addr, sync::Arc, sync::atomic::Ordering};

use reqwest::Method;
use serde_json::json;
use sofie_model::Span;
use sofie_node::http;
use tokio::net::TcpStream;

use crate::world::Server;

#[tokio::test]
async fn a_port_in_use_is_named_with_the_next_step() {
    let taken = http::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let error = http::bind(taken.address()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "port {} of 127.0.0.1 is in use: another node, or another program, listens there; stop it, or set [node] \
             listen to another port (port 0 takes any free one)",
            taken.address().port()
        )
    );
    // TEST-NET-1 (RFC 5737) is no address of this machine.
    let error = http::bind("192.0.2.1:8420".parse().unwrap()).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on 192.0.2.1:8420: "), "{error}");
}

/// A request that is being worked on is answered; new ones find the port closed.
#[tokio::test]
async fn a_stop_lets_open_requests_end() {
    let server = Server::start().await;
    let (double, address) = (Arc::clone(&server.double), server.address);
    let body = json!({ "owner": "locker-co", "kind": "mqtt", "url": "mqtt://127.0.0.1" });
    let waiting = tokio::spawn(server.request(Method::POST, "/api/v1/platforms").json(&body).send());
    double.begun.subscribe().wait_for(|begun| *begun == 1).await.unwrap();
    let (running, _) = server.stop();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    double.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 201);
    assert_eq!(running.await.unwrap().cut, 0);
}

/// A request that does not end in time is cut: a stop always ends. What it had begun is not undone.
#[tokio::test]
async fn a_stop_is_bounded() {
    let server = Server::limited(|limits| limits.drain = Span::from_millis(100)).await;
    let double = Arc::clone(&server.double);
    let body = json!({ "owner": "locker-co", "kind": "mqtt", "url": "mqtt://127.0.0.1" });
    let waiting = tokio::spawn(server.request(Method::POST, "/api/v1/platforms").json(&body).send());
    double.begun.subscribe().wait_for(|begun| *begun == 1).await.unwrap();
    let (running, _) = server.stop();
    assert_eq!(running.await.unwrap().cut, 1);
    assert!(waiting.await.unwrap().is_err());
    double.gate.add_permits(1);
    while double.joined.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

/// An idle keep-alive connection does not hold a stop up.
#[tokio::test]
async fn an_idle_connection_is_closed_at_once() {
    let server = Server::start().await;
    assert_eq!(server.get("/healthz").await.status(), 200);
    let (running, client) = server.stop();
    assert_eq!(running.await.unwrap().cut, 0);
    drop(client);
}
