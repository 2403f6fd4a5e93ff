//! What is asked of a custodian, and what it must check by itself before it moves anything (docs/specs/custodian.md).
//!
//! A custodian holds value by its word: a bank's or a game's own database. It does as D decided because it verifies
//! D's decision with its own eyes; the word that it gives for it is signed ([`crate::proof::statement`]). Everything here
//! is pure. What it leaves to the custodian: its books, whether it knows the [`Anchor`] that a decision rests on, and
//! whether the one who pays has the money.

use minicbor::{Decode, Encode};

use crate::quorum::{Group, check_site};
use crate::{
    Account, Anchor, Class, Decision, Digest, Fact, LedgerId, LegId, Manifest, Proof, Signature,
    SignedAttestation, Terms, Timestamp, Txid, canonical, manifest::EscrowTerms,
};

/// A longer request is refused: the proof of a decision needs a header, a transaction and a receipt with their nodes.
pub const MAX_REQUEST: usize = 1024 * 1024;
/// A longer answer is nonsense: a leg has three statements of some 300 bytes at most.
pub const MAX_ANSWER: usize = 8 * 1024;
/// A longer refusal is cut.
pub const MAX_REASON: usize = 512;

/// One request. Made twice it is the same as once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Request {
    /// The whole transaction: the txid follows from it.
    #[n(0)]
    pub manifest: Manifest,
    /// Which leg.
    #[n(1)]
    pub leg: LegId,
    /// What to do about it.
    #[n(2)]
    pub act: Act,
}

/// What a custodian can be asked to do about a leg.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Act {
    /// Take the value from the payer's account and hold it.
    #[n(0)]
    Hold {
        /// The payer's, over [`hold_digest`]: r ‖ s ‖ v.
        #[n(0)]
        signature: Signature,
    },
    /// COMMIT includes the leg: pay the payee, or arm the escrow.
    #[n(1)]
    Release {
        /// That D holds it.
        #[n(0)]
        decision: Proof,
    },
    /// ABORT, or a COMMIT without the leg: give the value back.
    #[n(2)]
    Return {
        /// That D holds it.
        #[n(0)]
        decision: Proof,
    },
    /// Pay an armed escrow's payee.
    #[n(3)]
    Settle {
        /// The evidence key's word.
        #[n(0)]
        attestation: SignedAttestation,
    },
    /// Pay an armed escrow's payer back, after T_E and the submission window.
    #[n(4)]
    Refund,
}

/// Who answers, and how far its books are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct About {
    /// Its name in manifests.
    #[n(0)]
    pub ledger: LedgerId,
    /// Its Ed25519 public key.
    #[n(1)]
    pub key: Digest,
    /// How many statements it has made in all.
    #[n(2)]
    pub height: u64,
    /// Its clock; never before its last statement.
    #[n(3)]
    pub at: Timestamp,
}

/// What moves, and between whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// Whose it is before, and after a return or a refund.
    pub payer: Account,
    /// Whose it is once it is paid.
    pub payee: Account,
    /// In the custodian's smallest unit.
    pub amount: u128,
}

/// What D decided about one leg, as its proof shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What the proof rests on: the custodian compares it with what it knows of D.
    pub anchor: Anchor,
    /// What D decided.
    pub decision: Decision,
    /// When D decided, by D's clock.
    pub at: Timestamp,
    /// Whether the leg takes effect.
    pub included: bool,
}

/// The name that a custodian has as `contract` in a leg's terms, by its key: a manifest that names it binds the key,
/// and an attestation for one custodian is none for another.
#[must_use]
pub fn account(key: &Digest) -> Account {
    let digest = Digest::of("sofie.custodian.account.v1", &[key.as_bytes()]).0;
    Account(digest[..20].try_into().expect("20 of 32 bytes"))
}

/// What the payer signs to have the value held. The txid covers leg, amount, parties and custodian.
#[must_use]
pub fn hold_digest(txid: Txid, leg: LegId) -> Digest {
    Digest::of("sofie.custodian.hold.v1", &[txid.0.as_bytes(), &leg.0.to_be_bytes()])
}

/// What moves on `leg`, if a custodian can carry it.
///
/// # Errors
/// What is wrong with the leg.
pub fn value(manifest: &Manifest, leg: LegId) -> Result<(Value, Account), String> {
    match manifest.leg(leg).map(|found| (found.class, &found.terms)) {
        Some((Class::Escrow, Terms::Escrow(terms))) if terms.dispute.is_some() => Err(format!(
            "{leg} names an arbiter (terms.dispute): a custodian keeps no dispute windows, a contract does"
        )),
        Some((Class::Escrow, Terms::Escrow(terms))) => {
            let value = Value { payer: terms.payer, payee: terms.payee, amount: terms.amount };
            Ok((value, terms.contract))
        }
        Some((Class::Escrow, Terms::Transfer(terms))) => {
            let value = Value { payer: terms.payer, payee: terms.payee, amount: terms.amount };
            Ok((value, terms.contract))
        }
        Some((class, _)) => Err(format!("{leg} is a {class} leg, and holds nothing by a custodian's word")),
        None => Err(format!("the manifest has no {leg}")),
    }
}

impl Request {
    /// Reads a request's bytes.
    ///
    /// # Errors
    /// [`canonical::Error`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, canonical::Error> {
        canonical::decode(bytes, MAX_REQUEST)
    }

    /// The request's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Checks all that shows in the request alone, for the custodian of name `ledger` and of `key`: that the leg is one
    /// of its own, and for a hold that the manifest is sound, the payer's signature on it, and T_D still to come.
    ///
    /// # Errors
    /// What is wrong, in words for the one who asks.
    pub fn check(&self, ledger: &LedgerId, key: &Digest, now: Timestamp) -> Result<Value, String> {
        let (value, contract) = value(&self.manifest, self.leg)?;
        let found = self.manifest.leg(self.leg).map(|leg| &leg.ledger);
        ensure(found == Some(ledger), || format!("{} is not on {ledger}", self.leg))?;
        let ours = account(key);
        ensure(contract == ours, || format!("{} names custodian {contract}, this is {ours}", self.leg))?;
        if let Act::Hold { signature } = &self.act {
            self.manifest.check(now).map_err(|fault| fault.to_string())?;
            let digest = hold_digest(self.manifest.txid(), self.leg);
            let signer = signature.signer(digest).map_err(|bad| bad.to_string())?;
            ensure(signer == value.payer, || format!("signed by {signer}, {} pays", value.payer))?;
        }
        Ok(value)
    }
}

/// What `proof` shows of D's decision: exactly one, by D's rules. COMMIT counts only with every preimage that opens the
/// manifest's hashlocks, in time, and of legs that the rule allows, whatever D may have let pass.
///
/// # Errors
/// Why the proof shows no decision that counts.
pub fn judge(manifest: &Manifest, leg: LegId, proof: &Proof) -> Result<Judged, String> {
    let proven = proof.verify(&manifest.decision.ledger, manifest).map_err(|bad| bad.to_string())?;
    let txid = manifest.txid();
    let mut found = proven.evidence.iter().filter_map(|one| match &one.fact {
        Fact::Decided(about, decision) if *about == txid => Some((decision, one.at)),
        _ => None,
    });
    let (decision, at) = found.next().ok_or("the proof shows no decision")?;
    ensure(found.next().is_none(), || "the proof shows two decisions".into())?;
    if let Decision::Commit { included, preimages, .. } = decision {
        ensure(manifest.quorum().allows(*included), || {
            "the manifest's rule does not allow these legs".into()
        })?;
        let opens = preimages.len() == manifest.participants.len()
            && std::iter::zip(&manifest.participants, preimages)
                .all(|(one, preimage)| Digest::sha256(preimage.as_bytes()) == one.hashlock);
        ensure(opens, || "its preimages do not open the manifest's hashlocks".into())?;
        ensure(at <= manifest.grace_end(), || "COMMIT came after the end of the decision's time".into())?;
    }
    let (decision, included) = (decision.clone(), decision.includes(leg));
    Ok(Judged { anchor: proven.anchor, decision, at, included })
}

/// [`judge`], where D is the group `pinned`: its keys are those that the custodian's operator was given. Those that the
/// request brings say only whose certificate it claims to be.
///
/// # Errors
/// Why the proof shows no decision of this group that counts.
pub fn judge_by(pinned: &Group, manifest: &Manifest, leg: LegId, proof: &Proof) -> Result<Judged, String> {
    check_site(manifest, pinned)?;
    let Proof::Quorum(shown) = proof else { return Err("D is a group, and this is no certificate".into()) };
    ensure(shown.group == *pinned, || {
        format!("the certificate is of group {}, D is group {}", shown.group.id(), pinned.id())
    })?;
    judge(manifest, leg, proof)
}

/// Whether `now` shows the decision that `before` showed, by which the leg was moved. If not, D has decided twice: both
/// proofs together convict it, whatever its kind is, and of a group they name the members.
///
/// # Errors
/// Who has said what, for the custodian's operator.
pub fn check_same(manifest: &Manifest, leg: LegId, before: &Proof, now: &Proof) -> Result<(), String> {
    let (first, second) = (judge(manifest, leg, before)?, judge(manifest, leg, now)?);
    ensure(first.decision == second.decision, || {
        let said = |one: &Judged| {
            let word = if matches!(one.decision, Decision::Commit { .. }) { "COMMIT" } else { "ABORT" };
            format!("{word} at second {}", one.at.as_seconds())
        };
        let liars = match (before, now) {
            (Proof::Quorum(one), Proof::Quorum(other)) => one.convicts(other),
            _ => String::new(),
        };
        let (d, txid) = (&manifest.decision.ledger, manifest.txid());
        format!("{d} has decided {txid} twice, {} and {}{liars}", said(&first), said(&second))
    })
}

/// Whether `signed` settles the escrow that was decided at `decided_at`, by the custodian's clock `now`.
///
/// # Errors
/// Why it does not.
pub fn check_settle(
    manifest: &Manifest,
    leg: LegId,
    signed: &SignedAttestation,
    decided_at: Timestamp,
    now: Timestamp,
) -> Result<(), String> {
    let (terms, said) = (escrow(manifest, leg)?, &signed.attestation);
    ensure((said.txid, said.leg) == (manifest.txid(), leg), || "it is about another leg".into())?;
    let place = (manifest.decision.chain_id, terms.contract);
    ensure((said.chain_id, said.contract) == place, || "it is for another contract".into())?;
    ensure(said.fulfilled, || "it says that the agreed condition does not hold".into())?;
    signed.speaks_for(terms).map_err(|no| no.to_string())?;
    let from = decided_at.as_seconds();
    ensure(said.observed_at.as_seconds() >= from, || "it was observed before the decision".into())?;
    ensure(signed.last_observed_at() <= terms.evidence_deadline, || {
        "it was observed after the deadline".into()
    })?;
    ensure(now <= terms.window_end(), || "the submission window is over".into())
}

/// Whether the escrow may be paid back at `now`.
///
/// # Errors
/// Why not yet.
pub fn check_refund(manifest: &Manifest, leg: LegId, now: Timestamp) -> Result<(), String> {
    let terms = escrow(manifest, leg)?;
    ensure(now > terms.window_end(), || "the submission window is still open".into())
}

fn escrow(manifest: &Manifest, leg: LegId) -> Result<&EscrowTerms, String> {
    match manifest.leg(leg).map(|leg| &leg.terms) {
        Some(Terms::Escrow(terms)) => Ok(terms),
        _ => Err(format!("{leg} waits for no evidence")),
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

#[cfg(test)]
mod tests;
