//! One rental's operations, for tests that are no conformance case.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sofie_ledgers::evm::EvmLedger;
use sofie_ledgers::{Ledger, Status};
use sofie_model::manifest::{DecisionSite, EscrowTerms, Participant};
use sofie_model::{
    Account, Attestation, Class, Decide, Digest, Evidence, Leg, LegId, Manifest, Operation, Rule, Span, Step,
    Terms, Timestamp,
};

use crate::parties::{AMOUNT, Parties};

const FEE_LIMIT: u128 = 1_000_000_000_000_000_000;
const LEG: LegId = LegId(0);
/// How often a status is asked for.
const POLLS: u32 = 2_000;

pub(crate) struct Scenario {
    pub(crate) manifest: Arc<Manifest>,
}

fn preimage() -> Digest {
    Digest([0x5e; 32])
}

impl Scenario {
    pub(crate) async fn new(ledger: &EvmLedger, parties: &Parties, nonce: u64) -> Self {
        let now = Timestamp::from_seconds(ledger.head().await.unwrap().time.as_seconds());
        let (id, finality) = (ledger.profile().id.clone(), ledger.profile().finality);
        let terms = EscrowTerms {
            contract: ledger.escrow_address(),
            payer: parties.payer,
            payee: parties.payee,
            amount: AMOUNT,
            evidence_key: parties.sensor,
            evidence_deadline: now + Span::from_seconds(240),
            submission_window: Span::from_seconds(10),
            dispute: None,
        };
        let terms = Terms::Escrow(terms);
        let hashlock = Digest::sha256(preimage().as_bytes());
        let manifest = Manifest {
            version: 1,
            legs: vec![Leg {
                ledger: id.clone(),
                class: Class::Verifying,
                finality,
                required: true,
                terms,
                fee_limit: FEE_LIMIT,
            }],
            rule: Rule::All,
            decision: DecisionSite {
                ledger: id,
                chain_id: ledger.chain_id(),
                contract: ledger.decision_address(),
                finality,
                fee_limit: FEE_LIMIT,
            },
            deadline: now + Span::from_seconds(120),
            grace: Span::ZERO,
            guard: Account::ZERO,
            participants: vec![Participant { account: parties.payer, hashlock }],
            nonce: Digest::of("sofie.test.v1", &[&nonce.to_be_bytes()]),
        };
        Self { manifest: Arc::new(manifest) }
    }

    fn step(&self, step: Step) -> Operation {
        Operation::Leg { manifest: Arc::clone(&self.manifest), leg: LEG, step }
    }

    pub(crate) fn prepare(&self) -> Operation {
        self.step(Step::Prepare)
    }

    pub(crate) fn apply(&self) -> Operation {
        self.step(Step::Apply)
    }

    pub(crate) fn commit(&self) -> Operation {
        let decide = Decide::Commit {
            included: 1,
            evidence_root: Digest([6; 32]),
            preimages: vec![preimage()],
            guard: None,
        };
        Operation::Decide { manifest: Arc::clone(&self.manifest), decide }
    }

    pub(crate) fn settle(&self, decided_at: Timestamp) -> Operation {
        let Terms::Escrow(terms) = &self.manifest.legs[0].terms else { panic!("leg 0 is an escrow") };
        let attestation = Attestation {
            chain_id: self.manifest.decision.chain_id,
            contract: terms.contract,
            txid: self.manifest.txid(),
            leg: LEG,
            observation: Digest([7; 32]),
            fulfilled: true,
            observed_at: decided_at,
        };
        self.step(Step::Settle(Parties::attest(attestation)))
    }
}

/// Carries `operation` out, unless it is already: what stands.
pub(crate) async fn carry_out<F: Future<Output = ()>>(
    ledger: &EvmLedger,
    operation: &Operation,
    between: impl Fn() -> F,
) -> Evidence {
    let mut intent = None;
    for _ in 0..POLLS {
        match ledger.status(operation, intent.as_ref()).await.unwrap() {
            Status::Final(evidence) => return evidence,
            Status::Refused { reason } | Status::Displaced { reason } => {
                panic!("{}: {reason}", operation.verb())
            }
            Status::Absent if intent.is_none() => {
                let fixed = ledger.intend(operation).await.unwrap();
                ledger.submit(&fixed).await.unwrap();
                intent = Some(fixed);
            }
            Status::Absent | Status::Pending => {
                between().await;
                tokio::time::sleep(Duration::from(ledger.profile().poll)).await;
            }
        }
    }
    panic!("{} never became final", operation.verb())
}
