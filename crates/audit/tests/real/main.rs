//! Receipts of stories that the real contracts and the real calendar carried out, with a real capability.

#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod ledgers;
mod published;
#[path = "../tale/mod.rs"]
mod tale;

use std::sync::Arc;

use sofie_access::{
    Affordance, Book, Door, Grant, Limits, Presented, Request, Revocations, SecretKey,
    Verdict as DoorVerdict, proof, token, verdict::Repeated,
};
use sofie_audit::{
    Anchors, Body, Check, Outcome, Receipt, Story, Verdict,
    receipt::{Capability, LedgerProof},
    topic, verify,
};
use sofie_ledgers::{
    Ledger,
    evm::contracts::{DECISION, ESCROW},
};
use sofie_model::{
    Decide, Digest, Evidence, LedgerId, LegId, Manifest, Operation, Step, Terms, Timestamp, Txid, canonical,
    evidence,
};
use tale::{Tale, at, operator};
use zeroize::Zeroizing;

use ledgers::{Ledgers, carry_out};

/// The facts of a story, as a node would collect them.
#[derive(Default)]
struct Facts {
    evm: Vec<Evidence>,
    calendar: Vec<Evidence>,
}

struct Run {
    ledgers: Ledgers,
    manifest: Arc<Manifest>,
    facts: Facts,
}

impl Run {
    /// The tale's manifest, for the contracts as they stand on the embedded chain.
    async fn begin(tale: &Tale) -> Self {
        let ledgers = Ledgers::open().await;
        let mut manifest = tale.manifest();
        manifest.decision.contract = ledgers.evm.decision_address();
        let Terms::Escrow(terms) = &mut manifest.legs[0].terms else { unreachable!() };
        terms.contract = ledgers.evm.escrow_address();
        Self { ledgers, manifest: Arc::new(manifest), facts: Facts::default() }
    }

    async fn on_chain(&mut self, operation: Operation) -> Evidence {
        let evidence = carry_out(&self.ledgers.evm, &operation).await.unwrap();
        self.facts.evm.push(evidence.clone());
        evidence
    }

    async fn in_log(&mut self, operation: Operation) -> Evidence {
        let evidence = carry_out(&self.ledgers.calendar, &operation).await.unwrap();
        self.facts.calendar.push(evidence.clone());
        evidence
    }

    fn step(&self, leg: u16, step: Step) -> Operation {
        Operation::Leg { manifest: Arc::clone(&self.manifest), leg: LegId(leg), step }
    }

    fn decide(&self, decide: Decide) -> Operation {
        Operation::Decide { manifest: Arc::clone(&self.manifest), decide }
    }

    async fn describe(&mut self, body: &Body) {
        for thing in &body.things {
            let note = Operation::Note { topic: topic::thing(&thing.id), commitment: thing.description };
            self.in_log(note).await;
        }
    }

    /// Prepared on both, decided, applied on both.
    async fn commit(&mut self, preimages: Vec<Digest>) {
        self.ledgers.reach(2);
        let first = self.on_chain(self.step(0, Step::Prepare)).await;
        let second = self.in_log(self.step(1, Step::Prepare)).await;
        self.ledgers.reach(5);
        let evidence_root = evidence::root([&first, &second]);
        self.on_chain(self.decide(Decide::Commit { included: 0b11, evidence_root, preimages, guard: None }))
            .await;
        self.ledgers.reach(7);
        self.on_chain(self.step(0, Step::Apply)).await;
        self.in_log(self.step(1, Step::Apply)).await;
    }

    async fn proofs(&self) -> Vec<LedgerProof> {
        let mut proofs = Vec::new();
        let ledgers: [(&dyn Ledger, &[Evidence]); 2] =
            [(&self.ledgers.evm, &self.facts.evm), (&self.ledgers.calendar, &self.facts.calendar)];
        for (ledger, facts) in ledgers.into_iter().filter(|(_, facts)| !facts.is_empty()) {
            let proof = ledger.prove(&self.manifest, facts).await.unwrap();
            proofs.push(LedgerProof { ledger: ledger.profile().id.clone(), proof });
        }
        proofs
    }
}

fn owner() -> SecretKey {
    SecretKey::from_bytes(&Zeroizing::new([0x21; 32]))
}

fn renter() -> SecretKey {
    SecretKey::from_bytes(&Zeroizing::new([0x11; 32]))
}

/// What the locker's door says to the renter at `now`.
fn at_the_door(txid: Txid, now: Timestamp) -> Capability {
    let open = Affordance::action("open").unwrap();
    let grant = Grant {
        uses: Some(1),
        transaction: Some(txid),
        ..Grant::new(renter().public(), tale::locker(), open.clone(), at(0), at(600))
    };
    let token = token::issue(&owner(), &grant).unwrap();
    let request = Request { transaction: Some(txid), ..Request::new(tale::locker(), open) };
    let door = Door::new(owner().public(), "locker-co", Limits::default());
    let proof = proof::sign(&renter(), "locker-co", &token, &request, Digest([5; 32]), now);
    let presented = Presented { token: &token, request: &request, proof: Some(&proof) };
    let revocations = Revocations::none(owner().public(), now);
    let outcome = door.admit(&presented, &revocations, &mut Book::new(at(0)), now);
    let verdict = DoorVerdict::of(&door, &presented, now, &outcome);
    Capability { token, verdict: canonical::encode(&verdict) }
}

/// The check that only a reader who knows both rooms can make.
fn capability(receipt: &Receipt, anchors: &Anchors) -> Check {
    let found = || -> Result<(Outcome, String), String> {
        let part = receipt.body.capability.as_ref().ok_or("there is none")?;
        let verdict: DoorVerdict =
            canonical::decode(&part.verdict, 8192).map_err(|error| error.to_string())?;
        if verdict.request.transaction != Some(receipt.body.txid) {
            return Err("it is for another transaction".into());
        }
        match verdict.repeat(&part.token, Limits::default()) {
            Repeated::LetIn(_) if anchors.keys.values().any(|key| *key == verdict.owner.0) => {
                Ok((Outcome::Passed, "the door let the holder in".into()))
            }
            Repeated::LetIn(_) => Ok((Outcome::Unanchored, format!("owner {} is not pinned", verdict.owner))),
            other => Err(format!("{other:?}")),
        }
    };
    let (outcome, reason) = found().unwrap_or_else(|why| (Outcome::Failed, why));
    Check { name: "capability".into(), outcome, reason }
}

fn verdict(receipt: &Receipt) -> (Option<Story>, Verdict) {
    let bytes = receipt.to_bytes();
    let mut anchors = Anchors::default();
    verify(&bytes, None).anchors.iter().for_each(|rests| anchors.pin(&rests.on));
    anchors.know_contracts(DECISION.address, ESCROW.address);
    anchors.accounts.extend(tale::parties().into_iter().map(|party| (party.name, party.account)));
    anchors.keys.insert("locker-co".into(), owner().public().0);
    let mut report = verify(&bytes, Some(&anchors));
    if receipt.body.capability.is_some() {
        report.set(capability(receipt, &anchors));
    }
    (report.story, report.verdict())
}

/// The tale's receipt, with the real manifest and proofs in the place of the made-up ones.
async fn receipt(run: &Run, tale: &Tale, change: impl FnOnce(&mut Body)) -> Receipt {
    let mut body = tale.body();
    body.txid = run.manifest.txid();
    body.manifest = Manifest::clone(&run.manifest);
    body.proofs = run.proofs().await;
    body.audit = tale.audit(&run.manifest);
    change(&mut body);
    body.sign(&operator())
}

#[tokio::test]
async fn a_settled_story_is_verified_and_a_changed_one_is_not() {
    let tale = Tale::settled();
    let mut run = Run::begin(&tale).await;
    let txid = run.manifest.txid();
    run.describe(&tale.body()).await;
    run.commit(tale.preimages.clone()).await;

    run.ledgers.reach(8);
    let opened = at_the_door(txid, run.ledgers.now());
    run.ledgers.reach(12);
    let Terms::Escrow(terms) = &run.manifest.legs[0].terms else { unreachable!() };
    let attestation =
        sofie_model::Attestation { txid, contract: terms.contract, ..tale.attestation().attestation };
    let signed = attestation.sign(&tale::sensor_co());
    run.in_log(Operation::Note { topic: topic::attestation(txid), commitment: topic::attested(&signed) })
        .await;
    run.ledgers.reach(14);
    run.on_chain(run.step(0, Step::Settle(signed.clone()))).await;

    let receipt = receipt(&run, &tale, |body| {
        body.evidence.as_mut().unwrap().attestation = signed;
        body.capability = Some(opened);
    })
    .await;
    assert_eq!(verdict(&receipt), (Some(Story::Settled), Verdict::Verified));

    let bytes = receipt.to_bytes();
    for index in (0..bytes.len()).step_by(53) {
        let mut flipped = bytes.clone();
        flipped[index] ^= 4;
        assert!(matches!(verify(&flipped, None).verdict(), Verdict::Refused(_)), "byte {index}");
    }
    let mut other_door = receipt.body.clone();
    other_door.capability = Some(at_the_door(Txid(Digest([1; 32])), at(8)));
    assert!(matches!(verdict(&other_door.sign(&operator())).1, Verdict::Refused(_)));
    let mut later = receipt.body;
    later.capability.as_mut().unwrap().token[90] ^= 1;
    assert!(matches!(verdict(&later.sign(&operator())).1, Verdict::Refused(_)));
}

#[tokio::test]
async fn a_refunded_story_is_verified() {
    let tale = Tale::refunded();
    let mut run = Run::begin(&tale).await;
    run.describe(&tale.body()).await;
    run.commit(tale.preimages.clone()).await;
    run.ledgers.reach(8);
    let opened = at_the_door(run.manifest.txid(), run.ledgers.now());
    run.ledgers.reach(tale.refunded_at);
    run.on_chain(run.step(0, Step::Refund)).await;
    let receipt = receipt(&run, &tale, |body| body.capability = Some(opened)).await;
    assert_eq!(verdict(&receipt), (Some(Story::Refunded), Verdict::Verified));
}

#[tokio::test]
async fn an_aborted_story_is_verified() {
    let tale = Tale::aborted();
    let mut run = Run::begin(&tale).await;
    run.describe(&tale.body()).await;
    run.ledgers.reach(2);
    run.on_chain(run.step(0, Step::Prepare)).await;
    run.ledgers.reach(5);
    run.on_chain(run.decide(Decide::Abort { by: tale.aborted_by, signatures: Vec::new() })).await;
    run.on_chain(run.step(0, Step::Revert)).await;
    let receipt = receipt(&run, &tale, |_| {}).await;
    assert_eq!(verdict(&receipt), (Some(Story::Aborted), Verdict::Verified));
    let ledgers: Vec<LedgerId> = receipt.body.proofs.iter().map(|proof| proof.ledger.clone()).collect();
    assert_eq!(ledgers, [tale::evm(), tale::calendar()]);
}
