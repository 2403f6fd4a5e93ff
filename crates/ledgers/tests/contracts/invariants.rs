//! Any sequence of calls by anyone, contracts that misbehave among them, against the compiled bytecode. After each call:
//! the escrow holds exactly the sum of its open locks; each lock was paid at most once, to the one whom the decision and
//! the evidence name; and D's first record stands.
//!
//! What the contracts should do is written down a second time here, in the few lines of [`Book`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Bytes;
use alloy_sol_types::SolCall;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use sofie_model::{
    Account,
    contract::{self, ABSENT, ARMED, Decision, Escrow, LOCKED, OWED, address, word},
};

use crate::{
    chain::WEALTH,
    rogue::{BURNS, CALLS_BACK, REFUSES, Rogue, TAKES},
    world::{
        AMOUNT, DEADLINE, EVIDENCE_DEADLINE, GRACE_END, LAST_SUBMISSION, Party, START, World, creation,
        evidence_root,
    },
};

/// One call, by numbers that [`Game`] gives a meaning.
#[derive(Debug, Clone, Copy)]
enum Move {
    Prepare(usize),
    Apply(usize),
    Undo(usize),
    Refund(usize),
    /// The attestation is of this second after the start, fulfilled or not, by the sensor or by the payee.
    Settle(usize, u64, bool, bool),
    Collect(usize),
    /// With these legs, all secrets or one too few, the guard's signature or none.
    Commit(u64, bool, bool),
    /// By this party, with every signature or none.
    Abort(usize, bool),
    /// The rogues behave so from now on; when they call back, it is by this lock and function.
    Behave(u8, usize, u8),
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    let lock = || 0..LOCKS;
    prop_oneof![
        5 => lock().prop_map(Move::Prepare),
        5 => lock().prop_map(Move::Apply),
        3 => lock().prop_map(Move::Undo),
        3 => lock().prop_map(Move::Refund),
        5 => (lock(), 0..800_u64, prop::bool::weighted(0.8), prop::bool::weighted(0.8))
            .prop_map(|(lock, at, fulfilled, honest)| Move::Settle(lock, at, fulfilled, honest)),
        3 => lock().prop_map(Move::Collect),
        3 => (0..16_u64, prop::bool::weighted(0.8), any::<bool>()).prop_map(|(legs, all, guard)| Move::Commit(legs, all, guard)),
        1 => (0..4_usize, any::<bool>()).prop_map(|(by, signed)| Move::Abort(by, signed)),
        2 => (0..5_u8, lock(), 0..4_u8).prop_map(|(mode, lock, call)| Move::Behave(mode, lock, call)),
        3 => prop_oneof![1..40_u64, 40..400_u64].prop_map(Move::Wait),
    ]
}

/// What a lock has come to, by the rules of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Absent,
    Locked,
    Armed,
    Owed,
    ToPayee,
    ToPayer,
}

/// Legs 0 and 1 are escrows, 2 and 3 transfers; 1 is paid by a rogue, 2 and 3 are paid to one.
const LOCKS: usize = 4;

/// What should stand.
struct Book {
    states: [State; LOCKS],
    /// COMMIT's legs, or `None` for ABORT; and when.
    decided: Option<(Option<u64>, u64)>,
}

impl Book {
    fn includes(&self, lock: usize) -> Option<bool> {
        self.decided.map(|(legs, _)| legs.is_some_and(|legs| legs >> lock & 1 == 1))
    }

    fn open(&self) -> u128 {
        let is_open = |state: &&State| matches!(state, State::Locked | State::Armed | State::Owed);
        self.states.iter().filter(is_open).count() as u128 * AMOUNT
    }
}

struct Game {
    world: World,
    locks: [contract::Lock; LOCKS],
    rogue: Account,
    book: Book,
    /// How the rogue behaves, and by which lock and function it calls back.
    mode: u8,
    call_back: (usize, u8),
}

impl Game {
    fn new() -> Self {
        let mut world = World::guarded();
        world.manifest.legs = vec![world.manifest.legs[0].clone(); LOCKS];
        for (index, leg) in world.manifest.legs.iter_mut().enumerate() {
            leg.required = index == 0;
        }
        world.manifest.rule = sofie_model::Rule::AtLeast(2);
        let rogue = world.chain.deploy(&creation("Rogue"));
        world.chain.endow(rogue, WEALTH);
        let (escrow, transfer) = (world.lock(), world.transfer());
        let locks = [
            contract::Lock { leg: 0, ..escrow.clone() },
            contract::Lock { leg: 1, payer: address(rogue), ..escrow },
            contract::Lock { leg: 2, payee: address(rogue), ..transfer.clone() },
            contract::Lock { leg: 3, payee: address(rogue), ..transfer },
        ];
        let book = Book { states: [State::Absent; LOCKS], decided: None };
        Self { world, locks, rogue, book, mode: TAKES, call_back: (0, 0) }
    }

    /// Anything else than the named party's call comes from a stranger.
    fn send(&mut self, from: Account, value: u128, to: Account, data: Vec<u8>) -> bool {
        self.world.chain.transact(address(from), address(to), value, data.into()).is_ok()
    }

    fn ask(&mut self, data: Vec<u8>) -> bool {
        self.send(self.world.stranger.account, 0, self.world.escrow, data)
    }

    /// Through the rogue, in its name.
    fn ask_as_rogue(&mut self, value: u128, data: Vec<u8>) -> bool {
        let act = Rogue::actCall { target: address(self.world.escrow), data: data.into() }.abi_encode();
        self.send(self.world.stranger.account, value, self.rogue, act)
    }

    fn rogue_takes(&self) -> bool {
        matches!(self.mode, TAKES | CALLS_BACK)
    }

    /// Whether the payer of `lock` would take its value now.
    fn payer_takes(&self, lock: usize) -> bool {
        lock != 1 || self.rogue_takes()
    }

    /// Makes the move, and says whether the book lets it succeed.
    fn play(&mut self, one: Move) -> (bool, bool) {
        let now = self.world.chain.time;
        match one {
            Move::Wait(seconds) => {
                self.world.chain.time += seconds;
                (true, true)
            }
            Move::Behave(mode, lock, call) => self.behave(mode, lock, call),
            Move::Commit(legs, all, guard) => self.commit(legs, all, guard, now),
            Move::Abort(by, signed) => self.abort(by, signed, now),
            Move::Prepare(lock) => self.prepare(lock),
            Move::Apply(lock) => self.apply(lock),
            Move::Undo(lock) => {
                let right =
                    self.book.states[lock] == State::Locked && self.book.includes(lock) == Some(false);
                let allowed = right && self.payer_takes(lock);
                let done = self.ask(Escrow::undoCall { lock: self.locks[lock].clone() }.abi_encode());
                self.end(lock, done, allowed, State::ToPayer)
            }
            Move::Refund(lock) => {
                let right = self.book.states[lock] == State::Armed && now > LAST_SUBMISSION;
                let allowed = right && self.payer_takes(lock);
                let done = self.ask(Escrow::refundCall { lock: self.locks[lock].clone() }.abi_encode());
                self.end(lock, done, allowed, State::ToPayer)
            }
            Move::Settle(lock, at, fulfilled, honest) => self.settle(lock, (at, fulfilled, honest), now),
            Move::Collect(lock) => {
                let allowed = self.book.states[lock] == State::Owed && self.rogue_takes();
                let to = address(self.rogue);
                let call = Escrow::collectCall { lock: self.locks[lock].clone(), to };
                let done = self.ask_as_rogue(0, call.abi_encode());
                self.end(lock, done, allowed, State::ToPayee)
            }
        }
    }

    fn end(&mut self, lock: usize, done: bool, allowed: bool, state: State) -> (bool, bool) {
        if allowed {
            self.book.states[lock] = state;
        }
        (done, allowed)
    }

    fn behave(&mut self, mode: u8, lock: usize, call: u8) -> (bool, bool) {
        self.call_back = (lock, call);
        let lock = self.locks[lock].clone();
        let data = match call {
            0 => Escrow::apply_Call { lock }.abi_encode(),
            1 => Escrow::undoCall { lock }.abi_encode(),
            2 => Escrow::collectCall { to: lock.payee, lock }.abi_encode(),
            _ => Escrow::refundCall { lock }.abi_encode(),
        };
        let mode = [TAKES, REFUSES, CALLS_BACK, CALLS_BACK, BURNS][usize::from(mode)];
        let target = address(self.world.escrow);
        let done = self.send(
            self.world.stranger.account,
            0,
            self.rogue,
            Rogue::behaveCall { mode, target, data: data.into() }.abi_encode(),
        );
        self.mode = mode;
        (done, true)
    }

    fn prepare(&mut self, lock: usize) -> (bool, bool) {
        let allowed = self.book.states[lock] == State::Absent && self.book.decided.is_none();
        let data = Escrow::prepareCall { lock: self.locks[lock].clone() }.abi_encode();
        let done = if lock == 1 {
            self.ask_as_rogue(AMOUNT, data)
        } else {
            self.send(self.world.renter.account, AMOUNT, self.world.escrow, data)
        };
        self.end(lock, done, allowed, State::Locked)
    }

    fn apply(&mut self, lock: usize) -> (bool, bool) {
        let allowed = self.book.states[lock] == State::Locked && self.book.includes(lock) == Some(true);
        let state = match lock {
            0 | 1 => State::Armed,
            _ if self.rogue_takes() => State::ToPayee,
            _ => State::Owed,
        };
        let done = self.ask(Escrow::apply_Call { lock: self.locks[lock].clone() }.abi_encode());
        self.end(lock, done, allowed, state)
    }

    fn settle(&mut self, lock: usize, (at, fulfilled, honest): (u64, bool, bool), now: u64) -> (bool, bool) {
        let observed_at = START + at;
        let in_time = self.book.decided.is_some_and(|(_, since)| since <= observed_at)
            && observed_at <= EVIDENCE_DEADLINE
            && now <= LAST_SUBMISSION;
        let allowed = self.book.states[lock] == State::Armed && fulfilled && honest && in_time;
        let said = sofie_model::Attestation {
            leg: sofie_model::LegId(self.locks[lock].leg),
            fulfilled,
            txid: self.world.manifest.txid(),
            ..self.world.attestation(observed_at)
        };
        let signer = if honest { &self.world.sensor } else { &self.world.locker };
        let call = Escrow::settleCall {
            lock: self.locks[lock].clone(),
            observation: word(said.observation),
            fulfilled,
            observedAt: observed_at,
            signature: signer.sign(said.digest()),
        };
        let done = self.ask(call.abi_encode());
        self.end(lock, done, allowed, State::ToPayee)
    }

    fn commit(&mut self, legs: u64, all: bool, guard: bool, now: u64) -> (bool, bool) {
        let quorum = self.world.manifest.quorum();
        let in_time = now <= DEADLINE || (guard && now <= GRACE_END);
        let allowed = self.book.decided.is_none() && quorum.allows(legs) && all && in_time;
        let mut call = self.world.committing(legs);
        if !all {
            call.preimages.pop();
        }
        if guard {
            let root = word(evidence_root());
            let message =
                contract::Commit { txid: word(self.world.txid()), included: legs, evidenceRoot: root };
            call.guardSignature = self.world.guard.sign(digest(&self.world, &message));
        }
        let done = self.send(self.world.stranger.account, 0, self.world.decision, call.abi_encode());
        if allowed {
            self.book.decided = Some((Some(legs), now));
        }
        (done, allowed)
    }

    fn abort(&mut self, by: usize, signed: bool, now: u64) -> (bool, bool) {
        let allowed = self.book.decided.is_none() && (signed || now > GRACE_END);
        let world = &self.world;
        let message = contract::Abort { txid: word(world.txid()) };
        let sign = |party: &Party| party.sign(digest(world, &message));
        let signatures = if signed { vec![sign(&world.renter), sign(&world.locker)] } else { vec![] };
        let parties = [&world.renter, &world.locker, &world.guard, &world.stranger];
        let by = parties[by].account;
        let data = Decision::abortCall { terms: world.terms(), signatures }.abi_encode();
        let done = self.send(by, 0, self.world.decision, data);
        if allowed {
            self.book.decided = Some((None, now));
        }
        (done, allowed)
    }

    /// A rogue that calls back may move another lock, as anyone may, but only as the rules allow; and it may spend so much
    /// on that that it cannot take its own transfer. What the chain says of these two is written down, and the sums must
    /// agree with it.
    fn reconcile(&mut self, applied: Option<usize>) {
        if self.mode != CALLS_BACK {
            return;
        }
        if let Some(lock) = applied.filter(|lock| self.book.states[*lock] == State::ToPayee)
            && self.stored(lock) == OWED
        {
            self.book.states[lock] = State::Owed;
        }
        let (lock, call) = self.call_back;
        let includes = self.book.includes(lock);
        let late = self.world.chain.time > LAST_SUBMISSION;
        let next = match (call, self.book.states[lock], self.stored(lock)) {
            (0, State::Locked, ARMED) if includes == Some(true) && lock < 2 => State::Armed,
            (0, State::Locked, OWED) if includes == Some(true) && lock >= 2 => State::Owed,
            (0, State::Locked, ABSENT) if includes == Some(true) && lock >= 2 => State::ToPayee,
            (1, State::Locked, ABSENT) if includes == Some(false) => State::ToPayer,
            (2, State::Owed, ABSENT) => State::ToPayee,
            (3, State::Armed, ABSENT) if late => State::ToPayer,
            _ => return,
        };
        self.book.states[lock] = next;
    }

    fn stored(&mut self, lock: usize) -> u8 {
        let lock_id = word(contract::lock_id(&self.locks[lock]));
        self.world.chain.view(self.world.escrow, &Escrow::stateOfCall { lockId: lock_id }).state
    }

    fn check(&mut self) {
        assert_eq!(self.world.chain.balance(self.world.escrow), self.book.open(), "the sum of the locks");
        for (lock, state) in self.book.states.into_iter().enumerate() {
            let got = self.stored(lock);
            let expected = match state {
                State::Absent | State::ToPayee | State::ToPayer => ABSENT,
                State::Locked => LOCKED,
                State::Armed => ARMED,
                State::Owed => OWED,
            };
            assert_eq!(got, expected, "lock {lock}, which is {state:?}");
        }
        self.check_decision();
        self.check_money();
    }

    fn check_decision(&mut self) {
        let txid = word(self.world.txid());
        let stands = self.world.chain.view(self.world.decision, &Decision::decisionOfCall { txid });
        let expected = match self.book.decided {
            None => (contract::UNDECIDED, 0, 0),
            Some((Some(legs), at)) => (contract::COMMITTED, at, legs),
            Some((None, at)) => (contract::ABORTED, at, 0),
        };
        assert_eq!((stands.kind, stands.decidedAt, stands.included), expected, "D's record");
    }

    /// Everyone holds what the ends of the locks make of what they began with.
    fn check_money(&mut self) {
        let mut expected: BTreeMap<Account, i128> = BTreeMap::new();
        let wealth = i128::try_from(WEALTH).expect("fits");
        let amount = i128::try_from(AMOUNT).expect("fits");
        let (renter, locker) = (self.world.renter.account, self.world.locker.account);
        let stranger = self.world.stranger.account;
        for account in [renter, locker, stranger, self.rogue] {
            expected.insert(account, wealth);
        }
        for (lock, state) in self.book.states.into_iter().enumerate() {
            // What the rogue locks, a stranger gives it in the same call.
            let (from, payer) = if lock == 1 { (stranger, self.rogue) } else { (renter, renter) };
            let payee = if lock < 2 { locker } else { self.rogue };
            if state != State::Absent {
                *expected.entry(from).or_default() -= amount;
            }
            match state {
                State::ToPayer => *expected.entry(payer).or_default() += amount,
                State::ToPayee => *expected.entry(payee).or_default() += amount,
                _ => {}
            }
        }
        for (account, expected) in expected {
            let got = i128::try_from(self.world.chain.balance(account)).expect("fits");
            assert_eq!(got, expected, "the money of {account}");
        }
    }
}

fn digest<T: alloy_sol_types::SolStruct>(world: &World, message: &T) -> sofie_model::Digest {
    sofie_model::attestation::typed_digest(message, world.chain.id, world.decision)
}

/// What a run must have seen for its books not to be empty: both decisions, and every end of every lock that has it.
const REACHED: [(usize, State, Option<bool>); 6] = [
    (0, State::ToPayee, Some(true)),
    (0, State::ToPayer, Some(false)),
    (1, State::Armed, Some(true)),
    (2, State::Owed, Some(true)),
    (2, State::ToPayee, Some(true)),
    (3, State::ToPayer, Some(false)),
];
/// Chance may leave one of them out of a round, but not of so many.
const ROUNDS: usize = 20;

#[test]
fn whatever_is_called_the_books_agree() {
    let reached = RefCell::new(BTreeSet::new());
    let missing = || REACHED.into_iter().find(|one| !reached.borrow().contains(one));
    for _ in 0..ROUNDS {
        let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
        let run = TestRunner::new(config).run(&vec(moves(), 1..80), |moves| {
            let mut game = Game::new();
            for one in moves {
                let (done, allowed) = game.play(one);
                prop_assert_eq!(done, allowed, "{:?} at {}", one, game.world.chain.time);
                game.reconcile(if let Move::Apply(lock) = one { Some(lock) } else { None });
                game.check();
                let kind = game.book.decided.map(|(legs, _)| legs.is_some());
                reached
                    .borrow_mut()
                    .extend(game.book.states.iter().enumerate().map(|(at, s)| (at, *s, kind)));
            }
            Ok(())
        });
        run.unwrap_or_else(|error| panic!("{error}"));
        if missing().is_none() {
            return;
        }
    }
    panic!("never seen: {:?}", missing());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Bytes that are no call, or a call with damaged arguments, move nothing.
    #[test]
    fn no_damaged_call_moves_value(flips in vec((0_usize..400, 1_u8..), 1..6), value in 0_u128..3) {
        let mut world = World::new();
        world.prepare().expect("prepares");
        let before = world.money();
        let calls: [Vec<u8>; 4] = [
            Escrow::apply_Call { lock: world.lock() }.abi_encode(),
            Escrow::undoCall { lock: world.lock() }.abi_encode(),
            Escrow::refundCall { lock: world.lock() }.abi_encode(),
            Escrow::collectCall { lock: world.lock(), to: address(world.stranger.account) }.abi_encode(),
        ];
        world.chain.time = LAST_SUBMISSION + 1;
        for mut call in calls {
            for (at, flip) in &flips {
                let at = at % call.len();
                call[at] ^= flip;
            }
            let (from, to) = (address(world.stranger.account), address(world.escrow));
            let _: Result<_, Bytes> = world.chain.transact(from, to, value, call.into());
        }
        prop_assert_eq!(world.money(), before);
    }
}
