//! A batch of five records: each with its path to the root.

use sofie_model::proof::batch::{Batch, Record, entries_tree};
use sofie_model::proof::calendar::{Entry, merkle::leaf_hash};
use sofie_model::{Digest, LegId, Terms, Timestamp, canonical};

use crate::Vector;
use crate::examples::records;

/// Two notes, what [`records`] has on its first ledger, and a note that makes the last one stand alone in the tree.
fn entries() -> Vec<(&'static str, Entry)> {
    let (manifest, leg) = (records(), LegId(0));
    let txid = manifest.txid();
    let Terms::Record(commitment) = manifest.legs[0].terms else { unreachable!("its first leg is a record") };
    let note = |byte| Entry::Note { topic: Digest([1; 32]), commitment: Digest([byte; 32]) };
    vec![
        ("a record of a batch: a note", note(2)),
        ("a record of a batch: another note", note(3)),
        ("a record of a batch: a prepared leg", Entry::Prepared { txid, leg, commitment }),
        ("a record of a batch: a closed leg", Entry::Closed { txid, leg, applied: true }),
        ("a record of a batch: the last one", note(4)),
    ]
}

pub(crate) fn vectors() -> Vec<Vector> {
    let entries = entries();
    let tree = entries_tree(entries.iter().map(|(_, entry)| entry));
    let (count, root) = (5, tree.root(5).unwrap());
    let batch = Batch { root, count, first: 0, height: 1, at: Timestamp::from_seconds(1_800_000_000) };
    let vector = |(index, (name, entry)): (u32, &(&'static str, Entry))| {
        let path = tree.inclusion(index.into(), count.into()).unwrap();
        let record = Record { index, entry: canonical::encode(entry), path };
        assert_eq!(batch.entry(&record).as_ref(), Ok(entry));
        Vector::new(name, "batch-record", &record)
            .expect("leaf_hash", leaf_hash(&record.entry))
            .expect("count", count)
            .expect("root", root)
    };
    (0..).zip(&entries).map(vector).collect()
}
