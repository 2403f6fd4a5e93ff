//! What comes over a custodian's interface, from either side: requests are read in one encoding only and checked, answers
//! too; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_model::custodian::{About, Act, MAX_ANSWER, Request, check_refund, check_settle, judge};
use sofie_model::proof::statement::{Signed, Statements};
use sofie_model::{Digest, Proof, Timestamp, canonical};

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
        Act::Release { decision } | Act::Return { decision } => drop(judge(manifest, leg, decision)),
        Act::Settle { attestation } => drop(check_settle(manifest, leg, attestation, now, now)),
        Act::Hold { .. } | Act::Refund => drop(check_refund(manifest, leg, now)),
    }
    let statements = statements.unwrap_or_default();
    let _ = Proof::Operator(Statements { key: Digest::ZERO, statements }).verify(&ledger, manifest);
});
