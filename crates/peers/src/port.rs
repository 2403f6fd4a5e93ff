//! A port of this machine that stays a test's own, also while nothing listens there.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// Bound, and never listening: who asks the system for a free port does not get it, who connects is refused, and the server
/// that is told its number listens there, again and again, since both allow the address to be used again (`SO_REUSEADDR`,
/// which tokio and std set for each listener).
#[derive(Debug)]
pub struct Port {
    number: u16,
    _bound: TcpSocket,
}

impl Port {
    /// One that was free.
    ///
    /// # Panics
    /// Where none is.
    #[must_use]
    pub fn free() -> Self {
        let bound = TcpSocket::new_v4().expect("a socket");
        bound.set_reuseaddr(true).expect("it allows its address to be used again");
        bound.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        Self { number: bound.local_addr().expect("it is bound").port(), _bound: bound }
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}
