//! Proof that entries stand in a calendar: a private shared log in the manner of KSI, an append-only Merkle tree
//! (RFC 6962) with signed checkpoints (C2SP tlog-checkpoint), and a second tree that holds one root for each second.
//!
//! **Time.** A leaf carries the time at which the log took it, as a certificate's log entry does (RFC 6962, section
//! 3.4), and it never decreases along the log. That is the operator's word, signed with the checkpoint. The tree of
//! seconds is the further evidence: its root for second s, once others hold it ([`extension`]), bounds every entry
//! below from above.
//!
//! Left out: that a `Prepared` entry is the *first* with its commitment, or a `Decided` one the first valid. A log that
//! appends a second one gives itself away to whoever reads it all; a proof of some leaves cannot show it, and no witness's
//! cosignature does ([`Cosignature`]): that shows only that there is no other history. Notes belong to no transaction: they are
//! decoded, and what they mean is for the reader to compare.

use minicbor::{Decode, Encode};

use super::{Anchor, BadProof, Cosigner, Proven};
use crate::{
    Decision, Digest, Evidence, Fact, LedgerId, LegId, Manifest, Position, Signature, Terms, Timestamp, Txid,
    canonical,
};

mod checkpoint;
mod cosignature;
pub mod decision;
pub mod extension;
pub mod merkle;

pub use checkpoint::{BadCheckpoint, Checkpoint, MAX_ORIGIN, is_origin, log_key, verifier_key};
pub use cosignature::{
    BadCosignature, BadWitnessKey, Cosignature, MAX_WITNESSES, WitnessKey, add_checkpoint,
};
pub use extension::{Extension, PublishedRoot};

/// A proof with more leaves is refused.
pub const MAX_LEAVES: usize = 1024;
/// A longer leaf is refused; the longest that there is, an ABORT that sixteen participants sign, has 1,144 bytes.
pub const MAX_LEAF: usize = 1280;
/// What the name of a log's tree of seconds ends with.
pub const SECONDS: &str = "/seconds";

/// What stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Entry {
    /// A leg's salted commitment: inert until a reader verifies COMMIT on D.
    #[n(0)]
    Prepared {
        /// The transaction.
        #[n(0)]
        txid: Txid,
        /// Its leg on this log.
        #[n(1)]
        leg: LegId,
        /// As the manifest says.
        #[n(2)]
        commitment: Digest,
    },
    /// What became of a leg, by the word of the executor who drove it; D alone decides.
    #[n(1)]
    Closed {
        /// The transaction.
        #[n(0)]
        txid: Txid,
        /// Its leg on this log.
        #[n(1)]
        leg: LegId,
        /// Whether it took effect.
        #[n(2)]
        applied: bool,
    },
    /// A commitment outside any transaction.
    #[n(2)]
    Note {
        /// What it is about.
        #[n(0)]
        topic: Digest,
        /// The commitment.
        #[n(1)]
        commitment: Digest,
    },
    /// The decision of a transaction whose D is this log, if it is the first valid one ([`decision::check`]).
    #[n(3)]
    Decided {
        /// The transaction.
        #[n(0)]
        txid: Txid,
        /// COMMIT with every preimage, or ABORT.
        #[n(1)]
        decision: Decision,
        /// The guard's under COMMIT; its author's or every participant's under ABORT.
        #[n(2)]
        signatures: Vec<Signature>,
    },
}

impl Entry {
    /// The fact that the entry states.
    #[must_use]
    pub fn fact(&self) -> Fact {
        match self {
            Self::Prepared { txid, leg, .. } => Fact::Prepared(*txid, *leg),
            Self::Closed { txid, leg, applied: true } => Fact::Applied(*txid, *leg),
            Self::Closed { txid, leg, applied: false } => Fact::Reverted(*txid, *leg),
            Self::Note { topic, commitment } => Fact::Noted(*topic, *commitment),
            Self::Decided { txid, decision, .. } => Fact::Decided(*txid, decision.clone()),
        }
    }
}

/// A leaf of the log. Its canonical bytes are what is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Leaf {
    /// When the log took it.
    #[n(0)]
    pub at: Timestamp,
    /// What it took.
    #[n(1)]
    pub entry: Entry,
}

impl Leaf {
    /// The evidence of this leaf at `index` in `ledger`. Its height is the size of the smallest log that contains it.
    #[must_use]
    pub fn evidence(&self, ledger: &LedgerId, index: u64) -> Evidence {
        let reference = merkle::leaf_hash(&canonical::encode(self));
        let position = Position { height: index.saturating_add(1), index, reference };
        Evidence { ledger: ledger.clone(), fact: self.entry.fact(), position, at: self.at }
    }
}

/// A leaf of the tree of seconds: the log's root at the end of a second in which it grew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Second {
    /// Seconds since the Unix epoch.
    #[n(0)]
    pub second: u64,
    /// The log's size at its end.
    #[n(1)]
    pub size: u64,
    /// The log's root at that size.
    #[n(2)]
    pub root: Digest,
}

/// A leaf and its path to the checkpoint's root.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Included {
    /// Its place in the log, from 0.
    #[n(0)]
    pub index: u64,
    /// The canonical bytes of the [`Leaf`].
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub leaf: Vec<u8>,
    /// RFC 6962 audit path, from the leaf up.
    #[n(2)]
    pub path: Vec<Digest>,
}

/// That the log's checkpoint is the root of a published second.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Published {
    /// The second.
    #[n(0)]
    pub second: u64,
    /// Its place in the tree of seconds.
    #[n(1)]
    pub index: u64,
    /// RFC 6962 audit path in the tree of seconds.
    #[n(2)]
    pub path: Vec<Digest>,
    /// The signed checkpoint of the tree of seconds: its root is the published one.
    #[n(3)]
    pub checkpoint: String,
}

/// A signed checkpoint and the entries' inclusion in its tree.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LogProof {
    /// The log's Ed25519 public key.
    #[n(0)]
    pub key: Digest,
    /// The signed note over name, size and root.
    #[n(1)]
    pub checkpoint: String,
    /// Ascending by index.
    #[n(2)]
    pub leaves: Vec<Included>,
    /// Further evidence of time, where a second has been published since.
    #[n(3)]
    pub published: Option<Published>,
    /// Witnesses' signatures under the checkpoint, at least one; ascending by key, each once.
    #[n(4)]
    pub cosigned: Option<Vec<Cosignature>>,
}

impl LogProof {
    /// The checkpoint that it stands under.
    ///
    /// # Errors
    /// [`BadCheckpoint`] unless its key signed it.
    pub fn head(&self) -> Result<Checkpoint, BadCheckpoint> {
        Checkpoint::verify(&self.checkpoint, &self.key)
    }

    /// The notes that it proves, and nothing else: what belongs to a transaction is refused.
    ///
    /// # Errors
    /// [`BadProof`] names the first part that does not hold.
    pub fn notes(&self, ledger: &LedgerId) -> Result<Proven, BadProof> {
        self.verify_entries(ledger, |entry, _| match entry {
            Entry::Note { .. } => Ok(()),
            _ => Err("it is no note".into()),
        })
    }

    pub(super) fn verify(&self, ledger: &LedgerId, manifest: &Manifest) -> Result<Proven, BadProof> {
        self.verify_entries(ledger, |entry, at| check(entry, at, ledger, manifest))
    }

    fn verify_entries(
        &self,
        ledger: &LedgerId,
        check: impl Fn(&Entry, Timestamp) -> Result<(), String>,
    ) -> Result<Proven, BadProof> {
        let refuse = |part: String, why: String| BadProof { ledger: ledger.clone(), part, why };
        let head = self.head().map_err(|error| refuse("checkpoint".into(), error.to_string()))?;
        if self.leaves.len() > MAX_LEAVES {
            return Err(refuse("leaves".into(), format!("more than {MAX_LEAVES}")));
        }
        let mut evidence: Vec<Evidence> = Vec::with_capacity(self.leaves.len());
        for included in &self.leaves {
            let fact = included
                .verify(&head, ledger, &check, evidence.last())
                .map_err(|why| refuse(format!("leaf {}", included.index), why))?;
            let decides = |one: &Evidence| matches!(one.fact, Fact::Decided(..));
            if decides(&fact) && evidence.iter().any(decides) {
                return Err(refuse(format!("leaf {}", included.index), "a decision stands before it".into()));
            }
            evidence.push(fact);
        }
        if let Some(published) = &self.published {
            published
                .verify(&head, &self.key, evidence.last())
                .map_err(|why| refuse(format!("second {}", published.second), why))?;
        }
        let cosigned = self.cosigned(&head).map_err(|why| refuse("witnesses".into(), why))?;
        let Checkpoint { origin, size, root } = head;
        Ok(Proven { anchor: Anchor::Calendar { origin, key: self.key, size, root, cosigned }, evidence })
    }

    /// Who has cosigned the checkpoint.
    fn cosigned(&self, head: &Checkpoint) -> Result<Vec<Cosigner>, String> {
        let Some(all) = &self.cosigned else { return Ok(Vec::new()) };
        if all.is_empty() || all.len() > MAX_WITNESSES {
            return Err(format!("1 to {MAX_WITNESSES} are expected"));
        }
        if !all.is_sorted_by(|one, next| one.key < next.key) {
            return Err("they are not in the order of their keys, each once".into());
        }
        all.iter().try_for_each(|one| one.verify(head)).map_err(|error| error.to_string())?;
        Ok(all.iter().map(|one| Cosigner { witness: one.witness().to_string(), at: one.at }).collect())
    }
}

impl Included {
    /// The leaf, if it stands below `head`.
    ///
    /// # Errors
    /// What does not hold, for people.
    pub fn under(&self, head: &Checkpoint) -> Result<Leaf, String> {
        let root = merkle::included_root(self.index, head.size, merkle::leaf_hash(&self.leaf), &self.path);
        if root != Some(head.root) {
            return Err("its path does not lead to the checkpoint's root".into());
        }
        canonical::decode(&self.leaf, MAX_LEAF).map_err(|error| error.to_string())
    }

    fn verify(
        &self,
        head: &Checkpoint,
        ledger: &LedgerId,
        check: impl Fn(&Entry, Timestamp) -> Result<(), String>,
        before: Option<&Evidence>,
    ) -> Result<Evidence, String> {
        let leaf = self.under(head)?;
        check(&leaf.entry, leaf.at)?;
        match before {
            Some(before) if before.position.index >= self.index => Err("the leaves are not in order".into()),
            Some(before) if before.at > leaf.at => Err("its time lies before that of an earlier leaf".into()),
            _ => Ok(leaf.evidence(ledger, self.index)),
        }
    }
}

impl Published {
    fn verify(&self, head: &Checkpoint, key: &Digest, last: Option<&Evidence>) -> Result<(), String> {
        let seconds = Checkpoint::verify(&self.checkpoint, key).map_err(|error| error.to_string())?;
        if seconds.origin.strip_suffix(SECONDS) != Some(&head.origin) {
            return Err(format!("{} is not the tree of seconds of {}", seconds.origin, head.origin));
        }
        let leaf = canonical::encode(&Second { second: self.second, size: head.size, root: head.root });
        let root = merkle::included_root(self.index, seconds.size, merkle::leaf_hash(&leaf), &self.path);
        if root != Some(seconds.root) {
            return Err("its path does not lead to the published root".into());
        }
        match last {
            Some(last) if last.at.as_seconds() > self.second => {
                Err("an entry below it says a later time".into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether an entry of this time is one that `manifest` has on `ledger`.
pub(super) fn check(
    entry: &Entry,
    at: Timestamp,
    ledger: &LedgerId,
    manifest: &Manifest,
) -> Result<(), String> {
    let ours = |txid: &Txid| {
        let about_another = || format!("it is about another transaction, {txid}");
        if *txid == manifest.txid() { Ok(()) } else { Err(about_another()) }
    };
    match entry {
        Entry::Note { .. } => Ok(()),
        Entry::Prepared { txid, leg, commitment } => {
            ours(txid)?;
            match record(manifest, *leg, ledger)? {
                expected if expected == *commitment => Ok(()),
                expected => Err(format!("it commits to {commitment}, the manifest to {expected}")),
            }
        }
        Entry::Closed { txid, leg, .. } => {
            ours(txid)?;
            record(manifest, *leg, ledger).map(drop)
        }
        Entry::Decided { txid, decision, signatures } => {
            ours(txid)?;
            let site = &manifest.decision.ledger;
            if site != ledger {
                return Err(format!("the decision stands on {site}, not on {ledger}"));
            }
            decision::check(manifest, decision, signatures, at)
        }
    }
}

/// The commitment of a record leg on `ledger`.
fn record(manifest: &Manifest, id: LegId, ledger: &LedgerId) -> Result<Digest, String> {
    let leg = manifest.leg(id).filter(|leg| leg.ledger == *ledger);
    match leg.map(|leg| &leg.terms) {
        None => Err(format!("the manifest has no {id} on {ledger}")),
        Some(Terms::Record(commitment)) => Ok(*commitment),
        Some(_) => Err(format!("{id} is no record")),
    }
}

#[cfg(test)]
pub(super) mod tests;
