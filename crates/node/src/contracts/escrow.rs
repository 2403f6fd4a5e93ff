//! The escrow's part: it pays the payee, or the payer back, whoever asks it to.

use std::sync::Arc;
use std::time::Duration;

use sofie_ledgers::{LedgerError, Status};
use sofie_market::Input;
use sofie_model::{Attestation, Digest, Evidence, LedgerId, LegId, Operation, SignedAttestation, Step};

use super::{Contracts, Driven};
use crate::drive::Machine;
use crate::executor::{Ended, Key};
use crate::journal::JournalError;

/// How often a refund is asked for again when the ledger refuses it although its own clock says that it is time.
const REFUND_TRIES: u32 = 120;
const REFUND_PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked whether another node has had the escrow pay.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

impl Contracts {
    /// Brings an attestation to one of the contract's escrows.
    pub(super) async fn settle(
        &self,
        driven: &Driven,
        leg: LegId,
        attestation: SignedAttestation,
    ) -> Result<Input, JournalError> {
        let refused = if is_price(driven, leg) { Input::SettleRefused } else { Input::BondRefused };
        Ok(match self.pay(driven, leg, Step::Settle(attestation), "settle").await? {
            Ended::Final(evidence) => Input::Settled(evidence),
            Ended::Refused(reason) => refused(reason),
        })
    }

    async fn pay(&self, driven: &Driven, leg: LegId, step: Step, verb: &str) -> Result<Ended, JournalError> {
        let (ledger, operation) = of_escrow(driven, leg, step);
        let task = if is_price(driven, leg) { verb.to_owned() } else { format!("penalty-{verb}") };
        self.executor.operate(Key { id: driven.id(), task }, &ledger, &operation).await
    }

    /// Pays back. A refusal counts neither while the ledger's clock is behind the node's, nor when somebody else has
    /// brought the escrow the evidence and the payee has the money.
    pub(super) async fn refund(&self, driven: &Driven, leg: LegId) -> Result<Input, JournalError> {
        let refused = if is_price(driven, leg) { Input::RefundRefused } else { Input::BondRefused };
        let mut tries = 0;
        loop {
            let reason = match self.pay(driven, leg, Step::Refund, "refund").await? {
                Ended::Final(evidence) => return Ok(Input::Refunded(evidence)),
                Ended::Refused(reason) => reason,
            };
            match self.refusal(driven, leg).await {
                Refusal::Paid(evidence) => return Ok(Input::Settled(*evidence)),
                Refusal::TooEarly => {}
                Refusal::Stands if tries >= REFUND_TRIES => return Ok(refused(reason)),
                Refusal::Stands => tries += 1,
            }
            tokio::time::sleep(REFUND_PAUSE).await;
        }
    }

    /// Waits until the ledger shows that an escrow has paid, whoever asked it to.
    pub(super) async fn look(&self, driven: &Driven) -> Input {
        let open = driven.contract.open_escrows();
        loop {
            tokio::time::sleep(LOOK_PAUSE).await;
            for leg in &open {
                if let Some(closed) = self.closed(driven, *leg).await {
                    return closed;
                }
            }
        }
    }

    /// Which way an escrow has paid, if it has.
    async fn closed(&self, driven: &Driven, leg: LegId) -> Option<Input> {
        for step in [Step::Settle(anyones_word(driven, leg)), Step::Refund] {
            let back = step == Step::Refund;
            let (ledger, operation) = of_escrow(driven, leg, step);
            let ledger = self.executor.ledgers().get(&ledger)?;
            match ledger.status(&operation, None).await {
                Ok(Status::Final(evidence)) if back => return Some(Input::Refunded(evidence)),
                Ok(Status::Final(evidence)) => return Some(Input::Settled(evidence)),
                // It is looked at again.
                Ok(_) | Err(_) => {}
            }
        }
        None
    }

    /// What it means that the escrow does not pay back.
    async fn refusal(&self, driven: &Driven, leg: LegId) -> Refusal {
        let (ledger, paid) = of_escrow(driven, leg, Step::Settle(anyones_word(driven, leg)));
        let Some(ledger) = self.executor.ledgers().get(&ledger) else { return Refusal::Stands };
        match ledger.status(&paid, None).await {
            Ok(Status::Final(evidence)) => return Refusal::Paid(Box::new(evidence)),
            Ok(Status::Pending) | Err(LedgerError::Transient { .. }) => return Refusal::TooEarly,
            Ok(Status::Absent | Status::Refused { .. }) | Err(_) => {}
        }
        match ledger.head().await {
            Ok(head) if head.time >= driven.contract.refund_of(leg) => Refusal::Stands,
            Ok(_) | Err(LedgerError::Transient { .. }) => Refusal::TooEarly,
            Err(_) => Refusal::Stands,
        }
    }

    /// Has the escrow contract itself judge an attestation that was rejected here; nothing is sent. `None`: it is not
    /// asked, because it might say yes, and a yes holds a nonce of this node's for what is never sent.
    pub(super) async fn escrow_says(
        &self,
        driven: &Driven,
        attestation: &SignedAttestation,
    ) -> Option<String> {
        // Another escrow's attestation would be judged as if it were this one's.
        if driven.contract.has_voice(attestation) || !driven.contract.is_named_by(&attestation.attestation) {
            return None;
        }
        let (leg, _) = driven.contract.escrow();
        let (ledger, operation) = of_escrow(driven, leg, Step::Settle(attestation.clone()));
        let ledger = self.executor.ledgers().get(&ledger)?;
        ledger.intend(&operation).await.err().map(|error| error.to_string())
    }
}

/// Why the escrow does not pay back.
enum Refusal {
    /// It has paid the payee.
    Paid(Box<Evidence>),
    /// The ledger's clock is not there yet, or it cannot say now.
    TooEarly,
    /// By its rules.
    Stands,
}

fn is_price(driven: &Driven, leg: LegId) -> bool {
    driven.contract.escrow().0 == leg
}

fn of_escrow(driven: &Driven, leg: LegId, step: Step) -> (LedgerId, Operation) {
    let manifest = Arc::new(driven.plan.manifest.clone());
    let ledger = manifest.legs[usize::from(leg.0)].ledger.clone();
    (ledger, Operation::Leg { manifest, leg, step })
}

/// Asks a ledger whether the escrow has settled, by whoever's word: what the word says does not matter then.
fn anyones_word(driven: &Driven, leg: LegId) -> SignedAttestation {
    let (_, terms) = driven.contract.escrow();
    let attestation = Attestation {
        chain_id: driven.plan.manifest.decision.chain_id,
        contract: terms.contract,
        txid: driven.contract.txid(),
        leg,
        observation: Digest::ZERO,
        fulfilled: true,
        observed_at: terms.evidence_deadline,
    };
    SignedAttestation { attestation, signature: Vec::new() }
}
