//! One owner, one renter, a friend, one locker: the cast of the tests of this room.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the cast")]
#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use sofie_access::{
    Affordance, Book, Door, Grant, Limits, Presented, Proof, Refusal, Request, Revocations, SecretKey, View,
    proof, token,
};
use sofie_model::{Digest, Span, ThingId, Timestamp, Txid};
use zeroize::Zeroizing;

pub const DOOR: &str = "locker-co/door-1";

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&Zeroizing::new([seed; 32]))
}

pub fn owner() -> SecretKey {
    key(1)
}

pub fn renter() -> SecretKey {
    key(2)
}

pub fn friend() -> SecretKey {
    key(3)
}

pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

pub fn locker(number: u8) -> ThingId {
    format!("urn:example:locker:{number}").parse().unwrap()
}

pub fn open() -> Affordance {
    Affordance::action("open").unwrap()
}

pub fn txid(byte: u8) -> Txid {
    Txid(Digest([byte; 32]))
}

/// Open locker 1 from second 100 to second 700.
pub fn grant() -> Grant {
    Grant::new(renter().public(), locker(1), open(), at(100), at(700))
}

pub fn issued(grant: &Grant) -> Vec<u8> {
    token::issue(&owner(), grant).unwrap()
}

pub fn request() -> Request {
    Request::new(locker(1), open())
}

/// A world in which the plain request succeeds; each test changes one thing.
pub struct World {
    pub door: Door,
    pub token: Vec<u8>,
    pub request: Request,
    pub signer: SecretKey,
    pub nonce: u8,
    pub signed_at: Timestamp,
    pub now: Timestamp,
    pub revocations: Revocations,
    pub book: Book,
}

impl World {
    pub fn new(token: Vec<u8>) -> Self {
        Self {
            door: Door::new(owner().public(), DOOR, Limits::default()),
            token,
            request: request(),
            signer: renter(),
            nonce: 0,
            signed_at: at(200),
            now: at(200),
            revocations: Revocations::none(owner().public(), at(150)),
            book: Book::new(at(0)),
        }
    }

    pub fn proof(&self) -> Proof {
        let nonce = Digest([self.nonce; 32]);
        proof::sign(&self.signer, DOOR, &self.token, &self.request, nonce, self.signed_at)
    }

    pub fn ask(&mut self) -> Result<View, Refusal> {
        let proof = self.proof();
        self.ask_with(Some(&proof))
    }

    pub fn ask_with(&mut self, proof: Option<&Proof>) -> Result<View, Refusal> {
        let presented = Presented { token: &self.token, request: &self.request, proof };
        self.door.admit(&presented, &self.revocations, &mut self.book, self.now)
    }

    /// Asks with a fresh nonce.
    pub fn again(&mut self) -> Result<View, Refusal> {
        self.nonce += 1;
        self.ask()
    }

    pub fn wait(&mut self, span: Span) {
        self.now = self.now + span;
        self.signed_at = self.now;
    }
}
