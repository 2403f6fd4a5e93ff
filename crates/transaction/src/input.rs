//! What can happen to a transaction. Inputs are stored, in order, as the transaction's journal.

use minicbor::{Decode, Encode};
use sofie_model::{Digest, Evidence, LegId, Manifest, Signature, Span};

use crate::timing::{PivotClock, TooTight, slack};

/// What this node knows and does for one transaction, fixed when it begins so that a replay needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Plan {
    /// The agreed manifest.
    #[n(0)]
    pub manifest: Manifest,
    /// The manifest's participants, by index, whose keys and secrets this node holds.
    #[n(1)]
    pub acts_for: Vec<u16>,
    /// inclusion(D) + finality(D): no release is made later than this before T_D (design: "Secrets").
    #[n(2)]
    pub decision_time: Span,
    /// What the pivot's inequalities are made of; needed with a pivot.
    #[n(3)]
    pub pivot: Option<PivotClock>,
}

/// The pivot cannot be had with these times (P5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untimely {
    /// An inequality does not hold.
    #[error(transparent)]
    TooTight(#[from] TooTight),
    /// Nothing is known of the ledgers' times.
    #[error("the plan says nothing of the pivot's clock")]
    NoClock,
}

impl Plan {
    /// P5, before anything is locked. A plan that fails here is aborted as soon as it begins.
    ///
    /// # Errors
    /// [`Untimely`] names the edge.
    pub fn check(&self) -> Result<(), Untimely> {
        match (self.manifest.pivot(), self.pivot) {
            (None, _) => Ok(()),
            // A watcher locks nothing: it follows what others have agreed to, also when time has become short.
            _ if self.acts_for.is_empty() => Ok(()),
            (Some(_), None) => Err(Untimely::NoClock),
            (Some(_), Some(clock)) => Ok(slack(&self.manifest, clock).map(drop)?),
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Input {
    /// The leg's prepare is final. Answers [`crate::Task::Prepare`].
    #[n(0)]
    Prepared(#[n(0)] LegId, #[n(1)] Evidence),
    /// The leg's ledger refuses the prepare for good. Answers [`crate::Task::Prepare`].
    #[n(1)]
    PrepareRefused(#[n(0)] LegId, #[n(1)] String),
    /// A participant gave its secret away. Answers [`crate::Effect::Release`], or comes from another node.
    #[n(2)]
    Released(#[n(0)] u16, #[n(1)] Digest),
    /// A participant will not commit, or will not sign ABORT. Answers [`crate::Effect::Release`] and
    /// [`crate::Effect::Renounce`], or comes unasked.
    #[n(3)]
    Withheld(#[n(0)] u16, #[n(1)] String),
    /// The time of [`crate::Effect::Wake`] has come.
    #[n(4)]
    Woken,
    /// D holds a final decision, whoever made it. Answers [`crate::Task::Decide`] and [`crate::Effect::Observe`], or
    /// comes unasked.
    #[n(5)]
    Decided(#[n(0)] Evidence),
    /// D refuses the decision that this node asked for, and holds none. Answers [`crate::Task::Decide`].
    #[n(6)]
    DecideRefused(#[n(0)] String),
    /// The leg took effect, or was undone, finally. Answers [`crate::Task::Apply`] and [`crate::Task::Revert`].
    #[n(7)]
    Closed(#[n(0)] LegId, #[n(1)] Evidence),
    /// The leg's ledger refuses for good what the decision demands: the promise is at stake. Answers
    /// [`crate::Task::Apply`].
    #[n(8)]
    CloseRefused(#[n(0)] LegId, #[n(1)] String),
    /// An operator has looked at a halted transaction and wants it driven on.
    #[n(9)]
    Resumed,
    /// A reorganisation undid the leg's prepare, or after the decision also what had closed it (P3). Answers
    /// [`crate::Effect::Release`] and [`crate::Task::Apply`], or comes unasked.
    #[n(10)]
    Undone(#[n(0)] LegId, #[n(1)] String),
    /// D no longer holds the decision that was final there. Answers [`crate::Effect::Observe`], or comes unasked.
    #[n(11)]
    Undecided(#[n(0)] String),
    /// The pivot's ledger shows a claim, and with it every preimage. Answers [`crate::Effect::Observe`].
    #[n(12)]
    Revealed {
        /// Every participant's, in the manifest's order.
        #[n(0)]
        preimages: Vec<Digest>,
        /// The claim is final.
        #[n(1)]
        finally: bool,
    },
    /// The guard's signature under COMMIT between T_D and G. Answers [`crate::Effect::Permit`], or comes from another
    /// node.
    #[n(13)]
    Permitted(#[n(0)] Signature),
    /// The guard does not sign, or its key is not here. Answers [`crate::Effect::Permit`].
    #[n(14)]
    PermitRefused(#[n(0)] String),
    /// A participant's signature under ABORT: it will never release. Answers [`crate::Effect::Renounce`], or comes from
    /// another node.
    #[n(15)]
    Renounced(#[n(0)] u16, #[n(1)] Signature),
    /// The leg's ledger refuses for good to undo it: the promise is at stake, unless D has included the leg meanwhile.
    /// Answers [`crate::Task::Revert`].
    #[n(16)]
    RevertRefused(#[n(0)] LegId, #[n(1)] String),
}

impl Input {
    /// What a refusal of it is told with.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Prepared(leg, _) => format!("prepared({leg})"),
            Self::PrepareRefused(leg, _) => format!("prepare-refused({leg})"),
            Self::Released(who, _) => format!("released({who})"),
            Self::Withheld(who, _) => format!("withheld({who})"),
            Self::Woken => "woken".into(),
            Self::Decided(_) => "decided".into(),
            Self::DecideRefused(_) => "decide-refused".into(),
            Self::Closed(leg, _) => format!("closed({leg})"),
            Self::CloseRefused(leg, _) => format!("close-refused({leg})"),
            Self::Resumed => "resumed".into(),
            Self::Undone(leg, _) => format!("undone({leg})"),
            Self::Undecided(_) => "undecided".into(),
            Self::Revealed { .. } => "revealed".into(),
            Self::Permitted(_) => "permitted".into(),
            Self::PermitRefused(_) => "permit-refused".into(),
            Self::Renounced(who, _) => format!("renounced({who})"),
            Self::RevertRefused(leg, _) => format!("revert-refused({leg})"),
        }
    }
}
