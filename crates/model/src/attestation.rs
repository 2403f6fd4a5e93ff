//! The signed word of a sensor's owner: what was observed, for which transaction, and when. Typed structured data
//! (EIP-712), so that the escrow contract checks the very signature that an auditor checks.

mod panel;

use alloy_primitives::keccak256;
use alloy_sol_types::{SolStruct, eip712_domain};
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::manifest::EscrowTerms;
use crate::{Account, Digest, LegId, Timestamp, Txid, contract};
use panel::Certificate;
pub use panel::{BadPanel, MAX_KEYS, Panel};

/// What the evidence key signs, bound to one chain and one escrow contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Attestation {
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
    /// H(thing, property, value, salt): [`crate::Observation::digest`]. Of a [`Panel`], Keccak-256 over those of its words, in
    /// the order of their keys.
    #[n(4)]
    pub observation: Digest,
    /// True when the agreed predicate holds.
    #[n(5)]
    pub fulfilled: bool,
    /// When the sensor saw it. A whole second, rounded down. Of a [`Panel`], the earliest.
    #[n(6)]
    pub observed_at: Timestamp,
}

/// An attestation and its signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct SignedAttestation {
    /// What is said.
    #[n(0)]
    pub attestation: Attestation,
    /// r ‖ s ‖ v of secp256k1 over the EIP-712 digest: 65 bytes, v is 27 or 28, s in the lower half (EIP-2). Or the certificate
    /// of a [`Panel`], without padding: k (1 byte) ‖ n (1) ‖ n keys, ascending (20 each) ‖ k words in their keys' order, each the
    /// key's place (1) ‖ observation (32) ‖ seconds (8) ‖ r ‖ s ‖ v (65).
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(with = "hex::serde")]
    pub signature: Vec<u8>,
}

/// A signature that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Neither r ‖ s ‖ v nor a panel's certificate.
    #[error("the signature has {got} bytes; 65 are expected (r, s and v), or the certificate of a panel")]
    Length {
        /// How many there are.
        got: usize,
    },
    /// v tells which of two keys signed.
    #[error("the signature's v is {got}, 27 or 28 is expected")]
    Parity {
        /// The byte that stands there.
        got: u8,
    },
    /// Every signature has a twin with s in the upper half; one of the two must not count (EIP-2).
    #[error("the signature's s lies in the upper half of the curve's order: its low twin is expected")]
    HighS,
    /// r and s are no signature of any key.
    #[error("no key has made this signature: the message or the signature was changed")]
    NoKey,
    /// A word in a certificate that its key did not sign.
    #[error("{0} of the panel did not sign the word that is put into its mouth")]
    Word(Account),
    /// The words say something else than the attestation that they are for.
    #[error("the panel's words do not come to this observation and time")]
    Sum,
}

/// Why an attestation does not count for an escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAuthority {
    /// Nobody signed it.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// Another key or panel did.
    #[error("{got} signed the attestation, only {expected} has authority")]
    Other {
        /// Who signed.
        got: Account,
        /// Whom the terms name.
        expected: Account,
    },
    /// A panel with the payer, the payee or the arbiter in it.
    #[error(
        "{0} is of the panel, and pays, is paid by or rules on this escrow: such a panel's word does not count"
    )]
    Interested(Account),
}

impl Attestation {
    /// The EIP-712 digest that is signed: domain {SOFIE, 1, chain id, escrow}.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let word = contract::Attestation {
            txid: contract::word(self.txid.0),
            leg: self.leg.0,
            observation: contract::word(self.observation),
            fulfilled: self.fulfilled,
            observedAt: self.observed_at.as_seconds(),
        };
        typed_digest(&word, self.chain_id, self.contract)
    }

    /// Signs it with the evidence key (RFC 6979: the same attestation gives the same signature).
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedAttestation {
        SignedAttestation { attestation: self, signature: sign(self.digest(), key).to_vec() }
    }
}

impl SignedAttestation {
    /// Whose key signed it, or which panel's keys. Whether that account has authority is for the caller to compare.
    ///
    /// # Errors
    /// [`BadSignature`], in every case in which the escrow contract refuses it too.
    pub fn signer(&self) -> Result<Account, BadSignature> {
        match self.certificate() {
            Some(certificate) => certificate.signer(&self.attestation),
            None => recover(self.attestation.digest(), &self.signature),
        }
    }

    /// Whether its signer has authority over an escrow of these terms, and no part in it.
    ///
    /// # Errors
    /// [`NoAuthority`] says why its word does not count.
    pub fn speaks_for(&self, terms: &EscrowTerms) -> Result<(), NoAuthority> {
        let (got, expected) = (self.signer()?, terms.evidence_key);
        if got != expected {
            return Err(NoAuthority::Other { got, expected });
        }
        let panel = self.panel();
        let keys = panel.as_ref().map_or(&[][..], Panel::keys);
        let arbiter = terms.dispute.map(|dispute| dispute.arbiter);
        match keys.iter().find(|key| [terms.payer, terms.payee].contains(key) || arbiter == Some(**key)) {
            Some(key) => Err(NoAuthority::Interested(*key)),
            None => Ok(()),
        }
    }

    /// The panel that it claims to be of; `None` when one key signed it.
    #[must_use]
    pub fn panel(&self) -> Option<Panel> {
        self.certificate().map(|certificate| certificate.panel)
    }

    /// What each owner signed, in the order of their keys: of a panel its words, else itself.
    #[must_use]
    pub fn words(&self) -> Vec<Self> {
        match self.certificate() {
            Some(certificate) => certificate.said(&self.attestation).collect(),
            None => vec![self.clone()],
        }
    }

    /// When the last of them saw it: no word after T_E counts.
    #[must_use]
    pub fn last_observed_at(&self) -> Timestamp {
        let times = self.words().into_iter().map(|word| word.attestation.observed_at);
        times.max().unwrap_or(self.attestation.observed_at)
    }

    fn certificate(&self) -> Option<Certificate<'_>> {
        Certificate::parse(&self.signature)
    }
}

/// The EIP-712 digest of `message` in the domain {name SOFIE, version 1, chain id, contract}.
#[must_use]
pub fn typed_digest<T: SolStruct>(message: &T, chain_id: u64, contract: Account) -> Digest {
    let domain = eip712_domain! {
        name: "SOFIE",
        version: "1",
        chain_id: chain_id,
        verifying_contract: contract::address(contract),
    };
    Digest(message.eip712_signing_hash(&domain).0)
}

/// Signs a digest: r ‖ s ‖ v with s in the lower half.
#[must_use]
pub fn sign(digest: Digest, key: &SigningKey) -> [u8; 65] {
    let (signature, parity) = key
        .sign_prehash_recoverable(digest.as_bytes())
        .expect("a digest has 32 bytes, and RFC 6979 finds a nonce for every key");
    let mut bytes = [0; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = 27 + u8::from(parity.is_y_odd());
    bytes
}

/// Whose key signed `digest`.
///
/// # Errors
/// [`BadSignature`] says what is wrong with the signature.
pub fn recover(digest: Digest, signature: &[u8]) -> Result<Account, BadSignature> {
    let bytes: &[u8; 65] = signature.try_into().map_err(|_| BadSignature::Length { got: signature.len() })?;
    let odd = match bytes[64] {
        27 => false,
        28 => true,
        got => return Err(BadSignature::Parity { got }),
    };
    let signature = Signature::from_slice(&bytes[..64]).map_err(|_| BadSignature::NoKey)?;
    if signature.normalize_s().is_some() {
        return Err(BadSignature::HighS);
    }
    VerifyingKey::recover_from_prehash(digest.as_bytes(), &signature, RecoveryId::new(odd, false))
        .map(|key| Account::from(&key))
        .map_err(|_| BadSignature::NoKey)
}

impl From<&VerifyingKey> for Account {
    fn from(key: &VerifyingKey) -> Self {
        let point = key.to_encoded_point(false);
        let hash = keccak256(&point.as_bytes()[1..]);
        Self(hash.0[12..].try_into().expect("32 less 12 are 20"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attestation() -> Attestation {
        Attestation {
            chain_id: 31337,
            contract: Account([0xe5; 20]),
            txid: Txid(Digest([1; 32])),
            leg: LegId(0),
            observation: Digest([2; 32]),
            fulfilled: true,
            observed_at: Timestamp::from_seconds(1_800_000_000),
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_slice(&[7; 32]).unwrap()
    }

    #[test]
    fn the_account_of_a_key_is_the_one_that_the_yellow_paper_derives() {
        // Private key 1: the generator point itself.
        let key = SigningKey::from_slice(&{
            let mut one = [0; 32];
            one[31] = 1;
            one
        })
        .unwrap();
        let account = Account::from(key.verifying_key());
        assert_eq!(account.to_string(), "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf");
    }

    #[test]
    fn a_signature_names_its_key_and_only_for_what_was_signed() {
        let signed = attestation().sign(&key());
        assert_eq!(signed.signer(), Ok(Account::from(key().verifying_key())));
        let changes: [fn(&mut Attestation); 7] = [
            |a| a.chain_id += 1,
            |a| a.contract = Account([0xe6; 20]),
            |a| a.txid = Txid(Digest([3; 32])),
            |a| a.leg = LegId(1),
            |a| a.observation = Digest([4; 32]),
            |a| a.fulfilled = false,
            |a| a.observed_at = Timestamp::from_seconds(1_800_000_001),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut other = signed.clone();
            change(&mut other.attestation);
            assert_ne!(other.signer(), signed.signer(), "change {index}");
        }
    }

    #[test]
    fn a_signature_of_another_form_is_refused() {
        let signed = attestation().sign(&key());
        let digest = signed.attestation.digest();
        let mut high = signed.signature.clone();
        let low = Signature::from_slice(&high[..64]).unwrap();
        let twin = Signature::from_scalars(low.r(), -*low.s()).unwrap();
        high[..64].copy_from_slice(&twin.to_bytes());
        high[64] = 27 + 28 - high[64];
        let mut parity = signed.signature.clone();
        parity[64] -= 27;
        let cases: [(&[u8], BadSignature); 5] = [
            (&[], BadSignature::Length { got: 0 }),
            (&signed.signature[..64], BadSignature::Length { got: 64 }),
            (&parity, BadSignature::Parity { got: parity[64] }),
            (&high, BadSignature::HighS),
            (&[&[0; 64][..], &[27]].concat(), BadSignature::NoKey),
        ];
        for (signature, fault) in cases {
            assert_eq!(recover(digest, signature), Err(fault));
        }
    }
}
