//! The signed word of an arbiter: that an observation which was presented to an escrow does not count. Typed structured data
//! (EIP-712), so that the escrow contract checks the very signature that everybody else checks.
//!
//! There is no ruling for the payee: an arbiter who says nothing lets the evidence stand.

use k256::ecdsa::SigningKey;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::attestation::{BadSignature, typed_digest};
use crate::manifest::EscrowTerms;
use crate::{Account, Attestation, Digest, LegId, Signature, Timestamp, Txid, contract};

/// What an arbiter signs, bound to one chain, one escrow contract and one observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Ruling {
    /// EIP-155 chain id of the escrow.
    #[n(0)]
    pub chain_id: u64,
    /// The escrow contract.
    #[n(1)]
    pub contract: Account,
    /// The transaction it is about.
    #[n(2)]
    pub txid: Txid,
    /// The escrow leg.
    #[n(3)]
    pub leg: LegId,
    /// Which observation does not count: [`Attestation::observation`] of what was presented.
    #[n(4)]
    pub observation: Digest,
    /// And of which time: [`Attestation::observed_at`], a whole second.
    #[n(5)]
    pub observed_at: Timestamp,
}

/// A ruling and its signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct SignedRuling {
    /// What is overruled.
    #[n(0)]
    pub ruling: Ruling,
    /// The arbiter's, over [`Ruling::digest`]: r ‖ s ‖ v.
    #[n(1)]
    pub signature: Signature,
}

/// Why a ruling does not count for an escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRuling {
    /// The terms name no arbiter.
    #[error("the escrow has no arbiter, and no dispute window: its evidence cannot be overruled")]
    NoArbiter,
    /// Nobody signed it.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// Another key did.
    #[error("{got} signed the ruling, only the arbiter {expected} may overrule")]
    Other {
        /// Who signed.
        got: Account,
        /// Whom the terms name.
        expected: Account,
    },
}

impl Ruling {
    /// The ruling that what `said` does not count.
    #[must_use]
    pub const fn on(said: &Attestation) -> Self {
        Self {
            chain_id: said.chain_id,
            contract: said.contract,
            txid: said.txid,
            leg: said.leg,
            observation: said.observation,
            observed_at: said.observed_at,
        }
    }

    /// The EIP-712 digest that is signed: domain {SOFIE, 1, chain id, escrow}.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let word = contract::Ruling {
            txid: contract::word(self.txid.0),
            leg: self.leg.0,
            observation: contract::word(self.observation),
            observedAt: self.observed_at.as_seconds(),
        };
        typed_digest(&word, self.chain_id, self.contract)
    }

    /// Signs it with the arbiter's key (RFC 6979: the same ruling gives the same signature).
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedRuling {
        SignedRuling { signature: Signature::by(key, self.digest()), ruling: self }
    }
}

impl SignedRuling {
    /// Whether the arbiter of an escrow of these terms signed it.
    ///
    /// # Errors
    /// [`NoRuling`] says why it does not count.
    pub fn speaks_for(&self, terms: &EscrowTerms) -> Result<(), NoRuling> {
        let expected = terms.dispute.ok_or(NoRuling::NoArbiter)?.arbiter;
        let got = self.signature.signer(self.ruling.digest())?;
        if got == expected { Ok(()) } else { Err(NoRuling::Other { got, expected }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;
    use crate::manifest::Dispute;

    fn key() -> SigningKey {
        SigningKey::from_slice(&[7; 32]).unwrap()
    }

    fn ruling() -> Ruling {
        Ruling {
            chain_id: 31_337,
            contract: Account([0xe5; 20]),
            txid: Txid(Digest([1; 32])),
            leg: LegId(0),
            observation: Digest([2; 32]),
            observed_at: Timestamp::from_seconds(1_800_000_000),
        }
    }

    fn terms(arbiter: Account) -> EscrowTerms {
        EscrowTerms {
            contract: Account([0xe5; 20]),
            payer: Account([1; 20]),
            payee: Account([2; 20]),
            amount: 1,
            evidence_key: Account([3; 20]),
            evidence_deadline: Timestamp::from_seconds(1_800_000_100),
            submission_window: Span::from_seconds(100),
            dispute: Some(Dispute { arbiter, window: Span::from_seconds(50) }),
        }
    }

    #[test]
    fn a_ruling_names_its_arbiter_and_only_for_what_was_overruled() {
        let terms = terms(Account::from(key().verifying_key()));
        let signed = ruling().sign(&key());
        assert_eq!(signed.speaks_for(&terms), Ok(()));
        let changes: [fn(&mut Ruling); 6] = [
            |r| r.chain_id += 1,
            |r| r.contract = Account([0xe6; 20]),
            |r| r.txid = Txid(Digest([3; 32])),
            |r| r.leg = LegId(1),
            |r| r.observation = Digest([4; 32]),
            |r| r.observed_at = Timestamp::from_seconds(1_800_000_001),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut other = signed.clone();
            change(&mut other.ruling);
            assert!(other.speaks_for(&terms).is_err(), "change {index}");
        }
    }

    #[test]
    fn an_escrow_without_an_arbiter_and_another_arbiters_refuse_it() {
        let signed = ruling().sign(&key());
        let (got, expected) = (Account::from(key().verifying_key()), Account([9; 20]));
        assert_eq!(signed.speaks_for(&terms(expected)), Err(NoRuling::Other { got, expected }));
        let without = EscrowTerms { dispute: None, ..terms(expected) };
        assert_eq!(signed.speaks_for(&without), Err(NoRuling::NoArbiter));
    }

    /// An attestation is no ruling, though both are of one key and one domain.
    #[test]
    fn no_attestation_is_taken_for_a_ruling() {
        let said = Attestation {
            chain_id: 31_337,
            contract: Account([0xe5; 20]),
            txid: Txid(Digest([1; 32])),
            leg: LegId(0),
            observation: Digest([2; 32]),
            fulfilled: true,
            observed_at: Timestamp::from_seconds(1_800_000_000),
        };
        assert_eq!(Ruling::on(&said), ruling());
        let signature = Signature(said.sign(&key()).signature.try_into().unwrap());
        let posing = SignedRuling { ruling: ruling(), signature };
        assert!(posing.speaks_for(&terms(Account::from(key().verifying_key()))).is_err());
    }
}
