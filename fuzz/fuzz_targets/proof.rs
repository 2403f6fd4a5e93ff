//! A ledger's proof from a stranger, against a manifest that it is not about: refused, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_model::{
    Account, Digest, Finality, LedgerId, Manifest, Proof, Rule, Span, Timestamp, canonical,
    manifest::DecisionSite,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(proof) = canonical::decode::<Proof>(bytes, 1 << 20) else { return };
    assert_eq!(canonical::encode(&proof), bytes);
    let ledger: LedgerId = "evm".parse().expect("a ledger's name");
    let manifest = Manifest {
        version: 1,
        legs: Vec::new(),
        rule: Rule::All,
        decision: DecisionSite {
            ledger: ledger.clone(),
            chain_id: 1,
            contract: Account::ZERO,
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: Timestamp::from_seconds(1_800_000_000),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: Vec::new(),
        nonce: Digest::ZERO,
    };
    let _ = proof.verify(&ledger, &manifest);
});
