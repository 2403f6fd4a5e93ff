//! Connections: how many, how long a head may take, and how they end.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use super::{Closed, state::Door};
use crate::config::Limits;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// The most header fields of a request.
const MAX_HEADERS: usize = 64;
/// How long to wait after `accept` failed (no file descriptors left), so that others may close theirs.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts and serves until `stop` is done, then drains.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    door: &Door,
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) -> Closed {
    let mut connections = JoinSet::new();
    tokio::select! {
        () = accept(&listener, &router, door, limits, &mut connections) => {}
        () = stop => {}
    }
    drop(listener);
    door.stop();
    let drained = async { while connections.join_next().await.is_some() {} };
    let _late = tokio::time::timeout(limits.drain.into(), drained).await;
    let cut = connections.len();
    connections.shutdown().await;
    Closed { cut }
}

/// Never ends by itself. Beyond [`Limits::connections`] clients wait in the system's own queue.
async fn accept(
    listener: &TcpListener,
    router: &Router,
    door: &Door,
    limits: Limits,
    connections: &mut JoinSet<()>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                while connections.try_join_next().is_some() {}
                connections.spawn(connection(stream, router.clone(), limits, door.stopping(), slot));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Some(limits.header_timeout.into()))
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let asked = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = asked => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
