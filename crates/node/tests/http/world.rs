//! A bound server, its double, and clients for it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use sofie_node::{
    config::Limits,
    http::{self, Closed, Options},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

use crate::double::Double;

/// A node's door with the double behind it, on a free loopback port.
pub(crate) struct Server {
    pub(crate) double: Arc<Double>,
    pub(crate) address: SocketAddr,
    client: Client,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Closed>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Options { console: true, ..Options::default() }).await
    }

    pub(crate) async fn limited(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::with(Options { limits, ..Options::default() }).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let double = Double::new();
        let bound = http::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = bound.address();
        assert_eq!(bound.console_url(), format!("http://{address}/console/"));
        let (stop, stopped) = oneshot::channel();
        let federation = Arc::clone(&double);
        let running =
            tokio::spawn(
                async move { bound.serve(federation, options, async { drop(stopped.await) }).await },
            );
        let client =
            Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { double, address, client, stop, running }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    /// The value of one line of `/metrics`.
    pub(crate) async fn measure(&self, name: &str) -> Option<u64> {
        let text = self.get("/metrics").await.text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Asks again until the measure has the value: what happens on the other side of a socket has no other signal.
    pub(crate) async fn until_measure(&self, name: &str, value: u64) {
        while self.measure(name).await != Some(value) {
            tokio::task::yield_now().await;
        }
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Asks the server to stop; its end is awaited by the handle.
    pub(crate) fn stop(self) -> (JoinHandle<Closed>, Client) {
        self.stop.send(()).unwrap();
        (self.running, self.client)
    }
}

/// The body of a failed answer, after checking that it is a problem as RFC 9457 wants it.
pub(crate) async fn problem(response: Response) -> Value {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    for member in ["type", "title", "detail", "next"] {
        assert!(problem[member].is_string(), "{member} in {problem}");
    }
    problem
}

/// A good body for `POST /api/v1/contracts`.
pub(crate) fn offer() -> Value {
    serde_json::json!({
        "renter": "renter", "thing": "urn:locker", "action": "open", "price": "1000", "open_for_s": 600,
        "ledger": "evm", "record_ledger": "calendar",
        "evidence": { "thing": "urn:sensor", "property": "door", "equals": true },
        "decision_within_s": 10, "evidence_within_s": 20, "submission_window_s": 5,
    })
}
