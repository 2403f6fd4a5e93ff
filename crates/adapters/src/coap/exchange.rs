//! One request and its response (RFC 7252, sections 4.2, 4.4, 4.5, 5.2 and 5.3), without a socket or a clock: the
//! endpoint tells what was heard and when a wait is over, and does what it is told.

use std::time::Duration;

use super::codec::{Body, CodecError, Kind, Message, Request, Response, encode};
use crate::tally::Recent;

/// Section 4.8. Times scale with the device; the defaults are the RFC's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmission {
    /// `ACK_TIMEOUT`: 2 s.
    pub ack_timeout: Duration,
    /// `ACK_RANDOM_FACTOR` in percent: 150.
    pub random_percent: u32,
    /// `MAX_RETRANSMIT`: 4.
    pub max_retransmit: u32,
    /// How long a response may follow its empty acknowledgement (the RFC leaves it to the client): 30 s.
    pub response_timeout: Duration,
}

impl Default for Transmission {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            random_percent: 150,
            max_retransmit: 4,
            response_timeout: Duration::from_secs(30),
        }
    }
}

impl Transmission {
    /// `MAX_RETRANSMIT` of section 4.8 is 4; a greater number than this is cut to it.
    pub const MOST_RETRANSMISSIONS: u32 = 8;

    /// The first wait: between `ACK_TIMEOUT` and that times the random factor. `luck` is any random number.
    fn first_wait(&self, luck: u32) -> Duration {
        let most = self.ack_timeout * self.random_percent.max(100) / 100;
        let spread = most.saturating_sub(self.ack_timeout);
        self.ack_timeout + spread.mul_f64(f64::from(luck) / f64::from(u32::MAX))
    }
}

/// A confirmable request under way.
#[derive(Debug)]
pub struct Exchange {
    id: u16,
    token: Vec<u8>,
    bytes: Vec<u8>,
    wait: Duration,
    retransmissions: u32,
    acknowledged: bool,
    limits: Transmission,
}

/// What to do about a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Nothing: wait on, until the same moment as before.
    Nothing,
    /// Our request arrived; its response follows within this time.
    Acknowledged(Duration),
    /// Send this, and wait on: a message that is not ours, or not any more.
    Reply(Vec<u8>),
    /// The response. Send the bytes first, where there are any: it wants to be acknowledged.
    Response(Response, Option<Vec<u8>>),
    /// The server cannot use our request (section 4.2): it was not processed.
    Reset,
}

/// What to do when a wait is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Late {
    /// Send these bytes again and wait so long.
    Again(Vec<u8>, Duration),
    /// Stop. The request may have arrived.
    GiveUp,
}

/// Message IDs of confirmable responses that were acknowledged (section 4.5): they are acknowledged again.
#[derive(Debug)]
pub struct Acknowledged(Recent<u16, ()>);

impl Default for Acknowledged {
    fn default() -> Self {
        Self(Recent::new(Self::REMEMBERED))
    }
}

impl Acknowledged {
    /// How many are remembered.
    pub const REMEMBERED: usize = 64;
}

impl Exchange {
    /// Begins: send [`Exchange::bytes`], wait [`Exchange::wait`]. `id` must not have been used with this server for
    /// `EXCHANGE_LIFETIME` (247 s), `token` must be hard to guess (section 5.3.1), `luck` is any random number.
    ///
    /// # Errors
    /// [`CodecError::TooLong`].
    pub fn new(
        request: Request,
        id: u16,
        token: Vec<u8>,
        luck: u32,
        limits: Transmission,
    ) -> Result<Self, CodecError> {
        let body = Body::Request(request);
        let bytes = encode(&Message { kind: Kind::Confirmable, id, token: token.clone(), body })?;
        let wait = limits.first_wait(luck);
        Ok(Self { id, token, bytes, wait, retransmissions: 0, acknowledged: false, limits })
    }

    /// The request's datagram.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How long to wait for the first answer.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// Takes a message from the server.
    pub fn hear(&mut self, message: Message, before: &mut Acknowledged) -> Heard {
        let ours = message.token == self.token;
        match (message.kind, message.body) {
            // 5.2.1: piggybacked. The token must match too (5.3.2).
            (Kind::Acknowledgement, Body::Response(response)) if message.id == self.id && ours => {
                Heard::Response(response, None)
            }
            // 5.2.2: the response will come in a message of its own.
            (Kind::Acknowledgement, Body::Empty) if message.id == self.id && !self.acknowledged => {
                self.acknowledged = true;
                Heard::Acknowledged(self.limits.response_timeout)
            }
            (Kind::Reset, _) if message.id == self.id => Heard::Reset,
            // 5.2.2: separate; it also says that the request arrived when its acknowledgement was lost.
            (Kind::Confirmable, Body::Response(response)) if ours => {
                before.0.put(message.id, ());
                Heard::Response(response, Some(acknowledge(message.id)))
            }
            (Kind::NonConfirmable, Body::Response(response)) if ours => Heard::Response(response, None),
            // 4.5: our acknowledgement was lost.
            (Kind::Confirmable, _) if before.0.get(&message.id).is_some() => {
                Heard::Reply(acknowledge(message.id))
            }
            // 4.2 and 4.3: a ping, or a response that belongs to nothing.
            (Kind::Confirmable, _) => Heard::Reply(reset(message.id)),
            _ => Heard::Nothing,
        }
    }

    /// The wait is over (section 4.2: exponential back-off).
    pub fn late(&mut self) -> Late {
        let most = self.limits.max_retransmit.min(Transmission::MOST_RETRANSMISSIONS);
        if self.acknowledged || self.retransmissions >= most {
            return Late::GiveUp;
        }
        self.retransmissions += 1;
        self.wait *= 2;
        Late::Again(self.bytes.clone(), self.wait)
    }

    /// The request's token.
    #[must_use]
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Whether the request was sent more than once.
    #[must_use]
    pub const fn was_repeated(&self) -> bool {
        self.retransmissions > 0
    }

    /// Whether the server has said that the request arrived.
    #[must_use]
    pub const fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }
}

/// The bytes of an empty acknowledgement.
#[must_use]
pub fn acknowledge(id: u16) -> Vec<u8> {
    empty(Kind::Acknowledgement, id)
}

/// The bytes of a reset.
#[must_use]
pub fn reset(id: u16) -> Vec<u8> {
    empty(Kind::Reset, id)
}

fn empty(kind: Kind, id: u16) -> Vec<u8> {
    encode(&Message { kind, id, token: Vec::new(), body: Body::Empty })
        .expect("four bytes are within the limit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::codec::Code;

    fn exchange() -> Exchange {
        Exchange::new(Request::default(), 7, vec![1, 2], 0, Transmission::default()).expect("it is short")
    }

    fn message(kind: Kind, id: u16, token: &[u8], body: Body) -> Message {
        Message { kind, id, token: token.into(), body }
    }

    fn response() -> Body {
        Body::Response(Response::new(Code::CONTENT, b"x".to_vec()))
    }

    #[test]
    fn waits_double_and_end_as_section_4_8_says() {
        let mut exchange = exchange();
        assert_eq!(exchange.wait(), Duration::from_secs(2));
        for seconds in [4, 8, 16, 32] {
            assert_eq!(exchange.late(), Late::Again(exchange.bytes().into(), Duration::from_secs(seconds)));
        }
        assert_eq!(exchange.late(), Late::GiveUp);
        let longest = Transmission::default().first_wait(u32::MAX);
        assert_eq!(longest, Duration::from_secs(3), "ACK_TIMEOUT times ACK_RANDOM_FACTOR");
    }

    #[test]
    fn each_message_is_answered_as_its_clause_says() {
        use Kind::{Acknowledgement, Confirmable, NonConfirmable, Reset};
        let given = Response::new(Code::CONTENT, b"x".to_vec());
        for (clause, heard, expected) in [
            ("5.2.1", message(Acknowledgement, 7, &[1, 2], response()), Heard::Response(given.clone(), None)),
            ("5.3.2 another token", message(Acknowledgement, 7, &[1], response()), Heard::Nothing),
            ("5.2.1 another id", message(Acknowledgement, 8, &[1, 2], response()), Heard::Nothing),
            (
                "5.2.2",
                message(Acknowledgement, 7, &[], Body::Empty),
                Heard::Acknowledged(Duration::from_secs(30)),
            ),
            (
                "5.2.2 separate",
                message(Confirmable, 99, &[1, 2], response()),
                Heard::Response(given.clone(), Some(vec![0x60, 0, 0, 99])),
            ),
            ("5.2.3", message(NonConfirmable, 99, &[1, 2], response()), Heard::Response(given, None)),
            ("4.2 reset", message(Reset, 7, &[], Body::Empty), Heard::Reset),
            ("4.2 reset of another", message(Reset, 8, &[], Body::Empty), Heard::Nothing),
            ("4.3 ping", message(Confirmable, 5, &[], Body::Empty), Heard::Reply(vec![0x70, 0, 0, 5])),
            ("4.2 unknown", message(Confirmable, 5, &[9], response()), Heard::Reply(vec![0x70, 0, 0, 5])),
            ("4.3 unknown", message(NonConfirmable, 5, &[9], response()), Heard::Nothing),
        ] {
            assert_eq!(exchange().hear(heard, &mut Acknowledged::default()), expected, "{clause}");
        }
    }

    #[test]
    fn after_an_acknowledgement_nothing_is_sent_again() {
        let mut exchange = exchange();
        exchange.hear(message(Kind::Acknowledgement, 7, &[], Body::Empty), &mut Acknowledged::default());
        assert_eq!(exchange.late(), Late::GiveUp);
    }

    #[test]
    fn a_separate_response_that_comes_twice_is_acknowledged_twice() {
        let mut before = Acknowledged::default();
        let separate = message(Kind::Confirmable, 99, &[1, 2], response());
        exchange().hear(separate.clone(), &mut before);
        let mut next =
            Exchange::new(Request::default(), 8, vec![3], 0, Transmission::default()).expect("short");
        assert_eq!(next.hear(separate, &mut before), Heard::Reply(vec![0x60, 0, 0, 99]));
    }
}
