//! What two nodes say to each other about a contract: of one sensor, and of several.

use sofie_market::{ContractTerms, EvidenceRule, Offer, Report, Seen, Stake, Witness, Witnesses};
use sofie_model::manifest::Dispute;
use sofie_model::{
    Attestation, Digest, Leg, LegId, Manifest, Observation, Quantity, Salt, Span, Terms, Timestamp, Value,
};
use sofie_node::peers::message::{Message, Reply};

use crate::Vector;
use crate::examples::{account, key, rental};

const PRICE: u128 = 2_500;

pub(crate) fn vectors() -> Vec<Vector> {
    let (one, several) = (offer(None), offer(Some(witnesses())));
    let said = [("a proposal that takes up an offer", &one), ("the same, of two of three sensors", &several)];
    let staked =
        Offer { penalty: Some(Stake { amount: 300, within: Span::from_seconds(60) }), ..offer(None) };
    let dispute = Dispute { arbiter: account(7), window: Span::from_seconds(5) };
    let disputable = Offer { dispute: Some(dispute), ..offer(None) };
    let more = [("the same, with a penalty", &staked), ("the same, with an arbiter", &disputable)];
    let said = said.into_iter().chain(more);
    let said = said.map(|(name, offer)| {
        let bytes = proposal(offer).to_bytes();
        Vector::of_bytes(name, "node-message", &bytes).expect("offer", offer.id())
    });
    let alone = Report {
        told_at: Some(at(60)),
        outcome: Some("2.04".into()),
        seen: Some(seen(0)),
        others: None,
        missed: None,
    };
    let more = Report { others: Some(vec![seen(2)]), ..alone.clone() };
    let answered = [
        ("what is for sale", Reply::Offers { offers: vec![one.clone(), several.clone()] }),
        ("how far a contract is", Reply::Report { report: Box::new(alone) }),
        ("the same, of several sensors", Reply::Report { report: Box::new(more) }),
    ];
    let answered = answered.into_iter().map(|(name, reply)| {
        let bytes = reply.to_bytes();
        assert_eq!(Reply::read(&bytes), Ok(reply));
        Vector::of_bytes(name, "node-reply", &bytes)
    });
    said.chain(answered).collect()
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + second)
}

fn rule(sensor: usize) -> EvidenceRule {
    let thing = format!("urn:example:sensor:{sensor}").parse().unwrap();
    EvidenceRule { thing, property: "open".into(), equals: Value::Bool(true) }
}

/// Two of the owners of three sensors: keys 3, 4 and 5.
fn witnesses() -> Witnesses {
    let witness = |sensor, byte| Witness { rule: rule(sensor), key: account(byte) };
    Witnesses { threshold: 2, key: account(3), others: vec![witness(1, 4), witness(2, 5)] }
}

fn offer(witnesses: Option<Witnesses>) -> Offer {
    let panel = witnesses.as_ref().map(|all| all.panel().unwrap().account());
    Offer {
        thing: "urn:example:locker:1".parse().unwrap(),
        action: "open".into(),
        input: r#"{"seconds":600}"#.into(),
        owner: account(2),
        price: PRICE,
        ledger: "evm".parse().unwrap(),
        evidence: rule(0),
        evidence_key: panel.unwrap_or_else(|| account(3)),
        decision_within: Span::from_seconds(60),
        evidence_within: Span::from_seconds(60),
        submission_window: Span::from_seconds(10),
        until: at(86_400),
        witnesses,
        penalty: None,
        dispute: None,
    }
}

fn proposal(offer: &Offer) -> Message {
    let (deadline, salt) = (at(60), Salt::new([9; 32]));
    let agreement = offer.agreement(account(1), at(0), deadline);
    let mut manifest = Manifest { deadline, nonce: agreement.commitment(&salt), ..rental(PRICE) };
    manifest.legs.truncate(1);
    let contract = manifest.decision.contract;
    manifest.legs[0].terms = Terms::Escrow(offer.escrow(contract, account(1), deadline));
    if let Some(bond) = offer.bond(contract, account(1), deadline) {
        manifest.legs.push(Leg { terms: Terms::Escrow(bond), ..manifest.legs[0].clone() });
    }
    let terms = ContractTerms { offer: offer.id(), agreement, salt };
    Message::Propose { manifest: Box::new(manifest), openings: Vec::new(), contract: Some(Box::new(terms)) }
}

fn seen(sensor: usize) -> Seen {
    let EvidenceRule { thing, property, equals } = rule(sensor);
    let observation = Observation {
        thing,
        property,
        quantity: Quantity::unitless(equals),
        observed_at: at(70),
        message_id: Digest::sha256(&[u8::try_from(sensor).unwrap()]),
        retained: false,
    };
    let salt = Salt::new([8; 32]);
    let manifest = rental(PRICE);
    let said = Attestation {
        chain_id: manifest.decision.chain_id,
        contract: manifest.decision.contract,
        txid: manifest.txid(),
        leg: LegId(0),
        observation: observation.digest(&salt),
        fulfilled: true,
        observed_at: at(70),
    };
    let by = [3, 4, 5][sensor];
    Seen { observation, salt, attestation: said.sign(&key(by)) }
}
