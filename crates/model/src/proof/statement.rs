//! Proof by an operator's word: each fact under the Ed25519 signature (RFC 8032) of whoever runs the ledger. A custodian
//! answers with such statements (docs/specs/custodian.md), and the record file signs its lines with them.
//!
//! It proves who said it, not that it is so: a transaction that rests on it is labelled custodial. What it is good for
//! is the dispute afterwards: an operator that states both ends of one leg, or two facts at one place, has convicted
//! itself with its own key.
//!
//! Left out: decisions. A ledger that one operator keeps by his word alone is no D.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::{Anchor, BadProof, Proven, evm::Settlement};
use crate::{Class, Digest, Evidence, Fact, LedgerId, LegId, Manifest, Terms, canonical};

/// A proof with more statements is refused: three for each of 64 legs, and notes.
pub const MAX_STATEMENTS: usize = 1024;
/// What is framed with a statement's bytes before they are signed.
pub const DOMAIN: &str = "sofie.statement.v1";

/// What an operator states.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Statement {
    /// Ledger, fact, position and time.
    #[n(0)]
    pub evidence: Evidence,
    /// With [`Fact::Settled`]: for which observation. With any other fact: nothing.
    #[n(1)]
    pub settlement: Option<Settlement>,
}

/// A statement and its signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Signed {
    /// What is stated.
    #[n(0)]
    pub statement: Statement,
    /// Ed25519 over [`Statement::digest`].
    #[n(1)]
    pub signature: ByteArray<64>,
}

/// One operator's statements, in the order of its ledger.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Statements {
    /// The operator's Ed25519 public key.
    #[n(0)]
    pub key: Digest,
    /// Ascending by position.
    #[n(1)]
    pub statements: Vec<Signed>,
}

impl Statement {
    /// What is signed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(DOMAIN, &[&canonical::encode(self)])
    }

    /// Signs it as the operator.
    ///
    /// ```
    /// use ed25519_dalek::SigningKey;
    /// use sofie_model::{Digest, Evidence, Fact, Position, Timestamp, proof::statement::Statement};
    /// let key = SigningKey::from_bytes(&[7; 32]);
    /// let evidence = Evidence {
    ///     ledger: "bank".parse()?,
    ///     fact: Fact::Noted(Digest::ZERO, Digest::ZERO),
    ///     position: Position { height: 1, index: 0, reference: Digest::ZERO },
    ///     at: Timestamp::from_seconds(1_800_000_000),
    /// };
    /// let signed = Statement { evidence, settlement: None }.sign(&key);
    /// assert!(signed.is_by(&Digest(key.verifying_key().to_bytes())));
    /// assert!(!signed.is_by(&Digest::ZERO));
    /// # Ok::<(), sofie_model::id::BadName>(())
    /// ```
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> Signed {
        let signature = key.sign(self.digest().as_bytes()).to_bytes();
        Signed { statement: self, signature: signature.into() }
    }
}

impl Signed {
    /// Whether the operator of `key` signed it.
    #[must_use]
    pub fn is_by(&self, key: &Digest) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(key.as_bytes()) else { return false };
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(self.statement.digest().as_bytes(), &signature).is_ok()
    }
}

impl Statements {
    pub(super) fn verify(&self, ledger: &LedgerId, manifest: &Manifest) -> Result<Proven, BadProof> {
        let refuse = |part: String, why: String| BadProof { ledger: ledger.clone(), part, why };
        if self.statements.len() > MAX_STATEMENTS {
            return Err(refuse("statements".into(), format!("more than {MAX_STATEMENTS}")));
        }
        let mut evidence: Vec<Evidence> = Vec::with_capacity(self.statements.len());
        for (index, signed) in self.statements.iter().enumerate() {
            let part = |why: String| refuse(format!("statement {index}"), why);
            if !signed.is_by(&self.key) {
                return Err(part(format!("it is not signed by {}", self.key)));
            }
            signed.statement.check(ledger, manifest, &evidence).map_err(part)?;
            evidence.push(signed.statement.evidence.clone());
        }
        Ok(Proven { anchor: Anchor::Operator { ledger: ledger.clone(), key: self.key }, evidence })
    }

    /// What the settlements among them say. As good as the proof: [`crate::Proof::verify`] it first.
    pub fn settlements(&self) -> impl Iterator<Item = Settlement> {
        self.statements.iter().filter_map(|one| one.statement.settlement)
    }
}

impl Statement {
    /// Whether `manifest` has a leg on `ledger` of which this may be said, after all that was said `before`.
    fn check(&self, ledger: &LedgerId, manifest: &Manifest, before: &[Evidence]) -> Result<(), String> {
        let said = &self.evidence;
        ensure(said.ledger == *ledger, || format!("it is about ledger {}", said.ledger))?;
        if let Some(last) = before.last() {
            let place = |one: &Evidence| (one.position.height, one.position.index);
            ensure(place(last) < place(said), || "the statements are not in order".into())?;
            ensure(last.at <= said.at, || "its time lies before that of an earlier one".into())?;
        }
        let Some((id, stage)) = stage(&said.fact, manifest)? else {
            return ensure(self.settlement.is_none(), || "a note settles nothing".into());
        };
        check_leg(&said.fact, id, ledger, manifest)?;
        let settles = matches!(said.fact, Fact::Settled(..));
        let fits = self.settlement.map(|one| one.leg) == settles.then_some(id);
        ensure(fits, || "a settlement, and nothing else, names an observation of its leg".into())?;
        let earlier = before.iter().rev().find_map(|one| match self::stage(&one.fact, manifest) {
            Ok(Some((other, stage))) if other == id => Some((&one.fact, stage)),
            _ => None,
        });
        match earlier {
            Some((Fact::Reverted(..), _)) => Err(format!("{id} was reverted before")),
            Some((fact, before)) if before >= stage => Err(format!("{:?} was stated before", fact)),
            _ => Ok(()),
        }
    }
}

/// The leg that a fact is about and how far it is then; nothing for a note.
fn stage(fact: &Fact, manifest: &Manifest) -> Result<Option<(LegId, u8)>, String> {
    let (txid, leg, stage) = match fact {
        Fact::Noted(..) => return Ok(None),
        Fact::Decided(..) => return Err("an operator's word is no decision".into()),
        Fact::Presented(..) | Fact::Overruled(..) => {
            return Err("a custodian holds no escrow with a dispute window".into());
        }
        Fact::Prepared(txid, leg) => (txid, leg, 0),
        Fact::Applied(txid, leg) | Fact::Reverted(txid, leg) => (txid, leg, 1),
        Fact::Settled(txid, leg) | Fact::Refunded(txid, leg) => (txid, leg, 2),
    };
    ensure(*txid == manifest.txid(), || format!("it is about another transaction, {txid}"))?;
    Ok(Some((*leg, stage)))
}

fn check_leg(fact: &Fact, id: LegId, ledger: &LedgerId, manifest: &Manifest) -> Result<(), String> {
    let leg = manifest.leg(id).filter(|leg| leg.ledger == *ledger);
    let leg = leg.ok_or_else(|| format!("the manifest has no {id} on {ledger}"))?;
    ensure(matches!(leg.class, Class::Escrow | Class::Record), || {
        format!("{id} is a {} leg: an operator's word does not move it", leg.class)
    })?;
    let paid = matches!(fact, Fact::Settled(..) | Fact::Refunded(..));
    ensure(!paid || matches!(leg.terms, Terms::Escrow(_)), || format!("{id} waits for no evidence"))
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

#[cfg(test)]
mod tests;
