//! Proofs of real blocks: what they say, and that nothing else is taken for it.

use sofie_ledgers::Ledger;
use sofie_model::proof::bitcoin::{ChainProof, What};
use sofie_model::{Digest, Evidence, Fact, LedgerId, Manifest, Proof, canonical, proof::Anchor};

use crate::parties::{ALL, DEPTH};
use crate::swap::{LEG, Scenario, carry_out, started};

/// How many of a proof's bytes are changed: each one of a short proof, every n-th of a long one.
const CHANGES: usize = 600;

fn bitcoin(proof: &Proof) -> ChainProof {
    match proof {
        Proof::Bitcoin(proof) => proof.clone(),
        _ => panic!("another ledger's proof"),
    }
}

fn says(proof: ChainProof, ledger: &LedgerId, manifest: &Manifest) -> Option<Vec<Evidence>> {
    Proof::Bitcoin(proof).verify(ledger, manifest).ok().map(|proven| proven.evidence)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_and_its_lock_are_proven_and_no_changed_byte_says_something_else() {
    let Some((node, ledger)) = started(&ALL, 2).await else { return };
    let scenario = Scenario::new(&ledger, 1).await;
    let (id, manifest) = (ledger.profile().id.clone(), &scenario.manifest);
    let prepared = carry_out(&node, &ledger, &scenario.prepare()).await;
    let claimed = carry_out(&node, &ledger, &scenario.claim()).await;
    let facts = [prepared.clone(), claimed.clone()];
    let proof = ledger.prove(manifest, &facts).await.unwrap();
    let proven = proof.verify(&id, manifest).unwrap();
    assert_eq!(proven.evidence, facts);
    let Anchor::Bitcoin { genesis, height, .. } = proven.anchor else { panic!("another anchor") };
    assert_eq!(height, claimed.position.height + u64::from(DEPTH));
    assert_eq!(genesis.to_string(), "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206");

    let bytes = canonical::encode(&proof);
    for at in (0..bytes.len()).step_by((bytes.len() / CHANGES).max(1)) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let Ok(changed) = canonical::decode::<Proof>(&changed, 1 << 20) else { continue };
        if let Ok(other) = changed.verify(&id, manifest) {
            // Another chain, or another height, is another anchor; the facts' names stay what they are.
            assert!(other != proven, "byte {at}");
            let same = |(one, other): (&Evidence, &Evidence)| {
                (&one.fact, one.position.reference) == (&other.fact, other.position.reference)
            };
            assert!(facts.iter().zip(&other.evidence).all(same), "byte {at}: {:?}", other.evidence);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_is_not_proven_as_a_claim_nor_a_shallow_block_as_final() {
    let Some((node, ledger)) = started(&ALL, 2).await else { return };
    let scenario = Scenario::new(&ledger, 1).await;
    let (id, manifest) = (ledger.profile().id.clone(), &scenario.manifest);
    carry_out(&node, &ledger, &scenario.prepare()).await;
    node.pass(scenario.timelock + 1).await;
    let refunded = carry_out(&node, &ledger, &scenario.refund()).await;
    let proof = bitcoin(&ledger.prove(manifest, std::slice::from_ref(&refunded)).await.unwrap());
    let said = says(proof.clone(), &id, manifest).unwrap();
    assert_eq!(said[0].fact, Fact::Reverted(manifest.txid(), LEG));

    let mut shallow = proof.clone();
    shallow.headers.pop();
    assert_eq!(says(shallow, &id, manifest), None, "one block less than the leg's depth");
    let mut timeless = proof.clone();
    timeless.headers.remove(0);
    timeless.height += 1;
    assert_eq!(says(timeless, &id, manifest), None, "too few headers for the block's time");
    for what in [What::Prepared(LEG), What::Closed(LEG, true), What::Noted(Digest::ZERO, Digest::ZERO)] {
        let mut other = proof.clone();
        other.facts[0].what = what;
        assert_eq!(says(other, &id, manifest), None);
    }
    let mut unwitnessed = proof;
    if let What::Spent(_, witnessed) = &mut unwitnessed.facts[0].what {
        witnessed.branch.clear();
    }
    assert_eq!(says(unwitnessed, &id, manifest), None, "a witness that the block does not commit to");
}
