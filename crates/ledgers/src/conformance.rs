//! The conformance suite: what [`crate::port`] promises, as cases that every backend passes.
//!
//! A backend's own test brings a [`Harness`] and calls [`run_all`]; each case opens the ledger afresh, and its name
//! says the promise. Cases that a ledger's classes do not call for are left out. Nothing here panics: what does not
//! hold comes back as a [`Failure`].
//!
//! Left out: throughput (`sofie bench`), and what waits before a block holds it (a backend's own tests).

use std::{future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use sofie_model::{Account, Attestation, Class, PublicKey, SignedAttestation, Timestamp, proof::BadProof};

use crate::{Ledger, LedgerError};

mod common;
mod custody;
mod decision;
mod dispute;
mod escrow;
mod hashlock;
mod patient;
mod record;
mod transfer;
mod world;

pub use patient::{MAX_TRIES, Patient};
pub use record::no_manifest;
pub use world::World;

/// How many times a case asks for a status, with one [`Harness::step`] between, before it gives up.
pub const MAX_POLLS: u32 = 400;
/// How many intents the case of concurrency has in flight.
pub const CONCURRENT: u64 = 64;

/// A ledger under test, and the world around it.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Opens the ledger with nothing on it. (On a chain that cannot be emptied: at its head; the cases' transactions
    /// are new by their nonces.)
    ///
    /// # Errors
    /// [`Failure::Harness`].
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure>;

    /// A restart: closes `ledger`, which the case has given up, and opens the same ledger again.
    ///
    /// # Errors
    /// [`Failure::Harness`].
    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure>;

    /// Who and what stands in the manifests that fit the ledger opened last.
    fn site(&self) -> Site;

    /// Signs as [`Site::evidence_key`].
    fn attest(&self, attestation: Attestation) -> SignedAttestation;

    /// Whether the ledger can prove its facts to a third party. A double cannot.
    fn proves(&self) -> bool {
        true
    }

    /// The public keys of [`Site::payer`] and [`Site::payee`], as a hashlock's script holds them. Any two points will do
    /// where a ledger knows accounts only.
    fn keys(&self) -> [PublicKey; 2] {
        world::some_keys()
    }

    /// The `fee_limit` of the cases' legs: more than the ledger takes for one transaction.
    fn fee_limit(&self) -> u128 {
        world::FEE_LIMIT
    }

    /// The same ledger once more, for somebody who holds none of the parties' keys; `None` where a ledger needs no
    /// party's key for a claim.
    ///
    /// # Errors
    /// [`Failure::Harness`].
    async fn stranger(&self) -> Result<Option<Arc<dyn Ledger>>, Failure> {
        Ok(None)
    }

    /// D for the cases' manifests, where the ledger under test is none and its legs look at the decision.
    fn decider(&self) -> Option<Arc<dyn Ledger>> {
        None
    }

    /// Lets a little time pass: a block, a poll interval. Called between two status calls.
    ///
    /// # Errors
    /// [`Failure::Harness`].
    async fn step(&self) -> Result<(), Failure>;

    /// Brings the ledger's own clock to `until` or later, by moving it or by waiting.
    ///
    /// # Errors
    /// [`Failure::Harness`].
    async fn pass(&self, until: Timestamp) -> Result<(), Failure>;
}

/// Parties and contracts for the cases' manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// EIP-155 chain id; 0 where the ledger has none.
    pub chain_id: u64,
    /// The decision contract; [`Account::ZERO`] where there is none.
    pub decision: Account,
    /// The escrow contract; any other account where the ledger needs none.
    pub escrow: Account,
    /// Has money on the ledger, and the ledger can sign for it.
    pub payer: Account,
    /// The ledger can sign for it.
    pub payee: Account,
    /// Whose attestation settles.
    pub evidence_key: Account,
    /// What an escrow of a case holds; the payer can afford it a hundred times.
    pub amount: u128,
    /// Who else pays fees: a relayer. May hold any of the parties above.
    pub others: Vec<Account>,
}

/// What did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A call failed that should not have.
    #[error("{step}: {source}")]
    Call {
        /// What the case was doing.
        step: String,
        /// The ledger's answer.
        source: LedgerError,
    },
    /// An answer other than the expected one.
    #[error("{step}: {expected} was expected, got {got}")]
    Other {
        /// What the case was doing.
        step: String,
        /// What the port promises.
        expected: String,
        /// What came.
        got: String,
    },
    /// The ledger's own proof does not hold.
    #[error(transparent)]
    Proof(#[from] BadProof),
    /// The surroundings failed, not the ledger.
    #[error("harness: {0}")]
    Harness(String),
}

/// One case and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The promise, as `record: a second note is the same note`.
    pub name: &'static str,
    /// Passed, or what did not hold.
    pub result: Result<(), Failure>,
}

type Checked<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// When a case applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// The ledger carries legs of this class.
    Leg(Class),
    /// Legs of any class.
    AnyLeg,
    /// Legs with value that follow the decision: verifying or escrow.
    Judges,
    /// It is a decision ledger.
    Decides,
    /// It holds value.
    Treasury,
}

struct Case {
    name: &'static str,
    needs: Needs,
    run: for<'a> fn(World<'a>) -> Checked<'a>,
}

/// Runs every case that `harness`'s ledger calls for, each on a freshly opened one, in a fixed order.
///
/// # Errors
/// [`Failure`] when the ledger cannot even be opened to see what it is.
pub async fn run_all(harness: &dyn Harness) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    let first = harness.open().await?;
    let profile = first.profile().clone();
    let treasury = first.treasury().is_some();
    drop(first);
    let all = [
        common::CASES,
        record::CASES,
        decision::CASES,
        escrow::CASES,
        dispute::CASES,
        transfer::CASES,
        hashlock::CASES,
        custody::CASES,
    ];
    for case in all.into_iter().flatten() {
        let applies = match case.needs {
            Needs::Leg(class) => profile.classes.contains(&class),
            Needs::AnyLeg => !profile.classes.is_empty(),
            Needs::Judges => {
                [Class::Verifying, Class::Escrow].iter().any(|class| profile.classes.contains(class))
            }
            Needs::Decides => profile.decides,
            Needs::Treasury => treasury && profile.classes.contains(&Class::Verifying),
        };
        if applies {
            let result = match World::open(harness, case.name).await {
                Ok(world) => (case.run)(world).await,
                Err(failure) => Err(failure),
            };
            outcomes.push(Outcome { name: case.name, result });
        }
    }
    Ok(outcomes)
}

/// The failed cases as lines for a person; empty when all passed.
#[must_use]
pub fn failures(outcomes: &[Outcome]) -> String {
    let line = |outcome: &Outcome| match &outcome.result {
        Ok(()) => None,
        Err(failure) => Some(format!("{}: {failure}\n", outcome.name)),
    };
    outcomes.iter().filter_map(line).collect()
}
