//! The HTTP door: the node's API, the directory of things, health, measures, and the console (docs/adr/0005-http.md).
//!
//! HTTP/1.1 (RFC 9112) without TLS, by default on this machine alone. What stands at the door, in this order, is in
//! `guard.rs`: names for each request, a guard against foreign Host headers (DNS rebinding) and against foreign pages
//! (CSRF), a bearer token for every change if one is configured, and bounds on bodies, time, requests and connections.
//! Reading needs no token: whoever reaches the port may read. TLS, users and quotas a user are left out; a node that
//! others shall reach stands behind a proxy that has them.
//!
//! The API itself is [`crate::api::Federation`]; here it is only carried. Failures are problem details (RFC 9457).

mod body;
mod calendars;
mod console;
mod contracts;
mod directory;
mod events;
mod guard;
mod ledgers;
mod listen;
pub mod metrics;
mod node;
mod offers;
mod openapi;
mod peers;
mod platforms;
mod problem;
mod quorums;
mod routes;
mod state;
mod transactions;

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{api::Federation, config::Limits, keys::Token};

pub use openapi::document;

/// What the door is told besides the federation behind it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names, besides the loopback ones, that a Host header may have.
    pub hosts: Vec<String>,
    /// What a changing request must show.
    pub token: Option<Token>,
    /// Whether the console is served.
    pub console: bool,
    /// Its bounds.
    pub limits: Limits,
}

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Another program has the port.
    #[error(
        "port {} of {} is in use: another node, or another program, listens there; stop it, or set [node] listen to \
         another port (port 0 takes any free one)",
        address.port(), address.ip()
    )]
    PortInUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The system does not let us have it.
    #[error(
        "cannot listen on {address}: {source}; set [node] listen to an address of this machine and a port above 1023"
    )]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A door that is built but not yet open: the port is taken, nobody is answered.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// How the door was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Connections that were still busy when the drain time was over, and were cut.
    pub cut: usize,
}

/// Takes the port.
///
/// # Errors
/// [`HttpError`], which names the port and the next step.
pub async fn bind(address: SocketAddr) -> Result<Bound, HttpError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => HttpError::PortInUse { address },
        _ => HttpError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// Where it listens; the port is the real one, also when any was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that everything hangs under, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where a browser finds the console.
    #[must_use]
    pub fn console_url(&self) -> String {
        format!("{}/console/", self.base_url())
    }

    /// Answers requests until `stop` is done; then takes no new ones, ends the event streams, and lets the others end
    /// within [`Limits::drain`].
    pub async fn serve(
        self,
        federation: Arc<dyn Federation>,
        options: Options,
        stop: impl Future<Output = ()> + Send,
    ) -> Closed {
        let limits = options.limits;
        let door = Arc::new(state::Door::new(federation, options, self.address.ip()));
        tracing::info!(address = %self.address, "listening");
        let closed =
            listen::serve(self.listener, routes::router(Arc::clone(&door)), &door, limits, stop).await;
        tracing::info!(cut = closed.cut, "closed");
        closed
    }
}

/// Is done when the process is asked to stop: SIGTERM, or SIGINT (Ctrl-C).
///
/// # Errors
/// When the system lets no handler be set.
pub fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
    })
}
