//! What every case works with: the opened ledger, manifests that fit it, and calls that say what they expected.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sofie_model::{
    Account, Class, Decide, Decision, Digest, Evidence, Fact, Leg, LegId, Manifest, Operation, Position,
    PublicKey, Rule, Span, Step, Terms, Timestamp, evidence,
    manifest::{DecisionSite, EscrowTerms, HashlockTerms, OpenedBy, Participant, TransferTerms},
};

use super::{Failure, Harness, MAX_POLLS, Site};
use crate::{Intent, Ledger, LedgerError, Profile, Status};

/// More than any ledger here takes for one transaction.
pub(super) const FEE_LIMIT: u128 = 1_000_000_000_000_000_000;
/// From a case's start to T_D, and from T_D to T_E.
pub(super) const DECISION_TIME: Span = Span::from_seconds(120);
/// After T_E.
const SUBMISSION_WINDOW: Span = Span::from_seconds(10);
/// The leg under test.
pub(super) const LEG: LegId = LegId(0);

/// One case's ledger and surroundings.
pub struct World<'a> {
    pub(super) harness: &'a dyn Harness,
    pub(super) ledger: Arc<dyn Ledger>,
    /// D, where the ledger under test is none.
    decider: Option<Arc<dyn Ledger>>,
    pub(super) profile: Profile,
    pub(super) site: Site,
    case: &'static str,
    made: AtomicU64,
}

impl<'a> World<'a> {
    pub(super) async fn open(harness: &'a dyn Harness, case: &'static str) -> Result<Self, Failure> {
        let ledger = harness.open().await?;
        let profile = ledger.profile().clone();
        let decider = harness.decider();
        Ok(Self { harness, ledger, decider, profile, site: harness.site(), case, made: AtomicU64::new(0) })
    }

    /// Which ledger carries `operation` out.
    fn of(&self, operation: &Operation) -> &dyn Ledger {
        match (&self.decider, operation) {
            (Some(decider), Operation::Decide { .. }) => decider.as_ref(),
            _ => self.ledger.as_ref(),
        }
    }

    pub(super) async fn restart(self) -> Result<Self, Failure> {
        let ledger = self.harness.reopen(self.ledger).await?;
        Ok(Self { ledger, ..self })
    }

    /// A new transaction whose leg 0 is on this ledger, and all of which is needed.
    pub(super) async fn manifest(&self) -> Result<Arc<Manifest>, Failure> {
        self.manifest_of(Rule::All).await
    }

    /// A new transaction whose leg 0 is on this ledger; under [`Rule::AtLeast`] it is optional, and another ledger has
    /// a second such leg.
    pub(super) async fn manifest_of(&self, rule: Rule) -> Result<Arc<Manifest>, Failure> {
        let head = self.ledger.head().await.during("head")?;
        let now = Timestamp::from_seconds(head.time.as_seconds());
        let deadline = now + DECISION_TIME;
        let count = self.made.fetch_add(1, Ordering::Relaxed);
        let place = [head.height.to_be_bytes(), count.to_be_bytes()].concat();
        let nonce = Digest::of("sofie.conformance.v1", &[self.case.as_bytes(), &place]);
        let mut legs = vec![Leg { required: rule == Rule::All, ..self.leg(deadline, nonce)? }];
        if rule != Rule::All {
            let (ledger, terms) = (elsewhere()?, Terms::Record(nonce));
            let (class, finality) = (Class::Record, self.profile.finality);
            legs.push(Leg { ledger, class, finality, required: false, terms, fee_limit: 0 });
        }
        let pivot = legs.iter().any(|leg| leg.class == Class::Hashlock);
        let (grace, guard) =
            if pivot { (DECISION_TIME * 4, self.site.payer) } else { (Span::ZERO, Account::ZERO) };
        let manifest = Manifest {
            version: 1,
            legs,
            rule,
            decision: self.decision_site()?,
            deadline,
            grace,
            guard,
            participants: self.participants(),
            nonce,
        };
        manifest.check(now).map_err(|fault| Failure::Harness(fault.to_string()))?;
        Ok(Arc::new(manifest))
    }

    /// A new transaction like [`Self::manifest_of`], whose leg 0 is a transfer.
    pub(super) async fn transfer_of(&self, rule: Rule) -> Result<Arc<Manifest>, Failure> {
        let mut manifest = Arc::unwrap_or_clone(self.manifest_of(rule).await?);
        let site = &self.site;
        let (contract, payer, payee, amount) = (site.escrow, site.payer, site.payee, site.amount);
        manifest.legs[0].terms = Terms::Transfer(TransferTerms { contract, payer, payee, amount });
        Ok(Arc::new(manifest))
    }

    /// A new transaction like [`Self::manifest`], whose escrow settles by the word of `evidence_key`.
    pub(super) async fn manifest_by(&self, evidence_key: Account) -> Result<Arc<Manifest>, Failure> {
        let mut manifest = Arc::unwrap_or_clone(self.manifest().await?);
        if let Terms::Escrow(terms) = &mut manifest.legs[0].terms {
            terms.evidence_key = evidence_key;
        }
        Ok(Arc::new(manifest))
    }

    fn leg(&self, deadline: Timestamp, nonce: Digest) -> Result<Leg, Failure> {
        let class = [Class::Verifying, Class::Escrow, Class::Record, Class::Hashlock]
            .into_iter()
            .find(|class| self.profile.classes.contains(class));
        let (ledger, class) = match class {
            Some(class) => (self.profile.id.clone(), class),
            None => (elsewhere()?, Class::Record),
        };
        let terms = match class {
            Class::Record => Terms::Record(Digest::of("sofie.conformance.payload.v1", &[nonce.as_bytes()])),
            Class::Hashlock => self.hashlock(deadline, None),
            _ => Terms::Escrow(EscrowTerms {
                contract: self.site.escrow,
                payer: self.site.payer,
                payee: self.site.payee,
                amount: self.site.amount,
                evidence_key: self.site.evidence_key,
                evidence_deadline: deadline + DECISION_TIME,
                submission_window: SUBMISSION_WINDOW,
                dispute: None,
            }),
        };
        Ok(Leg {
            ledger,
            class,
            finality: self.profile.finality,
            required: true,
            terms,
            fee_limit: self.harness.fee_limit(),
        })
    }

    fn hashlock(&self, deadline: Timestamp, opened_by: Option<OpenedBy>) -> Terms {
        let [payer_key, claimant_key] = self.harness.keys();
        Terms::Hashlock(HashlockTerms {
            payer: self.site.payer,
            claimant: self.site.payee,
            amount: self.site.amount,
            timelock: deadline + DECISION_TIME,
            payer_key,
            claimant_key,
            opened_by,
        })
    }

    /// A new transaction like [`Self::manifest`], whose leg 0 is a hashlock, opened by everybody's secrets if by none alone.
    pub(super) async fn pivot(&self, opened_by: Option<OpenedBy>) -> Result<Arc<Manifest>, Failure> {
        let mut manifest = Arc::unwrap_or_clone(self.manifest().await?);
        let terms = self.hashlock(manifest.deadline, opened_by);
        let leg = &mut manifest.legs[0];
        (leg.class, leg.terms) = (Class::Hashlock, terms);
        (manifest.grace, manifest.guard) = (DECISION_TIME * 4, self.site.payer);
        Ok(Arc::new(manifest))
    }

    fn decision_site(&self) -> Result<DecisionSite, Failure> {
        let beside = self.decider.as_ref().map(|decider| decider.profile());
        let own = Some(&self.profile).filter(|own| own.decides);
        let (ledger, finality) = match own.or(beside) {
            Some(profile) => (profile.id.clone(), profile.finality),
            None => (elsewhere()?, self.profile.finality),
        };
        let (chain_id, contract) = (self.site.chain_id, self.site.decision);
        Ok(DecisionSite { ledger, chain_id, contract, finality, fee_limit: self.harness.fee_limit() })
    }

    fn participants(&self) -> Vec<Participant> {
        let accounts = [self.site.payer, self.site.payee];
        let hashlock = |secret: Digest| Digest::sha256(secret.as_bytes());
        std::iter::zip(accounts, secrets())
            .map(|(account, secret)| Participant { account, hashlock: hashlock(secret) })
            .collect()
    }

    /// Carries `operation` out, or finds it carried out: the evidence that stands in the end.
    pub(super) async fn carry_out(&self, operation: &Operation) -> Result<Evidence, Failure> {
        let intent = self.of(operation).intend(operation).await.during(operation.verb())?;
        self.of(operation).submit(&intent).await.during(operation.verb())?;
        self.stands(operation, Some(&intent)).await
    }

    /// Tries `operation` although another may have won: the evidence of what stands.
    pub(super) async fn contend(&self, operation: &Operation) -> Result<Evidence, Failure> {
        let intent = match self.of(operation).intend(operation).await {
            Ok(intent) => intent,
            Err(LedgerError::Refused { .. }) => return self.stands(operation, None).await,
            Err(error) => return Err(error).during(operation.verb()),
        };
        match self.of(operation).submit(&intent).await {
            Ok(()) | Err(LedgerError::Refused { .. }) => self.stands(operation, Some(&intent)).await,
            Err(error) => Err(error).during(operation.verb()),
        }
    }

    /// Waits until `operation` is final.
    pub(super) async fn stands(
        &self,
        operation: &Operation,
        intent: Option<&Intent>,
    ) -> Result<Evidence, Failure> {
        let mut last = Status::Absent;
        for _ in 0..MAX_POLLS {
            last = self.of(operation).status(operation, intent).await.during("status")?;
            match last {
                Status::Final(evidence) => return Ok(evidence),
                Status::Refused { .. } | Status::Displaced { .. } => break,
                Status::Absent | Status::Pending => self.harness.step().await?,
            }
        }
        other(format!("status of {}", operation.verb()), "final", &last)
    }

    /// Waits until it is sure that `operation` is refused: when it is fixed, when it is submitted, or by its status.
    pub(super) async fn is_refused(&self, operation: &Operation) -> Result<(), Failure> {
        let intent = match self.of(operation).intend(operation).await {
            Ok(intent) => intent,
            Err(LedgerError::Refused { .. }) => return Ok(()),
            Err(error) => return Err(error).during(operation.verb()),
        };
        match self.of(operation).submit(&intent).await {
            Ok(()) => {}
            Err(LedgerError::Refused { .. }) => return Ok(()),
            Err(error) => return Err(error).during(operation.verb()),
        }
        let mut last = Status::Absent;
        for _ in 0..MAX_POLLS {
            last = self.of(operation).status(operation, Some(&intent)).await.during("status")?;
            match last {
                Status::Refused { .. } => return Ok(()),
                Status::Final(_) | Status::Displaced { .. } => break,
                Status::Absent | Status::Pending => self.harness.step().await?,
            }
        }
        other(format!("status of {}", operation.verb()), "a refusal", &last)
    }

    /// Prepares leg 0, or makes evidence up when it is on another ledger: D does not look at it.
    pub(super) async fn prepare(&self, manifest: &Arc<Manifest>) -> Result<Evidence, Failure> {
        match manifest.leg(LEG) {
            Some(leg) if leg.ledger != self.profile.id => Ok(Evidence {
                ledger: leg.ledger.clone(),
                fact: Fact::Prepared(manifest.txid(), LEG),
                position: Position { height: 1, index: 0, reference: Digest::ZERO },
                at: Timestamp::default(),
            }),
            _ => self.carry_out(&step(manifest, Step::Prepare)).await,
        }
    }

    /// Prepares leg 0 and gets COMMIT from D.
    pub(super) async fn commit(&self, manifest: &Arc<Manifest>) -> Result<(Evidence, Evidence), Failure> {
        let prepared = self.prepare(manifest).await?;
        let decided = self.carry_out(&commit(manifest, &prepared)).await?;
        Ok((prepared, decided))
    }

    /// Proves `facts` and checks that the proof says the same.
    pub(super) async fn proves(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<(), Failure> {
        if !self.harness.proves() {
            return Ok(());
        }
        let here = facts.iter().filter(|fact| fact.ledger == self.profile.id);
        let mut expected: Vec<_> = here.cloned().collect();
        let proof = self.ledger.prove(manifest, &expected).await.during("prove")?;
        let proven = proof.verify(&self.profile.id, manifest)?;
        expected.sort_by_key(|fact| (fact.position.height, fact.position.index));
        same("the proof's evidence", &expected, &proven.evidence)
    }
}

/// Two points of secp256k1.
pub(super) fn some_keys() -> [PublicKey; 2] {
    [1_u8, 2].map(|byte| {
        let key = k256::ecdsa::SigningKey::from_slice(&[byte; 32]).expect("a small number is a key");
        PublicKey::from(key.verifying_key())
    })
}

/// The participants' secrets, in their order.
pub(super) fn secrets() -> [Digest; 2] {
    [
        Digest::of("sofie.conformance.secret.v1", &[b"payer"]),
        Digest::of("sofie.conformance.secret.v1", &[b"payee"]),
    ]
}

pub(super) fn step(manifest: &Arc<Manifest>, step: Step) -> Operation {
    Operation::Leg { manifest: Arc::clone(manifest), leg: LEG, step }
}

/// COMMIT with leg 0 alone.
pub(super) fn commit(manifest: &Arc<Manifest>, prepared: &Evidence) -> Operation {
    commit_of(manifest, 1, prepared)
}

/// COMMIT with these legs.
pub(super) fn commit_of(manifest: &Arc<Manifest>, included: u64, prepared: &Evidence) -> Operation {
    let evidence_root = evidence::root([prepared]);
    let decide = Decide::Commit { included, evidence_root, preimages: secrets().to_vec(), guard: None };
    Operation::Decide { manifest: Arc::clone(manifest), decide }
}

pub(super) fn abort(manifest: &Arc<Manifest>) -> Operation {
    let by = manifest.participants.first().map(|one| one.account).unwrap_or_default();
    Operation::Decide { manifest: Arc::clone(manifest), decide: Decide::Abort { by, signatures: Vec::new() } }
}

/// Whether `evidence` says that D holds COMMIT.
pub(super) fn is_commit(evidence: &Evidence) -> bool {
    matches!(evidence.fact, Fact::Decided(_, Decision::Commit { .. }))
}

fn elsewhere() -> Result<sofie_model::LedgerId, Failure> {
    "elsewhere".parse().map_err(|error: sofie_model::id::BadName| Failure::Harness(error.to_string()))
}

pub(super) trait During<T> {
    fn during(self, step: &str) -> Result<T, Failure>;
}

impl<T> During<T> for Result<T, LedgerError> {
    fn during(self, step: &str) -> Result<T, Failure> {
        self.map_err(|source| Failure::Call { step: step.to_owned(), source })
    }
}

pub(super) fn same<T: PartialEq + Debug>(step: &str, expected: &T, got: &T) -> Result<(), Failure> {
    if expected == got { Ok(()) } else { other(step.to_owned(), &format!("{expected:?}"), got) }
}

pub(super) fn other<T>(step: String, expected: &str, got: &dyn Debug) -> Result<T, Failure> {
    Err(Failure::Other { step, expected: expected.to_owned(), got: format!("{got:?}") })
}
