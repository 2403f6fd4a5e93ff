//! Tokens: what narrowing does, who may pass on, and what becomes of bytes that were changed or made by others.

#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod world;

use biscuit_auth::{Biscuit, BlockBuilder, KeyPair, UnverifiedBiscuit};
use proptest::prelude::*;
use sofie_access::{Affordance, Caveat, Error, Grant, Refusal, token};
use sofie_model::{Span, ThingId};
use world::*;

#[test]
fn a_token_flipped_at_any_bit_is_refused() {
    let issued = issued(&Grant { delegations: 1, ..grant() });
    let narrowed = token::attenuate(&issued, &owner().public(), &[Caveat::Expires(at(600))]).unwrap();
    let passed_on = token::delegate(&narrowed, &owner().public(), &renter(), friend().public(), &[]).unwrap();
    for (token, signer) in [(issued, renter()), (narrowed, renter()), (passed_on, friend())] {
        let mut world = World::new(token.clone());
        world.signer = signer;
        assert!(world.ask().is_ok());
        for bit in 0..token.len() * 8 {
            world.token = token.clone();
            world.token[bit / 8] ^= 1 << (bit % 8);
            assert!(world.again_unless_proof().is_err(), "bit {bit} of {}", token.len());
        }
        for length in 0..token.len() {
            assert!(token::inspect(&token[..length], &owner().public()).is_err(), "cut to {length}");
        }
    }
}

impl World {
    /// Asks with a proof that fits the changed token, so that only the token can be at fault.
    fn again_unless_proof(&mut self) -> Result<sofie_access::View, Refusal> {
        self.book = sofie_access::Book::new(at(0));
        self.ask()
    }
}

#[test]
fn the_holder_passes_on_and_nobody_else_does() {
    let grant = Grant { delegations: 2, ..grant() };
    let token = issued(&grant);
    let owner_key = owner().public();
    assert_eq!(
        token::delegate(&token, &owner_key, &friend(), friend().public(), &[]),
        Err(Error::NotTheHolder { got: friend().public(), holder: renter().public() })
    );
    let once = token::delegate(&token, &owner_key, &renter(), friend().public(), &[Caveat::Expires(at(300))])
        .unwrap();

    let mut world = World::new(once.clone());
    assert_eq!(
        world.ask(),
        Err(Refusal::ProofWrong { holder: friend().public() }),
        "the renter gave it away"
    );
    world.signer = friend();
    let view = world.again().unwrap();
    assert_eq!((view.holder, view.passed_on_by), (friend().public(), vec![renter().public()]));
    world.wait(Span::from_seconds(100));
    assert_eq!(world.again().unwrap_err().code(), "expired", "narrowed on the way");

    let twice = token::delegate(&once, &owner_key, &friend(), key(4).public(), &[]).unwrap();
    let thrice = token::delegate(&twice, &owner_key, &key(4), key(5).public(), &[]).unwrap();
    for (token, signer, code) in [(twice, key(4), None), (thrice, key(5), Some("too-deep"))] {
        let mut world = World::new(token);
        world.signer = signer;
        assert_eq!(world.ask().as_ref().err().map(Refusal::code), code);
    }
}

#[test]
fn a_delegation_by_another_key_is_refused() {
    // The friend takes the block that passes its own token on, and signs it onto the renter's.
    let grant = Grant { delegations: 1, ..grant() };
    let theirs = issued(&Grant { holder: friend().public(), ..grant.clone() });
    let passed = token::delegate(&theirs, &owner().public(), &friend(), key(5).public(), &[]).unwrap();
    let root = biscuit_key(&owner().public());
    let model = Biscuit::from(&passed, root).unwrap();
    let block = BlockBuilder::new()
        .context(model.context()[1].clone().unwrap())
        .code(model.print_block_source(1).unwrap())
        .unwrap();
    let target = Biscuit::from(issued(&grant), root).unwrap();
    let private = biscuit_auth::PrivateKey::from_bytes(&[3; 32], biscuit_auth::Algorithm::Ed25519).unwrap();
    let signed = target.third_party_request().unwrap().create_block(&private, block.clone()).unwrap();
    let forged = target.append_third_party(private.public(), signed).unwrap().to_vec().unwrap();
    assert_eq!(
        token::inspect(&forged, &owner().public()),
        Err(Refusal::WrongDelegator { index: 1, holder: renter().public() })
    );
    // The same block without any signature of a holder.
    let unsigned = target.append(block).unwrap().to_vec().unwrap();
    let refusal = token::inspect(&unsigned, &owner().public()).unwrap_err();
    assert!(["malformed", "wrong-delegator"].contains(&refusal.code()), "{refusal}");
}

/// Datalog that others might append, each trying to widen the grant or to keep the door busy.
#[test]
fn datalog_outside_the_profile_is_refused_before_it_runs() {
    let deep = format!("check if {}true{}", "(".repeat(60), ")".repeat(60));
    let sources = [
        "check if true",
        "thing(\"urn:example:locker:2\")",
        "thing($x) <- affordance($x)",
        "speaks_for($x) <- affordance($x)",
        "check if time($t), $t < 9999999999999",
        "check if affordance($a), $a.matches(\"(a*)*b\")",
        "time(1); time(2); time(3); check if time($a), time($b), time($c), time($d), time($e)",
        deep.as_str(),
    ];
    for source in sources {
        for context in [None, Some(narrowing_context())] {
            let mut block = BlockBuilder::new().code(source).unwrap();
            block.context = context;
            let longer = UnverifiedBiscuit::from(issued(&grant())).unwrap().append(block).unwrap();
            let mut world = World::new(longer.to_vec().unwrap());
            let refusal = world.ask().unwrap_err();
            assert_eq!(refusal.code(), "malformed", "{source}: {refusal}");
        }
    }
}

/// The record of an empty narrowing, taken from a real one.
fn narrowing_context() -> String {
    let token = token::attenuate(&issued(&grant()), &owner().public(), &[]).unwrap();
    let biscuit = Biscuit::from(token, biscuit_key(&owner().public())).unwrap();
    biscuit.context()[1].clone().unwrap()
}

#[test]
fn a_grant_signed_by_another_tool_must_say_what_its_record_says() {
    let real = Biscuit::from(issued(&grant()), biscuit_key(&owner().public())).unwrap();
    let private = biscuit_auth::PrivateKey::from_bytes(&[1; 32], biscuit_auth::Algorithm::Ed25519).unwrap();
    let hint = u32::from_be_bytes(owner().public().0.0[..4].try_into().unwrap());
    let build = |source: &str| {
        let builder = Biscuit::builder().root_key_id(hint).context(real.context()[0].clone().unwrap());
        builder.code(source).unwrap().build(&KeyPair::from(&private)).unwrap().to_vec().unwrap()
    };
    let source = real.print_block_source(0).unwrap();
    assert!(World::new(build(&source)).ask().is_ok(), "the profile is plain Datalog: {source}");
    let wider = source.replace("locker:1", "locker:2");
    assert_ne!(wider, source);
    assert_eq!(World::new(build(&wider)).ask().unwrap_err().code(), "malformed");
}

#[test]
fn names_that_could_be_read_as_datalog_are_not_granted() {
    for name in ["", "a\"b", "a\\b", "a\nb", &"x".repeat(129)] {
        assert!(Affordance::action(name).is_err(), "{name:?}");
    }
    let thing: ThingId = "urn:x:\"),thing(\"y".parse().unwrap();
    assert!(token::issue(&owner(), &Grant { things: vec![thing], ..grant() }).is_err());
    assert!(token::issue(&owner(), &Grant { things: vec![], ..grant() }).is_err());
    assert!(token::issue(&owner(), &Grant { expires: at(100), ..grant() }).is_err());
    let twice = vec![locker(1), locker(1)];
    assert!(token::issue(&owner(), &Grant { things: twice, ..grant() }).is_err());
}

#[test]
fn a_token_stays_small() {
    let token = issued(&Grant { uses: Some(1), transaction: Some(txid(1)), ..grant() });
    assert!(token.len() < 1200, "{} bytes", token.len());
}

fn biscuit_key(key: &sofie_access::PublicKey) -> biscuit_auth::PublicKey {
    biscuit_auth::PublicKey::from_bytes(&key.0.0, biscuit_auth::Algorithm::Ed25519).unwrap()
}

fn caveat() -> impl Strategy<Value = Caveat> {
    prop_oneof![
        (0u64..800).prop_map(|s| Caveat::NotBefore(at(s))),
        (0u64..800).prop_map(|s| Caveat::Expires(at(s))),
        proptest::collection::btree_set(1u8..5, 1..4).prop_map(|n| Caveat::things(n.into_iter().map(locker))),
        proptest::collection::btree_set(1u8..4, 1..3)
            .prop_map(|n| Caveat::affordances(n.into_iter().map(action))),
        (0u64..3).prop_map(Caveat::Uses),
        (0u64..3).prop_map(Caveat::Delegations),
        (1u8..3).prop_map(|byte| Caveat::Transaction(txid(byte))),
    ]
}

fn action(number: u8) -> Affordance {
    Affordance::action(&format!("action-{number}")).unwrap()
}

/// A wide grant: three lockers, three actions, all the time, passed on twice.
fn wide() -> Grant {
    Grant {
        things: (1..4).map(locker).collect(),
        affordances: (1..4).map(action).collect(),
        not_before: at(0),
        expires: at(700),
        uses: Some(2),
        delegations: 2,
        ..grant()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever is appended, by whomever: a request that the longer token lets in, the shorter one lets in too.
    #[test]
    fn no_part_ever_widens(
        parts in proptest::collection::vec((any::<bool>(), proptest::collection::vec(caveat(), 0..4)), 1..4),
        thing in 1u8..5, number in 1u8..4, time in 0u64..800, transaction in proptest::option::of(1u8..3),
        uses in 1usize..4,
    ) {
        let owner_key = owner().public();
        let mut holder = renter();
        let mut shorter = issued(&wide());
        for (index, (pass_on, caveats)) in parts.into_iter().enumerate() {
            let next = key(10 + index as u8);
            let longer = if pass_on {
                token::delegate(&shorter, &owner_key, &holder, next.public(), &caveats).unwrap()
            } else {
                token::attenuate(&shorter, &owner_key, &caveats).unwrap()
            };
            let next = if pass_on { next } else { key_again(&holder) };
            let before = admitted(&shorter, &holder, thing, number, time, transaction, uses);
            let after = admitted(&longer, &next, thing, number, time, transaction, uses);
            prop_assert!(after <= before, "{after} uses after, {before} before");
            let (wide, narrow) =
                (token::inspect(&shorter, &owner_key).unwrap(), token::inspect(&longer, &owner_key).unwrap());
            prop_assert!(narrow.things.iter().all(|one| wide.things.contains(one)));
            prop_assert!(narrow.affordances.iter().all(|one| wide.affordances.contains(one)));
            prop_assert!(narrow.not_before >= wide.not_before && narrow.expires <= wide.expires);
            prop_assert!(narrow.delegations <= wide.delegations);
            prop_assert!(narrow.revocation_ids.starts_with(&wide.revocation_ids));
            (shorter, holder) = (longer, next);
        }
    }

    /// No bytes make the reader panic, and none that are not ours are taken.
    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(token::inspect(&bytes, &owner().public()).is_err());
    }

    /// Nor do real tokens with pieces cut out, doubled or overwritten.
    #[test]
    fn a_mangled_token_is_refused(
        at_byte in any::<proptest::sample::Index>(), length in 1usize..40, with in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let token = issued(&grant());
        let start = at_byte.index(token.len());
        let end = (start + length).min(token.len());
        let mangled = [&token[..start], &with, &token[end..]].concat();
        prop_assume!(mangled != token);
        prop_assert!(token::inspect(&mangled, &owner().public()).is_err());
    }

    /// The typed reading and the Datalog agree: another biscuit library, given the door's facts, decides the same.
    #[test]
    fn the_datalog_alone_decides_the_same(
        caveats in proptest::collection::vec(caveat(), 0..3), thing in 1u8..5, number in 1u8..4, time in 0u64..800,
        transaction in proptest::option::of(1u8..3),
    ) {
        let token = token::attenuate(&issued(&wide()), &owner().public(), &caveats).unwrap();
        let ours = asking(&token, &renter(), thing, number, time, transaction).ask();
        let mut facts = format!(
            "time({}); thing(\"{}\"); affordance(\"{}\"); delegated(0); used(0, 0); used(1, 0); speaks_for(hex:{});",
            at(time).as_millis(), locker(thing), action(number), renter().public(),
        );
        facts.extend(transaction.map(|byte| format!("transaction(hex:{});", txid(byte))));
        let biscuit = Biscuit::from(&token, biscuit_key(&owner().public())).unwrap();
        let limits = biscuit_auth::AuthorizerLimits {
            max_time: std::time::Duration::from_secs(10), ..Default::default()
        };
        let builder = biscuit_auth::AuthorizerBuilder::new().set_limits(limits).code(facts).unwrap();
        let theirs = builder.policy("allow if true").unwrap().build(&biscuit).unwrap().authorize();
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} against {:?}", ours, theirs);
    }
}

fn key_again(key: &sofie_access::SecretKey) -> sofie_access::SecretKey {
    sofie_access::SecretKey::from_bytes(&key.to_bytes())
}

fn asking(
    token: &[u8],
    holder: &sofie_access::SecretKey,
    thing: u8,
    number: u8,
    time: u64,
    transaction: Option<u8>,
) -> World {
    let mut world = World::new(token.to_vec());
    world.signer = key_again(holder);
    (world.now, world.signed_at) = (at(time), at(time));
    world.revocations = sofie_access::Revocations::none(owner().public(), at(time));
    world.request.thing = locker(thing);
    world.request.affordance = action(number);
    world.request.transaction = transaction.map(txid);
    world
}

/// How many of `uses` requests are let in.
fn admitted(
    token: &[u8],
    holder: &sofie_access::SecretKey,
    thing: u8,
    number: u8,
    time: u64,
    transaction: Option<u8>,
    uses: usize,
) -> usize {
    let mut world = asking(token, holder, thing, number, time, transaction);
    (0..uses).filter(|_| world.again().is_ok()).count()
}
