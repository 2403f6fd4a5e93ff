//! Parties that are contracts and misbehave when they are paid.

use alloy_primitives::{B256, keccak256};
use alloy_sol_types::{SolCall, SolInterface, sol};
use sofie_model::{
    Account, Terms,
    contract::{self, ABSENT, ARMED, Escrow, Escrow::EscrowErrors, address, word},
};

use crate::world::{AMOUNT, DECIDED_AT, LAST_SUBMISSION, Moved, World, creation};

sol! {
    /// `contracts/test/Rogue.sol`.
    interface Rogue {
        function behave(uint8 mode, address target, bytes calldata data) external;
        function act(address target, bytes calldata data) external payable;
        function answer() external view returns (bytes32);
        function entered() external view returns (bool);
        function spend(uint256 gas) external;
    }
}

pub(crate) const TAKES: u8 = 0;
pub(crate) const REFUSES: u8 = 1;
pub(crate) const FLOODS: u8 = 2;
pub(crate) const CALLS_BACK: u8 = 3;
pub(crate) const BURNS: u8 = 4;

/// A world in which one party of the escrow is a [`Rogue`].
struct Trap {
    world: World,
    rogue: Account,
}

impl Trap {
    fn payee() -> Self {
        Self::new(|terms, rogue| terms.payee = rogue)
    }

    fn payer() -> Self {
        Self::new(|terms, rogue| terms.payer = rogue)
    }

    fn new(place: fn(&mut sofie_model::manifest::EscrowTerms, Account)) -> Self {
        let mut world = World::new();
        let rogue = world.chain.deploy(&creation("Rogue"));
        let Terms::Escrow(terms) = &mut world.manifest.legs[0].terms else { panic!("leg 0 is an escrow") };
        place(terms, rogue);
        // Someone else's value in the same contract: what a thief would be after.
        let other = contract::Lock { leg: 1, payer: address(world.renter.account), ..world.lock() };
        let call = Escrow::prepareCall { lock: other };
        world
            .chain
            .send::<_, EscrowErrors>(world.renter.account, world.escrow, AMOUNT, &call)
            .expect("prepares");
        Self { world, rogue }
    }

    /// Prepared by whoever pays; committed and applied.
    fn arm(&mut self) {
        let prepare = Escrow::prepareCall { lock: self.world.lock() };
        if self.world.lock().payer == address(self.rogue) {
            let data = prepare.abi_encode().into();
            self.rogue_call(AMOUNT, &Rogue::actCall { target: address(self.world.escrow), data });
        } else {
            self.world.prepare().expect("prepares");
        }
        self.world.chain.time = DECIDED_AT;
        self.world.commit(&self.world.committing(0b11)).expect("commits");
        self.world.apply().expect("applies");
    }

    fn rogue_call<C: SolCall>(&mut self, value: u128, call: &C) {
        let stranger = self.world.stranger.account;
        self.world.chain.send::<C, EscrowErrors>(stranger, self.rogue, value, call).expect("the rogue obeys");
    }

    fn behave(&mut self, mode: u8, data: Vec<u8>) {
        let call = Rogue::behaveCall { mode, target: address(self.world.escrow), data: data.into() };
        self.rogue_call(0, &call);
    }

    fn settlement(&self) -> Escrow::settleCall {
        self.world.settling(self.world.attestation(DECIDED_AT + 10))
    }

    fn state(&mut self) -> u8 {
        let lock_id = word(contract::lock_id(&self.world.lock()));
        self.world.chain.view(self.world.escrow, &Escrow::stateOfCall { lockId: lock_id }).state
    }

    /// What the rogue and the escrow hold.
    fn money(&mut self) -> [u128; 2] {
        [self.rogue, self.world.escrow].map(|account| self.world.chain.balance(account))
    }

    fn refusal_of_the_call_back(&mut self) -> B256 {
        assert!(!self.world.chain.view(self.rogue, &Rogue::enteredCall {}), "the call back went through");
        self.world.chain.view(self.rogue, &Rogue::answerCall {})
    }

    /// The hash of the escrow's own refusal.
    fn absent(&self, expected: u8) -> B256 {
        let lock_id = word(contract::lock_id(&self.world.lock()));
        let refusal = Escrow::WrongState { lockId: lock_id, expected, got: ABSENT };
        keccak256(EscrowErrors::WrongState(refusal).abi_encode())
    }
}

#[test]
fn a_payee_that_calls_back_is_paid_once() {
    let settle = |trap: &Trap| trap.settlement().abi_encode();
    let refund = |trap: &Trap| Escrow::refundCall { lock: trap.world.lock() }.abi_encode();
    type CallBack = (&'static str, fn(&Trap) -> Vec<u8>);
    let call_backs: [CallBack; 2] = [("settle", settle), ("refund", refund)];
    for (case, call_back) in call_backs {
        let mut trap = Trap::payee();
        trap.arm();
        let data = call_back(&trap);
        trap.behave(CALLS_BACK, data);
        let call = trap.settlement();
        trap.world.settle(&call).unwrap();
        assert_eq!(trap.refusal_of_the_call_back(), trap.absent(ARMED), "{case}");
        assert_eq!(trap.money(), [AMOUNT, AMOUNT], "{case}: its own, and the other lock is whole");
    }
}

#[test]
fn a_payer_that_calls_back_is_paid_back_once() {
    // From a refund, after COMMIT.
    let mut trap = Trap::payer();
    trap.arm();
    let data = Escrow::refundCall { lock: trap.world.lock() }.abi_encode();
    trap.behave(CALLS_BACK, data);
    trap.world.chain.time = LAST_SUBMISSION + 1;
    trap.world.refund().unwrap();
    assert_eq!(trap.refusal_of_the_call_back(), trap.absent(ARMED));
    assert_eq!(trap.money(), [AMOUNT, AMOUNT]);

    // From an undo, after ABORT.
    let mut trap = Trap::payer();
    let data = Escrow::prepareCall { lock: trap.world.lock() }.abi_encode().into();
    trap.rogue_call(AMOUNT, &Rogue::actCall { target: address(trap.world.escrow), data });
    trap.world.abort(trap.world.locker.account, vec![]).unwrap();
    let data = Escrow::undoCall { lock: trap.world.lock() }.abi_encode();
    trap.behave(CALLS_BACK, data);
    trap.world.undo().unwrap();
    assert_eq!(trap.refusal_of_the_call_back(), trap.absent(contract::LOCKED));
    assert_eq!(trap.money(), [AMOUNT, AMOUNT]);
}

#[test]
fn a_payee_that_refuses_its_money_leaves_the_refund_alive() {
    let mut trap = Trap::payee();
    trap.arm();
    trap.behave(REFUSES, vec![]);
    let call = trap.settlement();
    let refusal = Escrow::PayoutFailed { to: address(trap.rogue), amount: AMOUNT.try_into().unwrap() };
    assert_eq!(trap.world.settle(&call).map(drop), Err(EscrowErrors::PayoutFailed(refusal)));
    assert_eq!((trap.state(), trap.money()), (ARMED, [0, 2 * AMOUNT]));
    let renter = trap.world.renter.account;
    let before = trap.world.chain.balance(renter);
    trap.world.chain.time = LAST_SUBMISSION + 1;
    trap.world.refund().unwrap();
    assert_eq!(trap.world.chain.balance(renter), before + AMOUNT);
    assert_eq!((trap.state(), trap.money()), (ABSENT, [0, AMOUNT]));
}

#[test]
fn a_payer_that_refuses_its_money_may_take_it_later() {
    let mut trap = Trap::payer();
    trap.arm();
    trap.behave(REFUSES, vec![]);
    trap.world.chain.time = LAST_SUBMISSION + 1;
    let refusal = Escrow::PayoutFailed { to: address(trap.rogue), amount: AMOUNT.try_into().unwrap() };
    assert_eq!(trap.world.refund().map(drop), Err(EscrowErrors::PayoutFailed(refusal)));
    assert_eq!((trap.state(), trap.money()), (ARMED, [0, 2 * AMOUNT]));
    trap.behave(TAKES, vec![]);
    trap.world.refund().unwrap();
    assert_eq!((trap.state(), trap.money()), (ABSENT, [AMOUNT, AMOUNT]));
}

#[test]
fn a_payee_that_answers_with_a_megabyte_does_not_fill_the_escrows_memory() {
    let mut trap = Trap::payee();
    trap.arm();
    trap.behave(TAKES, vec![]);
    let mut flooded = Trap::payee();
    flooded.arm();
    flooded.behave(FLOODS, vec![]);
    let gas = |trap: &mut Trap| {
        let call = trap.settlement();
        let done: Moved = trap.world.settle(&call);
        done.unwrap().gas
    };
    let (quiet, loud) = (gas(&mut trap), gas(&mut flooded));
    // A megabyte of memory costs 3·w + w²/512 gas for its w words, here once: in the payee.
    let words = 1_000_000_u64.div_ceil(32);
    let memory = 3 * words + words * words / 512;
    assert!(loud - quiet < memory + memory / 10, "{quiet} and {loud} gas, {memory} for the megabyte");
    assert_eq!(flooded.money(), [AMOUNT, AMOUNT]);
}
