//! What each operation is as a call of a contract, and what it leaves on the chain.

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolCall;
use sofie_model::contract::{self, Decision as D, Escrow};
use sofie_model::{
    Account, Decide, Fact, LedgerId, Leg, LegId, Manifest, Operation, Signature, SignedAttestation, Step,
    Terms,
};

/// Gas for a call that moves no value out (contracts/gas-snapshot.txt: at most 63,000 for one participant).
const GAS_PLAIN: u64 = 200_000;
/// Gas for a call that pays somebody, who may be a contract: a transfer's payee may spend 100,000 of it.
const GAS_PAYOUT: u64 = 300_000;
/// Gas for each word of a panel's certificate, on top: its calldata, its hash, and the recovery of its key.
const GAS_WORD: u64 = 12_000;
/// Gas for each participant in a decision's call, on top.
const GAS_PARTICIPANT: u64 = 20_000;

/// Where this ledger's contracts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) chain_id: u64,
    pub(super) decision: Account,
    pub(super) escrow: Account,
}

/// A call that carries an operation out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) from: Account,
    pub(super) to: Account,
    pub(super) value: u128,
    pub(super) data: Bytes,
    pub(super) gas: u64,
    /// The most that it may cost, in wei.
    pub(super) fee_limit: u128,
}

/// What to look for to see how an operation stands.
#[derive(Debug, Clone)]
pub(super) struct Question<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) contract: Account,
    what: What<'a>,
}

#[derive(Debug, Clone, Copy)]
enum What<'a> {
    Decision,
    Leg(LegId, &'a Step),
}

/// What a fact says to a [`Question`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The operation is done.
    Done,
    /// It can no longer be done.
    RuledOut,
    /// Nothing.
    Unrelated,
}

impl Site {
    /// The call that carries `operation` out; everything that anyone may send, `operator` sends.
    pub(super) fn request(
        &self,
        ledger: &LedgerId,
        operation: &Operation,
        operator: Account,
    ) -> Result<Request, String> {
        let question = self.question(ledger, operation)?;
        let ((from, value, data, gas), fee_limit) = match operation {
            Operation::Decide { manifest, decide } => {
                (decision(manifest, decide, operator), manifest.decision.fee_limit)
            }
            Operation::Leg { manifest, leg: id, step } => {
                let leg = held(manifest, *id)?;
                (leg_step(manifest, *id, leg, step, operator)?, leg.fee_limit)
            }
            Operation::Note { .. } => return Err(NO_NOTES.into()),
        };
        Ok(Request { from, to: question.contract, value, data: data.into(), gas, fee_limit })
    }

    /// What to look for; an error says why this ledger cannot carry `operation`.
    pub(super) fn question<'a>(
        &self,
        ledger: &LedgerId,
        operation: &'a Operation,
    ) -> Result<Question<'a>, String> {
        let (manifest, what) = match operation {
            Operation::Decide { manifest, .. } => (manifest, What::Decision),
            Operation::Leg { manifest, leg, step } => (manifest, What::Leg(*leg, step)),
            Operation::Note { .. } => return Err(NO_NOTES.into()),
        };
        let site = &manifest.decision;
        if site.ledger != *ledger || site.chain_id != self.chain_id || site.contract != self.decision {
            return Err(format!(
                "the decision is at {} on chain {} of {}, this is {} on chain {} of {ledger}",
                site.contract, site.chain_id, site.ledger, self.decision, self.chain_id
            ));
        }
        if let What::Leg(id, _) = what {
            let leg = held(manifest, id)?;
            if leg.ledger != *ledger {
                return Err(format!("{id} is on {}", leg.ledger));
            }
            let holder = leg.terms.holder().unwrap_or_default();
            if holder != self.escrow {
                return Err(format!("{id} is held by {holder}, this ledger's escrow is {}", self.escrow));
            }
        }
        let contract = if matches!(what, What::Decision) { self.decision } else { self.escrow };
        Ok(Question { manifest, contract, what })
    }
}

const NO_NOTES: &str = "it takes no notes: a record ledger does";

impl Question<'_> {
    /// What `fact` says.
    pub(super) fn answer(&self, fact: &Fact) -> Answer {
        let (id, step) = match (self.what, fact) {
            (What::Decision, Fact::Decided(..)) => return Answer::Done,
            (What::Decision, _) => return Answer::Unrelated,
            (What::Leg(id, step), _) => (id, step),
        };
        match (step, fact) {
            (Step::Prepare, Fact::Prepared(_, leg))
            | (Step::Apply, Fact::Applied(_, leg))
            | (Step::Revert, Fact::Reverted(_, leg))
            | (Step::Present(_), Fact::Presented(_, leg))
            | (Step::Settle(_), Fact::Settled(_, leg))
            | (Step::Overrule(_), Fact::Overruled(_, leg))
            | (Step::Refund, Fact::Refunded(_, leg))
                if *leg == id =>
            {
                Answer::Done
            }
            // Each lock ends once: COMMIT and ABORT exclude each other, and so do the ends of an armed escrow.
            (Step::Revert, Fact::Applied(_, leg))
            | (
                Step::Apply | Step::Present(_) | Step::Settle(_) | Step::Overrule(_) | Step::Refund,
                Fact::Reverted(_, leg),
            )
            | (Step::Present(_) | Step::Settle(_) | Step::Overrule(_), Fact::Refunded(_, leg))
            | (Step::Settle(_), Fact::Overruled(_, leg))
            | (Step::Overrule(_), Fact::Settled(_, leg))
            | (Step::Refund, Fact::Settled(_, leg) | Fact::Presented(_, leg))
                if *leg == id =>
            {
                Answer::RuledOut
            }
            _ => Answer::Unrelated,
        }
    }
}

/// A leg whose value a contract holds.
fn held(manifest: &Manifest, id: LegId) -> Result<&Leg, String> {
    let leg = manifest.leg(id).ok_or_else(|| format!("there is no {id}"))?;
    match leg.terms.holder() {
        Some(_) => Ok(leg),
        None => Err(format!("{id} is neither an escrow nor a transfer")),
    }
}

type Parts = (Account, u128, Vec<u8>, u64);

fn decision(manifest: &Manifest, decide: &Decide, operator: Account) -> Parts {
    let terms = contract::terms(manifest);
    let gas = GAS_PLAIN + GAS_PARTICIPANT * manifest.participants.len() as u64;
    match decide {
        Decide::Commit { included, evidence_root, preimages, guard } => {
            let call = D::commitCall {
                terms,
                included: *included,
                evidenceRoot: contract::word(*evidence_root),
                preimages: preimages.iter().copied().map(contract::word).collect(),
                guardSignature: guard.map_or_else(Bytes::new, bytes),
            };
            (operator, 0, call.abi_encode(), gas)
        }
        Decide::Abort { by, signatures } => {
            // After G anyone may: nobody by name is the operator.
            let by = if *by == Account::ZERO { operator } else { *by };
            (
                by,
                0,
                D::abortCall { terms, signatures: signatures.iter().copied().map(bytes).collect() }
                    .abi_encode(),
                gas,
            )
        }
    }
}

fn bytes(signature: Signature) -> Bytes {
    signature.0.into()
}

fn leg_step(
    manifest: &Manifest,
    id: LegId,
    leg: &Leg,
    step: &Step,
    operator: Account,
) -> Result<Parts, String> {
    let lock = contract::lock_of(manifest, id).ok_or_else(|| format!("no contract holds {id}"))?;
    let transfers = matches!(leg.terms, Terms::Transfer(_));
    Ok(match step {
        Step::Claim(_) => return Err(format!("{id} is no hashlock leg")),
        Step::Present(_) | Step::Settle(_) | Step::Overrule(_) | Step::Refund if transfers => {
            return Err(format!("{id} is a transfer: the decision alone moves it"));
        }
        Step::Prepare => {
            let (payer, amount) = (Account(lock.payer.into_array()), lock.amount);
            (payer, amount, Escrow::prepareCall { lock }.abi_encode(), GAS_PLAIN)
        }
        Step::Apply => {
            let gas = if transfers { GAS_PAYOUT } else { GAS_PLAIN };
            (operator, 0, Escrow::apply_Call { lock }.abi_encode(), gas)
        }
        Step::Revert => (operator, 0, Escrow::undoCall { lock }.abi_encode(), GAS_PAYOUT),
        Step::Refund => (operator, 0, Escrow::refundCall { lock }.abi_encode(), GAS_PAYOUT),
        Step::Present(_) | Step::Settle(_) | Step::Overrule(_) => {
            let (data, gas) = evidence_step(lock, dispute(leg), step)
                .ok_or_else(|| format!("{id} names no arbiter: its evidence pays at once"))?;
            (operator, 0, data, gas)
        }
    })
}

/// What the escrow is told besides the lock, where its evidence may be overruled.
fn dispute(leg: &Leg) -> Option<contract::Dispute> {
    match &leg.terms {
        Terms::Escrow(terms) => contract::dispute(terms),
        _ => None,
    }
}

/// The call that a word of the evidence key or the arbiter makes, and its gas.
fn evidence_step(
    lock: contract::Lock,
    dispute: Option<contract::Dispute>,
    step: &Step,
) -> Option<(Vec<u8>, u64)> {
    let words = |signed: &SignedAttestation| {
        GAS_WORD * signed.panel().map_or(0, |panel| u64::from(panel.threshold()))
    };
    Some(match step {
        Step::Present(signed) => {
            let call = Escrow::presentCall {
                lock,
                dispute: dispute?,
                observation: contract::word(signed.attestation.observation),
                fulfilled: signed.attestation.fulfilled,
                observedAt: signed.attestation.observed_at.as_seconds(),
                signature: signed.signature.clone().into(),
            };
            (call.abi_encode(), GAS_PLAIN + words(signed))
        }
        Step::Settle(signed) if dispute.is_some() => {
            let call = Escrow::payCall {
                lock,
                observation: contract::word(signed.attestation.observation),
                observedAt: signed.attestation.observed_at.as_seconds(),
            };
            (call.abi_encode(), GAS_PAYOUT)
        }
        Step::Settle(signed) => {
            let call = Escrow::settleCall {
                lock,
                observation: contract::word(signed.attestation.observation),
                fulfilled: signed.attestation.fulfilled,
                observedAt: signed.attestation.observed_at.as_seconds(),
                signature: signed.signature.clone().into(),
            };
            (call.abi_encode(), GAS_PAYOUT + words(signed))
        }
        Step::Overrule(signed) => {
            let call = Escrow::overruleCall {
                lock,
                dispute: dispute?,
                observation: contract::word(signed.ruling.observation),
                observedAt: signed.ruling.observed_at.as_seconds(),
                ruling: signed.signature.0.into(),
            };
            (call.abi_encode(), GAS_PAYOUT)
        }
        _ => return None,
    })
}

/// Wei as the EVM counts it.
pub(super) fn wei(amount: u128) -> U256 {
    U256::from(amount)
}
