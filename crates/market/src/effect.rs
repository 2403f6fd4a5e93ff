//! What a contract wants done and what can happen to it.

use crate::{Report, Seen};
use minicbor::{Decode, Encode};
use sofie_model::{
    Digest, Evidence, LegId, Observation, Salt, SignedAttestation, Timestamp, ruling::SignedRuling,
};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Follow the inter-ledger transaction to its decision. Answered by `Committed` or `Aborted`.
    Follow,
    /// Follow it until every leg has taken effect. Answered by `Armed`.
    Arm,
    /// Issue the renter's capability for the agreed action and time. Answered by `Issued`.
    Issue,
    /// Write [`Input::Acting`], then ask the thing's owner's adapter to act; it verifies the capability at the door.
    /// Answered by `Acted`, `Denied` or `FateUnknown`.
    Act {
        /// The capability.
        token: Vec<u8>,
    },
    /// The node stopped between asking and the answer: read the thing's state, for people; never act again. Answered by
    /// `FateUnknown`: whether it acted is for the sensor to tell.
    Inspect,
    /// Watch the agreed property. Answered by `Observed` for the first reading that fulfils; others are ignored.
    Watch {
        /// The place of the sensor's rule in the agreement.
        sensor: usize,
    },
    /// Have the sensor's owner sign for this observation. Answered by `Attested`.
    Attest {
        /// The place of the sensor's rule in the agreement.
        sensor: usize,
        /// What was seen.
        observation: Observation,
        /// Its salt.
        salt: Salt,
    },
    /// Once it is due, look whether the sensor shows that it is not as agreed. Answered by `Missed`.
    Notice {
        /// The place of the sensor's rule in the agreement.
        sensor: usize,
    },
    /// Have the sensor's owner sign that it is not as agreed. Answered by `Attested`, about the stake's leg.
    AttestMissed {
        /// The place of the sensor's rule in the agreement.
        sensor: usize,
        /// What was seen.
        observation: Observation,
        /// Its salt.
        salt: Salt,
    },
    /// Note the attestation on the record ledger. Answered by `Noted` or `NoteRefused`; not waited for without end.
    Note {
        /// What it is about.
        topic: Digest,
        /// Digest of the signed attestation.
        commitment: Digest,
    },
    /// Bring the attestation to the escrow. Answered by `Settled` or `SettleRefused`, of the stake
    /// by `BondRefused`.
    Settle {
        /// The escrow leg.
        leg: LegId,
        /// What settles it.
        attestation: SignedAttestation,
    },
    /// Present the attestation to an escrow whose arbiter may overrule it. Answered by `Presented` or `SettleRefused`.
    Present {
        /// The escrow leg.
        leg: LegId,
        /// What is presented.
        attestation: SignedAttestation,
    },
    /// Bring the arbiter's ruling to the escrow. Answered by `Overruled` or `OverruleRefused`.
    Overrule {
        /// The escrow leg.
        leg: LegId,
        /// What the arbiter signed.
        ruling: SignedRuling,
    },
    /// Have the escrow pay back. Answered by `Refunded` or `RefundRefused`, of the stake by `BondRefused`.
    Refund {
        /// The escrow leg.
        leg: LegId,
    },
    /// Look whether another has had the escrow pay. Answered by `Presented`, `Settled`, `Overruled` or `Refunded`, once it has.
    Look,
    /// Make the receipt of the whole story and keep it. Answered by `Receipted`.
    Receipt,
    /// Answered by `Woken` at this time or soon after.
    Wake(Timestamp),
    /// Tell the operator. Needs no answer.
    Alarm(String),
}

/// One thing that happened. Stored, in order, as the contract's journal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Input {
    /// The transaction committed; by D's clock, at this time.
    #[n(0)]
    Committed(#[n(0)] Timestamp),
    /// The transaction aborted.
    #[n(1)]
    Aborted(#[n(0)] String),
    /// Both legs took effect: the escrow is armed.
    #[n(2)]
    Armed,
    /// The capability is there.
    #[n(3)]
    Issued(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The device is about to be told. Written before it is.
    #[n(4)]
    Acting,
    /// The device answered.
    #[n(5)]
    Acted(#[n(0)] String),
    /// The door or the device refused.
    #[n(6)]
    Denied(#[n(0)] String),
    /// Nobody knows whether the device acted.
    #[n(7)]
    FateUnknown(#[n(0)] String),
    /// The sensor reported. The salt is for its digest, should it count.
    #[n(8)]
    Observed(#[n(0)] Observation, #[n(1)] Salt),
    /// The sensor's owner signed, or somebody brought what claims to be its word.
    #[n(9)]
    Attested(#[n(0)] SignedAttestation),
    /// The attestation stands on the record ledger.
    #[n(10)]
    Noted(#[n(0)] Evidence),
    /// The escrow paid the payee.
    #[n(11)]
    Settled(#[n(0)] Evidence),
    /// The escrow's contract refused the attestation for good.
    #[n(12)]
    SettleRefused(#[n(0)] String),
    /// The escrow paid the payer back.
    #[n(13)]
    Refunded(#[n(0)] Evidence),
    /// The escrow's contract refused to pay back.
    #[n(14)]
    RefundRefused(#[n(0)] String),
    /// The time of [`Effect::Wake`] has come.
    #[n(15)]
    Woken,
    /// The record ledger takes no note. The payee's money does not depend on it.
    #[n(16)]
    NoteRefused(#[n(0)] String),
    /// The receipt is kept: its digest.
    #[n(17)]
    Receipted(#[n(0)] Digest),
    /// The owner's node, which is another, says how far it is.
    #[n(18)]
    Reported(#[n(0)] Report),
    /// Somebody brought the word of a sensor's owner, and the reading that it is about.
    #[n(19)]
    Brought(#[n(0)] Seen),
    /// A sensor shows, once it was due, that it is not as agreed. The salt is for its digest.
    #[n(20)]
    Missed(#[n(0)] Observation, #[n(1)] Salt),
    /// The stake's escrow refused the attestation for good, or to pay back.
    #[n(21)]
    BondRefused(#[n(0)] String),
    /// The evidence was presented to an escrow whose arbiter may overrule it.
    #[n(22)]
    Presented(#[n(0)] Evidence),
    /// Somebody brought what claims to be the arbiter's ruling.
    #[n(23)]
    Ruled(#[n(0)] SignedRuling),
    /// The escrow paid back by the arbiter's ruling.
    #[n(24)]
    Overruled(#[n(0)] Evidence),
    /// The escrow's contract refused the ruling for good.
    #[n(25)]
    OverruleRefused(#[n(0)] String),
}
