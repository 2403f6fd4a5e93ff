//! The socket to one server: exchanges one after the other (RFC 7252, section 4.7: NSTART is 1).

use std::net::SocketAddr;

use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

use super::{
    codec::{CodecError, MAX_MESSAGE, Message, Request, Response, decode},
    exchange::{Acknowledged, Exchange, Heard, Late, Transmission},
};
use crate::tally::{Tally, one_more};

/// How many datagrams one exchange reads at most: a flood ends it.
const MAX_DATAGRAMS: usize = 4096;

/// A socket that hears one server only, and what it must remember of it.
#[derive(Debug)]
pub(super) struct Link {
    socket: UdpSocket,
    next_id: u16,
    acknowledged: Acknowledged,
}

/// Why an exchange ended without a response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    /// Nothing was sent: the request cannot be written.
    #[error("{0}")]
    Unsayable(CodecError),
    /// Nothing was sent: the system did not take it.
    #[error("it cannot be sent: {0}")]
    NotSent(std::io::Error),
    /// The server said that it cannot use the request, and did not process it.
    #[error("the device reset the request")]
    Reset,
    /// It was sent.
    #[error("{0}")]
    Unknown(String),
}

impl Link {
    /// A socket of any free port for `server`.
    pub(super) async fn open(server: SocketAddr) -> std::io::Result<Self> {
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        Ok(Self { socket, next_id: random()? as u16, acknowledged: Acknowledged::default() })
    }

    /// Sends a request and waits for its response; returns the request's token with it.
    pub(super) async fn ask(
        &mut self,
        request: Request,
        limits: Transmission,
        tally: &Tally,
    ) -> Result<(Response, Vec<u8>), Silence> {
        let token = random().map_err(Silence::NotSent)?.to_be_bytes().to_vec();
        let luck = random().map_err(Silence::NotSent)? as u32;
        self.next_id = self.next_id.wrapping_add(1);
        let mut exchange =
            Exchange::new(request, self.next_id, token, luck, limits).map_err(Silence::Unsayable)?;
        self.forget_the_past();
        self.socket.send(exchange.bytes()).await.map_err(Silence::NotSent)?;
        let mut until = Instant::now() + exchange.wait();
        for _ in 0..MAX_DATAGRAMS {
            match timeout_at(until, self.hear(tally)).await {
                Ok(Ok(message)) => match exchange.hear(message, &mut self.acknowledged) {
                    Heard::Nothing => one_more(&tally.duplicates),
                    Heard::Acknowledged(wait) => until = Instant::now() + wait,
                    Heard::Reply(bytes) => self.reply(&bytes).await,
                    Heard::Response(response, acknowledgement) => {
                        if let Some(bytes) = acknowledgement {
                            self.reply(&bytes).await;
                        }
                        return Ok((response, exchange.token().to_vec()));
                    }
                    Heard::Reset if exchange.was_repeated() => {
                        return Err(Silence::Unknown(
                            "the device reset a request that was sent twice".into(),
                        ));
                    }
                    Heard::Reset => return Err(Silence::Reset),
                },
                // An ICMP error can be forged: it never proves that the request did not arrive.
                Ok(Err(error)) => return Err(Silence::Unknown(format!("the network says: {error}"))),
                Err(_) => match exchange.late() {
                    Late::Again(bytes, wait) => {
                        one_more(&tally.retransmissions);
                        until = Instant::now() + wait;
                        let unknown = |e| Silence::Unknown(format!("sending again failed: {e}"));
                        self.socket.send(&bytes).await.map_err(unknown)?;
                    }
                    Late::GiveUp => return Err(Silence::Unknown(gave_up(&exchange, limits))),
                },
            }
        }
        Err(Silence::Unknown(format!("{MAX_DATAGRAMS} datagrams came, and no response among them")))
    }

    /// Takes what came since the last exchange off the socket: late answers, which a server sends again if they matter,
    /// and errors of earlier datagrams, which must not be taken for errors of the next.
    fn forget_the_past(&self) {
        let mut buffer = [0; MAX_MESSAGE];
        for _ in 0..MAX_DATAGRAMS {
            match self.socket.try_recv(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// The next message, whatever it answers.
    pub(super) async fn hear(&self, tally: &Tally) -> std::io::Result<Message> {
        // One byte more than allowed, so that a longer datagram is seen as such.
        let mut buffer = [0; MAX_MESSAGE + 1];
        loop {
            let length = self.socket.recv(&mut buffer).await?;
            one_more(&tally.received);
            match decode(&buffer[..length]) {
                Ok(message) => return Ok(message),
                Err(_) if length > MAX_MESSAGE => one_more(&tally.oversize),
                Err(_) => one_more(&tally.malformed),
            }
        }
    }

    /// Sends an acknowledgement or a reset. A lost one is asked for again by the server.
    pub(super) async fn reply(&self, bytes: &[u8]) {
        if let Err(error) = self.socket.send(bytes).await {
            tracing::debug!(%error, "a CoAP acknowledgement was not sent");
        }
    }
}

fn gave_up(exchange: &Exchange, limits: Transmission) -> String {
    if exchange.is_acknowledged() {
        format!("the device took it and sent no response in {:?}", limits.response_timeout)
    } else {
        format!("no answer to {} sendings", limits.max_retransmit + 1)
    }
}

/// 64 bits of the operating system's randomness.
fn random() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| std::io::Error::other(format!("no randomness: {e}")))?;
    Ok(u64::from_be_bytes(bytes))
}
