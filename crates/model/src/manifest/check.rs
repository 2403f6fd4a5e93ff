//! What is wrong with a manifest, found before anything is prepared. Each fault carries the path of the field.

use crate::manifest::{Dispute, EscrowTerms, HashlockTerms, Leg, TransferTerms};
use crate::{Account, Class, Manifest, Rule, Span, Terms, Timestamp};

/// More legs than this are refused.
pub const MAX_LEGS: usize = 64;
/// More participants than this are refused: D checks every preimage in one call.
pub const MAX_PARTICIPANTS: usize = 16;
/// A longer dispute window is refused: the escrow contract counts its seconds in 32 bits.
pub const MAX_DISPUTE_WINDOW: Span = Span::from_seconds(u32::MAX as u64);

/// A refused manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("manifest.{path}: {why}")]
pub struct Fault {
    /// The field, as `legs[1].terms.amount`.
    pub path: String,
    /// What is wrong with it and what is expected.
    pub why: String,
}

impl Manifest {
    /// Checks all that can be seen without asking a ledger.
    ///
    /// # Errors
    /// The first [`Fault`] in the order of the fields.
    pub fn check(&self, now: Timestamp) -> Result<(), Fault> {
        ensure(self.version == 1, "version", || format!("{} is unknown, 1 is expected", self.version))?;
        self.check_legs()?;
        self.check_rule()?;
        self.check_times(now)?;
        self.check_participants()
    }

    fn check_legs(&self) -> Result<(), Fault> {
        let count = self.legs.len();
        ensure((1..=MAX_LEGS).contains(&count), "legs", || format!("{count}, 1 to {MAX_LEGS} are expected"))?;
        for (index, leg) in self.legs.iter().enumerate() {
            self.check_leg(leg, &format!("legs[{index}]"))?;
            if let Some(twin) = self.legs[..index].iter().position(|other| other == leg) {
                return Err(Fault {
                    path: format!("legs[{index}]"),
                    why: format!("locks the same as legs[{twin}]"),
                });
            }
        }
        let pivots = self.legs.iter().filter(|leg| leg.class == Class::Hashlock).count();
        ensure(pivots <= 1, "legs", || format!("{pivots} hashlock legs, at most one can be the pivot"))
    }

    fn check_leg(&self, leg: &Leg, path: &str) -> Result<(), Fault> {
        let fits = matches!(
            (leg.class, &leg.terms),
            (Class::Verifying | Class::Escrow, Terms::Escrow(_) | Terms::Transfer(_))
                | (Class::Hashlock, Terms::Hashlock(_))
                | (Class::Record, Terms::Record(_))
        );
        let terms = format!("{path}.terms");
        ensure(fits, &terms, || format!("not the terms of a {} leg", leg.class))?;
        match &leg.terms {
            Terms::Escrow(escrow) => self.check_escrow(escrow, &terms)?,
            Terms::Transfer(transfer) => check_transfer(transfer, &terms)?,
            Terms::Hashlock(hashlock) => self.check_hashlock(hashlock, &terms)?,
            Terms::Record(_) => {}
        }
        let at_decision = leg.class != Class::Verifying || leg.ledger == self.decision.ledger;
        ensure(at_decision, format!("{path}.ledger"), || {
            format!("its contract reads the decision itself, and that stands on {}", self.decision.ledger)
        })?;
        let required = leg.class != Class::Hashlock || leg.required;
        ensure(required, format!("{path}.required"), || "the pivot is always required".into())
    }

    fn check_escrow(&self, terms: &EscrowTerms, path: &str) -> Result<(), Fault> {
        let path = |field: &str| format!("{path}.{field}");
        ensure(terms.contract != Account::ZERO, path("contract"), || {
            "no contract would hold the value".into()
        })?;
        ensure(terms.amount > 0, path("amount"), || "nothing would be paid".into())?;
        ensure(terms.payer != terms.payee, path("payee"), || "pays itself".into())?;
        let interested = [terms.payer, terms.payee, Account::ZERO];
        ensure(!interested.contains(&terms.evidence_key), path("evidence_key"), || {
            "neither the payer's, the payee's nor nobody's key may attest".into()
        })?;
        ensure(terms.evidence_deadline.is_whole_second(), path("evidence_deadline"), whole)?;
        ensure(terms.evidence_deadline > self.grace_end(), path("evidence_deadline"), || {
            "lies before the end of the decision's time".into()
        })?;
        ensure(terms.submission_window.as_millis().is_multiple_of(1000), path("submission_window"), whole)?;
        terms.dispute.map_or(Ok(()), |dispute| check_dispute(terms, &dispute, &path("dispute")))
    }

    fn check_hashlock(&self, terms: &HashlockTerms, path: &str) -> Result<(), Fault> {
        let path = |field: &str| format!("{path}.{field}");
        ensure(terms.amount > 0, path("amount"), || "nothing would be locked".into())?;
        ensure(terms.timelock.is_whole_second(), path("timelock"), whole)?;
        for (account, field) in [(terms.payer, "payer"), (terms.claimant, "claimant")] {
            let takes_part = self.participants.iter().any(|one| one.account == account);
            ensure(takes_part, path(field), || "is not among the participants".into())?;
        }
        ensure(terms.payer != terms.claimant, path("claimant"), || "pays itself".into())?;
        for (key, field) in [(terms.payer_key, "payer_key"), (terms.claimant_key, "claimant_key")] {
            ensure(key.is_point(), path(field), || "not a point of secp256k1: no key could sign".into())?;
        }
        ensure(terms.payer_key != terms.claimant_key, path("claimant_key"), || "pays itself".into())
    }

    fn check_rule(&self) -> Result<(), Fault> {
        if let Rule::AtLeast(k) = self.rule {
            let legs = self.legs.len();
            ensure(k >= 1 && usize::from(k) <= legs, "rule", || format!("{k} of {legs} legs"))?;
        }
        Ok(())
    }

    fn check_times(&self, now: Timestamp) -> Result<(), Fault> {
        ensure(self.deadline.is_whole_second(), "deadline", whole)?;
        ensure(self.deadline > now, "deadline", || "lies in the past".into())?;
        ensure(self.grace.as_millis().is_multiple_of(1000), "grace", whole)?;
        let pivot = self.pivot().is_some();
        ensure(pivot || self.grace == Span::ZERO, "grace", || "0 is expected without a hashlock leg".into())?;
        ensure(pivot == (self.guard != Account::ZERO), "guard", || {
            "is needed with a hashlock leg, and only there".into()
        })
    }

    fn check_participants(&self) -> Result<(), Fault> {
        let count = self.participants.len();
        ensure((1..=MAX_PARTICIPANTS).contains(&count), "participants", || {
            format!("{count}, 1 to {MAX_PARTICIPANTS} are expected")
        })?;
        for (index, one) in self.participants.iter().enumerate() {
            let path = |field: &str| format!("participants[{index}].{field}");
            ensure(one.account != Account::ZERO, path("account"), || "nobody".into())?;
            let before = &self.participants[..index];
            ensure(before.iter().all(|p| p.account != one.account), path("account"), twice)?;
            ensure(before.iter().all(|p| p.hashlock != one.hashlock), path("hashlock"), twice)?;
        }
        Ok(())
    }
}

fn check_dispute(terms: &EscrowTerms, dispute: &Dispute, path: &str) -> Result<(), Fault> {
    let (arbiter, window) = (format!("{path}.arbiter"), format!("{path}.window"));
    let interested = [terms.payer, terms.payee, terms.evidence_key, Account::ZERO];
    ensure(!interested.contains(&dispute.arbiter), arbiter, || {
        "neither the payer, the payee, the evidence's own key nor nobody may overrule it".into()
    })?;
    ensure(dispute.window.as_millis().is_multiple_of(1000), &window, whole)?;
    ensure(dispute.window > Span::ZERO, &window, || "no time in which a ruling could come".into())?;
    ensure(dispute.window <= MAX_DISPUTE_WINDOW, &window, || {
        format!("longer than {} seconds", MAX_DISPUTE_WINDOW.as_seconds())
    })?;
    ensure(terms.submission_window > dispute.window, &window, || {
        let seconds = terms.submission_window.as_seconds();
        format!(
            "does not end within the submission window of {seconds} s: the last evidence could not be disputed in time"
        )
    })
}

fn check_transfer(terms: &TransferTerms, path: &str) -> Result<(), Fault> {
    let path = |field: &str| format!("{path}.{field}");
    ensure(terms.contract != Account::ZERO, path("contract"), || "nobody would hold the value".into())?;
    ensure(terms.amount > 0, path("amount"), || "nothing would be paid".into())?;
    ensure(terms.payee != Account::ZERO, path("payee"), || "nobody would be paid".into())?;
    ensure(terms.payer != terms.payee, path("payee"), || "pays itself".into())
}

fn ensure(holds: bool, path: impl Into<String>, why: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault { path: path.into(), why: why() }) }
}

fn whole() -> String {
    "not a whole second, and ledgers count seconds".into()
}

fn twice() -> String {
    "stands twice".into()
}

#[cfg(test)]
mod tests;
