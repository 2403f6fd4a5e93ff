//! Two ledgers and a third that locks to a hash, two participants, and what is said about them.

use k256::ecdsa::SigningKey;
use sofie_model::manifest::{DecisionSite, EscrowTerms, HashlockTerms, Participant};
use sofie_model::{
    Account, Class, Decide, Decision, Digest, Evidence, Fact, Finality, Leg, LegId, Manifest, Operation,
    Position, PublicKey, Rule, Signature, Span, Terms, Timestamp, contract,
};
use sofie_transaction::{Effect, Input, PivotClock, Plan, State, Task};

pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1000);
pub(crate) const DEADLINE: Timestamp = Timestamp::from_seconds(1060);
pub(crate) const SECRETS: [Digest; 2] = [Digest([1; 32]), Digest([2; 32])];

pub(crate) fn account(byte: u8) -> Account {
    Account([byte; 20])
}

pub(crate) fn escrow() -> Leg {
    let terms = EscrowTerms {
        contract: account(9),
        payer: account(1),
        payee: account(2),
        amount: 5,
        evidence_key: account(3),
        evidence_deadline: Timestamp::from_seconds(2000),
        submission_window: Span::from_seconds(10),
        dispute: None,
    };
    Leg {
        ledger: "evm".parse().unwrap(),
        class: Class::Verifying,
        finality: Finality::Instant,
        required: true,
        terms: Terms::Escrow(terms),
        fee_limit: 0,
    }
}

pub(crate) fn record(byte: u8, required: bool) -> Leg {
    Leg {
        ledger: "calendar".parse().unwrap(),
        class: Class::Record,
        finality: Finality::Instant,
        required,
        terms: Terms::Record(Digest([byte; 32])),
        fee_limit: 0,
    }
}

pub(crate) fn manifest(legs: Vec<Leg>, rule: Rule) -> Manifest {
    let participants = [(1, 0), (2, 1)].map(|(who, i): (u8, usize)| Participant {
        account: account(who),
        hashlock: Digest::sha256(&SECRETS[i].0),
    });
    Manifest {
        version: 1,
        legs,
        rule,
        decision: DecisionSite {
            ledger: "evm".parse().unwrap(),
            chain_id: 1,
            contract: account(8),
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: DEADLINE,
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: participants.to_vec(),
        nonce: Digest([7; 32]),
    }
}

pub(crate) fn begin(manifest: Manifest) -> State {
    State::begin(Plan { manifest, acts_for: vec![0, 1], decision_time: Span::from_seconds(2), pivot: None })
}

pub(crate) fn two_legs() -> State {
    let manifest = manifest(vec![escrow(), record(1, true)], Rule::All);
    manifest.check(NOW).unwrap();
    begin(manifest)
}

pub(crate) fn seen(state: &State, ledger: &str, fact: Fact) -> Evidence {
    let position = Position { height: 1, index: 0, reference: state.txid().0 };
    Evidence { ledger: ledger.parse().unwrap(), fact, position, at: NOW }
}

pub(crate) fn prepared(state: &State, leg: u16) -> Input {
    let ledger = state.manifest().legs[usize::from(leg)].ledger.as_str();
    Input::Prepared(LegId(leg), seen(state, ledger, Fact::Prepared(state.txid(), LegId(leg))))
}

pub(crate) fn decided(state: &State, decision: Decision) -> Input {
    Input::Decided(seen(state, "evm", Fact::Decided(state.txid(), decision)))
}

pub(crate) fn commit(included: u64) -> Decision {
    Decision::Commit { included, evidence_root: Digest::ZERO, preimages: SECRETS.to_vec() }
}

pub(crate) fn closed(state: &State, leg: u16, applied: bool) -> Input {
    let ledger = state.manifest().legs[usize::from(leg)].ledger.as_str();
    let fact = if applied { Fact::Applied } else { Fact::Reverted };
    Input::Closed(LegId(leg), seen(state, ledger, fact(state.txid(), LegId(leg))))
}

pub(crate) fn tasks(state: &State) -> Vec<Task> {
    state
        .effects()
        .iter()
        .filter_map(|effect| if let Effect::Operate { task, .. } = effect { Some(*task) } else { None })
        .collect()
}

pub(crate) fn run(state: State, inputs: impl IntoIterator<Item = Input>) -> State {
    inputs.into_iter().fold(state, |state, input| state.next(&input, NOW).unwrap())
}

pub(crate) fn aborter(state: &State) -> Account {
    let effects = state.effects();
    match effects.as_slice() {
        [Effect::Operate { operation: Operation::Decide { decide: Decide::Abort { by, .. }, .. }, .. }] => {
            *by
        }
        other => panic!("{other:?}"),
    }
}

/// Participant `who`'s key, with which [`with_pivot`] is made.
pub(crate) fn key(who: u8) -> SigningKey {
    SigningKey::from_slice(&[who + 1; 32]).unwrap()
}

pub(crate) fn owner(who: u8) -> Account {
    Account::from(key(who).verifying_key())
}

/// T_p of [`with_pivot`].
pub(crate) const TIMELOCK: Timestamp = Timestamp::from_seconds(1200);
/// Its G.
pub(crate) const GRACE_END: Timestamp = Timestamp::from_seconds(1660);
/// Its pivot.
pub(crate) const PIVOT: LegId = LegId(0);

/// Participant 0 pays on the pivot and is its guard, participant 1 claims it.
pub(crate) fn with_pivot() -> Manifest {
    let terms = HashlockTerms {
        payer: owner(0),
        claimant: owner(1),
        amount: 1,
        timelock: TIMELOCK,
        payer_key: PublicKey::from(key(0).verifying_key()),
        claimant_key: PublicKey::from(key(1).verifying_key()),
        opened_by: None,
    };
    let pivot = Leg {
        ledger: "bitcoin".parse().unwrap(),
        class: Class::Hashlock,
        finality: Finality::Depth(1),
        required: true,
        terms: Terms::Hashlock(terms),
        fee_limit: 1_000,
    };
    let mut manifest = manifest(vec![pivot, record(1, true)], Rule::All);
    for (who, participant) in (0..).zip(&mut manifest.participants) {
        participant.account = owner(who);
    }
    manifest.grace = Span::from_seconds(600);
    manifest.guard = owner(0);
    manifest.check(NOW).unwrap();
    manifest
}

pub(crate) fn clock() -> PivotClock {
    let second = Span::from_seconds;
    PivotClock {
        inclusion_d: second(12),
        finality_d: second(24),
        inclusion_p: second(30),
        finality_p: second(40),
        detection: second(5),
        skew: second(10),
    }
}

/// A node that holds the keys of these participants.
pub(crate) fn node(acts_for: &[u16]) -> State {
    let plan = Plan {
        manifest: with_pivot(),
        acts_for: acts_for.to_vec(),
        decision_time: Span::from_seconds(36),
        pivot: Some(clock()),
    };
    State::begin(plan)
}

/// Both prepares are final.
pub(crate) fn releasing(acts_for: &[u16]) -> State {
    let state = node(acts_for);
    let inputs = [prepared(&state, 1), prepared(&state, 0)];
    run(state, inputs)
}

pub(crate) fn revealed(finally: bool) -> Input {
    Input::Revealed { preimages: SECRETS.to_vec(), finally }
}

pub(crate) fn renounced(state: &State, who: u8) -> Input {
    let digest = contract::abort_digest(state.manifest());
    Input::Renounced(who.into(), Signature::by(&key(who), digest))
}

/// What the guard signs for the COMMIT that `state` waits for.
pub(crate) fn permit(state: &State) -> Option<Signature> {
    state.effects().iter().find_map(|effect| match effect {
        Effect::Permit { included, evidence_root } => {
            let digest = contract::commit_digest(state.manifest(), *included, *evidence_root);
            Some(Signature::by(&key(0), digest))
        }
        _ => None,
    })
}

/// The decision that D is asked for.
pub(crate) fn asked(state: &State) -> Option<Decide> {
    state.effects().into_iter().find_map(|effect| match effect {
        Effect::Operate { operation: Operation::Decide { decide, .. }, .. } => Some(decide),
        _ => None,
    })
}

/// The step that is asked of a leg.
pub(crate) fn step(state: &State, id: LegId) -> Option<sofie_model::Step> {
    state.effects().into_iter().find_map(|effect| match effect {
        Effect::Operate { operation: Operation::Leg { leg, step, .. }, .. } if leg == id => Some(step),
        _ => None,
    })
}

pub(crate) fn at(state: State, when: Timestamp, input: &Input) -> State {
    state.next(input, when).unwrap()
}
