//! Escrow legs: value that a custodian holds by its word, in a bank's or a game's own database, behind the HTTP API of
//! docs/specs/custodian.md. Whatever rests on it is labelled custodial.
//!
//! The custodian verifies D's decision by itself; this ledger brings it the proof, from the decision ledger that the node
//! has open beside it. Each fact is the custodian's signed statement, and is taken only under the one key that the
//! configuration pins. An answer that is not so signed, contradicts itself, or takes back what was said, is nonsense.
//!
//! An intent is the request's bytes, and a request is idempotent by (txid, leg): there is no nonce to keep.
//!
//! Left out: balances (whom a custodian shows them to is its own business), and TLS: this build speaks plain HTTP, so run
//! a proxy next door. Whoever sits between can delay, and refuse in the custodian's name; he cannot state facts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use sofie_model::custodian::{self, Act, Request};
use sofie_model::proof::statement::{MAX_STATEMENTS, Signed, Statements};
use sofie_model::{
    Account, Class, Decide, Digest, Evidence, Fact, Finality, LedgerId, LegId, Manifest, Operation, Proof,
    Signature, Span, Step, Terms, Txid,
};
use url::Url;

use crate::evm::Keyring;
use crate::{Head, Intent, Ledger, LedgerError, Profile, Status};

mod client;

use client::{Answer, Client};

/// Between two `status` calls; `submit` already waits for the database.
const POLL: Span = Span::from_millis(200);
/// From `submit` to stated, a restart of the custodian included.
const INCLUSION: Span = Span::from_seconds(60);

/// What an escrow ledger is opened with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it answers, `http://…`; the paths of the specification are put after it.
    pub url: Url,
    /// Its Ed25519 key, from elsewhere than from itself.
    pub key: Digest,
    /// How long an answer may take.
    pub timeout: std::time::Duration,
}

/// Why a custodian could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The URL is not one of plain HTTP.
    #[error("the custodian's URL has scheme {scheme}, http is spoken: run a proxy on this machine")]
    Scheme {
        /// What the URL asks for.
        scheme: String,
    },
    /// It does not answer, or not as a custodian.
    #[error("no custodian answers at {at} ({why}): start it, or correct the URL")]
    Unreachable {
        /// Scheme, host and port.
        at: String,
        /// What happened.
        why: String,
    },
    /// Somebody else answers.
    #[error("the custodian at {at} is {got}, the configuration says {expected}: correct one of them")]
    Foreign {
        /// Scheme, host and port.
        at: String,
        /// The configured name and key.
        expected: String,
        /// Its own.
        got: String,
    },
}

/// What a custodian's ledger is by itself.
#[must_use]
pub fn profile(id: LedgerId) -> Profile {
    Profile {
        id,
        classes: vec![Class::Escrow],
        decides: false,
        finality: Finality::Instant,
        inclusion: INCLUSION,
        finalises: Span::ZERO,
        single_operator: true,
        poll: POLL,
    }
}

/// The ledger of one custodian.
pub struct Escrow {
    profile: Profile,
    client: Client,
    key: Digest,
    /// Who can have value held.
    keyring: Keyring,
    /// Where decisions are read and proven.
    deciders: BTreeMap<LedgerId, Arc<dyn Ledger>>,
    /// The greatest height that was seen: the books never get shorter.
    height: AtomicU64,
}

impl Escrow {
    /// Connects, and checks that it is the right custodian.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        config: Config,
        profile: Profile,
        keyring: Keyring,
        deciders: BTreeMap<LedgerId, Arc<dyn Ledger>>,
    ) -> Result<Self, OpenError> {
        let client = Client::new(&config)?;
        let at = client.place();
        let (key, height) = (config.key, AtomicU64::new(0));
        let this = Self { profile, client, key, keyring, deciders, height };
        let unreachable = |why: String| OpenError::Unreachable { at: at.clone(), why };
        let about = this.client.about().await.map_err(|error| unreachable(error.to_string()))?;
        if (&about.ledger, about.key) != (&this.profile.id, key) {
            let expected = format!("{} of key {key}", this.profile.id);
            let got = format!("{} of key {}", about.ledger, about.key);
            return Err(OpenError::Foreign { at, expected, got });
        }
        this.height.store(about.height, Ordering::Relaxed);
        Ok(this)
    }

    /// What manifests name as the contract of legs here: the custodian by its key.
    #[must_use]
    pub fn account(&self) -> Account {
        custodian::account(&self.key)
    }

    /// The leg that `operation` is about, if it is one of this custodian's.
    fn leg<'a>(&self, operation: &'a Operation) -> Result<(&'a Arc<Manifest>, LegId, &'a Step), LedgerError> {
        let unsupported = |reason: String| {
            let (ledger, verb) = (self.profile.id.clone(), operation.verb());
            LedgerError::Unsupported { ledger, verb, reason }
        };
        let Operation::Leg { manifest, leg, step } = operation else {
            return Err(unsupported("it holds value, and takes neither decisions nor records".into()));
        };
        let here = manifest.leg(*leg).is_some_and(|found| found.ledger == self.profile.id);
        if !here {
            return Err(unsupported(format!("the manifest has no {leg} here")));
        }
        let (_, contract) = custodian::value(manifest, *leg).map_err(unsupported)?;
        if contract != self.account() {
            return Err(unsupported(format!("{leg} names custodian {contract}, this is {}", self.account())));
        }
        let waits = manifest.leg(*leg).is_some_and(|found| matches!(found.terms, Terms::Escrow(_)));
        if matches!(step, Step::Present(_) | Step::Overrule(_)) {
            return Err(unsupported("a custodian keeps no dispute windows".into()));
        }
        if !waits && matches!(step, Step::Settle(_) | Step::Refund) {
            return Err(unsupported(format!("{leg} waits for no evidence")));
        }
        Ok((manifest, *leg, step))
    }

    async fn act(&self, manifest: &Arc<Manifest>, leg: LegId, step: &Step) -> Result<Act, LedgerError> {
        match step {
            Step::Prepare => {
                let (value, _) = custodian::value(manifest, leg).map_err(|why| self.profile.refused(why))?;
                let digest = custodian::hold_digest(manifest.txid(), leg);
                let none = || self.profile.refused(format!("this node holds no key of {}", value.payer));
                let signature = self.keyring.sign(value.payer, digest).ok_or_else(none)?;
                Ok(Act::Hold { signature: Signature(signature) })
            }
            Step::Apply | Step::Claim(_) => Ok(Act::Release { decision: self.decision(manifest).await? }),
            Step::Revert => Ok(Act::Return { decision: self.decision(manifest).await? }),
            Step::Settle(attestation) => Ok(Act::Settle { attestation: attestation.clone() }),
            Step::Refund => Ok(Act::Refund),
            Step::Present(_) | Step::Overrule(_) => {
                Err(self.profile.refused("a custodian keeps no dispute windows"))
            }
        }
    }

    /// The proof of D's decision, from the node's own D.
    async fn decision(&self, manifest: &Arc<Manifest>) -> Result<Proof, LedgerError> {
        let site = &manifest.decision.ledger;
        let d = self.deciders.get(site).ok_or_else(|| {
            self.profile.refused(format!("this node has no ledger {site} to prove the decision by"))
        })?;
        let question = Operation::Decide {
            manifest: Arc::clone(manifest),
            decide: Decide::Abort { by: Account::ZERO, signatures: vec![] },
        };
        match d.status(&question, None).await? {
            Status::Final(decided) => d.prove(manifest, &[decided]).await,
            Status::Pending => {
                Err(self.profile.transient(format!("the decision on {site} is not final yet")))
            }
            Status::Absent | Status::Refused { .. } | Status::Displaced { .. } => {
                Err(self.profile.refused(format!("{site} holds no decision")))
            }
        }
    }

    fn read(&self, intent: &Intent) -> Result<Request, LedgerError> {
        Request::from_bytes(&intent.0)
            .map_err(|error| self.profile.nonsense(format!("no intent of it: {error}")))
    }

    /// Checks what the custodian says of a leg: signed by its key, of this leg alone, in order, from the beginning.
    fn checked(
        &self,
        manifest: &Manifest,
        leg: LegId,
        statements: Vec<Signed>,
    ) -> Result<Vec<Signed>, LedgerError> {
        let proof = Proof::Operator(Statements { key: self.key, statements });
        let proven = proof.verify(&self.profile.id, manifest);
        let proven = proven.map_err(|bad| self.profile.nonsense(format!("{}: {}", bad.part, bad.why)))?;
        let txid = manifest.txid();
        let complete = proven.evidence.iter().enumerate().all(|(index, one)| match index {
            0 => one.fact == Fact::Prepared(txid, leg),
            1 => [Fact::Applied(txid, leg), Fact::Reverted(txid, leg)].contains(&one.fact),
            _ => [Fact::Settled(txid, leg), Fact::Refunded(txid, leg)].contains(&one.fact),
        });
        if !complete {
            return Err(self
                .profile
                .nonsense(format!("its statements of {leg} are no history: {:?}", proven.evidence)));
        }
        if let Some(last) = proven.evidence.last() {
            self.height.fetch_max(last.position.height, Ordering::Relaxed);
        }
        let Proof::Operator(Statements { statements, .. }) = proof else { return Ok(Vec::new()) };
        Ok(statements)
    }

    async fn history(&self, manifest: &Manifest, leg: LegId) -> Result<Vec<Signed>, LedgerError> {
        let answer = self.client.history(manifest.txid(), leg).await;
        let statements = answer.map_err(|answer| self.error(answer))?;
        self.checked(manifest, leg, statements)
    }

    fn error(&self, answer: Answer) -> LedgerError {
        match answer {
            Answer::Away(reason) => self.profile.transient(reason),
            Answer::Refused(reason) => self.profile.refused(reason),
            Answer::Nonsense(reason) => self.profile.nonsense(reason),
        }
    }
}

#[async_trait]
impl Ledger for Escrow {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        let (manifest, leg, step) = self.leg(operation)?;
        let act = self.act(manifest, leg, step).await?;
        Ok(Intent(Request { manifest: manifest.as_ref().clone(), leg, act }.to_bytes()))
    }

    /// A request has no nonce to keep: its leg is its name.
    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.read(intent).map(drop)
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        let request = self.read(intent)?;
        let statements =
            self.client.carry_out(intent.0.clone()).await.map_err(|answer| self.error(answer))?;
        let statements = self.checked(&request.manifest, request.leg, statements)?;
        let done = fact(&request.act, request.manifest.txid(), request.leg);
        match statements.iter().any(|one| one.statement.evidence.fact == done) {
            true => Ok(()),
            false => Err(self.profile.nonsense(format!("it says that it did, and does not state {done:?}"))),
        }
    }

    async fn status(&self, operation: &Operation, _: Option<&Intent>) -> Result<Status, LedgerError> {
        let (manifest, leg, step) = self.leg(operation)?;
        let wanted = wanted(step, manifest.txid(), leg);
        let statements = self.history(manifest, leg).await?;
        let mut evidence = statements.into_iter().map(|one| one.statement.evidence);
        let last = match evidence.clone().next_back() {
            None => return Ok(Status::Absent),
            Some(last) => last.fact,
        };
        Ok(match evidence.find(|one| one.fact == wanted) {
            Some(evidence) => Status::Final(evidence),
            None if rules_out(&last, step) => Status::Refused { reason: format!("it stated {last:?}") },
            None => Status::Absent,
        })
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        // As it was before the question: others may see more while this one is answered.
        let before = self.height.load(Ordering::Relaxed);
        let about = self.client.about().await.map_err(|answer| self.error(answer))?;
        if about.height < before {
            let why = format!("its books end at {}, and it has stated up to {before}", about.height);
            return Err(self.profile.nonsense(why));
        }
        self.height.fetch_max(about.height, Ordering::Relaxed);
        Ok(Head { height: about.height, time: about.at })
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        if facts.len() > MAX_STATEMENTS {
            return Err(self.profile.nonsense(format!("a proof holds at most {MAX_STATEMENTS} facts")));
        }
        let mut statements = Vec::with_capacity(facts.len());
        for (leg, _) in manifest.legs().filter(|(_, leg)| leg.ledger == self.profile.id) {
            let stated = self.history(manifest, leg).await?;
            statements.extend(stated.into_iter().filter(|one| facts.contains(&one.statement.evidence)));
        }
        statements.sort_by_key(|one| one.statement.evidence.position.height);
        let stated = |fact: &&Evidence| statements.iter().any(|one| one.statement.evidence == **fact);
        match facts.iter().find(|fact| !stated(fact)) {
            Some(fact) => Err(self.profile.nonsense(format!("it does not state {fact:?} any more"))),
            None => Ok(Proof::Operator(Statements { key: self.key, statements })),
        }
    }
}

/// What a custodian states once it has done `act`.
fn fact(act: &Act, txid: Txid, leg: LegId) -> Fact {
    match act {
        Act::Hold { .. } => Fact::Prepared(txid, leg),
        Act::Release { .. } => Fact::Applied(txid, leg),
        Act::Return { .. } => Fact::Reverted(txid, leg),
        Act::Settle { .. } => Fact::Settled(txid, leg),
        Act::Refund => Fact::Refunded(txid, leg),
    }
}

fn wanted(step: &Step, txid: Txid, leg: LegId) -> Fact {
    match step {
        Step::Prepare => Fact::Prepared(txid, leg),
        Step::Apply | Step::Claim(_) => Fact::Applied(txid, leg),
        Step::Revert => Fact::Reverted(txid, leg),
        Step::Present(_) => Fact::Presented(txid, leg),
        Step::Settle(_) => Fact::Settled(txid, leg),
        Step::Overrule(_) => Fact::Overruled(txid, leg),
        Step::Refund => Fact::Refunded(txid, leg),
    }
}

/// Whether a leg of which `last` was stated can never come to `step` any more.
fn rules_out(last: &Fact, step: &Step) -> bool {
    match last {
        Fact::Reverted(..) | Fact::Settled(..) | Fact::Refunded(..) => true,
        Fact::Applied(..) => matches!(step, Step::Revert),
        _ => false,
    }
}
