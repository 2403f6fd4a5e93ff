//! What nodes say to each other (docs/specs/node-messages.md): canonical CBOR, `[version, message]`. Each message is
//! answered by one of the [`Reply`]s that it names, in the same HTTP exchange. To say a message again is harmless.

use minicbor::{Decode, Encode};
use sofie_market::{ContractTerms, Offer, Report, Seen};
use sofie_model::{Account, Digest, LegId, Manifest, Salt, Signature, Txid, canonical};

/// The version of both formats.
pub const VERSION: u16 = 1;
/// The longest message or reply, in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The longest reason, in characters.
pub const MAX_REASON: usize = 512;

/// What one node asks of, or tells, another.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// A party of the other node shall take part under this nonce: under which account and hashlock? Changes nothing
    /// but that the nonce is remembered. Answered by [`Reply::Answer`].
    #[n(0)]
    Enquire {
        /// The nonce that the manifest will have.
        #[n(0)]
        nonce: Digest,
        /// The party, by its account on D.
        #[n(1)]
        party: Account,
    },
    /// The whole manifest. Answered by [`Reply::Agreed`], [`Reply::Waiting`] or [`Reply::Declined`]; who is told to wait
    /// proposes the same again.
    #[n(1)]
    Propose {
        /// What would be agreed.
        #[n(0)]
        manifest: Box<Manifest>,
        /// What the commitments of record legs open to, for the owner to judge.
        #[n(1)]
        openings: Vec<Opening>,
        /// The contract that it makes, if it takes up an offer.
        #[n(2)]
        contract: Option<Box<ContractTerms>>,
    },
    /// A participant's secret. Answered by [`Reply::Taken`].
    #[n(2)]
    Released {
        /// Of which transaction.
        #[n(0)]
        txid: Txid,
        /// The participant, by its place in the manifest.
        #[n(1)]
        who: u16,
        /// The secret: exactly 32 bytes.
        #[n(2)]
        preimage: Digest,
    },
    /// A participant will not release: whoever may abort need not wait for the deadline. Answered by [`Reply::Taken`].
    #[n(3)]
    Withheld {
        /// Of which transaction.
        #[n(0)]
        txid: Txid,
        /// The participant, by its place in the manifest.
        #[n(1)]
        who: u16,
        /// In its own words.
        #[n(2)]
        reason: String,
    },
    /// A participant's signature under ABORT: it never releases. Answered by [`Reply::Taken`].
    #[n(4)]
    Renounced {
        /// Of which transaction.
        #[n(0)]
        txid: Txid,
        /// The participant, by its place in the manifest.
        #[n(1)]
        who: u16,
        /// Over the manifest's ABORT (EIP-712).
        #[n(2)]
        signature: Signature,
    },
    /// What a party signs ahead of the pivot's lock, so that others can finish it ([`sofie_ledgers::Presigned`]). Answered
    /// by [`Reply::Taken`], or by [`Reply::Waiting`] while the lock is not seen there.
    #[n(5)]
    Presigned {
        /// Of which transaction.
        #[n(0)]
        txid: Txid,
        /// The refund, signed by the payer; else the claim, signed by the claimant.
        #[n(1)]
        refund: bool,
        /// As the pivot's ledger makes it: at most [`sofie_ledgers::port::MAX_PRESIGNED_BYTES`].
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        signed: Vec<u8>,
    },
    /// Watch this transaction, of which the sender's parties take part. Answered by [`Reply::Taken`], or by
    /// [`Reply::Waiting`] while too much is watched there.
    #[n(6)]
    Watch {
        /// What was agreed.
        #[n(0)]
        manifest: Box<Manifest>,
    },
    /// What is for sale? Answered by [`Reply::Offers`].
    #[n(8)]
    Browse,
    /// How far is this contract, of which the payer's keys are here and the owner's there? Answered by
    /// [`Reply::Report`].
    #[n(9)]
    Progress {
        /// The contract.
        #[n(0)]
        txid: Txid,
    },
    /// What did sensors of your parties see of this contract, in which a party of the sender pays or is paid? Answered by
    /// [`Reply::Testimony`], or by [`Reply::Waiting`] while they have seen nothing that counts.
    #[n(10)]
    Testify {
        /// What was committed.
        #[n(0)]
        manifest: Box<Manifest>,
        /// What the manifest's nonce commits to; its offer does not matter.
        #[n(1)]
        contract: Box<ContractTerms>,
    },
}

/// What a record leg's commitment opens to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Opening {
    /// Which leg.
    #[n(0)]
    pub leg: LegId,
    /// The salt of the commitment.
    #[n(1)]
    pub salt: Salt,
    /// The payload.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub payload: Vec<u8>,
}

/// The answer to a message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// What the party puts into the manifest.
    #[n(0)]
    Answer {
        /// Its account on D.
        #[n(0)]
        account: Account,
        /// SHA-256 of its secret.
        #[n(1)]
        hashlock: Digest,
        /// Its public key for a hashlock leg: compressed secp256k1.
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        key: [u8; 33],
    },
    /// The parties there take part, and their node has begun.
    #[n(1)]
    Agreed {
        /// The transaction.
        #[n(0)]
        txid: Txid,
        /// One for each participant there.
        #[n(1)]
        signatures: Vec<Agreement>,
    },
    /// Not yet: a person there must decide, or its ledger does not show yet what it must. The same is said again.
    #[n(2)]
    Waiting {
        /// The transaction.
        #[n(0)]
        txid: Txid,
        /// What is waited for.
        #[n(1)]
        reason: String,
    },
    /// The parties there do not take part.
    #[n(3)]
    Declined {
        /// Why.
        #[n(0)]
        reason: String,
    },
    /// The message counts, or it counted before.
    #[n(4)]
    Taken,
    /// The message does not count, and nothing has changed.
    #[n(5)]
    Refused {
        /// Why.
        #[n(0)]
        reason: String,
    },
    /// What the parties there offer to this node.
    #[n(8)]
    Offers {
        /// At most [`crate::offers::MAX_OFFERS`].
        #[n(0)]
        offers: Vec<Offer>,
    },
    /// What the owner's node has done, and its evidence.
    #[n(9)]
    Report {
        /// Nothing in it is believed that is not signed by the evidence key.
        #[n(0)]
        report: Box<Report>,
    },
    /// What sensors there saw.
    #[n(10)]
    Testimony {
        /// At most one for each sensor, signed by its owner.
        #[n(0)]
        seen: Vec<Seen>,
    },
}

/// A participant's signature that it takes part.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Agreement {
    /// The participant, by its place in the manifest.
    #[n(0)]
    pub who: u16,
    /// r ‖ s ‖ v of secp256k1 over [`agreement`].
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: [u8; 65],
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Versioned<T> {
    #[n(0)]
    version: u16,
    #[n(1)]
    content: T,
}

/// Bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not the canonical encoding of one.
    #[error(transparent)]
    Encoding(#[from] canonical::Error),
    /// Of another version.
    #[error(
        "the message is of version {got}; this node speaks version {VERSION}: update the older of the two nodes"
    )]
    Version {
        /// Which.
        got: u16,
    },
}

impl Message {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(&Versioned { version: VERSION, content: self.clone() })
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        read(bytes)
    }

    /// A word for logs and the audit log.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Enquire { .. } => "enquire",
            Self::Propose { .. } => "propose",
            Self::Released { .. } => "released",
            Self::Withheld { .. } => "withheld",
            Self::Renounced { .. } => "renounced",
            Self::Presigned { .. } => "presigned",
            Self::Watch { .. } => "watch",
            Self::Browse => "browse",
            Self::Progress { .. } => "progress",
            Self::Testify { .. } => "testify",
        }
    }
}

impl Reply {
    /// A word for logs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Answer { .. } => "answer",
            Self::Agreed { .. } => "agreed",
            Self::Waiting { .. } => "waiting",
            Self::Declined { .. } => "declined",
            Self::Taken => "taken",
            Self::Refused { .. } => "refused",
            Self::Offers { .. } => "offers",
            Self::Report { .. } => "report",
            Self::Testimony { .. } => "testimony",
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(&Versioned { version: VERSION, content: self.clone() })
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        read(bytes)
    }
}

fn read<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, Unreadable> {
    // The version first: what follows it may be anything in another one.
    let mut head = minicbor::Decoder::new(bytes);
    let version = head.array().and_then(|_| head.u16());
    if let Ok(got) = version
        && got != VERSION
    {
        return Err(Unreadable::Version { got });
    }
    Ok(canonical::decode::<Versioned<T>>(bytes, MAX_MESSAGE)?.content)
}

/// What a participant signs when it takes part in `txid`.
#[must_use]
pub fn agreement(txid: Txid) -> Digest {
    Digest::of("sofie.agreed.v1", &[txid.0.as_bytes()])
}

/// No longer a reason than a person reads, and nothing in it that would steer a terminal.
#[must_use]
pub fn shortened(reason: &str) -> String {
    reason.chars().take(MAX_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_and_any_other_byte_is_refused() {
        let released = Message::Released { txid: Txid(Digest([1; 32])), who: 1, preimage: Digest([2; 32]) };
        let bytes = released.to_bytes();
        assert_eq!(Message::read(&bytes), Ok(released.clone()));
        // The bytes of docs/specs/node-messages.md.
        let expected = format!(
            "820182028358{}01{}",
            "20".to_owned() + &"01".repeat(32),
            "5820".to_owned() + &"02".repeat(32)
        );
        assert_eq!(hex::encode(&bytes), expected);
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert_ne!(Message::read(&changed).ok(), Some(released.clone()), "byte {index}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Message::read(&longer).is_err());
        assert!(Message::read(&[]).is_err());
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = Reply::Taken.to_bytes();
        assert_eq!(Reply::read(&bytes), Ok(Reply::Taken));
        bytes[1] = 2;
        assert_eq!(Reply::read(&bytes), Err(Unreadable::Version { got: 2 }));
    }
}
