//! What two nodes say to each other about the swap, each message and each answer once.

use sofie_model::contract::abort_digest;
use sofie_model::{Digest, LegId, Manifest, PublicKey, Salt, Signature};
use sofie_node::peers::message::{Agreement, Message, Opening, Reply, agreement};

use crate::Vector;
use crate::examples::{account, key, secret, swap};

pub(crate) fn vectors() -> Vec<Vector> {
    let manifest = swap();
    let said = messages(&manifest).into_iter().map(|(name, message)| {
        let bytes = message.to_bytes();
        assert_eq!(Message::read(&bytes), Ok(message));
        Vector::of_bytes(name, "node-message", &bytes)
    });
    let answered = replies(&manifest).into_iter().map(|(name, reply)| {
        let bytes = reply.to_bytes();
        assert_eq!(Reply::read(&bytes), Ok(reply));
        Vector::of_bytes(name, "node-reply", &bytes)
    });
    said.chain(answered).collect()
}

fn messages(manifest: &Manifest) -> Vec<(&'static str, Message)> {
    let (txid, who) = (manifest.txid(), 0);
    let signature = Signature::by(&key(1), abort_digest(manifest));
    let opening = Opening { leg: LegId(2), salt: Salt::new([9; 32]), payload: b"a text".to_vec() };
    let propose =
        Message::Propose { manifest: Box::new(manifest.clone()), openings: vec![opening], contract: None };
    vec![
        ("an enquiry", Message::Enquire { nonce: manifest.nonce, party: account(2) }),
        ("a proposal", propose),
        ("a secret", Message::Released { txid, who, preimage: secret(1) }),
        ("a secret that is withheld", Message::Withheld { txid, who, reason: "too late".into() }),
        ("a signature under ABORT", Message::Renounced { txid, who, signature }),
        ("a claim that is signed ahead", Message::Presigned { txid, refund: false, signed: vec![1, 2, 3] }),
        ("a refund that is signed ahead", Message::Presigned { txid, refund: true, signed: vec![1, 2, 3] }),
        ("a transaction to watch", Message::Watch { manifest: Box::new(manifest.clone()) }),
        ("a look at what is for sale", Message::Browse),
        ("a question how far a contract is", Message::Progress { txid }),
    ]
}

fn replies(manifest: &Manifest) -> Vec<(&'static str, Reply)> {
    let txid = manifest.txid();
    let signed = Agreement { who: 1, signature: Signature::by(&key(2), agreement(txid)).0 };
    let key = PublicKey::from(key(2).verifying_key()).0;
    let hashlock = Digest::sha256(secret(2).as_bytes());
    vec![
        ("what a party takes part with", Reply::Answer { account: account(2), hashlock, key }),
        ("an agreement", Reply::Agreed { txid, signatures: vec![signed] }),
        ("a wait", Reply::Waiting { txid, reason: "its owner decides".into() }),
        ("a refusal to take part", Reply::Declined { reason: "not this week".into() }),
        ("a message that counts", Reply::Taken),
        ("a message that does not count", Reply::Refused { reason: "there is no participant 7".into() }),
    ]
}
