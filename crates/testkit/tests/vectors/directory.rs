//! A directory's state, the note that anchors it, and proofs that a thing is there and is not.

use ed25519_dalek::SigningKey;
use sofie_model::map::anchor::{Anchored, Entries, State, key};
use sofie_model::map::{Entry, Map};
use sofie_model::proof::calendar::{
    Checkpoint, Entry as LogEntry, Included, Leaf, LogProof,
    merkle::{Tree, leaf_hash},
};
use sofie_model::{Digest, ThingId, Timestamp, canonical};

use crate::Vector;

fn thing(name: &str) -> ThingId {
    format!("urn:example:{name}").parse().unwrap()
}

fn map() -> Map {
    let entry = |name: &str| Entry { key: key(&thing(name)), value: Digest::sha256(name.as_bytes()) };
    Map::of(["lamp", "lock", "sensor"].map(entry))
}

fn anchored() -> Anchored {
    let state = State::of("urn:sofie:node:example".parse().unwrap(), 3, &map());
    let entry = LogEntry::Note { topic: state.topic(), commitment: state.commitment() };
    let leaf = canonical::encode(&Leaf { at: Timestamp::from_millis(1_800_000_000_123), entry });
    let tree: Tree = [leaf_hash(b"an earlier one"), leaf_hash(&leaf)].into_iter().collect();
    let log = SigningKey::from_bytes(&[7; 32]);
    let head = Checkpoint { origin: "example.com/notary".into(), size: 2, root: tree.root(2).unwrap() };
    let proof = LogProof {
        key: Digest(log.verifying_key().to_bytes()),
        checkpoint: head.sign(&log),
        leaves: vec![Included { index: 1, leaf, path: tree.inclusion(1, 2).unwrap() }],
        published: None,
        cosigned: None,
    };
    Anchored { state, ledger: "calendar".parse().unwrap(), proof }
}

pub(crate) fn vectors() -> Vec<Vector> {
    let (map, anchored) = (map(), anchored());
    let standing = anchored.verify().unwrap();
    let proof = |what, rule_of: &str| {
        let key = key(&thing(rule_of));
        let proof = map.prove(&key);
        let shown = proof.shows(&key, &map.root()).unwrap();
        Vector::new(what, "map-proof", &proof)
            .expect("thing", thing(rule_of))
            .expect("key", key)
            .expect("root", map.root())
            .expect("shows", format!("{shown:?}"))
    };
    vec![
        Vector::new("a directory of three things", "directory-state", &anchored.state)
            .expect("topic", anchored.state.topic())
            .expect("commitment", anchored.state.commitment()),
        Vector::new("the same, anchored", "anchored-directory", &anchored)
            .expect("index", standing.index)
            .expect("at", standing.at.as_millis()),
        Vector::new(
            "its entries",
            "directory-entries",
            &Entries { number: 3, entries: map.entries().to_vec() },
        )
        .expect("root", map.root()),
        proof("a proof that a thing is there", "lock"),
        proof("a proof that a thing is not there", "door"),
    ]
}
