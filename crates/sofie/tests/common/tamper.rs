//! Receipts that were changed after they were made. None may pass.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use k256::ecdsa::SigningKey;
use sofie_audit::{Body, Receipt};
use sofie_model::Account;

use super::{Story, verify};

/// Every so many bytes one is flipped: a prime, so that no structure is missed by step.
const STRIDE: usize = 97;
/// So many verifications at once.
const AT_ONCE: usize = 2;

/// A lie: what was done, and the bytes.
pub(crate) type Lie = (String, Vec<u8>);

/// Single bytes flipped, and ends cut off.
pub(crate) fn damaged(receipt: &[u8]) -> Vec<Lie> {
    let flip = |at: usize| {
        let mut bytes = receipt.to_vec();
        bytes[at] ^= 1 << (at % 8);
        (format!("bit {} of byte {at} flipped", at % 8), bytes)
    };
    let length = receipt.len();
    let cuts = [0, 1, 2, length / 4, length / 2, length - 65, length - 1];
    let cut = |to: usize| (format!("cut to {to} of {length} bytes"), receipt[..to].to_vec());
    let longer = ("a byte more".to_owned(), [receipt, &[0]].concat());
    (0..length).step_by(STRIDE).map(flip).chain(cuts.into_iter().map(cut)).chain([longer]).collect()
}

type Graft = (&'static str, fn(&mut Body, &Body));

const GRAFTS: &[Graft] = &[
    ("txid", |to, from| to.txid = from.txid),
    ("manifest", |to, from| to.manifest = from.manifest.clone()),
    ("parties", |to, from| to.parties = from.parties.clone()),
    ("proofs", |to, from| to.proofs = from.proofs.clone()),
    ("one proof", |to, from| to.proofs[0] = from.proofs[0].clone()),
    ("the other proof", |to, from| to.proofs[1] = from.proofs[1].clone()),
    ("things", |to, from| to.things = from.things.clone()),
    ("agreement", |to, from| to.agreement = from.agreement.clone()),
    ("capability", |to, from| to.capability = from.capability.clone()),
    ("evidence", |to, from| to.evidence = from.evidence.clone()),
    ("audit", |to, from| to.audit = from.audit.clone()),
];

/// Parts of `other` put into `own`; signed as it was, and signed anew by the key of a stranger.
pub(crate) fn spliced(own: &[u8], other: &[u8]) -> Vec<Lie> {
    let read = |bytes| Receipt::from_bytes(bytes).expect("a true receipt");
    let (mine, theirs) = (read(own), read(other));
    let stranger = SigningKey::from_slice(&[7; 32]).expect("a key");
    let mut lies = Vec::new();
    for (part, graft) in GRAFTS {
        let mut body = mine.body.clone();
        graft(&mut body, &theirs.body);
        assert_ne!(body, mine.body, "the two receipts share their {part}");
        let kept = Receipt { body: body.clone(), signatures: mine.signatures.clone() };
        lies.push((format!("{part} of another, the signature as it was"), kept.to_bytes()));
        lies.push((format!("{part} of another, signed by a stranger"), body.sign(&stranger).to_bytes()));
    }
    let signatures = Receipt { body: mine.body.clone(), signatures: theirs.signatures };
    lies.push(("the signature of another".into(), signatures.to_bytes()));
    lies.push(("signed anew by a stranger".into(), mine.body.clone().sign(&stranger).to_bytes()));
    let half = [&own[..own.len() / 2], &other[other.len() / 2..]].concat();
    lies.push(("half of one, half of another".into(), half));
    lies
}

/// Each lie is refused, with exit code 1 and a reason, with and without anchors.
pub(crate) fn refused(story: &Story, lies: &[Lie]) {
    let next = AtomicUsize::new(0);
    let judge = |(what, bytes): &Lie, at: usize| {
        let file = story.folder.path().join(format!("lie-{at}.cbor"));
        std::fs::write(&file, bytes).expect("it is written");
        for anchors in [None, Some(story.anchors())] {
            let (code, said) = verify(&file, anchors.as_deref());
            assert!(code == 1 && said.contains("refused: "), "{what}: {code}: {said}");
        }
        std::fs::remove_file(&file).expect("it was written");
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some(lie) = lies.get(at) else { return };
                    judge(lie, at);
                }
            });
        }
    });
}

/// Who re-signs as "operator" and says that the operator has another account: consistent in itself, and refused by
/// anchors that know the operator.
pub(crate) fn usurped(receipt: &[u8], to: &Path) -> PathBuf {
    let stranger = SigningKey::from_slice(&[7; 32]).expect("a key");
    let mut body = Receipt::from_bytes(receipt).expect("a true receipt").body;
    let operator = body.operator.clone();
    let account = Account::from(stranger.verifying_key());
    for party in body.parties.iter_mut().filter(|party| party.name == operator) {
        party.account = account;
    }
    let file = to.join("usurped.cbor");
    std::fs::write(&file, body.sign(&stranger).to_bytes()).expect("it is written");
    file
}
