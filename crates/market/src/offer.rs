//! What an owner offers to whoever pays: it fixes all but the payer and the time, so that who agrees and who offered make
//! the same agreement and the same escrow of it.

use minicbor::{Decode, Encode};
use sofie_model::manifest::{Dispute, EscrowTerms};
use sofie_model::{Account, Digest, LedgerId, Salt, Span, ThingId, Timestamp, canonical};

use crate::{Agreement, BadWitnesses, EvidenceRule, Penalty, Witnesses};

/// An actuation that is for sale.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Offer {
    /// The thing that acts.
    #[n(0)]
    pub thing: ThingId,
    /// The action's name in the Thing Description.
    #[n(1)]
    pub action: String,
    /// The action's input: JSON text, or empty.
    #[n(2)]
    pub input: String,
    /// Who owns the thing and is paid.
    #[n(3)]
    pub owner: Account,
    /// In the smallest unit of `ledger`.
    #[n(4)]
    pub price: u128,
    /// Which ledger holds the money and the decision.
    #[n(5)]
    pub ledger: LedgerId,
    /// What proves the act.
    #[n(6)]
    pub evidence: EvidenceRule,
    /// Whose signature counts: the account of the sensor's owner, or of the panel that the witnesses' keys make.
    #[n(7)]
    pub evidence_key: Account,
    /// No contract's decision deadline, T_D, lies further away when it is proposed.
    #[n(8)]
    pub decision_within: Span,
    /// From T_D until T_E, the last instant at which an observation counts.
    #[n(9)]
    pub evidence_within: Span,
    /// How long after T_E evidence may still be brought.
    #[n(10)]
    pub submission_window: Span,
    /// Nobody can agree after this.
    #[n(11)]
    pub until: Timestamp,
    /// The sensors, of which so many must attest; none named: that of `evidence` alone.
    #[n(12)]
    pub witnesses: Option<Witnesses>,
    /// What the owner stakes, if anything.
    #[n(13)]
    pub penalty: Option<Stake>,
    /// Who may overrule the evidence, and for how long, if anybody.
    #[n(14)]
    pub dispute: Option<Dispute>,
}

/// What an owner stakes for an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Stake {
    /// In the smallest unit of the offer's ledger.
    #[n(0)]
    pub amount: u128,
    /// From the last instant of evidence, until which a sensor may show that it is still not so.
    #[n(1)]
    pub within: Span,
}

/// What a proposal says of the contract that it makes of an offer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ContractTerms {
    /// The offer that it takes up: [`Offer::id`].
    #[n(0)]
    pub offer: Digest,
    /// What is agreed.
    #[n(1)]
    pub agreement: Agreement,
    /// The salt of the agreement's commitment, which is the manifest's nonce.
    #[n(2)]
    pub salt: Salt,
}

/// Why no contract is made of an offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// Too late.
    #[error("the offer ended at {until:?}")]
    Ended {
        /// When.
        until: Timestamp,
    },
    /// T_D lies too far away.
    #[error("the deadline is further away than the {within} that the offer allows")]
    TooFar {
        /// How far at most.
        within: Span,
    },
    /// It begins in the future.
    #[error("the agreement begins later than now")]
    NotNow,
    /// Its sensors prove nothing.
    #[error("of its sensors: {0}")]
    Witnesses(#[from] BadWitnesses),
    /// Neither machine nor people are told yet what becomes of a stake whose evidence may be overruled.
    #[error("a penalty and an arbiter do not go together yet: one of them must be left out")]
    Both,
    /// Something else is agreed.
    #[error("the agreement is not the one that the offer makes")]
    Agreement,
}

/// So much may the clocks of two nodes differ: docs/specs/node-messages.md allows signatures the same.
pub const CLOCK_SKEW: Span = Span::from_seconds(30);

impl Offer {
    /// Its name: the digest of what it says.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of("sofie.offer.v1", &[&canonical::encode(self)])
    }

    /// What `payer` agrees to at `now`, to be decided by `deadline`.
    #[must_use]
    pub fn agreement(&self, payer: Account, now: Timestamp, deadline: Timestamp) -> Agreement {
        Agreement {
            thing: self.thing.clone(),
            action: self.action.clone(),
            input: self.input.clone(),
            renter: payer,
            owner: self.owner,
            price: self.price,
            not_before: now,
            not_after: deadline + self.evidence_within,
            evidence: self.evidence.clone(),
            witnesses: self.witnesses.clone(),
            penalty: self.penalty.map(|stake| Penalty {
                amount: stake.amount,
                until: deadline + self.evidence_within + stake.within,
            }),
            dispute: self.dispute,
        }
    }

    /// The terms of the owner's stake in `contract`, which pays `payer`.
    #[must_use]
    pub fn bond(&self, contract: Account, payer: Account, deadline: Timestamp) -> Option<EscrowTerms> {
        let stake = self.penalty?;
        let price = self.escrow(contract, payer, deadline);
        let evidence_deadline = price.evidence_deadline + stake.within;
        Some(EscrowTerms {
            payer: self.owner,
            payee: payer,
            amount: stake.amount,
            evidence_deadline,
            ..price
        })
    }

    /// Whether its sensors can prove anything to `payer`.
    ///
    /// # Errors
    /// [`BadWitnesses`].
    pub fn check_witnesses(&self, payer: Account) -> Result<(), BadWitnesses> {
        let parties = [payer, self.owner];
        self.witnesses.as_ref().map_or(Ok(()), |all| all.check(&self.evidence, self.evidence_key, &parties))
    }

    /// Whose word counts, in the sensors' order.
    #[must_use]
    pub fn keys(&self) -> Vec<Account> {
        self.witnesses.as_ref().map_or_else(|| vec![self.evidence_key], |all| all.keys().collect())
    }

    /// The terms of its money in `contract`.
    #[must_use]
    pub fn escrow(&self, contract: Account, payer: Account, deadline: Timestamp) -> EscrowTerms {
        EscrowTerms {
            contract,
            payer,
            payee: self.owner,
            amount: self.price,
            evidence_key: self.evidence_key,
            evidence_deadline: deadline + self.evidence_within,
            submission_window: self.submission_window,
            dispute: self.dispute,
        }
    }

    /// Whether `agreement` is what this offer makes for a contract that is proposed at `now`, to be decided by `deadline`.
    ///
    /// # Errors
    /// [`Unmet`] says what is not.
    pub fn met_by(&self, agreement: &Agreement, deadline: Timestamp, now: Timestamp) -> Result<(), Unmet> {
        if now > self.until {
            return Err(Unmet::Ended { until: self.until });
        }
        if deadline > now + self.decision_within + CLOCK_SKEW {
            return Err(Unmet::TooFar { within: self.decision_within });
        }
        if agreement.not_before > now + CLOCK_SKEW {
            return Err(Unmet::NotNow);
        }
        if *agreement != self.agreement(agreement.renter, agreement.not_before, deadline) {
            return Err(Unmet::Agreement);
        }
        self.check_dispute()?;
        Ok(self.check_witnesses(agreement.renter)?)
    }

    /// Whether its arbiter goes with the rest of it.
    ///
    /// # Errors
    /// [`Unmet::Both`].
    pub const fn check_dispute(&self) -> Result<(), Unmet> {
        if self.dispute.is_some() && self.penalty.is_some() { Err(Unmet::Both) } else { Ok(()) }
    }
}
