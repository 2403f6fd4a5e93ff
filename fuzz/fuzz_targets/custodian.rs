//! What comes over a custodian's interface, from either side: requests are read in one encoding only and checked, answers
//! too; never a panic. A certificate counts for the group that the manifest names, and none counts for a group whose members
//! signed nothing, whatever keys a request brings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_model::custodian::{
    About, Act, MAX_ANSWER, Request, check_refund, check_same, check_settle, judge, judge_by,
};
use sofie_model::proof::statement::{Signed, Statements};
use sofie_model::quorum::Group;
use sofie_model::{Digest, LegId, Manifest, Proof, Timestamp, canonical};

/// As a custodian does whose operator pinned a group that has signed nothing.
fn judged(manifest: &Manifest, leg: LegId, decision: &Proof) {
    let keys = (0x71..=0x74).map(|byte| {
        Digest(ed25519_dalek::SigningKey::from_bytes(&[byte; 32]).verifying_key().to_bytes())
    });
    let pinned = Group::new(keys.collect()).expect("four keys");
    assert!(judge_by(&pinned, manifest, leg, decision).is_err());
    let Ok(judged) = judge(manifest, leg, decision) else { return };
    assert_eq!(check_same(manifest, leg, decision, decision), Ok(()));
    if let Proof::Quorum(shown) = decision {
        assert_eq!(manifest.decision.contract, shown.group.account());
        assert_eq!(judge_by(&shown.group, manifest, leg, decision), Ok(judged));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let now = Timestamp::from_seconds(1_800_000_000);
    let _ = canonical::decode::<About>(bytes, MAX_ANSWER);
    let statements = canonical::decode::<Vec<Signed>>(bytes, MAX_ANSWER);
    let Ok(request) = Request::from_bytes(bytes) else { return };
    assert_eq!(request.to_bytes(), bytes);
    let (manifest, leg) = (&request.manifest, request.leg);
    let ledger = manifest.decision.ledger.clone();
    let _ = request.check(&ledger, &Digest::ZERO, now);
    match &request.act {
        Act::Release { decision } | Act::Return { decision } => judged(manifest, leg, decision),
        Act::Settle { attestation } => drop(check_settle(manifest, leg, attestation, now, now)),
        Act::Hold { .. } | Act::Refund => drop(check_refund(manifest, leg, now)),
    }
    let statements = statements.unwrap_or_default();
    let _ = Proof::Operator(Statements { key: Digest::ZERO, statements }).verify(&ledger, manifest);
});
