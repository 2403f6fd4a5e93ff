//! Evidence that an arbiter may overrule: when it may be presented, who may overrule what until when, and where the money is
//! afterwards.

use alloy_primitives::Bytes;
use alloy_sol_types::SolCall as _;
use sofie_model::{
    Account, Attestation, Digest, LegId, Ruling, Span, Terms, Timestamp, Txid,
    attestation::Panel,
    contract::{
        self, ABSENT,
        Escrow::{self, EscrowErrors},
        OWED, PRESENTED, address, word,
    },
    manifest::Dispute,
};

use crate::{
    chain::WEALTH,
    rogue::{REFUSES, Rogue, TAKES},
    world::{AMOUNT, DECIDED_AT, EVIDENCE_DEADLINE, LAST_SUBMISSION, Moved, Party, World, creation, high_s},
};

/// In seconds; the submission window has 60.
pub(crate) const WINDOW: u64 = 40;
/// The last second at which evidence may be presented.
pub(crate) const LAST_PRESENTATION: u64 = LAST_SUBMISSION - WINDOW;
/// When the tests present it, and the last second of a ruling then.
const PRESENTED_AT: u64 = DECIDED_AT + 20;
const UNTIL: u64 = PRESENTED_AT + WINDOW;

pub(crate) const PAID: [u128; 3] = [WEALTH - AMOUNT, WEALTH + AMOUNT, 0];
pub(crate) const HELD: [u128; 3] = [WEALTH - AMOUNT, WEALTH, AMOUNT];
pub(crate) const BACK: [u128; 3] = [WEALTH, WEALTH, 0];

pub(crate) fn arbiter() -> Party {
    Party::new("arbiter")
}

/// A world whose escrow has an arbiter, and for which `evidence_key` attests if one is given.
fn disputable(evidence_key: Option<Account>, arbiter: Account, window: u64) -> World {
    World::with(|manifest| {
        let Terms::Escrow(terms) = &mut manifest.legs[0].terms else { panic!("leg 0 is an escrow") };
        terms.evidence_key = evidence_key.unwrap_or(terms.evidence_key);
        terms.dispute = Some(Dispute { arbiter, window: Span::from_seconds(window) });
    })
}

pub(crate) fn armed() -> World {
    let mut world = disputable(None, arbiter().account, WINDOW);
    world.arm();
    world
}

pub(crate) fn dispute(world: &World) -> contract::Dispute {
    let Terms::Escrow(terms) = &world.manifest.legs[0].terms else { panic!("leg 0 is an escrow") };
    contract::dispute(terms).expect("it has an arbiter")
}

fn word_said(world: &World) -> Attestation {
    world.attestation(DECIDED_AT + 10)
}

pub(crate) fn presenting(world: &World, said: Attestation, signature: Vec<u8>) -> Escrow::presentCall {
    Escrow::presentCall {
        lock: world.lock(),
        dispute: dispute(world),
        observation: word(said.observation),
        fulfilled: said.fulfilled,
        observedAt: said.observed_at.as_seconds(),
        signature: signature.into(),
    }
}

/// By the sensor.
fn good(world: &World) -> Escrow::presentCall {
    let said = word_said(world);
    presenting(world, said, said.sign(&world.sensor.key).signature)
}

fn paying(world: &World) -> Escrow::payCall {
    let said = word_said(world);
    Escrow::payCall {
        lock: world.lock(),
        observation: word(said.observation),
        observedAt: said.observed_at.as_seconds(),
    }
}

pub(crate) fn overruling(world: &World, signature: Bytes) -> Escrow::overruleCall {
    let Escrow::payCall { lock, observation, observedAt } = paying(world);
    Escrow::overruleCall { lock, dispute: dispute(world), observation, observedAt, ruling: signature }
}

/// By the arbiter.
fn ruling(world: &World) -> Escrow::overruleCall {
    overruling(world, arbiter().sign(Ruling::on(&word_said(world)).digest()))
}

pub(crate) fn send(world: &mut World, call: &impl alloy_sol_types::SolCall) -> Moved {
    world.chain.send(world.stranger.account, world.escrow, 0, call)
}

/// Armed, and the sensor's word presented.
fn presented() -> World {
    let mut world = armed();
    world.chain.time = PRESENTED_AT;
    let call = good(&world);
    send(&mut world, &call).expect("presents");
    world
}

fn stored(world: &mut World) -> (u8, u64) {
    let lock_id = word(contract::lock_id(&world.lock()));
    let answer = world.chain.view(world.escrow, &Escrow::stateOfCall { lockId: lock_id });
    (answer.state, answer.time)
}

fn refused(world: &mut World, call: &impl alloy_sol_types::SolCall) -> EscrowErrors {
    send(world, call).map(drop).expect_err("the escrow refuses")
}

fn is_in(world: &World, expected: u8, got: u8) -> EscrowErrors {
    let lock_id = word(contract::lock_id(&world.lock()));
    EscrowErrors::WrongState(Escrow::WrongState { lockId: lock_id, expected, got })
}

#[test]
fn what_stands_undisputed_is_paid_in_the_second_after_the_window() {
    let mut world = armed();
    world.chain.time = PRESENTED_AT;
    let call = good(&world);
    let event = send(&mut world, &call).unwrap().event::<Escrow::Presented>();
    let lock = word(contract::lock_id(&world.lock()));
    assert_eq!((event.lockId, event.observation, event.until), (lock, call.observation, UNTIL));
    assert_eq!((stored(&mut world), world.money()), ((PRESENTED, UNTIL), HELD));
    let pay = paying(&world);
    world.chain.time = UNTIL;
    assert!(matches!(refused(&mut world, &pay), EscrowErrors::TooEarly(_)));
    world.chain.time = UNTIL + 1;
    let overrule = ruling(&world);
    assert!(matches!(refused(&mut world, &overrule), EscrowErrors::TooLate(_)));
    let event = send(&mut world, &pay).unwrap().event::<Escrow::Settled>();
    assert_eq!((event.observation, event.observedAt), (pay.observation, pay.observedAt));
    assert_eq!((stored(&mut world), world.money()), ((ABSENT, 0), PAID));
    // After the payment there is nothing to rule on, to pay or to refund.
    world.chain.time = LAST_SUBMISSION + 1;
    for call in [overrule.abi_encode(), pay.abi_encode()] {
        let (from, to) = (address(world.stranger.account), address(world.escrow));
        assert!(world.chain.transact(from, to, 0, call.into()).is_err());
    }
    assert_eq!(world.refund().map(drop), Err(is_in(&world, contract::ARMED, ABSENT)));
    assert_eq!(world.money(), PAID);
}

#[test]
fn a_ruling_in_the_windows_last_second_pays_back_at_once_and_for_good() {
    let mut world = presented();
    world.chain.time = UNTIL;
    let call = ruling(&world);
    let event = send(&mut world, &call).unwrap().event::<Escrow::Overruled>();
    assert_eq!((event.observation, event.observedAt), (call.observation, call.observedAt));
    assert_eq!((stored(&mut world), world.money()), ((ABSENT, 0), BACK));
    world.chain.time = UNTIL + 1;
    let pay = paying(&world);
    assert_eq!(refused(&mut world, &pay), is_in(&world, PRESENTED, ABSENT));
    let again = good(&world);
    assert_eq!(refused(&mut world, &again), is_in(&world, contract::ARMED, ABSENT));
    assert_eq!(world.money(), BACK);
}

#[test]
fn a_ruling_counts_for_one_chain_contract_transaction_leg_observation_and_time() {
    let changes: [fn(&mut Ruling); 6] = [
        |r| r.chain_id += 1,
        |r| r.contract = Account([0xe7; 20]),
        |r| r.txid = Txid(Digest([1; 32])),
        |r| r.leg = LegId(1),
        |r| r.observation = Digest([2; 32]),
        |r| r.observed_at = Timestamp::from_seconds(DECIDED_AT + 11),
    ];
    let mut world = presented();
    for (index, change) in changes.into_iter().enumerate() {
        let mut other = Ruling::on(&word_said(&world));
        change(&mut other);
        let call = overruling(&world, arbiter().sign(other.digest()));
        assert!(matches!(refused(&mut world, &call), EscrowErrors::WrongSigner(_)), "change {index}");
    }
    // The other way round: a good ruling on what was not presented.
    for (observation, observed_at) in [(Digest([2; 32]), DECIDED_AT + 10), (word_said(&world).observation, 1)]
    {
        let said = Attestation {
            observation,
            observed_at: Timestamp::from_seconds(observed_at),
            ..word_said(&world)
        };
        let call = Escrow::overruleCall {
            observation: word(observation),
            observedAt: observed_at,
            ..overruling(&world, arbiter().sign(Ruling::on(&said).digest()))
        };
        assert!(matches!(refused(&mut world, &call), EscrowErrors::NotPresented(_)));
        let pay =
            Escrow::payCall { observation: word(observation), observedAt: observed_at, ..paying(&world) };
        world.chain.time = UNTIL + 1;
        assert!(matches!(refused(&mut world, &pay), EscrowErrors::NotPresented(_)));
        world.chain.time = PRESENTED_AT;
    }
    assert_eq!(world.money(), HELD);
}

#[test]
fn on_a_fork_with_another_chain_id_a_ruling_of_this_chain_is_nobodys() {
    let mut world = presented();
    let call = ruling(&world);
    world.chain.id += 1;
    assert!(matches!(refused(&mut world, &call), EscrowErrors::WrongSigner(_)));
}

#[test]
fn nobody_but_the_arbiter_overrules_and_no_other_terms_are_put_in_its_place() {
    let mut world = presented();
    let digest = Ruling::on(&word_said(&world)).digest();
    for party in [&world.renter, &world.locker, &world.sensor, &world.stranger].map(|one| one.sign(digest)) {
        let call = overruling(&world, party);
        assert!(matches!(refused(&mut world, &call), EscrowErrors::WrongSigner(_)));
    }
    let signature = arbiter().sign(digest);
    for bad in [Bytes::new(), signature[..64].to_vec().into(), high_s(&signature)] {
        let call = overruling(&world, bad);
        assert!(matches!(refused(&mut world, &call), EscrowErrors::BadSignature(_)));
    }
    // A stranger who names himself, or a shorter window, names another account than the lock.
    let thief = Party::new("thief");
    let mut call = overruling(&world, thief.sign(digest));
    call.dispute.arbiter = address(thief.account);
    assert!(matches!(refused(&mut world, &call), EscrowErrors::WrongSigner(_)));
    let mut armed = armed();
    let mut call = good(&armed);
    call.dispute.window = 0;
    assert!(matches!(refused(&mut armed, &call), EscrowErrors::WrongSigner(_)));
}

#[test]
fn evidence_is_presented_until_a_window_before_the_end_and_else_time_pays_back() {
    let mut world = armed();
    world.chain.time = LAST_PRESENTATION + 1;
    let call = good(&world);
    let [until, now] = [LAST_PRESENTATION, LAST_PRESENTATION + 1].map(alloy_primitives::U256::from);
    let late = Escrow::TooLate { until, blockTime: now };
    assert_eq!(refused(&mut world, &call), EscrowErrors::TooLate(late));
    world.chain.time = LAST_SUBMISSION + 1;
    world.refund().unwrap();
    assert_eq!(world.money(), BACK);
    // In time: no refund by time, though nobody asks for the payment for long.
    let mut world = armed();
    world.chain.time = LAST_PRESENTATION;
    let call = good(&world);
    send(&mut world, &call).unwrap();
    world.chain.time = LAST_SUBMISSION + 1_000;
    assert_eq!(world.refund().map(drop), Err(is_in(&world, contract::ARMED, PRESENTED)));
    let pay = paying(&world);
    send(&mut world, &pay).unwrap();
    assert_eq!(world.money(), PAID);
}

#[test]
fn a_window_longer_than_all_time_lets_nothing_be_presented() {
    let mut world = disputable(None, arbiter().account, u64::from(u32::MAX));
    world.arm();
    let call = good(&world);
    assert!(matches!(refused(&mut world, &call), EscrowErrors::TooLate(_)));
    world.chain.time = LAST_SUBMISSION + 1;
    world.refund().unwrap();
    assert_eq!(world.money(), BACK);
}

#[test]
fn no_word_goes_round_the_window_and_only_a_good_one_starts_it() {
    let mut world = armed();
    let said = word_said(&world);
    // The sensor's word alone no longer pays: the lock names the dispute, and nobody has its key.
    let direct = world.settling(said);
    assert!(matches!(refused(&mut world, &direct), EscrowErrors::WrongSigner(_)));
    let at = |seconds| Attestation { observed_at: Timestamp::from_seconds(seconds), ..said };
    for outside in [at(DECIDED_AT - 1), at(EVIDENCE_DEADLINE + 1)] {
        let call = presenting(&world, outside, outside.sign(&world.sensor.key).signature);
        assert!(matches!(refused(&mut world, &call), EscrowErrors::ObservedOutside(_)));
    }
    let unfulfilled = Attestation { fulfilled: false, ..said };
    let call = presenting(&world, unfulfilled, unfulfilled.sign(&world.sensor.key).signature);
    assert!(matches!(refused(&mut world, &call), EscrowErrors::Unfulfilled(_)));
    for name in ["locker-co", "arbiter", "stranger"] {
        let call = presenting(&world, said, said.sign(&Party::new(name).key).signature);
        assert!(matches!(refused(&mut world, &call), EscrowErrors::WrongSigner(_)));
    }
    let early = ruling(&world);
    assert_eq!(refused(&mut world, &early), is_in(&world, PRESENTED, contract::ARMED));
    let call = good(&world);
    send(&mut world, &call).unwrap();
    let again = Escrow::presentCall { observation: word(Digest([1; 32])), ..call };
    assert_eq!(refused(&mut world, &again), is_in(&world, contract::ARMED, PRESENTED));
}

#[test]
fn an_arbiter_or_a_key_with_an_interest_makes_the_evidence_void_and_time_pays_back() {
    let names = ["renter", "locker-co", "sensor-co"].map(|name| Party::new(name).account);
    let [payer, payee, sensor] = names;
    let table = [
        (None, payer, payer),
        (None, payee, payee),
        (None, sensor, sensor),
        (Some(payer), arbiter().account, payer),
        (Some(payee), arbiter().account, payee),
    ];
    for (key, arbiter, interested) in table {
        let mut world = disputable(key, arbiter, WINDOW);
        world.arm();
        let call = good(&world);
        let refusal = Escrow::InterestedKey { evidenceKey: address(interested) };
        assert_eq!(refused(&mut world, &call), EscrowErrors::InterestedKey(refusal));
        world.chain.time = LAST_SUBMISSION + 1;
        world.refund().unwrap();
        assert_eq!(world.money(), BACK);
    }
}

#[test]
fn a_panel_presents_as_a_key_does_and_the_arbiter_is_not_on_it() {
    let owners = ["first sensor", "second sensor"].map(Party::new);
    let panel = |others: [&Party; 2]| Panel::new(2, others.map(|one| one.account).to_vec()).unwrap();
    let sound = panel([&owners[0], &owners[1]]);
    let mut world = disputable(Some(sound.account()), arbiter().account, WINDOW);
    world.arm();
    let words = |world: &World, others: [&Party; 2]| others.map(|one| word_said(world).sign(&one.key));
    let signed = sound.attest(&words(&world, [&owners[0], &owners[1]])).unwrap();
    let call = presenting(&world, signed.attestation, signed.signature.clone());
    send(&mut world, &call).unwrap();
    assert_eq!(stored(&mut world).0, PRESENTED);
    // What a panel says is overruled as a whole.
    let ruling = Ruling::on(&signed.attestation);
    let call = Escrow::overruleCall {
        observation: call.observation,
        observedAt: call.observedAt,
        ..overruling(&world, arbiter().sign(ruling.digest()))
    };
    send(&mut world, &call).unwrap();
    assert_eq!(world.money(), BACK);

    let captured = panel([&owners[0], &arbiter()]);
    let mut world = disputable(Some(captured.account()), arbiter().account, WINDOW);
    world.arm();
    let signed = captured.attest(&words(&world, [&owners[0], &arbiter()])).unwrap();
    let Terms::Escrow(terms) = &world.manifest.legs[0].terms else { panic!("leg 0 is an escrow") };
    assert!(signed.speaks_for(terms).is_err());
    let call = presenting(&world, signed.attestation, signed.signature);
    assert!(matches!(refused(&mut world, &call), EscrowErrors::InterestedKey(_)));
}

/// The evidence stands, so that the payer has no claim any more: a payee who refuses cannot give it one.
#[test]
fn a_payee_who_refuses_is_owed_and_takes_it_later() {
    let mut world = disputable(None, arbiter().account, WINDOW);
    let rogue = world.chain.deploy(&creation("Rogue"));
    let Terms::Escrow(terms) = &mut world.manifest.legs[0].terms else { panic!("leg 0 is an escrow") };
    terms.payee = rogue;
    world.arm();
    let mode = |world: &mut World, mode| {
        let call = Rogue::behaveCall { mode, target: address(world.escrow), data: Bytes::new() };
        let stranger = world.stranger.account;
        world.chain.send::<_, EscrowErrors>(stranger, rogue, 0, &call).expect("the rogue obeys");
    };
    mode(&mut world, REFUSES);
    world.chain.time = PRESENTED_AT;
    let call = good(&world);
    send(&mut world, &call).unwrap();
    world.chain.time = LAST_SUBMISSION + 1;
    let pay = paying(&world);
    send(&mut world, &pay).unwrap();
    assert_eq!(stored(&mut world).0, OWED);
    assert_eq!(world.refund().map(drop), Err(is_in(&world, contract::ARMED, OWED)));
    mode(&mut world, TAKES);
    let collect = Escrow::collectCall { lock: world.lock(), to: address(rogue) };
    let act = Rogue::actCall { target: address(world.escrow), data: collect.abi_encode().into() };
    let stranger = world.stranger.account;
    world.chain.send::<_, EscrowErrors>(stranger, rogue, 0, &act).unwrap();
    assert_eq!((world.chain.balance(rogue), world.chain.balance(world.escrow)), (AMOUNT, 0));
}

/// Two locks of one transaction that differ in nothing but their place.
#[test]
fn a_ruling_on_one_lock_leaves_the_other_as_it_is() {
    let mut world = World::with(|manifest| {
        let Terms::Escrow(terms) = &mut manifest.legs[0].terms else { panic!("leg 0 is an escrow") };
        terms.dispute = Some(Dispute { arbiter: arbiter().account, window: Span::from_seconds(WINDOW) });
        manifest.legs[1] = manifest.legs[0].clone();
    });
    let other = contract::Lock { leg: 1, ..world.lock() };
    let (renter, escrow) = (world.renter.account, world.escrow);
    let prepare = Escrow::prepareCall { lock: other.clone() };
    world.chain.send::<_, EscrowErrors>(renter, escrow, AMOUNT, &prepare).unwrap();
    world.arm();
    send(&mut world, &Escrow::apply_Call { lock: other.clone() }).unwrap();
    world.chain.time = PRESENTED_AT;
    // The same sensor saw the same at the same time, and says so for each leg.
    let said = Attestation { leg: LegId(1), ..word_said(&world) };
    let signature = said.sign(&world.sensor.key).signature;
    let there = Escrow::presentCall { lock: other.clone(), ..presenting(&world, said, signature) };
    for call in [good(&world), there] {
        send(&mut world, &call).unwrap();
    }
    let elsewhere = Escrow::overruleCall { lock: other, ..ruling(&world) };
    assert!(matches!(refused(&mut world, &elsewhere), EscrowErrors::WrongSigner(_)));
    let here = ruling(&world);
    send(&mut world, &here).unwrap();
    assert_eq!(world.money(), [WEALTH - AMOUNT, WEALTH, AMOUNT]);
}

/// What presenting, paying and overruling cost.
pub(crate) fn bill() -> [(&'static str, u64); 3] {
    let mut world = armed();
    world.chain.time = PRESENTED_AT;
    let call = good(&world);
    let present = send(&mut world, &call).expect("presents").gas;
    world.chain.time = UNTIL + 1;
    let call = paying(&world);
    let pay = send(&mut world, &call).expect("pays").gas;
    let mut world = presented();
    let call = ruling(&world);
    let overrule = send(&mut world, &call).expect("overrules").gas;
    [("present", present), ("pay", pay), ("overrule", overrule)]
}
