//! The published vectors (`docs/specs/vectors/transaction.json`): the decision contract computes the same txids and
//! digests from the same bytes.

use sofie_model::{
    Account, Decision as Decided, Digest, Manifest, Txid, canonical,
    contract::{self, Decision, word},
};

use crate::world::World;

/// Larger than any vector.
const MAX: usize = 1 << 16;

fn vectors() -> Vec<serde_json::Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/specs/vectors/transaction.json");
    let file: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("it is published")).expect("JSON");
    file["vectors"].as_array().expect("a list").clone()
}

/// The vectors of one rule, as bytes with what is expected.
fn of_rule(rule: &str) -> Vec<(Vec<u8>, serde_json::Value)> {
    let all = vectors().into_iter().filter(|one| one["rule"] == rule);
    all.map(|one| {
        let cbor = hex::decode(one["cbor"].as_str().expect("digits")).expect("hexadecimal digits");
        (cbor, one["expect"].clone())
    })
    .collect()
}

fn digest(value: &serde_json::Value) -> Digest {
    value.as_str().expect("digits").parse().expect("a digest")
}

/// Puts the contract where the manifest says that it stands, on another chain than that of its birth: it then makes its
/// EIP-712 domain anew.
fn world_of(manifest: &Manifest) -> World {
    let mut world = World::new();
    world.chain.copy_code(world.decision, manifest.decision.contract);
    world.chain.id = manifest.decision.chain_id;
    world
}

#[test]
fn the_contract_names_the_published_transactions_alike() {
    let mut on_a_chain = 0;
    for (cbor, expect) in of_rule("manifest") {
        let manifest: Manifest = canonical::decode(&cbor, MAX).expect("a manifest");
        assert_eq!(manifest.txid(), Txid(digest(&expect["txid"])));
        // A log is no contract, but its txids are made in the same way.
        if manifest.decision.contract == Account::ZERO {
            continue;
        }
        on_a_chain += 1;
        let call = Decision::txidOfCall { terms: contract::terms(&manifest) };
        let named = world_of(&manifest).chain.view(manifest.decision.contract, &call);
        assert_eq!(named, word(digest(&expect["txid"])));
    }
    assert!(on_a_chain >= 3);
}

#[test]
fn the_contract_wants_the_published_digests_signed() {
    let txid = |expect: &serde_json::Value| word(digest(&expect["txid"]));
    let manifests: Vec<Manifest> = of_rule("manifest")
        .iter()
        .map(|(cbor, _)| canonical::decode(cbor, MAX).expect("a manifest"))
        .collect();
    let mut checked = 0;
    for (cbor, expect) in of_rule("decision") {
        let manifest = manifests.iter().find(|one| one.txid().0 == digest(&expect["txid"]));
        let manifest = manifest.expect("its manifest is published, too");
        let mut world = world_of(manifest);
        let at = manifest.decision.contract;
        let (wanted, published) = match canonical::decode(&cbor, MAX).expect("a decision") {
            Decided::Commit { included, evidence_root, .. } => {
                let evidence_root = word(evidence_root);
                let call =
                    Decision::commitDigestCall { txid: txid(&expect), included, evidenceRoot: evidence_root };
                (world.chain.view(at, &call), &expect["guard_digest"])
            }
            Decided::Abort { .. } => {
                let call = Decision::abortDigestCall { txid: txid(&expect) };
                (world.chain.view(at, &call), &expect["abort_digest"])
            }
        };
        assert_eq!(wanted, word(digest(published)));
        checked += 1;
    }
    assert_eq!(checked, 2);
}
