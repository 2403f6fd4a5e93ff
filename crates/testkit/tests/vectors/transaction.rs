//! Manifests with their txids, decisions with what is signed, and evidence with its root.

use sofie_model::contract::{abort_digest, commit_digest, evidence_account};
use sofie_model::{
    Account, Attestation, Decision, Digest, Evidence, Fact, LegId, Manifest, Position, Ruling, Signature,
    Terms, Timestamp, Txid, attestation::Panel, evidence,
};

use crate::Vector;
use crate::examples::{DEADLINE, account, disputable, key, packet, records, rental, secret, swap};

/// What the guard and the participants of [`swap`] sign.
const INCLUDED: u64 = 0b011;

pub(crate) fn vectors() -> Vec<Vector> {
    let mut all = vec![
        manifest("two records, decided on a log", &records()),
        manifest("a swap: transfer, pivot, optional record", &swap()),
        manifest("the swap, whose pivot opens to its claimant's secret alone", &packet()),
        manifest("a rental: escrow and record", &rental(1_000)),
        manifest("an amount past 64 bits", &rental(u128::MAX)),
    ];
    all.extend(decisions());
    all.extend(facts());
    all.extend([attested(), attested_by_panel(), disputed(), overruled()]);
    all
}

fn manifest(name: &'static str, manifest: &Manifest) -> Vector {
    manifest.check(Timestamp::from_seconds(DEADLINE - 60)).unwrap();
    let quorum = manifest.quorum();
    Vector::new(name, "manifest", manifest)
        .expect("body", manifest.body())
        .expect("required", quorum.required)
        .expect("optional", quorum.optional)
        .expect("at_least", quorum.at_least)
        .expect("txid", manifest.txid().0)
}

fn decisions() -> [Vector; 2] {
    let (swap, root) = (swap(), Digest([0x4e; 32]));
    let preimages = vec![secret(1), secret(2)];
    let commit = Decision::Commit { included: INCLUDED, evidence_root: root, preimages };
    let digest = commit_digest(&swap, INCLUDED, root);
    let abort = abort_digest(&swap);
    [
        Vector::new("COMMIT of the swap without its record", "decision", &commit)
            .expect("txid", swap.txid().0)
            .expect("guard_digest", digest)
            .expect("guard_signature", Signature::by(&key(1), digest)),
        Vector::new("ABORT of the swap", "decision", &Decision::Abort { by: account(2) })
            .expect("txid", swap.txid().0)
            .expect("abort_digest", abort)
            .expect("signature_1", Signature::by(&key(1), abort))
            .expect("signature_2", Signature::by(&key(2), abort)),
    ]
}

/// One of each kind of fact; the first two have the root that COMMIT carries.
fn facts() -> Vec<Vector> {
    let txid = records().txid();
    let at = |index: u64, fact| Evidence {
        ledger: "notary".parse().unwrap(),
        fact,
        position: Position { height: index + 1, index, reference: Digest([0x11; 32]) },
        at: Timestamp::from_millis(1_800_000_000_123 + index),
    };
    let first = at(0, Fact::Prepared(txid, LegId(0)));
    let second = Evidence { ledger: "copy".parse().unwrap(), ..at(1, Fact::Prepared(txid, LegId(1))) };
    let root = evidence::root([&first, &second]);
    let commit = Decision::Commit { included: 3, evidence_root: root, preimages: vec![secret(1), secret(2)] };
    let mut all = vec![
        Vector::new("evidence of the first prepare", "evidence", &first),
        Vector::new("evidence of the second prepare", "evidence", &second).expect("root_of_both", root),
    ];
    for (name, fact) in [
        ("evidence: applied", Fact::Applied(txid, LegId(0))),
        ("evidence: reverted", Fact::Reverted(txid, LegId(1))),
        ("evidence: settled", Fact::Settled(txid, LegId(0))),
        ("evidence: refunded", Fact::Refunded(txid, LegId(0))),
        ("evidence: decided", Fact::Decided(txid, commit)),
        ("evidence: presented", Fact::Presented(txid, LegId(0))),
        ("evidence: overruled", Fact::Overruled(txid, LegId(0))),
        ("evidence: noted", Fact::Noted(Digest([1; 32]), Digest([2; 32]))),
    ] {
        all.push(Vector::new(name, "evidence", &at(7, fact)));
    }
    all
}

fn attested() -> Vector {
    let said = attestation().sign(&key(3));
    Vector::new("a signed attestation", "signed-attestation", &said)
        .expect("digest", attestation().digest())
        .expect("signer", account(3))
}

/// Two of three owners, each with its own reading and time.
fn attested_by_panel() -> Vector {
    let panel = Panel::new(2, vec![account(3), account(4), account(5)]).unwrap();
    let word = |by: u8| {
        let observed_at = Timestamp::from_seconds(DEADLINE + 30 + u64::from(by));
        let said = Attestation { observation: Digest([by; 32]), observed_at, ..attestation() };
        said.sign(&key(by))
    };
    let said = panel.attest(&[word(5), word(3)]).unwrap();
    Vector::new("a panel's signed attestation", "signed-attestation", &said).expect("signer", panel.account())
}

/// `evidence_account` stands where a lock has its evidence key.
fn disputed() -> Vector {
    let rental = disputable();
    let Terms::Escrow(terms) = &rental.legs[0].terms else { unreachable!("its first leg is an escrow") };
    manifest("a rental with an arbiter", &rental).expect("evidence_account", evidence_account(terms))
}

fn overruled() -> Vector {
    let ruling = Ruling::on(&attestation());
    Vector::new("a signed ruling", "signed-ruling", &ruling.sign(&key(4)))
        .expect("digest", ruling.digest())
        .expect("signer", account(4))
}

fn attestation() -> Attestation {
    Attestation {
        chain_id: 1_337,
        contract: Account([0xe0; 20]),
        txid: Txid(Digest([0x33; 32])),
        leg: LegId(0),
        observation: Digest([0x44; 32]),
        fulfilled: true,
        observed_at: Timestamp::from_seconds(DEADLINE + 30),
    }
}
