//! A hashlock leg between two nodes: what is signed ahead and by whom, what a node does when the other is gone or lies, and
//! that each end is one that P1 to P5 allow.

use sofie_ledgers::fake::Fault;
use sofie_ledgers::port::MAX_PRESIGNED_BYTES;
use sofie_ledgers::{Presigned, Spend};
use sofie_model::manifest::Participant;
use sofie_model::{Account, Digest, Fact, Manifest, PublicKey, Signature, Span, Step, Terms, Txid};
use sofie_node::journal::PauseAt;
use sofie_node::parties::{enquired, preimage};
use sofie_node::peers::message::{Message, Reply};

use crate::liar::Liar;
use crate::market::{BEFORE, Life, Market, PIVOT, SWAPPED, TRANSFER, until};
use crate::world::{Who, nonce, own};

/// Time enough for a swap on a busy machine.
pub(crate) const AMPLE: u64 = 120;
/// T_D, T_p and G that come soon and do for P5.
pub(crate) const SOON: [u64; 3] = [8, 5, 8];

#[test]
fn two_nodes_swap() {
    let market = Market::new();
    let (a, b) = (market.alice(), market.bob());
    let txid = a.submits(AMPLE).unwrap();
    assert!(a.node().ends(txid) && b.node().ends(txid), "{:?}\n{:?}", a.kinds(txid), b.kinds(txid));
    market.ends(SWAPPED);
    // Each holds what the other signed ahead, before its own secret is in its journal.
    for (life, who) in [(&a, "participant 0"), (&b, "participant 1")] {
        let told = life.node().told(txid.0);
        let at = |wanted: &dyn Fn(&(String, String)) -> bool| told.iter().position(wanted);
        let signed = at(&|(kind, _)| kind == "presigned").expect("it is kept");
        let released = at(&|(kind, what)| kind == "released" && what == who).expect("it is told");
        assert!(signed < released, "{told:?}");
    }
    // The claimant's secret is in no message: Bob has it from COMMIT.
    let heard = b.node().told(txid.0);
    assert!(!heard.iter().any(|(kind, what)| kind == "released" && what == "participant 0"), "{heard:?}");
}

/// Nobody need wait for G when both sign ABORT: neither secret is out.
#[test]
fn a_lock_that_is_refused_aborts_by_both_signatures() {
    let market = Market::new();
    market.chain.script(Some("prepare"), Fault::Refuse("not today".into()));
    let (a, b) = (market.alice(), market.bob());
    let txid = a.submits(AMPLE).unwrap();
    assert!(!a.node().ends(txid) && !b.node().ends(txid));
    market.ends(BEFORE);
    for life in [&a, &b] {
        let state = life.node().runtime.transactions().state(txid).unwrap().unwrap();
        let decided = state.decided().unwrap();
        assert!(decided.at < state.manifest().deadline, "{decided:?}");
        assert!(life.kinds(txid).contains(&"renounced".to_owned()));
    }
}

/// The payer's node dies for good before it locks: after G anyone may abort.
#[test]
fn a_payer_that_vanishes_before_the_lock_costs_nothing_but_time() {
    let market = Market::new();
    let b = market.life(&market.bob, &market.alice, Some(PauseAt::Intent("prepare 1".into())));
    let a = market.alice();
    let txid = a.submits(SOON[0]).unwrap();
    until("bob's node dies", || b.is_dead());
    b.kill();
    assert!(market.is_locked(txid, TRANSFER) && !market.is_locked(txid, PIVOT));
    assert!(!a.node().ends(txid), "it aborts");
    market.ends(BEFORE);
}

/// Its own lock undone by time, and the other's by ABORT, with nobody but the payer's node.
#[test]
fn a_claimant_that_vanishes_before_the_commit_costs_nothing_but_time() {
    let market = Market::new();
    let a = market.life(&market.alice, &market.bob, Some(PauseAt::Intent("commit".into())));
    let b = market.bob();
    let txid = a.submits(SOON[0]).unwrap();
    until("alice's node dies", || a.is_dead());
    a.kill();
    assert!(!b.node().ends(txid), "it aborts: {:?}", b.kinds(txid));
    market.ends(BEFORE);
    assert!(b.kinds(txid).contains(&"released".to_owned()), "bob's own secret was out");
}

/// COMMIT stands, and the claimant never comes back: the payer's node claims for her, by what she signed ahead.
#[test]
fn a_claimant_that_vanishes_after_the_commit_is_paid_all_the_same() {
    let market = Market::new();
    let a = market.life(&market.alice, &market.bob, Some(PauseAt::Intent("apply 1".into())));
    let b = market.bob();
    let txid = a.submits(AMPLE).unwrap();
    until("alice's node dies", || a.is_dead());
    a.kill();
    assert!(b.node().ends(txid), "{:?}", b.kinds(txid));
    market.ends(SWAPPED);
}

/// What was signed ahead outlives the process that took it.
#[test]
fn what_was_signed_ahead_survives_a_restart() {
    let market = Market::new();
    let a = market.life(&market.alice, &market.bob, Some(PauseAt::Intent("apply 1".into())));
    let b = market.bob();
    let txid = a.submits(AMPLE).unwrap();
    until("alice's node dies", || a.is_dead());
    b.kill();
    a.kill();
    let b = market.bob();
    assert!(b.node().ends(txid), "{:?}", b.kinds(txid));
    market.ends(SWAPPED);
}

/// Alice holds the key of a peer and runs no node.
pub(crate) struct Alice<'a> {
    market: &'a Market,
    bob: &'a Life,
    pub(crate) liar: Liar<'a>,
}

impl<'a> Alice<'a> {
    pub(crate) fn of(market: &'a Market, bob: &'a Life) -> Self {
        Self { market, bob, liar: Liar::new(bob.node(), &market.alice, &market.bob) }
    }

    fn manifest(&self, seconds: [u64; 3]) -> Manifest {
        let nonce = nonce();
        let both = [own(&self.market.alice, nonce), asked(&self.liar, &self.market.bob, nonce)];
        self.market.manifest(both, nonce, seconds)
    }

    pub(crate) fn say(&self, message: &Message) -> Reply {
        self.liar.say(message).1.expect("the answer is signed")
    }

    /// Bob's node has begun, and both legs are locked.
    pub(crate) fn locked(&self, seconds: [u64; 3]) -> Manifest {
        let manifest = self.manifest(seconds);
        let reply = self.say(&proposal(&manifest));
        assert!(matches!(reply, Reply::Agreed { .. }), "{reply:?}");
        self.market.by_hand(&self.market.alice, &manifest, TRANSFER, Step::Prepare);
        until("bob has locked", || self.market.is_locked(manifest.txid(), PIVOT));
        manifest
    }

    #[track_caller]
    pub(crate) fn refused(&self, message: &Message, why: &str) {
        match self.say(message) {
            Reply::Refused { reason } => assert!(reason.contains(why), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn has_released(&self, txid: Txid) -> bool {
        self.bob.kinds(txid).contains(&"released".to_owned())
    }
}

pub(crate) fn asked(liar: &Liar<'_>, party: &Who, nonce: Digest) -> Participant {
    let asked = Message::Enquire { nonce, party: party.account() };
    let Ok(Reply::Answer { account, hashlock, .. }) = liar.say(&asked).1 else { panic!("no answer") };
    Participant { account, hashlock }
}

pub(crate) fn proposal(manifest: &Manifest) -> Message {
    Message::Propose { manifest: Box::new(manifest.clone()), openings: Vec::new(), contract: None }
}

pub(crate) fn ahead(txid: Txid, signed: &Presigned) -> Message {
    Message::Presigned { txid, refund: signed.spend == Spend::Refund, signed: signed.bytes.clone() }
}

/// Both secrets: hers, and his as it is released to her.
pub(crate) fn secrets(market: &Market, manifest: &Manifest) -> Vec<Digest> {
    let peer = market.alice.keys.ed25519().verifying_key();
    vec![
        preimage(&market.alice.keys, manifest.nonce),
        enquired(&market.bob.keys, peer.as_bytes(), manifest.nonce),
    ]
}

/// Whoever brings nothing good signed ahead gets no secret, and nothing is lost.
#[test]
fn a_claimant_that_lies_about_the_spend_is_refused_by_name_and_gets_no_secret() {
    let market = Market::new();
    let b = market.bob();
    let alice = Alice::of(&market, &b);
    let early = alice.manifest(SOON);
    let manifest = alice.locked(SOON);
    let txid = manifest.txid();
    let good = market.sign_ahead(&market.alice, &manifest, Spend::Claim);
    let refund = market.sign_ahead(&market.bob, &manifest, Spend::Refund);
    for (message, why) in [
        (ahead(early.txid(), &good), "knows no such transaction"),
        (ahead(txid, &refund), "is no party of peer alice-co"),
        (ahead(txid, &Presigned { bytes: refund.bytes.clone(), ..good.clone() }), "not signed by"),
        (ahead(txid, &Presigned { bytes: vec![7; 32], ..good.clone() }), "not signed by"),
        (ahead(txid, &Presigned { bytes: Vec::new(), ..good.clone() }), "not signed by"),
        (ahead(txid, &Presigned { bytes: vec![7; MAX_PRESIGNED_BYTES + 1], ..good.clone() }), "at most 4096"),
        (Message::Renounced { txid, who: 0, signature: Signature([1; 65]) }, "signature under ABORT"),
        (Message::Renounced { txid, who: 1, signature: Signature([1; 65]) }, "no party of peer"),
        (
            Message::Released { txid, who: 0, preimage: preimage(&market.alice.keys, manifest.nonce) },
            "releases only by publishing",
        ),
    ] {
        alice.refused(&message, why);
        let told = b.node().told(message_about(&message));
        assert!(told.iter().any(|(kind, what)| kind == "peer-refused" && what.contains(why)), "{told:?}");
    }
    assert!(!b.node().ends(txid), "it aborts");
    assert!(!alice.has_released(txid), "{:?}", b.kinds(txid));
    market.ends(BEFORE);
}

fn message_about(message: &Message) -> Digest {
    match message {
        Message::Presigned { txid, .. }
        | Message::Renounced { txid, .. }
        | Message::Released { txid, .. } => txid.0,
        _ => Digest::ZERO,
    }
}

/// What is signed ahead is taken once the lock is seen, also said twice; then the payer releases. A claimant who then takes
/// the coin without deciding has decided: the payer's node commits with what the claim shows.
#[test]
fn a_claim_without_a_commit_is_committed_by_the_payers_node() {
    let market = Market::new();
    let b = market.bob();
    let alice = Alice::of(&market, &b);
    let manifest = alice.manifest([AMPLE, 5, 8]);
    let txid = manifest.txid();
    assert!(matches!(alice.say(&proposal(&manifest)), Reply::Agreed { .. }));
    let nothing = Presigned { spend: Spend::Claim, bytes: vec![7; 32] };
    assert!(matches!(alice.say(&ahead(txid, &nothing)), Reply::Waiting { .. }), "there is no lock yet");
    market.by_hand(&market.alice, &manifest, TRANSFER, Step::Prepare);
    until("bob has locked", || market.is_locked(txid, PIVOT));
    let good = ahead(txid, &market.sign_ahead(&market.alice, &manifest, Spend::Claim));
    assert!(!alice.has_released(txid));
    assert_eq!(alice.say(&good), Reply::Taken);
    assert_eq!(alice.say(&good), Reply::Taken, "said again");
    assert_eq!(b.kinds(txid).iter().filter(|kind| *kind == "presigned").count(), 1, "kept once");
    until("bob releases", || alice.has_released(txid));
    market.by_hand(&market.alice, &manifest, PIVOT, Step::Claim(secrets(&market, &manifest)));
    assert!(b.node().ends(txid), "{:?}", b.kinds(txid));
    market.ends(SWAPPED);
    assert_eq!(alice.say(&good), Reply::Taken, "said after the end");
}

/// An ILP packet's lock: a claim shows one secret, and the payer's node has the others.
#[test]
fn a_claim_of_a_single_hash_is_committed_by_the_payers_node() {
    let market = Market::with_single_hash();
    let b = market.bob();
    let alice = Alice::of(&market, &b);
    let manifest = alice.locked([AMPLE, 5, 8]);
    let txid = manifest.txid();
    let hers = preimage(&market.alice.keys, manifest.nonce);
    market.by_hand(&market.alice, &manifest, PIVOT, Step::Claim(vec![hers]));
    assert!(b.node().ends(txid), "{:?}", b.kinds(txid));
    market.ends(SWAPPED);
}

/// The claimant is silent: what was locked comes back, and nobody but she has had a secret.
#[test]
fn a_claimant_of_a_single_hash_that_says_nothing_costs_nothing_but_time() {
    let market = Market::with_single_hash();
    let b = market.bob();
    let alice = Alice::of(&market, &b);
    let manifest = alice.locked(SOON);
    assert!(!b.node().ends(manifest.txid()), "it aborts");
    market.ends(BEFORE);
}

/// A payer who locks, signs the refund ahead, and is never heard of again: both values come back, his by her node.
#[test]
fn a_payer_that_vanishes_after_the_lock_is_paid_back_by_the_claimants_node() {
    let market = Market::new();
    let a = market.alice();
    let bob = Liar::new(a.node(), &market.bob, &market.alice);
    let nonce = nonce();
    let both = [asked(&bob, &market.alice, nonce), own(&market.bob, nonce)];
    let manifest = market.manifest(both, nonce, SOON);
    let txid = manifest.txid();
    assert!(matches!(bob.say(&proposal(&manifest)).1, Ok(Reply::Agreed { .. })));
    until("alice has locked", || market.is_locked(txid, TRANSFER));
    market.by_hand(&market.bob, &manifest, PIVOT, Step::Prepare);
    let signed = market.sign_ahead(&market.bob, &manifest, Spend::Refund);
    assert_eq!(bob.say(&ahead(txid, &signed)).1, Ok(Reply::Taken));
    assert!(!a.node().ends(txid), "it aborts");
    market.ends(BEFORE);
    assert!(market.coin.facts().contains(&Fact::Reverted(txid, PIVOT)));
}

/// What this node's own word on its ledgers forbids is declined, whatever the proposer takes them for.
#[test]
fn a_pivot_that_is_not_safe_for_its_own_party_is_declined() {
    let market = Market::new();
    let b = market.bob();
    let alice = Alice::of(&market, &b);
    let good = alice.manifest([AMPLE, 5, 8]);
    let key = |who: &Who| PublicKey::from(who.keys.secp256k1().verifying_key());
    let stranger = Who::new("carol");
    type Change<'a> = &'a dyn Fn(&mut Manifest);
    let cases: [(&str, Change<'_>); 6] = [
        ("its guard is", &|m| m.guard = m.participants[0].account),
        ("its guard is", &|m| m.guard = Account([7; 20])),
        ("the claimant's key of leg 1", &|m| terms(m).claimant_key = key(&stranger)),
        ("the payer's key of leg 1", &|m| terms(m).payer_key = key(&stranger)),
        ("legs[1].timelock: is not safe (P5)", &|m| {
            terms(m).timelock = m.deadline + Span::from_seconds(1);
        }),
        ("grace: is not safe (P5)", &|m| m.grace = Span::from_seconds(9)),
    ];
    for (why, change) in cases {
        let mut manifest = good.clone();
        change(&mut manifest);
        match alice.say(&proposal(&manifest)) {
            Reply::Declined { reason } => assert!(reason.contains(why), "{why}: {reason}"),
            other => panic!("{why}: {other:?}"),
        }
        assert_eq!(b.node().phase(manifest.txid()), None, "nothing has begun");
    }
    // What is locked for long, or may cost more in fees than this node's owner allows, is for a person.
    let mut long = good.clone();
    long.grace = Span::from_seconds(7_200);
    let mut dear = good;
    dear.legs[1].fee_limit = 1;
    for manifest in [long, dear] {
        let reply = alice.say(&proposal(&manifest));
        assert!(matches!(reply, Reply::Waiting { .. }), "{reply:?}");
    }
}

fn terms(manifest: &mut Manifest) -> &mut sofie_model::manifest::HashlockTerms {
    match &mut manifest.legs[1].terms {
        Terms::Hashlock(terms) => terms,
        other => panic!("{other:?}"),
    }
}
