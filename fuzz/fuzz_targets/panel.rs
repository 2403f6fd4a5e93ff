//! A panel's certificate: in one encoding only; never a panic, and what is signed stands for the very words in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_model::attestation::{BadSignature, Panel};
use sofie_model::{Account, Attestation, Digest, LegId, SignedAttestation, Timestamp, Txid};

fuzz_target!(|bytes: &[u8]| {
    let attestation = Attestation {
        chain_id: 1,
        contract: Account([1; 20]),
        txid: Txid(Digest::ZERO),
        leg: LegId(0),
        observation: Digest::ZERO,
        fulfilled: true,
        observed_at: Timestamp::from_seconds(1_800_000_000),
    };
    let signed = SignedAttestation { attestation, signature: bytes.to_vec() };
    let Some(panel) = signed.panel() else {
        assert!(bytes.len() == 65 || matches!(signed.signer(), Err(BadSignature::Length { .. })));
        return;
    };
    assert_eq!(Panel::new(panel.threshold(), panel.keys().to_vec()), Ok(panel.clone()));
    assert_eq!(signed.words().len(), usize::from(panel.threshold()));
    if let Ok(again) = panel.attest(&signed.words()) {
        assert_eq!(again.signer(), Ok(panel.account()));
        // These bytes carry the same words; where they differ, as by a word in another's place, nobody has signed them.
        let same = SignedAttestation { attestation: again.attestation, signature: bytes.to_vec() };
        assert_eq!(same.signer().is_ok(), same == again);
    }
    let _ = (signed.signer(), signed.last_observed_at());
});
