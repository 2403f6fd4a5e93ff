//! A receipt of [`records`], with its proof from the one log.

use sofie_audit::receipt::{LedgerProof, Party, VERSION};
use sofie_audit::{Body, Chain, Draft, Extract};
use sofie_model::{Proof, Timestamp};

use crate::Vector;
use crate::calendar::proof;
use crate::examples::{account, key, records};

pub(crate) fn vectors() -> Vec<Vector> {
    let (manifest, mut log) = (records(), Chain::new());
    let subject = manifest.txid().0;
    let now = |second: u64| Timestamp::from_seconds(1_800_000_000 + second);
    let audit = [
        log.append(Draft::about(subject, "begun", true, "two legs"), now(0)),
        log.append(Draft::about(sofie_model::Digest::ZERO, "refused", false, "somebody else"), now(1)),
        log.append(Draft::about(subject, "decided", true, "COMMIT"), now(2)),
    ];
    let party = |name: &str, byte| Party { name: name.into(), account: account(byte) };
    let body = Body {
        version: VERSION,
        txid: manifest.txid(),
        manifest,
        parties: vec![party("seller", 1), party("buyer", 2), party("operator", 4)],
        operator: "operator".into(),
        proofs: vec![LedgerProof { ledger: "notary".parse().unwrap(), proof: Proof::Calendar(proof()) }],
        things: vec![],
        agreement: None,
        capability: None,
        actuation: None,
        evidence: None,
        audit: Extract::of(&audit, subject),
        others: None,
    };
    let digest = body.digest();
    let receipt = body.sign(&key(4));
    vec![
        Vector::new("a receipt that its operator signs", "receipt", &receipt)
            .expect("body_digest", digest)
            .expect("operator", account(4))
            .expect("signature", hex::encode(&receipt.signatures[0].signature)),
    ]
}
