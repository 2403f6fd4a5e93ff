//! What Rust and Solidity compute of the same data is the same, for any data.

use std::cell::RefCell;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use sofie_model::{
    Account, Attestation, Class, Digest, Finality, Leg, LegId, Manifest, PublicKey, Rule, Ruling, Span,
    Terms, Timestamp, Txid,
    attestation::typed_digest,
    contract::{
        self,
        Decision::{self, DecisionErrors},
        Escrow, address, word,
    },
    manifest::{DecisionSite, Dispute, EscrowTerms, HashlockTerms, MAX_LEGS, MAX_PARTICIPANTS, Participant},
};

use crate::world::World;

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn account() -> impl Strategy<Value = Account> {
    any::<[u8; 20]>().prop_map(Account)
}

fn public_key() -> impl Strategy<Value = PublicKey> {
    vec(any::<u8>(), 33).prop_map(|bytes| PublicKey(bytes.try_into().expect("33 of them")))
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

fn dispute() -> impl Strategy<Value = Dispute> {
    (account(), any::<u32>())
        .prop_map(|(arbiter, seconds)| Dispute { arbiter, window: Span::from_seconds(seconds.into()) })
}

fn escrow_terms() -> impl Strategy<Value = EscrowTerms> {
    let times = (timestamp(), any::<u64>(), proptest::option::of(dispute()));
    (account(), account(), account(), any::<u128>(), account(), times).prop_map(
        |(contract, payer, payee, amount, evidence_key, (evidence_deadline, window, dispute))| EscrowTerms {
            contract,
            payer,
            payee,
            amount,
            evidence_key,
            evidence_deadline,
            submission_window: Span::from_millis(window),
            dispute,
        },
    )
}

fn leg() -> impl Strategy<Value = Leg> {
    let hashlock = (account(), account(), any::<u128>(), timestamp(), public_key(), public_key()).prop_map(
        |(payer, claimant, amount, timelock, payer_key, claimant_key)| HashlockTerms {
            payer,
            claimant,
            amount,
            timelock,
            payer_key,
            claimant_key,
            opened_by: None,
        },
    );
    let terms = prop_oneof![
        escrow_terms().prop_map(|terms| (Class::Verifying, Terms::Escrow(terms))),
        hashlock.prop_map(|terms| (Class::Hashlock, Terms::Hashlock(terms))),
        digest().prop_map(|commitment| (Class::Record, Terms::Record(commitment))),
    ];
    (terms, any::<bool>(), any::<u32>()).prop_map(|((class, terms), required, depth)| Leg {
        ledger: "evm".parse().expect("a name"),
        class,
        finality: Finality::Depth(depth),
        required,
        terms,
        fee_limit: 0,
    })
}

/// Any manifest whose D is `contract`: what is refused elsewhere must still be hashed alike.
fn manifest(contract: Account) -> impl Strategy<Value = Manifest> {
    let rule = prop_oneof![Just(Rule::All), any::<u16>().prop_map(Rule::AtLeast)];
    let participant = (account(), digest()).prop_map(|(account, hashlock)| Participant { account, hashlock });
    let times = (timestamp(), any::<u64>(), account());
    let participants = vec(participant, 0..=MAX_PARTICIPANTS);
    (vec(leg(), 1..=MAX_LEGS), rule, any::<u64>(), times, participants, digest()).prop_map(
        move |(legs, rule, chain_id, (deadline, grace, guard), participants, nonce)| Manifest {
            version: 1,
            legs,
            rule,
            decision: DecisionSite {
                ledger: "evm".parse().expect("a name"),
                chain_id,
                contract,
                finality: Finality::Instant,
                fee_limit: 0,
            },
            deadline,
            grace: Span::from_millis(grace),
            guard,
            participants,
            nonce,
        },
    )
}

/// Runs one property against one world. The failing input is printed, with the seed that makes it again.
#[track_caller]
fn hold<T: std::fmt::Debug>(
    strategy: impl FnOnce(&World) -> BoxedStrategy<T>,
    property: impl Fn(&mut World, T) -> Result<(), TestCaseError>,
) {
    let world = World::new();
    let strategy = strategy(&world);
    let world = RefCell::new(world);
    let config = Config { cases: 128, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&strategy, |input| property(&mut world.borrow_mut(), input));
    run.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_txid_is_the_same_in_both() {
    hold(
        |world| manifest(world.decision).boxed(),
        |world, manifest| {
            world.chain.id = manifest.decision.chain_id;
            let call = Decision::txidOfCall { terms: contract::terms(&manifest) };
            prop_assert_eq!(world.chain.view(world.decision, &call), word(manifest.txid().0));
            Ok(())
        },
    );
}

#[test]
fn a_lock_id_is_the_same_in_both() {
    hold(
        |_| (digest(), any::<u16>(), escrow_terms()).boxed(),
        |world, (txid, leg, terms)| {
            let lock = contract::lock(Txid(txid), LegId(leg), &terms);
            let expected = word(contract::lock_id(&lock));
            prop_assert_eq!(world.chain.view(world.escrow, &Escrow::lockIdOfCall { lock }), expected);
            Ok(())
        },
    );
}

#[test]
fn an_attestation_is_the_same_in_both_on_any_chain() {
    hold(
        |_| (any::<u64>(), digest(), any::<u16>(), digest(), any::<bool>(), timestamp()).boxed(),
        |world, (chain_id, txid, leg, observation, fulfilled, observed_at)| {
            world.chain.id = chain_id;
            let said = Attestation {
                chain_id,
                contract: world.escrow,
                txid: Txid(txid),
                leg: LegId(leg),
                observation,
                fulfilled,
                observed_at,
            };
            let call = Escrow::attestationDigestCall {
                txid: word(txid),
                leg,
                observation: word(observation),
                fulfilled,
                observedAt: observed_at.as_seconds(),
            };
            prop_assert_eq!(world.chain.view(world.escrow, &call), word(said.digest()));
            Ok(())
        },
    );
}

#[test]
fn a_dispute_and_a_ruling_are_the_same_in_both_on_any_chain() {
    hold(
        |_| (any::<u64>(), digest(), any::<u16>(), digest(), timestamp(), (account(), dispute())).boxed(),
        |world, (chain_id, txid, leg, observation, observed_at, (evidence_key, dispute))| {
            world.chain.id = chain_id;
            let ruling = Ruling {
                chain_id,
                contract: world.escrow,
                txid: Txid(txid),
                leg: LegId(leg),
                observation,
                observed_at,
            };
            let call = Escrow::rulingDigestCall {
                txid: word(txid),
                leg,
                observation: word(observation),
                observedAt: observed_at.as_seconds(),
            };
            prop_assert_eq!(world.chain.view(world.escrow, &call), word(ruling.digest()));
            let dispute = contract::Dispute {
                evidenceKey: address(evidence_key),
                arbiter: address(dispute.arbiter),
                window: dispute.window.as_seconds() as u32,
            };
            let named = address(contract::dispute_account(&dispute));
            prop_assert_eq!(world.chain.view(world.escrow, &Escrow::disputeOfCall { dispute }), named);
            Ok(())
        },
    );
}

#[test]
fn permissions_and_renunciations_are_the_same_in_both() {
    hold(
        |_| (any::<u64>(), digest(), any::<u64>(), digest()).boxed(),
        |world, (chain_id, txid, included, root)| {
            world.chain.id = chain_id;
            let (txid, root) = (word(txid), word(root));
            let commit = contract::Commit { txid, included, evidenceRoot: root };
            let call = Decision::commitDigestCall { txid, included, evidenceRoot: root };
            let expected = word(typed_digest(&commit, chain_id, world.decision));
            prop_assert_eq!(world.chain.view(world.decision, &call), expected);
            let expected = word(typed_digest(&contract::Abort { txid }, chain_id, world.decision));
            let call = Decision::abortDigestCall { txid };
            prop_assert_eq!(world.chain.view(world.decision, &call), expected);
            Ok(())
        },
    );
}

#[test]
fn a_rule_allows_the_same_legs_in_both() {
    // Sparse masks, so that an allowed set is found now and then.
    let mask = || (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(a, b, c)| a & b & c);
    hold(
        |_| (vec(leg(), 1..=8), 0..=9_u16, any::<bool>(), 0..512_u64, mask()).boxed(),
        |world, (legs, at_least, all, few, many)| {
            world.manifest.legs = legs;
            world.manifest.rule = if all { Rule::All } else { Rule::AtLeast(at_least) };
            let quorum = world.manifest.quorum();
            for included in
                [few, many, quorum.required, quorum.required | quorum.optional, few | quorum.required]
            {
                world.manifest.nonce =
                    Digest::of("another try", &[&included.to_be_bytes(), world.txid().as_bytes()]);
                let call = world.committing(included);
                let got = world.commit(&call).map(drop);
                let refusal = Decision::WrongLegs {
                    included,
                    required: quorum.required,
                    optional: quorum.optional,
                    atLeast: quorum.at_least,
                };
                let expected =
                    if quorum.allows(included) { Ok(()) } else { Err(DecisionErrors::WrongLegs(refusal)) };
                prop_assert_eq!(got, expected, "{:#b} under {:?}", included, quorum);
            }
            Ok(())
        },
    );
}

#[test]
fn whoever_signs_is_recovered_alike() {
    hold(
        |_| (any::<[u8; 32]>(), any::<u64>()).boxed(),
        |world, (secret, observed_at)| {
            // Any 32 bytes below the curve's order are a key; the rest are as good as never drawn.
            let Ok(key) = k256::ecdsa::SigningKey::from_slice(&secret) else { return Ok(()) };
            let signer = Account::from(key.verifying_key());
            let signed = world.attestation(observed_at / 1000).sign(&key);
            prop_assert_eq!(signed.signer(), Ok(signer));
            // The contract tells whom it recovered when it refuses: here for an armed lock of another key.
            let mut armed = World::new();
            armed.arm();
            let said = armed.attestation(crate::world::DECIDED_AT);
            let call =
                Escrow::settleCall { signature: said.sign(&key).signature.into(), ..armed.settling(said) };
            let refusal = armed.settle(&call).map(drop);
            let expected =
                Escrow::WrongSigner { expected: address(armed.sensor.account), got: address(signer) };
            prop_assert_eq!(refusal, Err(Escrow::EscrowErrors::WrongSigner(expected)));
            Ok(())
        },
    );
}
