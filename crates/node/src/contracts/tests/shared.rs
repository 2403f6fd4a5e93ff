//! What a peer proposes of an offer: the contract that the offer makes, and nothing besides.

use std::collections::BTreeMap;

use sofie_market::{ContractTerms, Offer, Part};

use super::*;
use crate::config::Peer;
use crate::offers::Published;

/// The payer's node, as the owner's configuration knows it.
fn peer(payer: Account) -> Peer {
    Peer {
        name: "alice-co".parse().expect("a name"),
        url: "http://127.0.0.1:1".parse().expect("an address"),
        key: ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key(),
        parties: BTreeMap::from([("alice".parse().expect("a name"), payer)]),
        publish: None,
        automatic: BTreeMap::new(),
        watcher: false,
        watched: false,
    }
}

fn offer(world: &World) -> Offer {
    Offer {
        thing: "urn:locker:1".parse().expect("a name"),
        action: "lock".into(),
        input: String::new(),
        owner: world.party("locker-co").account(),
        price: PRICE,
        ledger: "evm".parse().expect("a name"),
        evidence: EvidenceRule {
            thing: "urn:door:1".parse().expect("a name"),
            property: "open".into(),
            equals: Value::Bool(true),
        },
        evidence_key: world.party("sensor-co").account(),
        witnesses: None,
        penalty: None,
        dispute: None,
        decision_within: Span::from_seconds(60),
        evidence_within: Span::from_seconds(60),
        submission_window: Span::from_seconds(10),
        until: clock::now() + Span::from_seconds(3_600),
    }
}

/// What the payer's node makes of it.
fn proposal(world: &World, offer: &Offer) -> (Manifest, ContractTerms) {
    let (now, payer) = (clock::now(), world.party("renter").account());
    let deadline = open::next_second(now) + offer.decision_within;
    let agreement = offer.agreement(payer, now, deadline);
    let salt = Salt::new([3; 32]);
    let somebody = |account: Account| Participant { account, hashlock: Digest::sha256(&account.0) };
    let made = (deadline, agreement.commitment(&salt));
    let manifest = world.contracts.manifest_of(offer, [somebody(payer), somebody(offer.owner)], made);
    (manifest.expect("a manifest"), ContractTerms { offer: offer.id(), agreement, salt })
}

impl World {
    /// One whose chain has the contracts.
    fn deployed() -> Self {
        let mut world = Self::open();
        let site = Deployment { chain_id: CHAIN, decision: Account([0xdd; 20]), escrow: Account([0xe5; 20]) };
        world.contracts.deployments = Arc::new(BTreeMap::from([("evm".parse().expect("a name"), site)]));
        world
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_contract_that_the_offer_makes_is_agreed_to() {
    let world = World::deployed();
    let (offer, peer) = (offer(&world), peer(world.party("renter").account()));
    let published = |ask| Some(Published { offer: offer.clone(), to: Vec::new(), ask });
    let (manifest, terms) = proposal(&world, &offer);
    let judge = |published, manifest: &Manifest, terms: &ContractTerms| {
        world.contracts.judge(published, &peer, manifest, terms)
    };
    let (plan, person) = judge(published(false), &manifest, &terms).expect("it is the offer's");
    assert_eq!((plan.part, plan.offer, person), (Some(Part::Owner), Some(offer.id()), None));
    assert!(
        judge(published(true), &manifest, &terms).expect("it is the offer's").1.is_some(),
        "a person decides"
    );

    let refused = |why: &str, published, manifest: &Manifest, terms: &ContractTerms| {
        let said = judge(published, manifest, terms).expect_err(why);
        assert!(said.contains(why), "{said}");
    };
    refused("is open here", None, &manifest, &terms);
    let changed = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = manifest.clone();
        change(&mut manifest);
        manifest
    };
    let elsewhere = Account([9; 20]);
    for manifest in [
        changed(&|m| m.nonce = Digest::ZERO),
        changed(&|m| m.legs.push(m.legs[0].clone())),
        changed(&|m| m.legs[0].fee_limit += 1),
        changed(&|m| m.decision.contract = elsewhere),
        changed(&|m| m.grace = Span::from_seconds(1)),
        changed(&|m| {
            let Terms::Escrow(terms) = &mut m.legs[0].terms else { unreachable!() };
            terms.evidence_key = elsewhere;
        }),
        changed(&|m| {
            let Terms::Escrow(terms) = &mut m.legs[0].terms else { unreachable!() };
            terms.amount = 1;
        }),
    ] {
        refused("is not the one that the offer makes", published(false), &manifest, &terms);
    }
    let turned = changed(&|m| m.participants.reverse());
    refused("is not the payer", published(false), &turned, &terms);
    let crowded = changed(&|m| m.participants.push(m.participants[0]));
    refused("and nobody else", published(false), &crowded, &terms);
    let cheap =
        ContractTerms { agreement: Agreement { price: 1, ..terms.agreement.clone() }, ..terms.clone() };
    refused("the agreement is not the one", published(false), &manifest, &cheap);
    let other = ContractTerms { salt: Salt::new([4; 32]), ..terms };
    refused("the manifest is not the one", published(false), &manifest, &other);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_contract_of_an_offer_runs_at_a_time() {
    let world = World::deployed();
    let (offer, peer) = (offer(&world), peer(world.party("renter").account()));
    let published = || Some(Published { offer: offer.clone(), to: Vec::new(), ask: false });
    let (manifest, terms) = proposal(&world, &offer);
    let (plan, _) = world.contracts.judge(published(), &peer, &manifest, &terms).expect("it is the offer's");
    let beginning = world.contracts.beginning(plan).expect("there is room");
    let _running = world.contracts.set_out(beginning);
    let said = world.contracts.judge(published(), &peer, &manifest, &terms).expect_err("one runs");
    assert!(said.contains("a contract of this offer runs"), "{said}");
}
