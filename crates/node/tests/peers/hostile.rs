//! A peer that lies, withholds or says nothing more: it can make a transaction abort or wait, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use sofie_ledgers::evm::{EvmLedger, Keyring, RpcChain, RpcConfig, rpc_profile};
use sofie_ledgers::{Ledger, Status};
use sofie_model::{
    Account, Digest, Finality, LedgerId, LegId, Manifest, Operation, Rule, Span, Step, Terms, Timestamp, Txid,
};
use sofie_node::clock;
use sofie_node::peers::message::{Message, Reply};
use sofie_transaction::Phase;
use zeroize::Zeroizing;

use crate::liar::Liar;
use crate::world::{AUTOMATIC, Anvil, Node, Who, changed, held, nonce, own, ring};

/// Enquires as alice and makes the ring of her and bob.
fn manifest(liar: &Liar<'_>, nonce: Digest, seconds: u64) -> Manifest {
    let asked = Message::Enquire { nonce, party: liar.to.account() };
    let Ok(Reply::Answer { account, hashlock, .. }) = liar.say(&asked).1 else { panic!("no answer") };
    let theirs = sofie_model::manifest::Participant { account, hashlock };
    ring(&[own(liar.own, nonce), theirs], nonce, seconds)
}

fn propose(liar: &Liar<'_>, manifest: &Manifest) -> Reply {
    let message =
        Message::Propose { manifest: Box::new(manifest.clone()), openings: Vec::new(), contract: None };
    liar.say(&message).1.expect("the answer is signed")
}

#[track_caller]
fn declined(liar: &Liar<'_>, manifest: &Manifest, why: &str) {
    match propose(liar, manifest) {
        Reply::Declined { reason } => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(liar.node.phase(manifest.txid()), None, "nothing has begun");
}

/// Alice's own hand on the chain, without a node.
async fn prepare(chain: &Anvil, who: &Who, manifest: &Manifest) {
    let config = RpcConfig {
        url: chain.url.parse().unwrap(),
        chain_id: 31_337,
        timeout: Duration::from_secs(20),
        since: 0,
    };
    let mut keyring = Keyring::default();
    keyring.insert(&Zeroizing::new(who.keys.secp256k1().to_bytes().into())).unwrap();
    let profile = rpc_profile("ethereum".parse().unwrap(), Finality::Depth(1), Span::from_seconds(1));
    let chain = Arc::new(RpcChain::open(config).await.unwrap());
    let ledger = EvmLedger::open(chain, profile, keyring, who.account()).await.unwrap();
    let manifest = Arc::new(manifest.clone());
    let operation = Operation::Leg { manifest, leg: LegId(0), step: Step::Prepare };
    let intent = ledger.intend(&operation).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    while !matches!(ledger.status(&operation, Some(&intent)).await.unwrap(), Status::Final(_)) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

struct Stage {
    chain: Anvil,
    alice: Who,
    bob: Who,
}

impl Stage {
    fn new() -> Option<Self> {
        Some(Self { chain: Anvil::start()?, alice: Who::new("alice"), bob: Who::new("bob") })
    }

    /// Bob's node, whose only peer is alice; she runs none.
    fn node(&self) -> Node {
        let both = [&self.alice, &self.bob];
        Node::start_funded(&self.bob, &self.chain, &[&self.alice], &both)
    }

    fn liar<'a>(&'a self, node: &'a Node) -> Liar<'a> {
        Liar::new(node, &self.alice, &self.bob)
    }
}

#[test]
fn what_no_owner_would_want_is_declined() {
    let Some(stage) = Stage::new() else { return };
    let node = stage.node();
    let liar = stage.liar(&node);
    let good = manifest(&liar, nonce(), 120);
    let changed = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        manifest
    };
    let stranger = Account([0x77; 20]);
    for (why, manifest) in [
        (
            "the hashlock of participant 1 is not the one",
            changed(&|m| m.participants[1].hashlock = Digest([1; 32])),
        ),
        ("the hashlock of participant 1 is not the one", changed(&|m| m.nonce = Digest([1; 32]))),
        ("is of no node that is known here", changed(&|m| m.participants[0].account = stranger)),
        ("who is no participant", changed(&|m| m.participants.truncate(1))),
        ("no party of peer alice-co takes part", changed(&|m| m.participants = m.participants.split_off(1))),
        (
            "this ledger's escrow is",
            changed(&|m| {
                let Terms::Transfer(terms) = &mut m.legs[0].terms else { unreachable!() };
                terms.contract = stranger;
            }),
        ),
        ("the decision is at", changed(&|m| m.decision.contract = stranger)),
        ("another ledger here", changed(&|m| m.legs[0].finality = Finality::Depth(0))),
        ("is final otherwise", changed(&|m| m.decision.finality = Finality::Depth(0))),
        (
            "no ledger nowhere",
            changed(&|m| {
                let nowhere: LedgerId = "nowhere".parse().unwrap();
                m.decision.ledger = nowhere.clone();
                m.legs.iter_mut().for_each(|leg| leg.ledger = nowhere.clone());
            }),
        ),
        (
            "leaves less than",
            changed(&|m| m.deadline = Timestamp::from_seconds(clock::now().as_seconds() + 2)),
        ),
        ("deadline", changed(&|m| m.deadline = Timestamp::from_seconds(1))),
    ] {
        // Whoever is no participant may as well be missing altogether: then nobody lives here.
        let why = if manifest.participants.len() == 1 && why.starts_with("who") {
            "no participant lives"
        } else {
            why
        };
        declined(&liar, &manifest, why);
    }
    // A set of legs in which bob pays and is not paid is for a person to judge.
    let some = changed(&|m| m.rule = Rule::AtLeast(1));
    assert!(matches!(propose(&liar, &some), Reply::Waiting { .. }));
    let dear = changed(&|m| {
        let Terms::Transfer(terms) = &mut m.legs[1].terms else { unreachable!() };
        terms.amount = AUTOMATIC + 1;
    });
    assert!(matches!(propose(&liar, &dear), Reply::Waiting { .. }));
}

/// One secret opens all that was agreed to under its nonce: who learns it by the one would commit the other.
#[test]
fn a_nonce_is_good_for_one_manifest() {
    let Some(stage) = Stage::new() else { return };
    let node = stage.node();
    let liar = stage.liar(&node);
    let first = manifest(&liar, nonce(), 60);
    let mut second = first.clone();
    second.deadline = second.deadline + Span::from_seconds(1);
    assert!(matches!(propose(&liar, &first), Reply::Agreed { .. }));
    declined(&liar, &second, "another manifest of this nonce");
    assert!(matches!(propose(&liar, &first), Reply::Agreed { .. }), "said again, agreed again");
    // What is automatic is so for all that has not ended, together: bob pays twice an amount in each of them.
    let third = manifest(&liar, nonce(), 60);
    assert!(matches!(propose(&liar, &third), Reply::Waiting { .. }));
}

#[test]
fn a_peer_that_agrees_and_never_prepares_only_delays() {
    let Some(stage) = Stage::new() else { return };
    let node = stage.node();
    let before = node.run(held(&stage.chain, &[&stage.bob])).0[0];
    let liar = stage.liar(&node);
    let manifest = manifest(&liar, nonce(), 25);
    assert!(matches!(propose(&liar, &manifest), Reply::Agreed { .. }));
    assert!(!node.ends(manifest.txid()), "it aborts");
    returned(&stage, &node, before);
}

#[test]
fn a_secret_that_is_wrong_or_anothers_does_not_count_and_one_that_is_withheld_only_delays() {
    let Some(stage) = Stage::new() else { return };
    let node = stage.node();
    let before = node.run(held(&stage.chain, &[&stage.bob])).0[0];
    let liar = stage.liar(&node);
    let manifest = manifest(&liar, nonce(), 40);
    let txid = manifest.txid();
    assert!(matches!(propose(&liar, &manifest), Reply::Agreed { .. }));
    node.run(prepare(&stage.chain, &stage.alice, &manifest));
    node.until(txid, |phase| matches!(phase, Phase::Releasing | Phase::Aborting { .. } | Phase::Done(_)));
    for (who, why) in [(0, "does not open"), (1, "no party of peer"), (7, "no participant 7")] {
        refused(&liar, txid, who, why);
    }
    assert!(!node.ends(txid), "it aborts, with both values locked and one secret known");
    returned(&stage, &node, before);
    let (_, escrow) = node.run(held(&stage.chain, &[]));
    assert_eq!(escrow, 0, "alice's value too is back: anyone may undo");
}

#[track_caller]
fn refused(liar: &Liar<'_>, txid: Txid, who: u16, why: &str) {
    let message = Message::Released { txid, who, preimage: Digest([3; 32]) };
    match liar.say(&message).1 {
        Ok(Reply::Refused { reason }) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(liar.node.told(txid.0).iter().any(|(kind, what)| kind == "peer-refused" && what.contains(why)));
}

/// Bob has everything but fees.
#[track_caller]
fn returned(stage: &Stage, node: &Node, before: u128) {
    changed(before, node.run(held(&stage.chain, &[&stage.bob])).0[0], 0);
}

/// A secret that opens is taken, also said twice and late; then this node has all it needs to commit and apply alone.
#[test]
fn a_secret_that_comes_by_message_is_enough() {
    let Some(stage) = Stage::new() else { return };
    let node = stage.node();
    let before = node.run(held(&stage.chain, &[&stage.bob])).0[0];
    let liar = stage.liar(&node);
    let manifest = manifest(&liar, nonce(), 90);
    let txid = manifest.txid();
    assert!(matches!(propose(&liar, &manifest), Reply::Agreed { .. }));
    node.run(prepare(&stage.chain, &stage.alice, &manifest));
    let secret = sofie_node::parties::preimage(&stage.alice.keys, manifest.nonce);
    let released = Message::Released { txid, who: 0, preimage: secret };
    assert_eq!(liar.say(&released).1, Ok(Reply::Taken));
    assert_eq!(liar.say(&released).1, Ok(Reply::Taken), "said again");
    assert!(node.ends(txid), "{:?}", node.told(txid.0));
    let (after, escrow) = node.run(held(&stage.chain, &[&stage.bob]));
    assert_eq!(escrow, 0, "both legs are paid");
    changed(before, after[0], -1);
    assert_eq!(liar.say(&released).1, Ok(Reply::Taken), "said after the end");
}
