//! The escrow's state table, its refusals, and where the money is after each transition.

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::{SolCall, SolInterface};
use sofie_model::{
    Account, Digest, LegId, Timestamp,
    contract::{
        self, ABORTED, ABSENT, ARMED, COMMITTED,
        Escrow::{self, EscrowErrors},
        LOCKED, address, word,
    },
};

use crate::{
    chain::WEALTH,
    world::{
        AMOUNT, DEADLINE, DECIDED_AT, EVIDENCE_DEADLINE, LAST_SUBMISSION, Moved, Party, START, World, high_s,
    },
};

/// Where a lock may stand when someone calls.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Absent,
    Undecided,
    Committed,
    Aborted,
    Excluded,
    Armed,
    Settled,
    Refunded,
    Reverted,
}

/// What someone may call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Action {
    Prepare,
    Apply,
    Undo,
    Settle,
    EarlyRefund,
    LateSettle,
    Refund,
}

const STATES: [State; 9] = [
    State::Absent,
    State::Undecided,
    State::Committed,
    State::Aborted,
    State::Excluded,
    State::Armed,
    State::Settled,
    State::Refunded,
    State::Reverted,
];
const ACTIONS: [Action; 7] = [
    Action::Prepare,
    Action::Apply,
    Action::Undo,
    Action::Settle,
    Action::EarlyRefund,
    Action::LateSettle,
    Action::Refund,
];

fn in_state(state: State) -> World {
    let mut world = if state == State::Excluded { World::two_of_three() } else { World::new() };
    if state == State::Absent {
        return world;
    }
    world.prepare().expect("prepares");
    world.chain.time = DECIDED_AT;
    match state {
        State::Absent | State::Undecided => return world,
        State::Aborted | State::Reverted => drop(world.abort(world.renter.account, vec![]).expect("aborts")),
        State::Excluded => drop(world.commit(&world.committing(0b110)).expect("commits the others")),
        _ => drop(world.commit(&world.committing(0b11)).expect("commits")),
    }
    if matches!(state, State::Armed | State::Settled | State::Refunded) {
        world.apply().expect("applies");
    }
    match state {
        State::Settled => drop(act(&mut world, Action::Settle).expect("settles")),
        State::Refunded => drop(act(&mut world, Action::Refund).expect("refunds")),
        State::Reverted => drop(world.undo().expect("undoes")),
        _ => {}
    }
    world
}

fn act(world: &mut World, action: Action) -> Moved {
    let settlement = world.settling(world.attestation(DECIDED_AT + 10));
    world.chain.time = match action {
        Action::LateSettle | Action::Refund => LAST_SUBMISSION + 1,
        Action::Settle | Action::EarlyRefund => LAST_SUBMISSION,
        _ => world.chain.time,
    };
    match action {
        Action::Prepare => world.prepare(),
        Action::Apply => world.apply(),
        Action::Undo => world.undo(),
        Action::Settle | Action::LateSettle => world.settle(&settlement),
        Action::EarlyRefund | Action::Refund => world.refund(),
    }
}

/// The table: the state that an action leads to and who holds what then, or its refusal.
fn expected(world: &World, state: State, action: Action) -> Result<(u8, [u128; 3]), EscrowErrors> {
    let lock = world.lock();
    let (txid, leg) = (lock.txid, lock.leg);
    let now = match state {
        State::Absent | State::Settled | State::Refunded | State::Reverted => ABSENT,
        State::Undecided | State::Committed | State::Aborted | State::Excluded => LOCKED,
        State::Armed => ARMED,
    };
    let decision = match state {
        State::Absent | State::Undecided => None,
        State::Aborted | State::Reverted => Some((ABORTED, 0)),
        State::Excluded => Some((COMMITTED, 0b110)),
        _ => Some((COMMITTED, 0b11)),
    };
    let wrong_state = |expected| {
        let lock_id = word(contract::lock_id(&lock));
        Err(EscrowErrors::WrongState(Escrow::WrongState { lockId: lock_id, expected, got: now }))
    };
    let held = [WEALTH - AMOUNT, WEALTH, AMOUNT];
    let back = [WEALTH, WEALTH, 0];
    match (action, state) {
        (Action::Prepare, State::Absent) => Ok((LOCKED, held)),
        (Action::Prepare, State::Undecided) => wrong_state(ABSENT),
        (Action::Prepare, _) => {
            let (kind, included) = decision.expect("decided");
            let stands = Escrow::AlreadyDecided { txid, kind, decidedAt: DECIDED_AT, included };
            Err(EscrowErrors::AlreadyDecided(stands))
        }
        (Action::Apply | Action::Undo, _) if now != LOCKED => wrong_state(LOCKED),
        (Action::Apply | Action::Undo, State::Undecided) => {
            Err(EscrowErrors::Undecided(Escrow::Undecided { txid }))
        }
        (Action::Apply, State::Committed) => Ok((ARMED, held)),
        (Action::Apply, _) => {
            let kind = decision.expect("decided").0;
            Err(EscrowErrors::LegNotIncluded(Escrow::LegNotIncluded { txid, leg, kind }))
        }
        (Action::Undo, State::Committed) => Err(EscrowErrors::LegIncluded(Escrow::LegIncluded { txid, leg })),
        (Action::Undo, _) => Ok((ABSENT, back)),
        (_, _) if now != ARMED => wrong_state(ARMED),
        (Action::Settle, _) => Ok((ABSENT, [WEALTH - AMOUNT, WEALTH + AMOUNT, 0])),
        (Action::LateSettle, _) => Err(too_late()),
        (Action::EarlyRefund, _) => Err(too_early()),
        (Action::Refund, _) => Ok((ABSENT, back)),
    }
}

fn too_late() -> EscrowErrors {
    let (until, now) = (U256::from(LAST_SUBMISSION), U256::from(LAST_SUBMISSION + 1));
    EscrowErrors::TooLate(Escrow::TooLate { until, blockTime: now })
}

fn too_early() -> EscrowErrors {
    let (first, now) = (U256::from(LAST_SUBMISSION + 1), U256::from(LAST_SUBMISSION));
    EscrowErrors::TooEarly(Escrow::TooEarly { notBefore: first, blockTime: now })
}

#[test]
fn every_action_in_every_state() {
    for state in STATES {
        for action in ACTIONS {
            let case = format!("{action:?} when {state:?}");
            let mut world = in_state(state);
            let before = (stored(&mut world).0, world.money());
            let expected = expected(&world, state, action);
            let got = act(&mut world, action);
            match expected {
                Ok(after) => {
                    got.unwrap_or_else(|refusal| panic!("{case}: {refusal:?}"));
                    assert_eq!((stored(&mut world).0, world.money()), after, "{case}");
                }
                Err(refusal) => {
                    assert_eq!(got.map(drop), Err(refusal), "{case}");
                    assert_eq!((stored(&mut world).0, world.money()), before, "{case}");
                }
            }
        }
    }
}

/// The lock's state and the time of the COMMIT that armed it.
fn stored(world: &mut World) -> (u8, u64) {
    let lock_id = word(contract::lock_id(&world.lock()));
    let answer = world.chain.view(world.escrow, &Escrow::stateOfCall { lockId: lock_id });
    (answer.state, answer.time)
}

#[test]
fn each_transition_tells_its_lock() {
    let mut world = World::new();
    let lock = world.lock();
    let (txid, leg, id) = (lock.txid, lock.leg, word(contract::lock_id(&lock)));
    let done = world.prepare().unwrap();
    assert_eq!(done.event::<Escrow::Prepared>(), Escrow::Prepared { txid, leg, lockId: id });
    let mut world = in_state(State::Committed);
    let done = world.apply().unwrap();
    assert_eq!(done.event::<Escrow::Applied>(), Escrow::Applied { txid, leg, lockId: id });
    assert_eq!(stored(&mut world), (ARMED, DECIDED_AT));
    let said = world.attestation(DECIDED_AT + 10);
    let done = act(&mut world, Action::Settle).unwrap();
    let settled = Escrow::Settled {
        txid,
        leg,
        lockId: id,
        observation: word(said.observation),
        observedAt: said.observed_at.as_seconds(),
    };
    assert_eq!(done.event::<Escrow::Settled>(), settled);
    let done = act(&mut in_state(State::Armed), Action::Refund).unwrap();
    assert_eq!(done.event::<Escrow::Refunded>(), Escrow::Refunded { txid, leg, lockId: id });
    let done = in_state(State::Aborted).undo().unwrap();
    assert_eq!(done.event::<Escrow::Reverted>(), Escrow::Reverted { txid, leg, lockId: id });
}

#[test]
fn only_the_payer_locks_exactly_the_amount() {
    let mut world = World::new();
    let call = Escrow::prepareCall { lock: world.lock() };
    let payer = world.renter.account;
    for sender in [world.locker.account, world.sensor.account, world.stranger.account] {
        let refusal = Escrow::NotPayer { payer: address(payer), sender: address(sender) };
        let got = world.chain.send(sender, world.escrow, AMOUNT, &call).map(drop);
        assert_eq!(got, Err(EscrowErrors::NotPayer(refusal)));
    }
    for value in [0, AMOUNT - 1, AMOUNT + 1] {
        let refusal = Escrow::WrongValue { expected: U256::from(AMOUNT), got: U256::from(value) };
        let got = world.chain.send(payer, world.escrow, value, &call).map(drop);
        assert_eq!(got, Err(EscrowErrors::WrongValue(refusal)));
    }
    assert_eq!(world.money(), [WEALTH, WEALTH, 0]);
}

#[test]
fn no_interested_key_attests() {
    let interested: [fn(&World) -> Account; 3] =
        [|w| w.renter.account, |w| w.locker.account, |_| Account::ZERO];
    for key in interested {
        let mut world = World::new();
        let mut lock = world.lock();
        let key = address(key(&world));
        lock.evidenceKey = key;
        let call = Escrow::prepareCall { lock };
        let got: Moved = world.chain.send(world.renter.account, world.escrow, AMOUNT, &call);
        assert_eq!(
            got.map(drop),
            Err(EscrowErrors::InterestedKey(Escrow::InterestedKey { evidenceKey: key }))
        );
    }
}

#[test]
fn an_observation_counts_from_the_decision_until_the_evidence_deadline() {
    let outside = |observed: u64| {
        let [observed, from, until] = [observed, DECIDED_AT, EVIDENCE_DEADLINE].map(U256::from);
        EscrowErrors::ObservedOutside(Escrow::ObservedOutside { observedAt: observed, from, until })
    };
    let cases = [
        (0, false),
        (START, false),
        (DECIDED_AT - 1, false),
        (DECIDED_AT, true),
        (DEADLINE, true),
        (EVIDENCE_DEADLINE, true),
        (EVIDENCE_DEADLINE + 1, false),
        (u64::MAX / 1000, false),
    ];
    for (observed, counts) in cases {
        let mut world = in_state(State::Armed);
        let call = world.settling(world.attestation(observed));
        let expected = if counts { Ok(()) } else { Err(outside(observed)) };
        assert_eq!(world.settle(&call).map(drop), expected, "at {observed}");
    }
}

/// A settlement of `world`'s armed lock that must not pay.
type Forge = fn(&World) -> Escrow::settleCall;

/// The sensor's word with one part changed before it is signed, settled as if it were the true one.
fn signed_otherwise(world: &World, change: impl FnOnce(&mut sofie_model::Attestation)) -> Escrow::settleCall {
    let said = world.attestation(DECIDED_AT + 10);
    let mut other = said;
    change(&mut other);
    let signature = other.sign(&world.sensor.key).signature.into();
    Escrow::settleCall { signature, ..world.settling(said) }
}

fn signed_by(world: &World, party: &Party) -> Escrow::settleCall {
    let said = world.attestation(DECIDED_AT + 10);
    Escrow::settleCall { signature: party.sign(said.digest()), ..world.settling(said) }
}

#[test]
fn a_signature_over_anything_else_or_by_anyone_else_pays_nobody() {
    let forgeries: [(&str, Forge); 13] = [
        ("the payee's own", |w| signed_by(w, &w.locker)),
        ("the payer's own", |w| signed_by(w, &w.renter)),
        ("a stranger's", |w| signed_by(w, &w.stranger)),
        ("for another chain", |w| signed_otherwise(w, |a| a.chain_id = 1)),
        ("for another contract", |w| signed_otherwise(w, |a| a.contract = w.decision)),
        ("of another transaction", |w| {
            signed_otherwise(w, |a| a.txid = World::two_of_three().manifest.txid())
        }),
        ("of another leg", |w| signed_otherwise(w, |a| a.leg = LegId(1))),
        ("of another observation", |w| signed_otherwise(w, |a| a.observation = Digest::ZERO)),
        ("of an unfulfilled one", |w| signed_otherwise(w, |a| a.fulfilled = false)),
        ("of an earlier one", |w| signed_otherwise(w, |a| a.observed_at = Timestamp::from_seconds(START))),
        ("with the observation swapped", |w| {
            let call = w.settling(w.attestation(DECIDED_AT + 10));
            Escrow::settleCall { observation: word(Digest::ZERO), ..call }
        }),
        ("with the time moved", |w| {
            let call = w.settling(w.attestation(DECIDED_AT + 10));
            Escrow::settleCall { observedAt: call.observedAt + 1, ..call }
        }),
        ("of an earlier time, moved into the window", |w| {
            let call = w.settling(w.attestation(START));
            Escrow::settleCall { observedAt: DECIDED_AT, ..call }
        }),
    ];
    for (case, forge) in forgeries {
        let mut world = in_state(State::Armed);
        let call = forge(&world);
        let sensor = address(world.sensor.account);
        let refusal = world.settle(&call).map(drop).unwrap_err();
        let named =
            matches!(&refusal, EscrowErrors::WrongSigner(e) if e.expected == sensor && e.got != sensor);
        assert!(named, "{case}: {refusal:?}");
        assert_still_armed(&mut world, case);
    }
}

fn assert_still_armed(world: &mut World, case: &str) {
    assert_eq!(stored(world), (ARMED, DECIDED_AT), "{case}");
    assert_eq!(world.money(), [WEALTH - AMOUNT, WEALTH, AMOUNT], "{case}");
    act(world, Action::Refund).unwrap_or_else(|refusal| panic!("{case}: no refund: {refusal:?}"));
}

#[test]
fn a_signature_of_another_form_pays_nobody() {
    type Reform = fn(Vec<u8>) -> Vec<u8>;
    let forms: [(&str, Reform); 5] = [
        ("high s", |s| high_s(&s.into()).to_vec()),
        ("v less 27", |s| [&s[..64], &[s[64] - 27]].concat()),
        ("v 29", |s| [&s[..64], &[29]].concat()),
        ("zeroes", |_| [&[0; 64][..], &[27]].concat()),
        ("s zero", |s| [&s[..32], &[0; 32], &s[64..]].concat()),
    ];
    for (case, reform) in forms {
        let mut world = in_state(State::Armed);
        let mut call = world.settling(world.attestation(DECIDED_AT + 10));
        call.signature = reform(call.signature.to_vec()).into();
        let refusal = EscrowErrors::BadSignature(Escrow::BadSignature {});
        assert_eq!(world.settle(&call).map(drop), Err(refusal), "{case}");
        assert_still_armed(&mut world, case);
    }
}

#[test]
fn an_unfulfilled_observation_pays_nobody() {
    let mut world = in_state(State::Armed);
    let mut said = world.attestation(DECIDED_AT + 10);
    said.fulfilled = false;
    let call = world.settling(said);
    let refusal = EscrowErrors::Unfulfilled(Escrow::Unfulfilled {});
    assert_eq!(world.settle(&call).map(drop), Err(refusal));
    assert_still_armed(&mut world, "unfulfilled");
}

#[test]
fn a_settlement_for_one_rental_settles_no_other() {
    let mut first = World::new();
    first.arm();
    let old = first.settling(first.attestation(DECIDED_AT + 10));
    first.settle(&old).unwrap();
    let mut second = World::with(|manifest| manifest.nonce = Digest::sha256(b"the next rental"));
    second.arm();
    let replayed = Escrow::settleCall { lock: second.lock(), ..old };
    let refusal = second.settle(&replayed).map(drop).unwrap_err();
    assert!(matches!(refusal, EscrowErrors::WrongSigner(_)), "{refusal:?}");
    assert_still_armed(&mut second, "replay");
}

#[test]
fn changed_terms_name_no_lock() {
    type Change = fn(&mut contract::Lock);
    let changes: [Change; 8] = [
        |l| l.txid = word(Digest::ZERO),
        |l| l.leg += 1,
        |l| l.payer = l.payee,
        |l| l.payee = l.payer,
        |l| l.amount += 1,
        |l| l.evidenceKey = l.payee,
        |l| l.evidenceDeadline += 1,
        |l| l.submissionWindow = 0,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut world = in_state(State::Armed);
        let mut lock = world.lock();
        change(&mut lock);
        world.chain.time = LAST_SUBMISSION + 1;
        let lock_id = word(contract::lock_id(&lock));
        let got: Moved =
            world.chain.send(world.stranger.account, world.escrow, 0, &Escrow::refundCall { lock });
        let refusal = Escrow::WrongState { lockId: lock_id, expected: ARMED, got: ABSENT };
        assert_eq!(got.map(drop), Err(EscrowErrors::WrongState(refusal)), "change {index}");
    }
}

#[test]
fn a_field_out_of_its_range_makes_and_names_no_lock() {
    // The first byte of each word that holds less than 32 bytes, after the selector and the txid.
    for word in 1..8 {
        let mut world = World::new();
        let (renter, escrow) = (address(world.renter.account), address(world.escrow));
        let soiled = |call: Vec<u8>| -> Bytes {
            let mut call = call;
            call[4 + 32 * word] = 1;
            call.into()
        };
        let prepare = soiled(Escrow::prepareCall { lock: world.lock() }.abi_encode());
        assert_eq!(
            world.chain.transact(renter, escrow, AMOUNT, prepare).map(drop),
            Err(Bytes::new()),
            "word {word}"
        );
        world.arm();
        world.chain.time = LAST_SUBMISSION + 1;
        let refund = soiled(Escrow::refundCall { lock: world.lock() }.abi_encode());
        let refusal = world.chain.transact(renter, escrow, 0, refund).map(drop).unwrap_err();
        let refusal = EscrowErrors::abi_decode_validate(&refusal);
        assert!(matches!(refusal, Ok(EscrowErrors::WrongState(_))), "word {word}: {refusal:?}");
        assert_eq!(world.money(), [WEALTH - AMOUNT, WEALTH, AMOUNT], "word {word}");
    }
}

#[test]
fn a_leg_that_no_mask_can_name_is_undone() {
    for leg in [64, 255, 256, u16::MAX] {
        let mut world = World::new();
        let lock = contract::Lock { leg, ..world.lock() };
        let (renter, escrow) = (world.renter.account, world.escrow);
        let prepare = Escrow::prepareCall { lock: lock.clone() };
        world.chain.send::<_, EscrowErrors>(renter, escrow, AMOUNT, &prepare).unwrap();
        world.commit(&world.committing(0b11)).unwrap();
        let applied: Moved = world.chain.send(renter, escrow, 0, &Escrow::apply_Call { lock: lock.clone() });
        let txid = lock.txid;
        let refusal = Escrow::LegNotIncluded { txid, leg, kind: COMMITTED };
        assert_eq!(applied.map(drop), Err(EscrowErrors::LegNotIncluded(refusal)));
        world.chain.send::<_, EscrowErrors>(renter, escrow, 0, &Escrow::undoCall { lock }).unwrap();
        assert_eq!(world.money(), [WEALTH, WEALTH, 0]);
    }
}

#[test]
fn times_at_the_end_of_64_bits_do_not_wedge_a_lock() {
    let mut world = World::new();
    let mut lock = world.lock();
    (lock.evidenceDeadline, lock.submissionWindow) = (u64::MAX, u64::MAX);
    let (renter, escrow) = (world.renter.account, world.escrow);
    let prepare = Escrow::prepareCall { lock: lock.clone() };
    world.chain.send::<_, EscrowErrors>(renter, escrow, AMOUNT, &prepare).unwrap();
    world.commit(&world.committing(0b11)).unwrap();
    world
        .chain
        .send::<_, EscrowErrors>(renter, escrow, 0, &Escrow::apply_Call { lock: lock.clone() })
        .unwrap();
    let call = Escrow::settleCall { lock, ..world.settling(world.attestation(DECIDED_AT + 10)) };
    world.settle(&call).unwrap();
    assert_eq!(world.money(), [WEALTH - AMOUNT, WEALTH + AMOUNT, 0]);
}
