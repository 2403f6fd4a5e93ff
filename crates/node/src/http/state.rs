//! What all requests share.

use std::{future::Future, net::IpAddr, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Options, metrics::Measures};
use crate::api::{ApiError, ErrorKind, Federation};

/// The door's state.
pub(super) struct Door {
    /// What is behind it.
    pub(super) federation: Arc<dyn Federation>,
    /// How it is configured.
    pub(super) options: Options,
    /// The address that it listens on.
    pub(super) ip: IpAddr,
    /// What it has counted.
    pub(super) measures: Measures,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

/// As handlers are given it.
pub(super) type Shared = Arc<Door>;

/// The right to be worked on. A change that goes on after its client has left keeps it until it is done.
pub(super) type Slot = Arc<OwnedSemaphorePermit>;

impl Door {
    pub(super) fn new(federation: Arc<dyn Federation>, options: Options, ip: IpAddr) -> Self {
        let requests = Arc::new(Semaphore::new(options.limits.requests));
        let streams = Arc::new(Semaphore::new(options.limits.streams));
        let (stopping, _) = watch::channel(false);
        Self { federation, options, ip, measures: Measures::default(), requests, streams, stopping }
    }

    /// A place among the requests that are worked on.
    pub(super) fn request_slot(&self) -> Result<Slot, ApiError> {
        take(&self.requests, "requests", self.options.limits.requests).map(Arc::new)
    }

    /// A place among the open streams.
    pub(super) fn stream_slot(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        take(&self.streams, "event streams", self.options.limits.streams)
    }

    /// How many streams are open.
    pub(super) fn open_streams(&self) -> usize {
        self.options.limits.streams - self.streams.available_permits()
    }

    /// Tells all connections and streams to end.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Becomes true when the door closes.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }
}

/// Runs a change to its end, whether or not the client waits for it: a call is never dropped half-way.
pub(super) async fn to_the_end<T: Send + 'static>(
    slot: Slot,
    change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    let running = tokio::spawn(async move {
        let result = change.await;
        drop(slot);
        result
    });
    running.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request's task failed");
        Err(ApiError::new(
            ErrorKind::Internal,
            "the node failed",
            "the request's task ended without an answer",
        )
        .next("look into the node's log; what the journal holds is not lost"))
    })
}

fn take(slots: &Arc<Semaphore>, what: &str, limit: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(slots).try_acquire_owned().map_err(|_| {
        ApiError::new(ErrorKind::TooMany, "too much at once", format!("{limit} {what} are open already"))
            .next(format!("try again in a moment, or raise the number of {what} in [limits]"))
    })
}
