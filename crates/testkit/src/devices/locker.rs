//! A smart locker: a CoAP server (RFC 7252) as a maker of lockers would ship it.
//!
//! `GET /.well-known/core` lists its resources. `POST` or `PUT /lock` with `{"open_for_s":600}` draws the bolt for that
//! time; `GET /lock` tells how it is and can be observed (RFC 7641). `GET /info` names the model. Repeated messages are
//! answered again and not acted on again (section 4.5).

use std::{collections::VecDeque, future::Future, net::SocketAddr, path::PathBuf, time::Duration};

use coap_lite::{CoapOption, ContentFormat, MessageClass, MessageType, Packet, RequestType, ResponseType};
use serde::Deserialize;
use tokio::{net::UdpSocket, time::Instant};

use super::{DeviceError, Millis, door::Door, until};

/// What a locker is given.
#[derive(Clone)]
pub struct Args {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The file of its door.
    pub door: PathBuf,
    /// Its clock.
    pub clock: Millis,
    /// It acknowledges at once and answers in a message of its own (section 5.2.2), as slow motors do.
    pub separate: bool,
}

const LINKS: &str = "</lock>;if=\"core.a\";rt=\"lock\";ct=50;title=\"Locker 7\";obs,\
                     </info>;if=\"core.rp\";ct=0;title=\"Model\"";
const MODEL: &str = "Smart locker L7";
/// A day.
const LONGEST_S: u64 = 86_400;
const MAX_DATAGRAM: usize = 1152;
/// How many exchanges are remembered (section 4.5).
const REMEMBERED: usize = 64;
/// How many clients may observe the lock.
const MAX_OBSERVERS: usize = 8;

/// Runs a locker. `ready` gets `{"listening":"127.0.0.1:PORT"}`.
///
/// # Errors
/// [`DeviceError`].
pub async fn run(
    args: Args,
    ready: impl FnOnce(&str) + Send,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), DeviceError> {
    let listen = |source| DeviceError::Listen { device: "locker", address: args.listen.to_string(), source };
    let door = Door::at(&args.door)?;
    let socket = UdpSocket::bind(args.listen).await.map_err(listen)?;
    let address = socket.local_addr().map_err(listen)?;
    ready(&serde_json::json!({"listening": address.to_string()}).to_string());
    let locker = Locker {
        socket,
        door,
        clock: args.clock,
        separate: args.separate,
        bolt: None,
        answered: VecDeque::new(),
        observers: Vec::new(),
        next_id: 1,
        order: 2,
    };
    until(stop, locker.serve()).await
}

struct Locker {
    socket: UdpSocket,
    door: Door,
    clock: Millis,
    separate: bool,
    /// Until when the bolt is drawn: for the timer, and by the clock.
    bolt: Option<(Instant, u64)>,
    answered: VecDeque<(SocketAddr, u16, Vec<Vec<u8>>)>,
    observers: Vec<(SocketAddr, Vec<u8>)>,
    next_id: u16,
    /// The Observe option of the next notification.
    order: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    open_for_s: u64,
}

impl Locker {
    async fn serve(mut self) -> Result<(), DeviceError> {
        let mut buffer = [0; MAX_DATAGRAM];
        loop {
            let shut = self.bolt.map(|(until, _)| until);
            let timer = async {
                match shut {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {
                    self.bolt = None;
                    self.door.bolt(false)?;
                    self.notify().await;
                }
                heard = self.socket.recv_from(&mut buffer) => {
                    // An ICMP error of an earlier answer is no reason to end.
                    if let Ok((length, from)) = heard {
                        self.hear(&buffer[..length], from).await?;
                    }
                }
            }
        }
    }

    async fn hear(&mut self, bytes: &[u8], from: SocketAddr) -> Result<(), DeviceError> {
        let Ok(packet) = Packet::from_bytes(bytes) else { return Ok(()) };
        let id = packet.header.message_id;
        match (packet.header.get_type(), packet.header.code) {
            (MessageType::Reset, _) => self.observers.retain(|(observer, _)| *observer != from),
            (MessageType::Confirmable, MessageClass::Request(method)) => {
                if let Some((.., again)) = self.answered.iter().find(|(a, i, _)| (*a, *i) == (from, id)) {
                    return self.send(&again.clone(), from).await;
                }
                let (response, moved) = self.answer(method, &packet, from)?;
                let datagrams = self.datagrams(response, &packet);
                self.send(&datagrams, from).await?;
                if self.answered.len() == REMEMBERED {
                    self.answered.pop_front();
                }
                self.answered.push_back((from, id, datagrams));
                if moved {
                    self.notify().await;
                }
            }
            (MessageType::Confirmable, _) => {
                let mut reset = Packet::new();
                reset.header.set_version(1);
                reset.header.set_type(MessageType::Reset);
                reset.header.message_id = id;
                self.send(&bytes_of(&reset), from).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The response, and whether the bolt moved.
    fn answer(
        &mut self,
        method: RequestType,
        packet: &Packet,
        from: SocketAddr,
    ) -> Result<(Packet, bool), DeviceError> {
        use RequestType::{Get, Post, Put};
        use ResponseType::{BadOption, Content, MethodNotAllowed, NotFound};
        let known = [
            CoapOption::UriHost,
            CoapOption::UriPort,
            CoapOption::UriPath,
            CoapOption::UriQuery,
            CoapOption::Accept,
        ];
        if packet.options().any(|(n, _)| n & 1 == 1 && !known.contains(&CoapOption::from(*n))) {
            return Ok((response(BadOption, "", None), false));
        }
        let path: Vec<&[u8]> =
            packet.get_option(CoapOption::UriPath).into_iter().flatten().map(Vec::as_slice).collect();
        Ok(match (method, &path[..]) {
            (Get, [b".well-known", b"core"]) => {
                (response(Content, LINKS, Some(ContentFormat::ApplicationLinkFormat)), false)
            }
            (Get, [b"info"]) => (response(Content, MODEL, Some(ContentFormat::TextPlain)), false),
            (Get, [b"lock"]) => (self.tell(packet, from), false),
            (Post | Put, [b"lock"]) => return self.open(packet),
            (_, [b"lock" | b"info"]) => (response(MethodNotAllowed, "", None), false),
            _ => (response(NotFound, "", None), false),
        })
    }

    /// `GET /lock`, with or without Observe.
    fn tell(&mut self, packet: &Packet, from: SocketAddr) -> Packet {
        let mut told = self.state();
        let observer = (from, packet.get_token().to_vec());
        match packet.get_observe_value() {
            Some(Ok(0)) if self.observers.contains(&observer) || self.observers.len() < MAX_OBSERVERS => {
                if !self.observers.contains(&observer) {
                    self.observers.push(observer);
                }
                told.set_observe_value(self.order);
                self.order += 1;
            }
            Some(Ok(1)) => self.observers.retain(|(known, _)| *known != from),
            _ => {}
        }
        told
    }

    fn state(&self) -> Packet {
        let left = self.bolt.map_or(0, |(_, until)| until.saturating_sub((self.clock)()).div_ceil(1000));
        let text = serde_json::json!({"locked": self.bolt.is_none(), "closes_in_s": left}).to_string();
        response(ResponseType::Content, &text, Some(ContentFormat::ApplicationJSON))
    }

    /// `POST /lock`.
    fn open(&mut self, packet: &Packet) -> Result<(Packet, bool), DeviceError> {
        if !matches!(packet.get_content_format(), Some(ContentFormat::ApplicationJSON)) {
            return Ok((response(ResponseType::UnsupportedContentFormat, "", None), false));
        }
        let asked = serde_json::from_slice::<Opening>(&packet.payload).ok();
        let Some(seconds) = asked.map(|o| o.open_for_s).filter(|s| (1..=LONGEST_S).contains(s)) else {
            let hint = "{\"open_for_s\": 1 to 86400} is expected";
            return Ok((response(ResponseType::BadRequest, hint, None), false));
        };
        self.door.bolt(true)?;
        let until = Instant::now() + Duration::from_secs(seconds);
        self.bolt = Some((until, (self.clock)() + seconds * 1000));
        let text = serde_json::json!({"locked": false, "closes_in_s": seconds}).to_string();
        Ok((response(ResponseType::Changed, &text, Some(ContentFormat::ApplicationJSON)), true))
    }

    /// What to send for a response: one datagram, or two when the answer is separate.
    fn datagrams(&mut self, mut response: Packet, request: &Packet) -> Vec<Vec<u8>> {
        response.set_token(request.get_token().to_vec());
        response.header.set_type(MessageType::Acknowledgement);
        response.header.message_id = request.header.message_id;
        if !self.separate {
            return bytes_of(&response);
        }
        let mut acknowledgement = Packet::new();
        acknowledgement.header.set_version(1);
        acknowledgement.header.set_type(MessageType::Acknowledgement);
        acknowledgement.header.message_id = request.header.message_id;
        response.header.set_type(MessageType::Confirmable);
        response.header.message_id = self.fresh_id();
        [bytes_of(&acknowledgement), bytes_of(&response)].concat()
    }

    /// Tells observers how the lock is now.
    async fn notify(&mut self) {
        for (observer, token) in self.observers.clone() {
            let mut told = self.state();
            told.set_token(token);
            told.header.set_type(MessageType::NonConfirmable);
            told.header.message_id = self.fresh_id();
            told.set_observe_value(self.order);
            self.order += 1;
            if let Err(error) = self.send(&bytes_of(&told), observer).await {
                tracing::debug!(%error, "an observer of the lock was not told");
            }
        }
    }

    const fn fresh_id(&mut self) -> u16 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    async fn send(&self, datagrams: &[Vec<u8>], to: SocketAddr) -> Result<(), DeviceError> {
        for bytes in datagrams {
            let lost = |source| DeviceError::Socket { device: "locker", source };
            self.socket.send_to(bytes, to).await.map_err(lost)?;
        }
        Ok(())
    }
}

fn response(code: ResponseType, payload: &str, format: Option<ContentFormat>) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_version(1);
    packet.header.code = MessageClass::Response(code);
    if let Some(format) = format {
        packet.set_content_format(format);
    }
    packet.payload = payload.into();
    packet
}

/// One datagram; none for a packet that is too long, which ours are not.
fn bytes_of(packet: &Packet) -> Vec<Vec<u8>> {
    packet.to_bytes().into_iter().collect()
}
