//! Broken protocols, so that the simulation is seen to fail. Each breaks one thing, at a seam: the disk, the line to a
//! ledger, the start of a node, or the rules of a ledger. Product code knows none of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sofie_ledgers::fake::{Breach, Fake};
use sofie_ledgers::{
    Hashlocks, Head, Intent, Ledger, LedgerError, Presigned, Profile, Revealed, Spend, Status,
};
use sofie_model::{
    Account, Class, Decide, Decision, Evidence, Fact, Finality, Leg, LegId, Manifest, Operation, Position,
    Proof, Step,
};

use super::time::DAWN;
use super::world::World;

/// So long a broken executor waits before it asks for ABORT, in milliseconds.
const MINUTES: u64 = 300_000;

macro_rules! mutants {
    ($($name:ident $text:literal $breaks:literal;)*) => {
        /// A broken protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $breaks] $name,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it breaks.
            #[must_use]
            pub const fn breaks(self) -> &'static str {
                match self { $(Self::$name => $breaks,)* }
            }
        }
    };
}

mutants! {
    NoFsync "no-fsync" "The journal answers before what it keeps is durable.";
    TornWrite "torn-write" "A crash leaves half of a journal list.";
    NoAdopt "no-adopt" "After a restart earlier intents are not taken over.";
    NoRecover "no-recover" "After a restart what was in flight is forgotten.";
    FreshIntent "fresh-intent" "Each retry is made anew instead of the intent that was kept.";
    SubmitFirst "submit-first" "What is submitted leaves before its intent is kept.";
    SharedNonce "shared-nonce" "Two operations are given the same nonce.";
    TransientRefused "transient-refused" "A ledger that does not answer is taken to refuse.";
    PresumeAbort "presume-abort" "ABORT is presumed instead of read from D.";
    PresumeCommit "presume-commit" "A COMMIT that was submitted is taken to stand.";
    DecisionUnfinal "decision-unfinal" "A decision is acted upon before it is final.";
    PrepareUnfinal "prepare-unfinal" "A prepare counts before it is final.";
    IgnoreFork "ignore-fork" "What was once seen is counted on, also when it was undone.";
    ForgetUndo "forget-undo" "After ABORT a lock is not undone.";
    LateRelease "late-release" "Secrets are released until the deadline, with no time for COMMIT to become final.";
    NoDeadline "no-deadline" "D takes COMMIT after the deadline.";
    NoPreimage "no-preimage" "D takes COMMIT without looking at the preimages.";
    SecondDecision "second-decision" "D takes a second decision in place of the first.";
    ApplyTwice "apply-twice" "A leg takes effect as often as it is told to.";
    NoP5 "no-p5" "A pivot is locked although its times are not safe.";
    LateRefund "late-refund" "The pivot is paid back only after ABORT, not as soon as its time has passed.";
    RenounceLate "renounce-late" "ABORT is signed for a participant whose secret is out.";
    NothingAhead "nothing-ahead" "What was signed ahead for the pivot's lock is not brought to the others.";
    PayerTells "payer-tells" "The payer of a pivot with a single hash tells its secret before its lock is final.";
    StrongLabel "strong-label" "A label says nothing of operators that are alone.";
    EarlyTimelock "early-timelock" "The pivot's ledger pays back before T_p.";
    LongPreimage "long-preimage" "The pivot's ledger opens to a preimage of 33 bytes.";
    EarlyRefund "early-refund" "A custodian pays back by time, without a decision.";
    DeafToDisk "deaf-to-disk" "A write that the disk has refused is taken for durable.";
    HastyGuard "hasty-guard" "The guard signs COMMIT for a claim that is not final.";
    SlowAbort "slow-abort" "ABORT is sent minutes after G.";
    BlindFinality "blind-finality" "What was final once is counted on for ever: decisions, and what closes a leg.";
    ReDecide "re-decide" "When D no longer holds COMMIT, it is asked for ABORT.";
    FreshLock "fresh-lock" "After COMMIT a lock that is gone is made anew instead of with the intent that was kept.";
}

impl std::fmt::Display for Mutant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Mutant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|one| one.name() == text).copied();
        found.ok_or_else(|| format!("there is no mutant {text:?}; `--mutant list` names them"))
    }
}

impl Mutant {
    /// The rule that ledgers break under it.
    pub(super) const fn breach(self) -> Option<Breach> {
        match self {
            Self::NoDeadline => Some(Breach::Deadline),
            Self::NoPreimage => Some(Breach::Preimages),
            Self::SecondDecision => Some(Breach::SecondDecision),
            Self::ApplyTwice => Some(Breach::ApplyTwice),
            Self::EarlyTimelock => Some(Breach::EarlyRefund),
            Self::LongPreimage => Some(Breach::LongPreimages),
            _ => None,
        }
    }
}

/// A custodian that pays back at the deadline, whatever D says.
pub(super) async fn refund_early(world: Arc<World>, ledger: usize) {
    let fake = world.fakes[ledger].clone();
    let mut plans = world.scenario.transactions.clone();
    plans.sort_by_key(|plan| plan.manifest.deadline);
    for plan in plans {
        let at = plan.manifest.deadline.since(DAWN).as_millis();
        world.wheel.sleep(at.saturating_sub(world.wheel.millis())).await;
        let manifest = Arc::new(plan.manifest);
        let held = |(_, leg): &(LegId, &Leg)| leg.ledger == fake.profile().id && leg.class == Class::Escrow;
        for (leg, _) in manifest.legs().filter(held) {
            let revert = Operation::Leg { manifest: manifest.clone(), leg, step: Step::Revert };
            if let Ok(intent) = fake.intend(&revert).await {
                world.deliver(&fake, intent, 1);
            }
        }
    }
}

/// A node's view of a ledger, broken.
pub(super) struct Broken {
    pub(super) mutant: Mutant,
    pub(super) inner: Arc<dyn Ledger>,
    pub(super) fake: Fake,
    pub(super) world: Arc<World>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    intended: BTreeMap<Vec<u8>, Operation>,
    submitted: BTreeMap<Vec<u8>, u32>,
    /// What was once seen: its evidence, and when, in the world's milliseconds.
    seen: Vec<(Evidence, u64)>,
    claimed: Vec<Evidence>,
}

impl Broken {
    pub(super) fn new(mutant: Mutant, inner: Arc<dyn Ledger>, fake: Fake, world: Arc<World>) -> Self {
        Self { mutant, inner, fake, world, memory: Mutex::default() }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("no holder of this lock panics")
    }

    /// Evidence that nobody gave.
    fn claim(&self, fact: Fact) -> Evidence {
        let position = Position { height: 0, index: 0, reference: sofie_model::Digest::ZERO };
        Evidence { ledger: self.profile().id.clone(), fact, position, at: self.world.wheel.now() }
    }

    fn presumed(&self, operation: &Operation, status: &Status) -> Option<Evidence> {
        let Operation::Decide { manifest, decide } = operation else { return None };
        let undecided = matches!(status, Status::Absent | Status::Pending);
        match (self.mutant, decide) {
            (Mutant::PresumeAbort, Decide::Abort { by, .. }) if undecided && *by != Account::ZERO => {
                Some(self.claim(Fact::Decided(manifest.txid(), Decision::Abort { by: *by })))
            }
            (Mutant::PresumeCommit, Decide::Commit { .. }) if undecided => {
                let claimed = &self.memory().claimed;
                let of =
                    |one: &&Evidence| matches!(&one.fact, Fact::Decided(id, _) if *id == manifest.txid());
                claimed.iter().find(of).cloned()
            }
            _ => None,
        }
    }

    /// Counts on what it saw once, as if nothing were ever undone.
    fn counted(&self, operation: &Operation) -> Option<Evidence> {
        let now = self.world.wheel.millis();
        let mut memory = self.memory();
        if let Some((evidence, _)) = self.fake.seen(operation)
            && !memory.seen.iter().any(|(one, _)| one.fact == evidence.fact)
        {
            memory.seen.push((evidence, now));
        }
        let wait = self.profile().finalises.as_millis();
        let of = |(one, at): &&(Evidence, u64)| Fake::is_of(&one.fact, operation) && now >= at + wait;
        memory.seen.iter().find(of).map(|(one, _)| one.clone())
    }

    /// What was final once, if this counts on it for ever.
    fn clings(&self, operation: &Operation, status: &Status) -> Option<Evidence> {
        let mut memory = self.memory();
        if let Status::Final(evidence) = status {
            memory.seen.push((evidence.clone(), self.world.wheel.millis()));
        }
        let clings =
            !matches!(operation, Operation::Leg { step: Step::Prepare, .. } | Operation::Note { .. });
        let of = |(one, _): &&(Evidence, u64)| clings && Fake::is_of(&one.fact, operation);
        memory.seen.iter().find(of).map(|(one, _)| one.clone())
    }

    /// Asks D for ABORT, where it held COMMIT once and holds nothing now.
    async fn decide_anew(&self, operation: &Operation) {
        let Operation::Decide { manifest, .. } = operation else { return };
        let commit = |fact: &Fact| matches!(fact, Fact::Decided(id, Decision::Commit { .. }) if *id == manifest.txid());
        let stood = self.memory().seen.iter().any(|(one, _)| commit(&one.fact));
        let Some(first) = manifest.participants.first().filter(|_| stood) else { return };
        let decide = Decide::Abort { by: first.account, signatures: Vec::new() };
        let abort = Operation::Decide { manifest: manifest.clone(), decide };
        if let Ok(intent) = self.inner.intend(&abort).await {
            // Whatever D answers: it has been asked.
            let _ = self.inner.submit(&intent).await;
        }
    }

    /// Whether COMMIT includes the leg, and its lock is not there any more.
    fn has_lost(&self, operation: &Operation) -> bool {
        let Operation::Leg { manifest, leg, step: Step::Prepare } = operation else { return false };
        let id = manifest.txid();
        let included = self.world.decision(id).is_some_and(|decision| decision.includes(*leg));
        included && !self.fake.facts().contains(&Fact::Prepared(id, *leg))
    }

    fn waits_for_abort(&self, operation: &Operation) -> bool {
        let Operation::Leg { manifest, step: Step::Revert, .. } = operation else { return false };
        self.inner.hashlocks().is_some() && !self.world.has_decision(manifest.txid())
    }

    fn too_early(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Decide { .. } => self.mutant == Mutant::DecisionUnfinal,
            Operation::Leg { step: Step::Prepare, .. } => self.mutant == Mutant::PrepareUnfinal,
            _ => false,
        }
    }
}

#[async_trait]
impl Ledger for Broken {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        if self.mutant == Mutant::LateRefund && self.waits_for_abort(operation) {
            let (ledger, reason) = (self.profile().id.clone(), "D has not decided".to_owned());
            return Err(LedgerError::Transient { ledger, reason });
        }
        let intent = match self.mutant {
            Mutant::SharedNonce => self.fake.intend_with(self.fake.tries() / 2 + 1, operation)?,
            _ => self.inner.intend(operation).await?,
        };
        self.memory().intended.insert(intent.0.clone(), operation.clone());
        if self.mutant == Mutant::SubmitFirst {
            // It has left, whatever the answer is.
            let _ = self.inner.submit(&intent).await;
        }
        Ok(intent)
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.inner.adopt(intent).await
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        let (operation, again) = {
            let mut memory = self.memory();
            let times = memory.submitted.entry(intent.0.clone()).or_default();
            *times += 1;
            let again = *times > 1;
            (memory.intended.get(&intent.0).cloned(), again)
        };
        match (self.mutant, operation) {
            (Mutant::SlowAbort, Some(Operation::Decide { decide: Decide::Abort { .. }, .. })) if !again => {
                self.world.wheel.sleep(MINUTES).await;
                self.inner.submit(intent).await
            }
            (Mutant::FreshLock, Some(operation)) if self.has_lost(&operation) => {
                let fresh = self.inner.intend(&operation).await?;
                self.inner.submit(&fresh).await
            }
            (Mutant::FreshIntent, Some(operation)) if again => {
                let fresh = self.inner.intend(&operation).await?;
                self.inner.submit(&fresh).await
            }
            (Mutant::ForgetUndo, Some(Operation::Leg { step: Step::Revert, .. })) => Ok(()),
            (Mutant::ApplyTwice, Some(operation @ Operation::Leg { step: Step::Apply, .. })) => {
                let second = self.inner.intend(&operation).await?;
                self.inner.submit(intent).await?;
                self.inner.submit(&second).await
            }
            (
                Mutant::PresumeCommit,
                Some(Operation::Decide {
                    manifest,
                    decide: Decide::Commit { included, evidence_root, preimages, .. },
                }),
            ) => {
                let decision = Decision::Commit { included, evidence_root, preimages };
                let claimed = self.claim(Fact::Decided(manifest.txid(), decision));
                self.memory().claimed.push(claimed);
                self.inner.submit(intent).await
            }
            (Mutant::TransientRefused, _) => self.inner.submit(intent).await.map_err(|error| match error {
                LedgerError::Transient { ledger, reason } => LedgerError::Refused { ledger, reason },
                other => other,
            }),
            _ => self.inner.submit(intent).await,
        }
    }

    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        let status = self.inner.status(operation, intent).await?;
        if let Some(evidence) = self.presumed(operation, &status) {
            return Ok(Status::Final(evidence));
        }
        match (self.mutant, operation) {
            (Mutant::IgnoreFork, _) if self.profile().finality != Finality::Instant => {
                Ok(self.counted(operation).map_or(status, Status::Final))
            }
            (Mutant::ForgetUndo, Operation::Leg { manifest, leg, step: Step::Revert }) => {
                Ok(Status::Final(self.claim(Fact::Reverted(manifest.txid(), *leg))))
            }
            (Mutant::BlindFinality, _) => Ok(self.clings(operation, &status).map_or(status, Status::Final)),
            (Mutant::ReDecide, _) => {
                self.clings(operation, &status);
                if matches!(status, Status::Absent | Status::Refused { .. }) {
                    self.decide_anew(operation).await;
                }
                Ok(status)
            }
            _ if status == Status::Pending && self.too_early(operation) => {
                Ok(self.fake.seen(operation).map_or(status, |(evidence, _)| Status::Final(evidence)))
            }
            _ => Ok(status),
        }
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        self.inner.head().await
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        self.inner.prove(manifest, facts).await
    }

    fn hashlocks(&self) -> Option<&dyn Hashlocks> {
        self.inner.hashlocks().map(|_| self as &dyn Hashlocks)
    }
}

impl Broken {
    fn locks(&self) -> Result<&dyn Hashlocks, LedgerError> {
        let (ledger, verb) = (self.profile().id.clone(), "claim");
        let none = || LedgerError::Unsupported { ledger, verb, reason: "it has no hashlocks".into() };
        self.inner.hashlocks().ok_or_else(none)
    }
}

#[async_trait]
impl Hashlocks for Broken {
    async fn revealed(&self, manifest: &Manifest, leg: LegId) -> Result<Option<Revealed>, LedgerError> {
        let seen = self.locks()?.revealed(manifest, leg).await?;
        let hasty = self.mutant == Mutant::HastyGuard;
        Ok(seen.map(|claim| Revealed { finally: claim.finally || hasty, ..claim }))
    }

    async fn presign(&self, manifest: &Manifest, leg: LegId, spend: Spend) -> Result<Presigned, LedgerError> {
        self.locks()?.presign(manifest, leg, spend).await
    }

    async fn accept(
        &self,
        manifest: &Manifest,
        leg: LegId,
        presigned: &Presigned,
    ) -> Result<(), LedgerError> {
        self.locks()?.accept(manifest, leg, presigned).await
    }
}
