//! The escrow's part: it pays the payee, or the payer back, whoever asks it to.

use std::sync::Arc;
use std::time::Duration;

use sofie_ledgers::{LedgerError, Status};
use sofie_market::Input;
use sofie_model::ruling::{Ruling, SignedRuling};
use sofie_model::{
    Attestation, Digest, Evidence, Fact, LedgerId, LegId, Operation, Signature, SignedAttestation, Span,
    Step, Timestamp,
};

use super::{Contracts, Driven};
use crate::drive::Machine;
use crate::executor::{Ended, Key};
use crate::journal::JournalError;

/// How often the escrow is asked again when it refuses what its own clock says that it is time for.
const TRIES: u32 = 120;
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked whether another node has had the escrow pay.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

impl Contracts {
    /// Brings an attestation to one of the contract's escrows; of what was presented to it, asks for the payment.
    pub(super) async fn settle(
        &self,
        driven: &Driven,
        leg: LegId,
        attestation: SignedAttestation,
    ) -> Result<Input, JournalError> {
        let refused = if is_price(driven, leg) { Input::SettleRefused } else { Input::BondRefused };
        let (step, presented) = (Step::Settle(attestation), driven.contract.disputable_until());
        if let Some(until) = presented.filter(|_| is_price(driven, leg)) {
            let paid = self.in_time(driven, leg, step, "settle", until + Span::from_seconds(1)).await?;
            return Ok(paid.unwrap_or_else(refused));
        }
        Ok(match self.pay(driven, leg, step, "settle").await? {
            Ended::Final(evidence) => Input::Settled(evidence),
            Ended::Refused(reason) => refused(reason),
        })
    }

    /// Presents an attestation to the escrow, whose arbiter may overrule it.
    pub(super) async fn present(
        &self,
        driven: &Driven,
        leg: LegId,
        attestation: SignedAttestation,
    ) -> Result<Input, JournalError> {
        Ok(match self.pay(driven, leg, Step::Present(attestation), "present").await? {
            Ended::Final(evidence) => Input::Presented(evidence),
            Ended::Refused(reason) => Input::SettleRefused(reason),
        })
    }

    /// Brings the arbiter's ruling to the escrow.
    pub(super) async fn overrule(
        &self,
        driven: &Driven,
        leg: LegId,
        ruling: SignedRuling,
    ) -> Result<Input, JournalError> {
        Ok(match self.pay(driven, leg, Step::Overrule(ruling), "overrule").await? {
            Ended::Final(evidence) => Input::Overruled(evidence),
            Ended::Refused(reason) => Input::OverruleRefused(reason),
        })
    }

    async fn pay(&self, driven: &Driven, leg: LegId, step: Step, verb: &str) -> Result<Ended, JournalError> {
        let (ledger, operation) = of_escrow(driven, leg, step);
        let task = if is_price(driven, leg) { verb.to_owned() } else { format!("penalty-{verb}") };
        self.executor.operate(Key { id: driven.id(), task }, &ledger, &operation).await
    }

    /// Pays back.
    pub(super) async fn refund(&self, driven: &Driven, leg: LegId) -> Result<Input, JournalError> {
        let refused = if is_price(driven, leg) { Input::RefundRefused } else { Input::BondRefused };
        let from = driven.contract.refund_of(leg);
        let back = self.in_time(driven, leg, Step::Refund, "refund", from).await?;
        Ok(back.unwrap_or_else(refused))
    }

    /// Asks an escrow for what it allows from `from` on. A refusal counts neither while the ledger's clock is behind the
    /// node's, nor when somebody else has brought it something, or had it pay. `Err`: why it does not.
    async fn in_time(
        &self,
        driven: &Driven,
        leg: LegId,
        step: Step,
        verb: &str,
        from: Timestamp,
    ) -> Result<Result<Input, String>, JournalError> {
        let mut tries = 0;
        loop {
            let reason = match self.pay(driven, leg, step.clone(), verb).await? {
                Ended::Final(evidence) => return Ok(Ok(told(evidence))),
                Ended::Refused(reason) => reason,
            };
            match self.refusal(driven, leg, from).await {
                Refusal::Told(input) => return Ok(Ok(*input)),
                Refusal::TooEarly => {}
                Refusal::Stands if tries >= TRIES => return Ok(Err(reason)),
                Refusal::Stands => tries += 1,
            }
            tokio::time::sleep(PAUSE).await;
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

    /// Which way an escrow has paid, if it has; or that evidence was presented to it, if that is not known here.
    async fn closed(&self, driven: &Driven, leg: LegId) -> Option<Input> {
        for step in wanted(driven, leg) {
            let (ledger, operation) = of_escrow(driven, leg, step);
            let ledger = self.executor.ledgers().get(&ledger)?;
            // Anything else is looked at again.
            if let Ok(Status::Final(evidence)) = ledger.status(&operation, None).await {
                return Some(told(evidence));
            }
        }
        None
    }

    /// What it means that the escrow does not do what it should from `from` on.
    async fn refusal(&self, driven: &Driven, leg: LegId, from: Timestamp) -> Refusal {
        if let Some(input) = self.closed(driven, leg).await {
            return Refusal::Told(Box::new(input));
        }
        let (ledger, paid) = of_escrow(driven, leg, Step::Settle(anyones_word(driven, leg)));
        let Some(ledger) = self.executor.ledgers().get(&ledger) else { return Refusal::Stands };
        match ledger.status(&paid, None).await {
            Ok(Status::Final(evidence)) => return Refusal::Told(Box::new(told(evidence))),
            Ok(Status::Pending) | Err(LedgerError::Transient { .. }) => return Refusal::TooEarly,
            Ok(Status::Absent | Status::Refused { .. } | Status::Displaced { .. }) | Err(_) => {}
        }
        match ledger.head().await {
            Ok(head) if head.time >= from => Refusal::Stands,
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
        let (leg, terms) = driven.contract.escrow();
        let step = if terms.dispute.is_some() { Step::Present } else { Step::Settle };
        let (ledger, operation) = of_escrow(driven, leg, step(attestation.clone()));
        let ledger = self.executor.ledgers().get(&ledger)?;
        ledger.intend(&operation).await.err().map(|error| error.to_string())
    }
}

/// Why the escrow does not do what it is asked for.
enum Refusal {
    /// Somebody else has brought it something, or had it pay.
    Told(Box<Input>),
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

/// What an escrow says of itself.
fn told(evidence: Evidence) -> Input {
    match evidence.fact {
        Fact::Presented(..) => Input::Presented(evidence),
        Fact::Overruled(..) => Input::Overruled(evidence),
        Fact::Settled(..) => Input::Settled(evidence),
        _ => Input::Refunded(evidence),
    }
}

/// What others may have asked of an escrow. A receipt of what was paid shows that it was presented before: that comes first.
fn wanted(driven: &Driven, leg: LegId) -> Vec<Step> {
    let word = anyones_word(driven, leg);
    let ruling = Ruling::on(&word.attestation);
    let mut wanted = vec![Step::Settle(word.clone()), Step::Refund];
    if driven.contract.dispute().is_some() {
        wanted.push(Step::Overrule(SignedRuling { ruling, signature: Signature([0; 65]) }));
        if driven.contract.disputable_until().is_none() {
            wanted.insert(0, Step::Present(word));
        }
    }
    wanted
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
