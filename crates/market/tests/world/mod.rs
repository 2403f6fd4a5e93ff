//! One agreement between a renter, the owner of a locker and the owner of a door sensor, and what may happen to it.

use k256::ecdsa::SigningKey;
use sofie_market::{Agreement, Contract, EvidenceRule, Input, Phase};
use sofie_model::manifest::{DecisionSite, EscrowTerms, Participant};
use sofie_model::{
    Account, Class, Digest, Evidence, Fact, Finality, Leg, LegId, Manifest, Observation, Position, Quantity,
    Rule, Salt, SignedAttestation, Span, Terms, Timestamp, Txid, Value,
};

pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_000);
/// T_E.
pub(crate) const EVIDENCE_DEADLINE: Timestamp = Timestamp::from_seconds(1_600);
/// A second after T_E and the submission window.
pub(crate) const REFUND_AT: Timestamp = Timestamp::from_seconds(1_631);
pub(crate) const LEG: LegId = LegId(0);
pub(crate) const CHAIN: u64 = 1337;
pub(crate) const TOKEN: &[u8] = b"capability";

pub(crate) fn account(byte: u8) -> Account {
    Account([byte; 20])
}

/// The key that the escrow names, or another one.
pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_slice(&[byte; 32]).unwrap()
}

pub(crate) fn evidence_key() -> SigningKey {
    key(3)
}

pub(crate) fn agreement() -> Agreement {
    Agreement {
        thing: "urn:locker:7".parse().unwrap(),
        action: "open".into(),
        input: "{\"open_for_s\":600}".into(),
        renter: account(1),
        owner: account(2),
        price: 1_000_000_007,
        not_before: NOW,
        not_after: Timestamp::from_seconds(1_600),
        evidence: EvidenceRule {
            thing: "urn:door:7".parse().unwrap(),
            property: "open".into(),
            equals: Value::Bool(true),
        },
        witnesses: None,
        penalty: None,
        dispute: None,
    }
}

pub(crate) fn manifest() -> Manifest {
    let terms = EscrowTerms {
        contract: account(0xe5),
        payer: account(1),
        payee: account(2),
        amount: 1_000_000_007,
        evidence_key: Account::from(evidence_key().verifying_key()),
        evidence_deadline: EVIDENCE_DEADLINE,
        submission_window: Span::from_seconds(30),
        dispute: None,
    };
    let leg = |ledger: &str, class, terms| Leg {
        ledger: ledger.parse().unwrap(),
        class,
        finality: Finality::Instant,
        required: true,
        terms,
        fee_limit: 0,
    };
    let salt = Salt::new([4; 32]);
    Manifest {
        version: 1,
        legs: vec![
            leg("evm", Class::Verifying, Terms::Escrow(terms)),
            leg("calendar", Class::Record, Terms::Record(agreement().commitment(&salt))),
        ],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "evm".parse().unwrap(),
            chain_id: CHAIN,
            contract: account(0xdd),
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: Timestamp::from_seconds(1_060),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![Participant { account: account(1), hashlock: Digest::sha256(&[1; 32]) }],
        nonce: Digest([7; 32]),
    }
}

pub(crate) fn begin() -> Contract {
    Contract::begin(agreement(), &manifest()).unwrap()
}

pub(crate) fn txid() -> Txid {
    manifest().txid()
}

pub(crate) fn seen(fact: Fact) -> Evidence {
    let position = Position { height: 1, index: 0, reference: Digest::ZERO };
    Evidence { ledger: "evm".parse().unwrap(), fact, position, at: NOW }
}

pub(crate) fn settled() -> Input {
    Input::Settled(seen(Fact::Settled(txid(), LEG)))
}

pub(crate) fn refunded() -> Input {
    Input::Refunded(seen(Fact::Refunded(txid(), LEG)))
}

pub(crate) fn noted() -> Input {
    Input::Noted(seen(Fact::Noted(Digest::ZERO, Digest::ZERO)))
}

/// The door stands open, as the sensor saw it at `at`.
pub(crate) fn reading(at: Timestamp) -> Observation {
    Observation {
        thing: "urn:door:7".parse().unwrap(),
        property: "open".into(),
        quantity: Quantity::unitless(Value::Bool(true)),
        observed_at: at,
        message_id: Digest::sha256(&at.as_millis().to_be_bytes()),
        retained: false,
    }
}

pub(crate) fn salt() -> Salt {
    Salt::new([9; 32])
}

pub(crate) fn observed(observation: Observation) -> Input {
    Input::Observed(observation, salt())
}

/// The word of the sensor's owner, or of whoever has `by`.
pub(crate) fn attested(by: &SigningKey, fulfilled: bool) -> SignedAttestation {
    let said = begin().attestation(&reading(NOW), &salt());
    sofie_model::Attestation { fulfilled, ..said }.sign(by)
}

pub(crate) fn run(contract: Contract, inputs: impl IntoIterator<Item = Input>) -> Contract {
    inputs.into_iter().fold(contract, |contract, input| contract.next(&input, NOW).unwrap())
}

/// The inputs of a good run, in order.
pub(crate) fn good_run() -> Vec<Input> {
    vec![
        Input::Committed(NOW),
        Input::Armed,
        Input::Issued(TOKEN.into()),
        Input::Acting,
        Input::Acted("2.04".into()),
        observed(reading(NOW)),
        Input::Attested(attested(&evidence_key(), true)),
        noted(),
        settled(),
        Input::Receipted(Digest([5; 32])),
    ]
}

/// A contract after the first `steps` inputs of a good run.
pub(crate) fn after(steps: usize) -> Contract {
    run(begin(), good_run().into_iter().take(steps))
}

/// Names a phase without its contents.
pub(crate) fn name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Recording => "recording",
        Phase::Committed => "committed",
        Phase::Issuing => "issuing",
        Phase::Ready { .. } => "ready",
        Phase::Acting => "acting",
        Phase::Awaiting => "awaiting",
        Phase::Watching => "watching",
        Phase::Noting { .. } => "noting",
        Phase::Presenting { .. } => "presenting",
        Phase::Disputable { .. } => "disputable",
        Phase::Overruling { .. } => "overruling",
        Phase::Overruled => "overruled",
        Phase::Settling { .. } => "settling",
        Phase::Waiting { .. } => "waiting",
        Phase::Refunding { .. } => "refunding",
        Phase::Settled => "settled",
        Phase::Refunded { .. } => "refunded",
        Phase::Aborted { .. } => "aborted",
        Phase::Stuck { .. } => "stuck",
    }
}
