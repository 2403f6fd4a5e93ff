//! What comes from members and strangers about a quorum's decision: one encoding only, refused or verified, never a panic.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sofie_model::quorum::{
    Ask, Bundle, Certificate, Group, Input, Instance, Kind, MAX_ASK, MAX_BUNDLE, MAX_WORD, Seat, State, Vote,
    Word,
};
use sofie_model::{
    Digest, Finality, Manifest, Rule, Span, Timestamp, canonical,
    manifest::{DecisionSite, Participant},
};

/// Of four members, and a transaction that it decides.
fn site(group: &Group) -> Manifest {
    Manifest {
        version: 1,
        legs: Vec::new(),
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "notaries".parse().expect("a ledger's name"),
            chain_id: 0,
            contract: group.account(),
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: Timestamp::from_seconds(1_800_000_000),
        grace: Span::ZERO,
        guard: Default::default(),
        participants: vec![Participant { account: Default::default(), hashlock: Digest::ZERO }],
        nonce: Digest::ZERO,
    }
}

/// What a member makes of it.
fn heard(group: &Group, manifest: Manifest, input: Input) {
    let (key, now) = (ed25519_dalek::SigningKey::from_bytes(&[1; 32]), Timestamp::from_seconds(1_799_999_999));
    let seat = Seat::new(group.clone(), key, Span::from_millis(100)).expect("it is a member");
    if let Ok(mut instance) = Instance::open(Arc::new(seat), Arc::new(manifest), now) {
        if let Input::Heard(bundle) = &input {
            let _ = instance.foreign_vote(bundle);
        }
        let _ = instance.step(input, now);
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(group) = canonical::decode::<Group>(bytes, 1 << 12) {
        assert_eq!(canonical::encode(&group), bytes);
    }
    let keys = (1..=4).map(|byte| {
        Digest(ed25519_dalek::SigningKey::from_bytes(&[byte; 32]).verifying_key().to_bytes())
    });
    let group = Group::new(keys.collect()).expect("four keys");
    let manifest = site(&group);
    if let Ok(vote) = canonical::decode::<Vote>(bytes, 1 << 10) {
        let _ = vote.is_signed(&group, &group.id(), manifest.txid());
    }
    if let Ok(word) = canonical::decode::<Word>(bytes, MAX_WORD) {
        let _ = word.verify(&group, manifest.txid(), &Digest::ZERO);
    }
    let _ = State::from_bytes(bytes);
    if let Ok(ask) = canonical::decode::<Ask>(bytes, MAX_ASK) {
        heard(&group, ask.manifest, Input::Ask(ask.candidate));
    }
    if let Ok(bundle) = canonical::decode::<Bundle>(bytes, MAX_BUNDLE) {
        heard(&group, manifest.clone(), Input::Heard(Box::new(bundle)));
    }
    let Ok(certificate) = canonical::decode::<Certificate>(bytes, 1 << 14) else { return };
    assert_eq!(canonical::encode(&certificate), bytes);
    let _ = certificate.verify(&group, &manifest, Kind::Precommit);
});
