//! Transfers: a lock without an evidence key, which the decision alone pays or gives back, and a payee that refuses.

use alloy_primitives::{Bytes, keccak256};
use alloy_sol_types::{SolCall, SolEventInterface, SolInterface};
use sofie_model::{
    Account,
    contract::{
        self, ABORTED, ABSENT, COMMITTED,
        Escrow::{self, EscrowErrors},
        LOCKED, OWED, address, word,
    },
};

use crate::{
    chain::{Done, WEALTH},
    rogue::{BURNS, CALLS_BACK, FLOODS, REFUSES, Rogue, TAKES},
    world::{AMOUNT, DECIDED_AT, LAST_SUBMISSION, Moved, World, creation},
};

/// A world with a transfer of the renter's in it.
struct Transfer {
    world: World,
    lock: contract::Lock,
}

impl Transfer {
    fn new() -> Self {
        let world = World::new();
        let lock = world.transfer();
        Self { world, lock }
    }

    /// To a contract that does as it is told when it is paid; a lock of somebody else's is in the same contract.
    fn to_rogue(mode: u8) -> (Self, Account) {
        let mut this = Self::new();
        let rogue = this.world.chain.deploy(&creation("Rogue"));
        let other = contract::Lock { leg: 1, ..this.lock.clone() };
        this.send(this.world.renter.account, AMOUNT, &Escrow::prepareCall { lock: other }).expect("prepares");
        this.lock.payee = address(rogue);
        this.behave(rogue, mode, vec![]);
        (this, rogue)
    }

    fn behave(&mut self, rogue: Account, mode: u8, data: Vec<u8>) {
        let call = Rogue::behaveCall { mode, target: address(self.world.escrow), data: data.into() };
        let stranger = self.world.stranger.account;
        self.world.chain.send::<_, EscrowErrors>(stranger, rogue, 0, &call).expect("the rogue obeys");
    }

    fn send<C: SolCall>(&mut self, from: Account, value: u128, call: &C) -> Moved {
        self.world.chain.send(from, self.world.escrow, value, call)
    }

    fn prepare(&mut self) -> Moved {
        let lock = self.lock.clone();
        self.send(self.world.renter.account, AMOUNT, &Escrow::prepareCall { lock })
    }

    fn apply(&mut self) -> Moved {
        let lock = self.lock.clone();
        self.send(self.world.stranger.account, 0, &Escrow::apply_Call { lock })
    }

    fn undo(&mut self) -> Moved {
        let lock = self.lock.clone();
        self.send(self.world.stranger.account, 0, &Escrow::undoCall { lock })
    }

    /// Through the rogue: its own name is the sender's.
    fn collect_by(&mut self, rogue: Account, to: Account) -> Result<Done, Bytes> {
        let data = Escrow::collectCall { lock: self.lock.clone(), to: address(to) }.abi_encode();
        let act = Rogue::actCall { target: address(self.world.escrow), data: data.into() };
        let (stranger, rogue) = (address(self.world.stranger.account), address(rogue));
        self.world.chain.transact(stranger, rogue, 0, act.abi_encode().into())
    }

    fn commit(&mut self) {
        self.world.chain.time = DECIDED_AT;
        self.world.commit(&self.world.committing(0b11)).expect("commits");
    }

    fn state(&mut self) -> u8 {
        let lock_id = word(contract::lock_id(&self.lock));
        self.world.chain.view(self.world.escrow, &Escrow::stateOfCall { lockId: lock_id }).state
    }

    fn wrong_state(&self, expected: u8, got: u8) -> EscrowErrors {
        let lock_id = word(contract::lock_id(&self.lock));
        EscrowErrors::WrongState(Escrow::WrongState { lockId: lock_id, expected, got })
    }

    fn payout_failed(&self) -> EscrowErrors {
        let amount = AMOUNT.try_into().expect("fits");
        EscrowErrors::PayoutFailed(Escrow::PayoutFailed { to: self.lock.payee, amount })
    }
}

const BACK: [u128; 3] = [WEALTH, WEALTH, 0];
const HELD: [u128; 3] = [WEALTH - AMOUNT, WEALTH, AMOUNT];
const PAID: [u128; 3] = [WEALTH - AMOUNT, WEALTH + AMOUNT, 0];

#[test]
fn commit_pays_the_payee_once_and_nothing_gives_it_back() {
    let mut transfer = Transfer::new();
    let (txid, leg) = (transfer.lock.txid, transfer.lock.leg);
    let lock_id = word(contract::lock_id(&transfer.lock));
    transfer.prepare().unwrap();
    assert_eq!((transfer.state(), transfer.world.money()), (LOCKED, HELD));
    let undecided = EscrowErrors::Undecided(Escrow::Undecided { txid });
    assert_eq!(transfer.apply().map(drop), Err(undecided.clone()));
    assert_eq!(transfer.undo().map(drop), Err(undecided));
    transfer.commit();
    let included = EscrowErrors::LegIncluded(Escrow::LegIncluded { txid, leg });
    assert_eq!(transfer.undo().map(drop), Err(included));
    let done = transfer.apply().unwrap();
    assert_eq!(done.event::<Escrow::Applied>(), Escrow::Applied { txid, leg, lockId: lock_id });
    assert_eq!((transfer.state(), transfer.world.money()), (ABSENT, PAID));
    assert_eq!(transfer.apply().map(drop), Err(transfer.wrong_state(LOCKED, ABSENT)));
    assert_eq!(transfer.undo().map(drop), Err(transfer.wrong_state(LOCKED, ABSENT)));
    assert!(matches!(transfer.prepare(), Err(EscrowErrors::AlreadyDecided(_))));
    assert_eq!(transfer.world.money(), PAID);
}

#[test]
fn abort_or_a_commit_without_the_leg_gives_it_back() {
    type Decided = (u8, fn() -> World, fn(&mut World));
    let decisions: [Decided; 2] = [
        (ABORTED, World::new, |w| drop(w.abort(w.renter.account, vec![]).unwrap())),
        (COMMITTED, World::two_of_three, |w| drop(w.commit(&w.committing(0b110)).unwrap())),
    ];
    for (kind, world, decide) in decisions {
        let world = world();
        let mut transfer = Transfer { lock: world.transfer(), world };
        transfer.prepare().unwrap();
        decide(&mut transfer.world);
        let (txid, leg) = (transfer.lock.txid, transfer.lock.leg);
        let refusal = Escrow::LegNotIncluded { txid, leg, kind };
        assert_eq!(transfer.apply().map(drop), Err(EscrowErrors::LegNotIncluded(refusal)));
        transfer.undo().unwrap();
        assert_eq!((transfer.state(), transfer.world.money()), (ABSENT, BACK));
    }
}

/// What an escrow would end by ends no transfer, before or after it is paid.
#[test]
fn neither_evidence_nor_time_moves_it() {
    let mut transfer = Transfer::new();
    transfer.prepare().unwrap();
    transfer.commit();
    for got in [LOCKED, ABSENT] {
        let call = transfer.world.settling(transfer.world.attestation(DECIDED_AT + 10));
        let settle = Escrow::settleCall { lock: transfer.lock.clone(), ..call };
        let refund = Escrow::refundCall { lock: transfer.lock.clone() };
        let armed = transfer.wrong_state(contract::ARMED, got);
        let by = transfer.world.stranger.account;
        assert_eq!(transfer.send(by, 0, &settle).map(drop), Err(armed.clone()));
        let now = std::mem::replace(&mut transfer.world.chain.time, LAST_SUBMISSION + 1);
        assert_eq!(transfer.send(by, 0, &refund).map(drop), Err(armed));
        transfer.world.chain.time = now;
        if got == LOCKED {
            transfer.apply().unwrap();
        }
    }
}

#[test]
fn nobodys_key_with_a_time_is_no_transfer() {
    let changes: [fn(&mut contract::Lock); 3] = [
        |lock| lock.evidenceDeadline = 1,
        |lock| lock.submissionWindow = 1,
        |lock| (lock.evidenceDeadline, lock.submissionWindow) = (1, 1),
    ];
    for change in changes {
        let mut transfer = Transfer::new();
        change(&mut transfer.lock);
        let refusal = Escrow::InterestedKey { evidenceKey: address(Account::ZERO) };
        assert_eq!(transfer.prepare().map(drop), Err(EscrowErrors::InterestedKey(refusal)));
    }
}

/// The leg is applied, for everyone who waits for it, and the value is the payee's alone.
#[test]
fn a_payee_that_refuses_or_burns_is_owed_and_holds_nobody() {
    for mode in [REFUSES, BURNS] {
        let (mut transfer, rogue) = Transfer::to_rogue(mode);
        transfer.prepare().unwrap();
        transfer.commit();
        // With the gas that a node gives it (`request.rs`).
        transfer.world.chain.gas = 300_000;
        let done = transfer.apply().unwrap();
        let (txid, leg) = (transfer.lock.txid, transfer.lock.leg);
        let lock_id = word(contract::lock_id(&transfer.lock));
        let events = done.logs.iter().map(|log| Escrow::EscrowEvents::decode_log(log).unwrap().data);
        let expected = [
            Escrow::EscrowEvents::Applied(Escrow::Applied { txid, leg, lockId: lock_id }),
            Escrow::EscrowEvents::Owed(Escrow::Owed { txid, leg, lockId: lock_id }),
        ];
        assert_eq!(events.collect::<Vec<_>>(), expected, "mode {mode}");
        assert_eq!(transfer.state(), OWED);
        assert_eq!(transfer.apply().map(drop), Err(transfer.wrong_state(LOCKED, OWED)));
        assert_eq!(transfer.undo().map(drop), Err(transfer.wrong_state(LOCKED, OWED)));

        let stranger = transfer.world.stranger.account;
        let call = Escrow::collectCall { lock: transfer.lock.clone(), to: address(stranger) };
        for thief in [stranger, transfer.world.renter.account] {
            let refusal = Escrow::NotPayee { payee: address(rogue), sender: address(thief) };
            assert_eq!(transfer.send(thief, 0, &call).map(drop), Err(EscrowErrors::NotPayee(refusal)));
        }
        let locker = transfer.world.locker.account;
        transfer.collect_by(rogue, locker).unwrap();
        assert_eq!((transfer.state(), transfer.world.chain.balance(locker)), (ABSENT, WEALTH + AMOUNT));
        assert_eq!(transfer.world.chain.balance(transfer.world.escrow), AMOUNT, "the other lock is whole");
        let again = transfer.collect_by(rogue, locker).map(drop).unwrap_err();
        assert_eq!(EscrowErrors::abi_decode_validate(&again), Ok(transfer.wrong_state(OWED, ABSENT)));
    }
}

#[test]
fn a_debt_that_cannot_be_paid_to_one_account_is_paid_to_another() {
    let (mut transfer, rogue) = Transfer::to_rogue(REFUSES);
    transfer.prepare().unwrap();
    transfer.commit();
    transfer.apply().unwrap();
    let refused = transfer.collect_by(rogue, rogue).map(drop).unwrap_err();
    assert_eq!(EscrowErrors::abi_decode_validate(&refused), Ok(transfer.payout_failed()));
    assert_eq!(transfer.state(), OWED);
    transfer.behave(rogue, TAKES, vec![]);
    transfer.collect_by(rogue, rogue).unwrap();
    assert_eq!(transfer.world.chain.balance(rogue), AMOUNT);
}

/// Whoever applies with little gas could otherwise turn a payment into a debt of one who would have taken it.
#[test]
fn too_little_gas_makes_no_debt() {
    let mut outcomes = std::collections::BTreeSet::new();
    for gas in (40_000..260_000).step_by(2_000) {
        let (mut transfer, rogue) = Transfer::to_rogue(FLOODS);
        // Taking it costs the rogue most of the gas that it may have.
        let data = Rogue::spendCall { gas: alloy_primitives::U256::from(40_000) }.abi_encode();
        let call = Rogue::behaveCall { mode: CALLS_BACK, target: address(rogue), data: data.into() };
        let stranger = transfer.world.stranger.account;
        transfer.world.chain.send::<_, EscrowErrors>(stranger, rogue, 0, &call).unwrap();
        transfer.prepare().unwrap();
        transfer.commit();
        transfer.world.chain.gas = gas;
        let call = Escrow::apply_Call { lock: transfer.lock.clone() }.abi_encode();
        let (stranger, escrow) = (address(stranger), address(transfer.world.escrow));
        let done = transfer.world.chain.attempt(stranger, escrow, call.into());
        let paid = transfer.world.chain.balance(rogue);
        let spent = transfer.world.chain.view(rogue, &Rogue::enteredCall {});
        let state = transfer.state();
        assert_eq!((state, paid), if done { (ABSENT, AMOUNT) } else { (LOCKED, 0) }, "with {gas} gas");
        outcomes.insert((done, spent));
    }
    // A rogue that got too little to spend so much takes the value as well, or fails with the whole call.
    assert!(outcomes.contains(&(false, false)) && outcomes.contains(&(true, true)), "{outcomes:?}");
}

#[test]
fn a_payee_that_calls_back_is_paid_once() {
    type CallBack = fn(&Transfer) -> Vec<u8>;
    let call_backs: [(CallBack, u8); 4] = [
        (|t| Escrow::apply_Call { lock: t.lock.clone() }.abi_encode(), LOCKED),
        (|t| Escrow::undoCall { lock: t.lock.clone() }.abi_encode(), LOCKED),
        (|t| Escrow::collectCall { lock: t.lock.clone(), to: t.lock.payee }.abi_encode(), OWED),
        (|t| Escrow::refundCall { lock: t.lock.clone() }.abi_encode(), contract::ARMED),
    ];
    for (call_back, expected) in call_backs {
        let (mut transfer, rogue) = Transfer::to_rogue(CALLS_BACK);
        transfer.prepare().unwrap();
        transfer.commit();
        let data = call_back(&transfer);
        transfer.behave(rogue, CALLS_BACK, data);
        transfer.apply().unwrap();
        let answer = transfer.world.chain.view(rogue, &Rogue::answerCall {});
        assert_eq!(answer, keccak256(transfer.wrong_state(expected, ABSENT).abi_encode()));
        assert_eq!(transfer.world.chain.balance(rogue), AMOUNT);
        assert_eq!(transfer.world.chain.balance(transfer.world.escrow), AMOUNT, "the other lock is whole");
    }
}
