//! Any sequence of calls about an armed lock with an arbiter, by anyone, against the compiled bytecode. What the contract
//! should do is written down a second time here, in the few lines of [`Book`].

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use sofie_model::{
    Attestation, Digest, Ruling, Timestamp,
    contract::{self, ABSENT, ARMED, Escrow, PRESENTED, word},
};

use crate::{
    dispute::{BACK, HELD, LAST_PRESENTATION, PAID, WINDOW, arbiter, armed, overruling, presenting, send},
    world::{DECIDED_AT, EVIDENCE_DEADLINE, LAST_SUBMISSION, World},
};

/// One call. The word, the payment or the ruling is about an observation of this second.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// Fulfilled or not, by the sensor or by the payee.
    Present(u64, bool, bool),
    Pay(u64),
    /// By the arbiter, or by the payer.
    Overrule(u64, bool),
    /// By the sensor, as if there were no window.
    Settle(u64),
    Refund,
    Wait(u64),
}

/// Before the decision, in it, later, the last one, and after that.
const SECONDS: [u64; 5] =
    [DECIDED_AT - 1, DECIDED_AT, DECIDED_AT + 30, EVIDENCE_DEADLINE, EVIDENCE_DEADLINE + 1];

fn moves() -> impl Strategy<Value = Move> {
    let second = || select(&SECONDS[..]);
    let mostly = || prop::bool::weighted(0.8);
    prop_oneof![
        3 => (second(), mostly(), mostly()).prop_map(|(at, fulfilled, honest)| Move::Present(at, fulfilled, honest)),
        4 => second().prop_map(Move::Pay),
        1 => (second(), mostly()).prop_map(|(at, honest)| Move::Overrule(at, honest)),
        1 => second().prop_map(Move::Settle),
        2 => Just(Move::Refund),
        3 => prop_oneof![1..WINDOW, Just(WINDOW), Just(WINDOW + 1), 100..700_u64].prop_map(Move::Wait),
    ]
}

/// What the lock has come to, by the rules of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Book {
    Armed,
    /// Of which second, and until when a ruling counts.
    Presented(u64, u64),
    Paid,
    Overruled,
    Refunded,
}

impl Book {
    /// Where a call leads now; `None`: it is refused.
    fn after(self, one: Move, now: u64) -> Option<Self> {
        match (self, one) {
            (Self::Armed, Move::Present(at, true, true))
                if (DECIDED_AT..=EVIDENCE_DEADLINE).contains(&at) && now <= LAST_PRESENTATION =>
            {
                Some(Self::Presented(at, now + WINDOW))
            }
            (Self::Armed, Move::Refund) if now > LAST_SUBMISSION => Some(Self::Refunded),
            (Self::Presented(seen, until), Move::Pay(at)) if seen == at && now > until => Some(Self::Paid),
            (Self::Presented(seen, until), Move::Overrule(at, true)) if seen == at && now <= until => {
                Some(Self::Overruled)
            }
            _ => None,
        }
    }

    fn stored(self) -> (u8, u64) {
        match self {
            Self::Armed => (ARMED, DECIDED_AT),
            Self::Presented(_, until) => (PRESENTED, until),
            Self::Paid | Self::Overruled | Self::Refunded => (ABSENT, 0),
        }
    }

    fn money(self) -> [u128; 3] {
        match self {
            Self::Armed | Self::Presented(..) => HELD,
            Self::Paid => PAID,
            Self::Overruled | Self::Refunded => BACK,
        }
    }

    /// Without its times: what a run must have seen.
    fn name(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Presented(..) => "presented",
            Self::Paid => "paid",
            Self::Overruled => "overruled",
            Self::Refunded => "refunded",
        }
    }
}

const ENDS: [&str; 5] = ["armed", "presented", "paid", "overruled", "refunded"];

/// Each second has an observation of its own.
fn said(world: &World, at: u64) -> Attestation {
    let observation = Digest::of("test.reading", &[&at.to_be_bytes()]);
    Attestation { observation, observed_at: Timestamp::from_seconds(at), ..world.attestation(at) }
}

/// Makes the call, and says whether it succeeded.
fn play(world: &mut World, one: Move) -> bool {
    match one {
        Move::Wait(seconds) => {
            world.chain.time += seconds;
            true
        }
        Move::Present(at, fulfilled, honest) => {
            let said = Attestation { fulfilled, ..said(world, at) };
            let signer = if honest { &world.sensor.key } else { &world.locker.key };
            let call = presenting(world, said, said.sign(signer).signature);
            send(world, &call).is_ok()
        }
        Move::Pay(at) => {
            let observation = word(said(world, at).observation);
            let call = Escrow::payCall { lock: world.lock(), observation, observedAt: at };
            send(world, &call).is_ok()
        }
        Move::Overrule(at, honest) => {
            let said = said(world, at);
            let digest = Ruling::on(&said).digest();
            let ruling = if honest { arbiter().sign(digest) } else { world.renter.sign(digest) };
            let observation = word(said.observation);
            let call = Escrow::overruleCall { observation, observedAt: at, ..overruling(world, ruling) };
            send(world, &call).is_ok()
        }
        Move::Settle(at) => {
            let call = world.settling(said(world, at));
            world.settle(&call).is_ok()
        }
        Move::Refund => world.refund().is_ok(),
    }
}

#[test]
fn whatever_is_called_within_a_dispute_the_books_agree() {
    let reached = RefCell::new(BTreeSet::new());
    let config = Config { cases: 128, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&vec(moves(), 1..40), |moves| {
        let (mut world, mut book) = (armed(), Book::Armed);
        for one in moves {
            let now = world.chain.time;
            let done = play(&mut world, one);
            if !matches!(one, Move::Wait(_)) {
                let next = book.after(one, now);
                prop_assert_eq!(done, next.is_some(), "{:?} at {} of {:?}", one, now, book);
                book = next.unwrap_or(book);
            }
            let id = word(contract::lock_id(&world.lock()));
            let stored = world.chain.view(world.escrow, &Escrow::stateOfCall { lockId: id });
            prop_assert_eq!((stored.state, stored.time), book.stored(), "after {:?}", one);
            prop_assert_eq!(world.money(), book.money(), "after {:?}", one);
            reached.borrow_mut().insert(book.name());
        }
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
    let reached = reached.into_inner();
    assert!(ENDS.iter().all(|end| reached.contains(end)), "chance left something out: {reached:?}");
}
