//! Runs contracts: what the room `market` wants done after the transaction has committed is done with the node's
//! capabilities, adapters, keys and ledgers.

mod actuation;
mod escrow;
mod open;
mod ruling;
mod sensors;
mod shared;
mod steps;
mod testimony;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minicbor::{Decode, Encode};
use sofie_access::{Affordance, Grant};
use sofie_market::{Agreement, Contract, Effect, Input, Part, Phase, Seen};
use sofie_model::{
    Account, Decision, Digest, Evidence, Fact, LedgerId, LegId, Manifest, Observation, Operation, Salt,
    SignedAttestation, Timestamp, Txid, canonical,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::auditor::Note;
use crate::clock;
use crate::config;
use crate::drive::{self, Actor, Asked, Droppable, Handle, Keeper, Leaving, Machine};
use crate::executor::{Ended, Executor, Key};
use crate::journal::{self, Entry, JournalError, Record};
use crate::parties::{Parties, capability_key};
use crate::platforms::Platforms;
use crate::receipts;
use crate::transactions::Transactions;

pub(crate) use actuation::random;
pub use open::Refused;
pub(crate) use open::next_second;
pub(crate) use ruling::NoRuling;
pub(crate) use shared::Beginning;
pub(crate) use testimony::Untold;

/// How long to wait before a receipt that could not be made is tried again.
const RECEIPT_PAUSE: Duration = Duration::from_secs(1);

/// How long a payer's receipt waits for the evidence that the owner's node has.
const EVIDENCE_PATIENCE: Duration = Duration::from_secs(600);

/// The most contracts that run at once. Those that a restart finds unfinished go on, however many they are.
pub const MAX_RUNNING: usize = 4_096;

/// Where the contracts stand on a chain that can decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployment {
    /// EIP-155.
    pub chain_id: u64,
    /// The decision contract.
    pub decision: Account,
    /// The escrow contract.
    pub escrow: Account,
}

/// A contract as it begins.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Plan {
    /// The terms.
    #[n(0)]
    pub agreement: Agreement,
    /// What opens the record leg's commitment to the terms.
    #[n(1)]
    pub salt: Salt,
    /// The inter-ledger transaction.
    #[n(2)]
    pub manifest: Manifest,
    /// Where the intention and the evidence are recorded, if anywhere.
    #[n(3)]
    pub record_ledger: Option<LedgerId>,
    /// By the node's clock.
    #[n(4)]
    pub opened_at: Timestamp,
    /// Which sides this node acts for; none said: both.
    #[n(5)]
    pub part: Option<Part>,
    /// The offer that it takes up, if one.
    #[n(6)]
    pub offer: Option<Digest>,
}

/// All contracts of a node. Clones share them.
#[derive(Clone)]
pub struct Contracts {
    executor: Executor,
    keeper: Keeper,
    transactions: Transactions,
    parties: Parties,
    platforms: Platforms,
    deployments: Arc<BTreeMap<LedgerId, Deployment>>,
    operator: config::Name,
    live: Arc<Mutex<HashMap<Txid, Handle<Driven>>>>,
    /// A permit for each that runs.
    room: Arc<Semaphore>,
}

impl std::fmt::Debug for Contracts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contracts").finish_non_exhaustive()
    }
}

/// A contract's state with the plan that its effects need.
#[derive(Debug, Clone)]
pub struct Driven {
    /// How it began.
    pub plan: Arc<Plan>,
    /// Where it is.
    pub contract: Contract,
}

impl Driven {
    /// `None` when the plan's manifest has no escrow leg.
    fn begin(plan: Plan) -> Option<Self> {
        let contract = Contract::begin(plan.agreement.clone(), &plan.manifest)?;
        let contract = contract.as_part(plan.part.unwrap_or_default());
        Some(Self { plan: Arc::new(plan), contract })
    }
}

impl Contracts {
    /// No contract runs yet: [`Contracts::recover`] continues what the journal holds.
    #[must_use]
    pub fn new(
        executor: Executor,
        keeper: Keeper,
        transactions: Transactions,
        parties: Parties,
        platforms: Platforms,
        deployments: Arc<BTreeMap<LedgerId, Deployment>>,
        operator: config::Name,
    ) -> Self {
        Self {
            executor,
            keeper,
            transactions,
            parties,
            platforms,
            deployments,
            operator,
            live: Arc::default(),
            room: Arc::new(Semaphore::new(MAX_RUNNING)),
        }
    }

    pub(crate) const fn executor(&self) -> &Executor {
        &self.executor
    }

    pub(crate) const fn parties(&self) -> &Parties {
        &self.parties
    }

    /// Who runs the node, and signs its receipts.
    pub(crate) const fn operator(&self) -> &config::Name {
        &self.operator
    }

    /// Continues what the journal holds unfinished. The transactions must have been recovered before.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read or replayed.
    pub fn recover(&self) -> Result<usize, JournalError> {
        let records = self.executor.journal().reader()?.machines(Driven::KIND, false)?;
        let all: Vec<Driven> = records.iter().map(replay).collect::<Result<_, _>>()?;
        all.iter().try_for_each(|driven| self.transactions.has_ledgers_of(&driven.plan.manifest))?;
        for (mut driven, record) in all.into_iter().zip(&records) {
            driven.contract = driven.contract.after_restart();
            let room = self.room.clone().try_acquire_owned().ok();
            self.run(driven, record.inputs.len() as u64, room);
        }
        Ok(records.len())
    }

    /// A contract that has not ended yet.
    #[must_use]
    pub fn live(&self, id: Txid) -> Option<Handle<Driven>> {
        self.live.lock().expect("no holder of this lock panics").get(&id).cloned()
    }

    /// A contract's state, also long after its end.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn state(&self, id: Txid) -> Result<Option<Arc<Driven>>, JournalError> {
        if let Some(handle) = self.live(id) {
            return Ok(Some(handle.state()));
        }
        let record = self.executor.journal().reader()?.machine(Driven::KIND, id.0)?;
        record.as_ref().map(|record| replay(record).map(Arc::new)).transpose()
    }

    /// Every contract, the newest first.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn all(&self) -> Result<Vec<Driven>, JournalError> {
        let records = self.executor.journal().reader()?.machines(Driven::KIND, true)?;
        records.iter().rev().map(replay).collect()
    }

    /// How many have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.live.lock().expect("no holder of this lock panics").len()
    }

    fn run(&self, driven: Driven, seq: u64, room: Option<OwnedSemaphorePermit>) -> Handle<Driven> {
        let txid = driven.contract.txid();
        let live = self.live.clone();
        // The lock is held until the handle stands in the map: the drive may end at once.
        let mut running = self.live.lock().expect("no holder of this lock panics");
        let handle = drive::start(driven, seq, self.clone(), self.keeper.clone(), move || {
            live.lock().expect("no holder of this lock panics").remove(&txid);
            drop(room);
        });
        running.insert(txid, handle.clone());
        handle
    }

    /// The journal entries with which a contract begins.
    fn begun(&self, plan: &Plan) -> Vec<Entry> {
        let id = plan.manifest.txid().0;
        let mut entries = receipts::described(&self.platforms, plan);
        entries.push(Entry::Begun { machine: Driven::KIND, id, plan: canonical::encode(plan) });
        entries
    }

    async fn follow(&self, driven: &Driven) -> Input {
        let txid = driven.contract.txid();
        // One that has halted undecided is neither: its locks are where they are until an operator drives it on.
        let Some(state) = self.transaction(txid, |state| state.decided().is_some()).await else {
            return std::future::pending().await;
        };
        match state.decided() {
            Some(Evidence { fact: Fact::Decided(_, Decision::Commit { .. }), at, .. }) => {
                Input::Committed(*at)
            }
            _ => Input::Aborted(self.abort_reason(txid)),
        }
    }

    /// The first refusal in the log says it best; an alarm of how little time is left is none.
    fn abort_reason(&self, txid: Txid) -> String {
        let journal = self.executor.journal();
        let records = journal.reader().and_then(|reader| reader.audit_of(txid.0)).unwrap_or_default();
        let mut decoded =
            records.iter().filter_map(|bytes| crate::auditor::decode(journal.path(), bytes).ok());
        let refused = decoded.find(|record| !record.ok && record.kind != "alarm");
        refused.map_or_else(
            || "a participant aborted".into(),
            |record| match &record.ledger {
                Some(ledger) => format!("{ledger}: {}", record.detail),
                None => record.detail,
            },
        )
    }

    async fn arm(&self, driven: &Driven) -> Input {
        match self.transaction(driven.contract.txid(), Machine::ended).await {
            Some(_) => Input::Armed,
            // The node stops.
            None => std::future::pending().await,
        }
    }

    async fn transaction(
        &self,
        txid: Txid,
        mut wanted: impl FnMut(&sofie_transaction::State) -> bool,
    ) -> Option<Arc<sofie_transaction::State>> {
        if let Some(mut handle) = self.transactions.live(txid)
            && let Some(state) = handle.until(&mut wanted).await
        {
            return Some(state);
        }
        // It has ended meanwhile: the journal answers for it.
        self.transactions.state(txid).ok().flatten().filter(|state| wanted(state))
    }

    fn issue(&self, driven: &Driven) -> Input {
        let agreement = driven.contract.agreement();
        match self.capability(driven) {
            Ok(token) => Input::Issued(token),
            Err(why) => {
                Input::Denied(format!("no capability for {} on {}: {why}", agreement.action, agreement.thing))
            }
        }
    }

    fn capability(&self, driven: &Driven) -> Result<Vec<u8>, String> {
        let agreement = driven.contract.agreement();
        let owner = self.parties.with_account(agreement.owner);
        let owner = owner.ok_or("the owner's keys are not on this node")?;
        let affordance = Affordance::action(&agreement.action).map_err(|e| e.to_string())?;
        let holder = capability_key(self.holder(driven)?).public();
        let mut grant = Grant::new(
            holder,
            agreement.thing.clone(),
            affordance,
            agreement.not_before,
            agreement.not_after,
        );
        grant.uses = Some(1);
        grant.transaction = Some(driven.contract.txid());
        sofie_access::token::issue(&capability_key(owner), &grant).map_err(|e| e.to_string())
    }

    /// Who holds the capability: the renter, or the owner itself where the renter's keys are on another node.
    fn holder(&self, driven: &Driven) -> Result<&crate::keys::PartyKeys, String> {
        let agreement = driven.contract.agreement();
        let (account, who) = match driven.contract.part() {
            Part::Owner => (agreement.owner, "owner"),
            Part::Both | Part::Payer => (agreement.renter, "renter"),
        };
        self.parties.with_account(account).ok_or_else(|| format!("the {who}'s keys are not on this node"))
    }

    async fn note(&self, driven: &Driven, topic: Digest, commitment: Digest) -> Result<Input, JournalError> {
        let Some(ledger) = &driven.plan.record_ledger else {
            return Ok(Input::NoteRefused("no record ledger is agreed".into()));
        };
        let key = Key { id: driven.id(), task: "note".into() };
        let operation = Operation::Note { topic, commitment };
        Ok(match self.executor.operate(key, ledger, &operation).await? {
            Ended::Final(evidence) => Input::Noted(evidence),
            Ended::Refused(reason) => Input::NoteRefused(reason),
        })
    }

    /// Makes the receipt and keeps it, before the contract ends; a ledger that is away is waited for.
    async fn receipt(&self, driven: &Driven) -> Result<Input, JournalError> {
        // An aborted contract is over at once, but its locks are still being undone: the receipt shows that they were.
        if self.transaction(driven.contract.txid(), Machine::ended).await.is_none() {
            // The node stops.
            return std::future::pending().await;
        }
        // A crash may have come between the receipt and the input that tells of it: what it was made from is gone then.
        let name = driven.contract.txid().to_string();
        if let Some(kept) = self.executor.journal().reader()?.fact(receipts::KEPT, &name)? {
            return Ok(Input::Receipted(Digest::sha256(&kept)));
        }
        let told = self.evidence_told(driven).await;
        let driven = told.as_deref().unwrap_or(driven);
        let bytes = loop {
            match receipts::make(self, driven).await {
                Ok(bytes) => break bytes,
                Err(why) => {
                    tracing::warn!(contract = %driven.contract.txid(), %why, "no receipt yet");
                    tokio::time::sleep(RECEIPT_PAUSE).await;
                }
            }
        };
        let digest = Digest::sha256(&bytes);
        self.executor.journal().keep(receipts::kept(driven, bytes), clock::now()).await?;
        Ok(Input::Receipted(digest))
    }

    /// A settled payment's evidence may be heard from the owner's node later than the ledger shows the payment: the state
    /// in which it is known. `None`: it is not waited for, or nobody told it in time.
    async fn evidence_told(&self, driven: &Driven) -> Option<Arc<Driven>> {
        let contract = &driven.contract;
        let wanted = contract.part() == Part::Payer && *contract.phase() == Phase::Settled;
        let mut handle = self.live(contract.txid()).filter(|_| wanted)?;
        let told = handle.until(|driven| driven.contract.proven());
        let told = tokio::time::timeout(EVIDENCE_PATIENCE, told).await;
        told.unwrap_or_else(|_| {
            tracing::warn!(contract = %contract.txid(), "the receipt is made without the evidence, which nobody told");
            None
        })
    }

    /// Takes an attestation that somebody brings, with the reading that it is about if he shows it. It counts by its
    /// signature, never by who brought it.
    ///
    /// # Errors
    /// Why it does not count: here, and in the escrow contract's own words.
    pub async fn bring(
        &self,
        txid: Txid,
        attestation: SignedAttestation,
        reading: Option<(Observation, Salt)>,
    ) -> Result<(), String> {
        let Some(handle) = self.live(txid) else {
            return Err("the contract has ended, or there is none".into());
        };
        let signed = attestation.clone();
        let input = match reading {
            Some((observation, salt)) => Input::Brought(Seen { observation, salt, attestation: signed }),
            None => Input::Attested(signed),
        };
        match handle.give(input).await {
            Ok(()) => Ok(()),
            Err(why) => {
                // The rejection itself is in the log already; this adds the contract's word.
                let Some(contract_says) = self.escrow_says(&handle.state(), &attestation).await else {
                    return Err(why);
                };
                let note = Note::about(txid.0, "evidence-refused", false, format!("{why}; {contract_says}"));
                if let Err(error) = self.keeper.auditor.keep(Vec::new(), vec![note], clock::now()).await {
                    let _ = self.keeper.fatal.try_send(error);
                }
                Err(format!("{why}; {contract_says}"))
            }
        }
    }
}

/// The state that a journaled contract is in.
///
/// # Errors
/// [`JournalError::Corrupt`].
pub fn replay(record: &Record) -> Result<Driven, JournalError> {
    let begun = Driven::begin(drive::plan(record)?);
    drive::replay(begun.ok_or_else(|| record.corrupt("a contract without an escrow leg"))?, record)
}

/// Names an effect that runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// Everything that there is one of.
    One(&'static str),
    /// What is wanted of one of the agreement's sensors.
    Sensor(&'static str, usize),
    /// What is wanted of one of the escrows.
    Escrow(&'static str, LegId),
    /// A timer.
    Wake(Timestamp),
}

impl Machine for Driven {
    const KIND: journal::Machine = journal::Machine::Contract;
    type Input = Input;
    type Effect = Effect;
    type Name = Name;

    fn id(&self) -> Digest {
        self.contract.txid().0
    }

    fn next(self, input: &Input, now: Timestamp) -> Result<Self, String> {
        let contract = self.contract.next(input, now).map_err(|rejected| rejected.to_string())?;
        Ok(Self { contract, ..self })
    }

    fn effects(&self) -> Vec<Effect> {
        self.contract.effects()
    }

    fn name(effect: &Effect) -> Option<Name> {
        Some(Name::One(match effect {
            Effect::Follow => "follow",
            Effect::Arm => "arm",
            Effect::Issue => "issue",
            Effect::Act { .. } => "act",
            Effect::Inspect => "inspect",
            Effect::Watch { sensor } => return Some(Name::Sensor("watch", *sensor)),
            Effect::Attest { sensor, .. } => return Some(Name::Sensor("attest", *sensor)),
            Effect::Note { .. } => "note",
            Effect::Notice { sensor } => return Some(Name::Sensor("notice", *sensor)),
            Effect::AttestMissed { sensor, .. } => return Some(Name::Sensor("attest missed", *sensor)),
            Effect::Settle { leg, .. } => return Some(Name::Escrow("settle", *leg)),
            Effect::Present { leg, .. } => return Some(Name::Escrow("present", *leg)),
            Effect::Overrule { leg, .. } => return Some(Name::Escrow("overrule", *leg)),
            Effect::Refund { leg } => return Some(Name::Escrow("refund", *leg)),
            Effect::Look => "look",
            Effect::Receipt => "receipt",
            Effect::Wake(at) => return Some(Name::Wake(*at)),
            Effect::Alarm(_) => return None,
        }))
    }

    fn droppable(name: &Name) -> Droppable {
        match name {
            Name::Wake(_) | Name::Sensor(..) | Name::One("follow" | "arm" | "look") => Droppable::Always,
            Name::One(_) | Name::Escrow(..) => Droppable::Never,
        }
    }

    fn ended(&self) -> bool {
        self.contract.ended()
    }

    fn notes(before: &Self, input: &Input, after: &Self) -> Vec<Note> {
        steps::notes(before, input, after)
    }
}

impl Actor<Driven> for Contracts {
    async fn run(
        &self,
        driven: Arc<Driven>,
        effect: Effect,
        inputs: mpsc::Sender<Asked<Input>>,
        _: Leaving,
    ) -> Result<Input, JournalError> {
        Ok(match effect {
            Effect::Follow => self.follow(&driven).await,
            Effect::Arm => self.arm(&driven).await,
            Effect::Issue => self.issue(&driven),
            Effect::Act { token } => self.act(&driven, token, &inputs).await?,
            Effect::Inspect => self.inspect(&driven).await,
            Effect::Watch { sensor } => self.watch(&driven, sensor).await?,
            Effect::Attest { sensor, observation, salt } => {
                self.attest(&driven, sensor, &observation, &salt).await
            }
            Effect::Note { topic, commitment } => self.note(&driven, topic, commitment).await?,
            Effect::Notice { sensor } => self.notice(&driven, sensor).await,
            Effect::AttestMissed { sensor, observation, salt } => {
                self.attest_missed(&driven, sensor, &observation, &salt).await
            }
            Effect::Settle { leg, attestation } => self.settle(&driven, leg, attestation).await?,
            Effect::Present { leg, attestation } => self.present(&driven, leg, attestation).await?,
            Effect::Overrule { leg, ruling } => self.overrule(&driven, leg, ruling).await?,
            Effect::Refund { leg } => self.refund(&driven, leg).await?,
            Effect::Look => self.look(&driven).await,
            Effect::Receipt => self.receipt(&driven).await?,
            Effect::Wake(at) => {
                clock::until(at).await;
                Input::Woken
            }
            // Has no name, so it is never run.
            Effect::Alarm(_) => std::future::pending().await,
        })
    }
}
