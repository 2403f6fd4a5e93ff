//! Where a CSE's notifications arrive (TS-0009, clause 6.2: Notify is a POST). The address that a CSE is given has a part
//! that nobody can guess; whoever does not know it is told nothing.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use sofie_model::Digest;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};

use super::codec::{self, MAX_CONTENT, Notification};

/// How many notifications wait to be looked at.
const QUEUE: usize = 256;
/// How many connections a CSE may hold.
const CONNECTIONS: usize = 16;
/// The longest notification, in bytes: a content and what is around it.
const MAX_BODY: usize = 2 * MAX_CONTENT;
const MAX_HEAD: usize = 16 * 1024;
/// How long a head may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long one connection may last.
const CONNECTION: Duration = Duration::from_secs(300);
/// After `accept` failed (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes notifications in until it is dropped.
pub(super) struct Listener {
    address: SocketAddr,
    secret: String,
    inbox: mpsc::Receiver<Heard>,
    _serving: JoinSet<()>,
}

/// What arrived.
pub(super) struct Heard {
    /// Of which source: its number.
    pub(super) of: usize,
    pub(super) notification: Notification,
}

#[derive(Clone)]
struct Door {
    /// The secret's digest: comparing it tells nothing of the secret.
    secret: Digest,
    outbox: mpsc::Sender<Heard>,
}

impl Listener {
    pub(super) async fn open(at: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
        let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let (outbox, inbox) = mpsc::channel(QUEUE);
        let door = Door { secret: Digest::sha256(secret.as_bytes()), outbox };
        let router = Router::new()
            .route("/{secret}/{of}", post(notified))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(door);
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, router));
        Ok(Self { address, secret, inbox, _serving: serving })
    }

    /// Where a CSE is to tell of a source.
    pub(super) fn address_for(&self, of: usize) -> String {
        format!("http://{}/{}/{of}", self.address, self.secret)
    }

    /// The next notification.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        self.inbox.recv().await
    }
}

/// Never ends by itself.
async fn accept(listener: TcpListener, router: Router) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                while connections.try_join_next().is_some() {}
                let router = router.clone();
                connections.spawn(async move {
                    let _slot = slot;
                    // Longer than any notification takes: an idle one gives its place back.
                    let _ = timeout(CONNECTION, connection(stream, router)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a notification's connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Some(HEAD_PATIENCE))
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a notification's connection ended early");
    }
}

async fn notified(
    State(door): State<Door>,
    Path((secret, of)): Path<(String, usize)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (status, code) = if Digest::sha256(secret.as_bytes()) != door.secret {
        (StatusCode::NOT_FOUND, "4004")
    } else {
        match codec::notification(&body) {
            Err(error) => {
                tracing::warn!(%error, "a notification cannot be read");
                (StatusCode::BAD_REQUEST, "4000")
            }
            Ok(Notification::Verification) => (StatusCode::OK, "2000"),
            Ok(notification) => match door.outbox.try_send(Heard { of, notification }) {
                Ok(()) => (StatusCode::OK, "2000"),
                // What is lost here is found when the container is looked at.
                Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "5000"),
            },
        }
    };
    let mut response = (status, [("x-m2m-rsc", code), ("x-m2m-rvi", "3")]).into_response();
    if let Some(identifier) = headers.get("x-m2m-ri") {
        response.headers_mut().insert("x-m2m-ri", identifier.clone());
    }
    response
}
