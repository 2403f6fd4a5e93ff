//! The receipt: one file that proves a story, in canonical CBOR (`docs/adr/0004-receipt-format.md`).
//!
//! It proves what the ledgers hold by the ledgers' own bytes. What no ledger holds (the device's answer, the audit
//! log's records) stands under the operator's signature and is linked to the rest by digests.

use k256::ecdsa::SigningKey;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sofie_model::{
    Account, Digest, LedgerId, Manifest, Observation, Proof, Salt, SignedAttestation, ThingId, Timestamp,
    Txid, attestation, canonical,
};

use crate::{
    agreement::MAX_AGREEMENT,
    chain::{Extract, MAX_LINKS},
};

/// The format's version.
pub const VERSION: u16 = 1;
/// The largest receipt that is read, in bytes.
pub const MAX_RECEIPT: usize = 16 << 20;
/// The media type of a receipt.
pub const MEDIA_TYPE: &str = "application/vnd.sofie.receipt";
/// Most parties, things, readings, proofs and signatures, each: 16 sensors of as many owners, and who is there besides.
pub const MAX_ITEMS: usize = 24;
/// The longest name of a party, in bytes.
pub const MAX_NAME: usize = 64;
/// The longest Thing Description, in bytes.
pub const MAX_DESCRIPTION: usize = 64 * 1024;
/// The longest token, verdict of a door, or answer of a device, in bytes.
pub const MAX_PART: usize = 8 * 1024;

/// A receipt: what is said, and who signed it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Receipt {
    /// What is said.
    #[n(0)]
    pub body: Body,
    /// By the operator at least; others may add theirs.
    #[n(1)]
    pub signatures: Vec<PartySignature>,
}

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Body {
    /// [`VERSION`].
    #[n(0)]
    pub version: u16,
    /// The transaction; must be the manifest's.
    #[n(1)]
    pub txid: Txid,
    /// The manifest.
    #[n(2)]
    pub manifest: Manifest,
    /// Who is who.
    #[n(3)]
    pub parties: Vec<Party>,
    /// The party that runs the node and must sign.
    #[n(4)]
    pub operator: String,
    /// What each ledger holds, at most one proof a ledger.
    #[n(5)]
    pub proofs: Vec<LedgerProof>,
    /// The things of the story.
    #[n(6)]
    pub things: Vec<Thing>,
    /// What was agreed.
    #[n(7)]
    pub agreement: Option<Sealed>,
    /// How the device's door was opened.
    #[n(8)]
    pub capability: Option<Capability>,
    /// What the device answered.
    #[n(9)]
    pub actuation: Option<Actuation>,
    /// What the sensor saw, by its owner's word.
    #[n(10)]
    pub evidence: Option<Seen>,
    /// The node's records about this transaction.
    #[n(11)]
    pub audit: Extract,
    /// What other sensors saw, where several are agreed on.
    #[n(12)]
    pub others: Option<Vec<Seen>>,
}

/// A name and its account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Party {
    /// As the parties call it: `renter`, `locker-co`.
    #[n(0)]
    pub name: String,
    /// Its account on value ledgers.
    #[n(1)]
    pub account: Account,
}

/// A party's signature over the body.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct PartySignature {
    /// Whose it is said to be.
    #[n(0)]
    pub by: Account,
    /// r ‖ s ‖ v of secp256k1 over [`Body::digest`].
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: Vec<u8>,
}

/// One ledger's proof.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LedgerProof {
    /// Which ledger, as the manifest names it.
    #[n(0)]
    pub ledger: LedgerId,
    /// Its facts.
    #[n(1)]
    pub proof: Proof,
}

/// A thing and its description.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Thing {
    /// Which thing.
    #[n(0)]
    pub id: ThingId,
    /// The description's digest: [`crate::topic::description`].
    #[n(1)]
    pub description: Digest,
    /// The description's canonical text, where its owner lets it be shown.
    #[n(2)]
    pub text: Option<String>,
}

/// A payload and the salt that opens its commitment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Sealed {
    /// The payload's bytes: a canonical [`crate::Agreement`].
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub payload: Vec<u8>,
    /// The salt.
    #[n(1)]
    pub salt: Salt,
}

/// The capability, and what the door said to it. Opaque here.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Capability {
    /// The token.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub token: Vec<u8>,
    /// The door's verdict, in its own encoding.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub verdict: Vec<u8>,
}

/// What the device was told, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Actuation {
    /// When it was told, by the node's clock.
    #[n(0)]
    pub told_at: Timestamp,
    /// When it answered; nothing when its fate is unknown.
    #[n(1)]
    pub answered_at: Option<Timestamp>,
    /// Its answer, byte for byte.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub answer: Vec<u8>,
}

/// An observation, and its owner's signed word.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Seen {
    /// What was observed.
    #[n(0)]
    pub observation: Observation,
    /// What opens the attestation's digest.
    #[n(1)]
    pub salt: Salt,
    /// What the escrow contract saw.
    #[n(2)]
    pub attestation: SignedAttestation,
}

/// Why a receipt was refused before its content was looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not a receipt, or changed.
    #[error("not a receipt: {0}")]
    Encoding(#[from] canonical::Error),
    /// A later version.
    #[error("receipt version {got}, this program reads {VERSION}; use a newer one")]
    Version {
        /// What it says.
        got: u16,
    },
    /// More than a reader takes.
    #[error("the receipt's {field} has {got}, at most {limit} are read")]
    TooMuch {
        /// Which field.
        field: &'static str,
        /// How much there is.
        got: usize,
        /// How much is allowed.
        limit: usize,
    },
}

impl Body {
    /// What the parties sign.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of("sofie.receipt.v1", &[&canonical::encode(self)])
    }

    /// The account of the party `name`.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<Account> {
        self.parties.iter().find(|party| party.name == name).map(|party| party.account)
    }

    /// What every sensor saw of which it tells.
    pub fn all_seen(&self) -> impl Iterator<Item = &Seen> {
        self.evidence.iter().chain(self.others.iter().flatten())
    }

    /// Signs it with the operator's key.
    #[must_use]
    pub fn sign(self, operator: &SigningKey) -> Receipt {
        let mut receipt = Receipt { body: self, signatures: Vec::new() };
        receipt.add_signature(operator);
        receipt
    }

    fn sizes(&self) -> [(&'static str, usize, usize); 10] {
        let names = self.parties.iter().map(|party| party.name.len()).chain([self.operator.len()]);
        let texts = self.things.iter().filter_map(|thing| thing.text.as_ref()).map(String::len);
        let parts = self.capability.iter().flat_map(|part| [part.token.len(), part.verdict.len()]);
        let answer = self.actuation.iter().map(|part| part.answer.len());
        [
            ("parties", self.parties.len(), MAX_ITEMS),
            ("parties' names", names.max().unwrap_or(0), MAX_NAME),
            ("proofs", self.proofs.len(), MAX_ITEMS),
            ("things", self.things.len(), MAX_ITEMS),
            ("things' descriptions", texts.max().unwrap_or(0), MAX_DESCRIPTION),
            ("agreement", self.agreement.as_ref().map_or(0, |part| part.payload.len()), MAX_AGREEMENT),
            ("capability", parts.max().unwrap_or(0), MAX_PART),
            ("answer", answer.max().unwrap_or(0), MAX_PART),
            ("readings", self.all_seen().count(), MAX_ITEMS),
            ("audit links", self.audit.len(), MAX_LINKS),
        ]
    }
}

impl Receipt {
    /// Adds a party's signature.
    pub fn add_signature(&mut self, key: &SigningKey) {
        let by = Account::from(key.verifying_key());
        let signature = attestation::sign(self.body.digest(), key).to_vec();
        self.signatures.push(PartySignature { by, signature });
    }

    /// The file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Reads a file. Any other encoding of the same receipt is refused.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let receipt: Self = canonical::decode(bytes, MAX_RECEIPT)?;
        if receipt.body.version != VERSION {
            return Err(Unreadable::Version { got: receipt.body.version });
        }
        let signatures = ("signatures", receipt.signatures.len(), MAX_ITEMS);
        match receipt.body.sizes().into_iter().chain([signatures]).find(|(_, got, limit)| got > limit) {
            Some((field, got, limit)) => Err(Unreadable::TooMuch { field, got, limit }),
            None => Ok(receipt),
        }
    }
}
