//! What a ledger is asked to do. The transaction and the market emit operations; the ledger port carries them out.

use std::sync::Arc;

use crate::{Account, Digest, LegId, Manifest, Signature, SignedAttestation, SignedRuling, Txid};

/// A step of one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Lock the value, or append the inert record. Only before the decision.
    Prepare,
    /// Let the leg take effect, after COMMIT: a transfer is paid, an escrow only armed.
    Apply,
    /// What a hashlock leg is asked instead of [`Step::Apply`]: claim it with the preimages that open its lock
    /// ([`Manifest::lock_hashes`]). Its fact is [`crate::Fact::Applied`].
    Claim(Vec<Digest>),
    /// Undo the prepare, after ABORT (or after a COMMIT that leaves this leg out); of a hashlock leg, the refund after
    /// T_p.
    Revert,
    /// Put the evidence of an armed escrow on the ledger, which starts its dispute window. Only where terms name one.
    Present(SignedAttestation),
    /// Pay an armed escrow's payee, by evidence; where the terms name a dispute window, for what was presented, once it is over.
    Settle(SignedAttestation),
    /// Pay the payer back, by the arbiter's ruling within the dispute window of what was presented.
    Overrule(SignedRuling),
    /// Pay an armed escrow's payer back, after T_E and the submission window, when nothing was presented.
    Refund,
}

/// A record that a participant asks D to take. The first valid one wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decide {
    /// COMMIT, with all preimages.
    Commit {
        /// Bit i: leg i takes effect.
        included: u64,
        /// [`crate::evidence::root`] of the included legs' prepare evidence.
        evidence_root: Digest,
        /// In the order of the manifest's participants.
        preimages: Vec<Digest>,
        /// The guard's over [`crate::contract::commit_digest`]: needed between T_D and G only.
        guard: Option<Signature>,
    },
    /// ABORT, sent by this participant.
    Abort {
        /// Who aborts; [`Account::ZERO`] for anyone, after G or with every signature.
        by: Account,
        /// Every participant's over [`crate::contract::abort_digest`], in the manifest's order: needed before G with a
        /// guard. Empty otherwise.
        signatures: Vec<Signature>,
    },
}

/// One thing for one ledger to do. Carrying it out twice is the same as once (P4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A step of a leg, on the leg's ledger.
    Leg {
        /// The transaction.
        manifest: Arc<Manifest>,
        /// Which leg.
        leg: LegId,
        /// Which step.
        step: Step,
    },
    /// A decision, on D.
    Decide {
        /// The transaction.
        manifest: Arc<Manifest>,
        /// COMMIT or ABORT.
        decide: Decide,
    },
    /// A commitment that stands outside any transaction, on a record ledger: a Thing Description's hash, evidence.
    Note {
        /// What it is about: the first note of a topic and commitment counts, a second is the same.
        topic: Digest,
        /// The salted commitment, or the hash of something public.
        commitment: Digest,
    },
}

impl Operation {
    /// The transaction it belongs to, if any.
    #[must_use]
    pub fn txid(&self) -> Option<Txid> {
        match self {
            Self::Leg { manifest, .. } | Self::Decide { manifest, .. } => Some(manifest.txid()),
            Self::Note { .. } => None,
        }
    }

    /// A word for logs and timelines.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Leg { step: Step::Prepare, .. } => "prepare",
            Self::Leg { step: Step::Apply, .. } => "apply",
            Self::Leg { step: Step::Claim(_), .. } => "claim",
            Self::Leg { step: Step::Revert, .. } => "revert",
            Self::Leg { step: Step::Present(_), .. } => "present",
            Self::Leg { step: Step::Settle(_), .. } => "settle",
            Self::Leg { step: Step::Overrule(_), .. } => "overrule",
            Self::Leg { step: Step::Refund, .. } => "refund",
            Self::Decide { decide: Decide::Commit { .. }, .. } => "commit",
            Self::Decide { decide: Decide::Abort { .. }, .. } => "abort",
            Self::Note { .. } => "note",
        }
    }
}
