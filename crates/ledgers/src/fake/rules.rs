//! The rules of the decision and escrow contracts, and of a record log, on a map: what a fake ledger's block does.

use std::collections::{BTreeMap, BTreeSet};

use sofie_model::manifest::{EscrowTerms, HashlockTerms, Participant};
use sofie_model::{
    Account, Class, Decide, Decision, Digest, Fact, Leg, LegId, Manifest, Operation, Signature,
    SignedAttestation, SignedRuling, Step, Terms, Timestamp, Txid, contract,
};

/// Where a leg's lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    Prepared,
    /// Since when evidence counts.
    Armed(Timestamp),
    /// Which observation, of when, and until when a ruling counts.
    Presented((Digest, Timestamp), Timestamp),
    Done,
}

/// A rule that a ledger does not keep, to see that its absence is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// COMMIT counts after T_D too.
    Deadline,
    /// COMMIT counts with any preimages, and so does a claim.
    Preimages,
    /// A later decision replaces an earlier one.
    SecondDecision,
    /// A leg takes effect again.
    ApplyTwice,
    /// A hashlock is refunded before T_p.
    EarlyRefund,
    /// ABORT counts before G although there is a pivot.
    EarlyAbort,
    /// A hashlock opens to a preimage of 33 bytes, too: a zero, and the 32 that a claim names.
    LongPreimages,
}

/// The ledger's state after a number of blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    pub(super) balances: BTreeMap<Account, u128>,
    chain_id: u64,
    decisions: BTreeMap<Txid, (Decision, Timestamp)>,
    locks: BTreeMap<(Txid, LegId), Lock>,
    notes: BTreeMap<(Digest, Digest), ()>,
    /// Numbers of transactions that took effect.
    spent: BTreeSet<u64>,
    pub(super) coins: bool,
    pub(super) breach: Option<Breach>,
}

impl Rules {
    pub(super) fn new(chain_id: u64) -> Self {
        Self { chain_id, ..Self::default() }
    }

    /// Carries `operation` out in a block of time `now`, or says why not, changing nothing.
    pub(super) fn execute(
        &mut self,
        number: u64,
        operation: &Operation,
        now: Timestamp,
    ) -> Result<Fact, String> {
        ensure(!self.spent.contains(&number), "its number is spent")?;
        let fact = self.carry_out(operation, now)?;
        self.spent.insert(number);
        Ok(fact)
    }

    fn carry_out(&mut self, operation: &Operation, now: Timestamp) -> Result<Fact, String> {
        let now = Timestamp::from_seconds(now.as_seconds());
        match operation {
            Operation::Leg { manifest, leg: id, step } => {
                let leg = manifest.leg(*id).ok_or_else(|| format!("there is no {id}"))?;
                self.leg(manifest, *id, leg, step, now)
            }
            Operation::Decide { manifest, decide } => self.decide(manifest, decide, now),
            Operation::Note { topic, commitment } => {
                ensure(self.notes.insert((*topic, *commitment), ()).is_none(), "it is noted already")?;
                Ok(Fact::Noted(*topic, *commitment))
            }
        }
    }

    fn leg(
        &mut self,
        manifest: &Manifest,
        id: LegId,
        leg: &Leg,
        step: &Step,
        now: Timestamp,
    ) -> Result<Fact, String> {
        let txid = manifest.txid();
        let lock = self.locks.get(&(txid, id)).copied();
        let verified = leg.class == Class::Verifying;
        let decision = self.decisions.get(&txid).cloned();
        let includes = decision.as_ref().map(|(decision, _)| decision.includes(id));
        match (step, lock) {
            (Step::Prepare, Some(_)) if self.coins => {
                let held = Held::of(&leg.terms).ok_or("a record is no coin")?;
                self.pay(held.payer, held.by, held.amount)?;
                Ok(Fact::Prepared(txid, id))
            }
            (Step::Prepare, None) => {
                ensure(decision.is_none(), "the transaction is decided")?;
                if let Some(held) = Held::of(&leg.terms) {
                    self.pay(held.payer, held.by, held.amount)?;
                }
                self.locks.insert((txid, id), Lock::Prepared);
                Ok(Fact::Prepared(txid, id))
            }
            (Step::Claim(preimages), Some(Lock::Prepared)) => {
                let Terms::Hashlock(terms) = &leg.terms else { return Err("the leg has no hashlock".into()) };
                match self.breach {
                    Some(Breach::Preimages) => {}
                    Some(Breach::LongPreimages) if opened_by_any(manifest, terms, preimages) => {}
                    _ => check_opened(&manifest.lock_hashes(terms), preimages)?,
                }
                self.pay(SCRIPT, terms.claimant, terms.amount)?;
                self.locks.insert((txid, id), Lock::Done);
                Ok(Fact::Applied(txid, id))
            }
            (Step::Apply, Some(Lock::Done)) if self.breach == Some(Breach::ApplyTwice) => {
                self.apply(&leg.terms, (txid, id), now)
            }
            (Step::Apply, Some(Lock::Prepared)) => {
                ensure(!verified || includes == Some(true), "D holds no COMMIT with this leg")?;
                let since = decision.map_or(now, |(_, at)| at);
                self.apply(&leg.terms, (txid, id), since)
            }
            // An entry is inert without COMMIT: nothing need stand for it to be closed.
            (Step::Revert, None) if leg.class == Class::Record => {
                self.locks.insert((txid, id), Lock::Done);
                Ok(Fact::Reverted(txid, id))
            }
            (Step::Revert, Some(Lock::Prepared)) => {
                ensure(
                    !verified || includes == Some(false),
                    "D holds neither ABORT nor a COMMIT without this leg",
                )?;
                if let Terms::Hashlock(terms) = &leg.terms {
                    let early = self.breach == Some(Breach::EarlyRefund);
                    ensure(early || now >= terms.timelock, "the timelock has not passed")?;
                }
                if let Some(held) = Held::of(&leg.terms) {
                    self.pay(held.by, held.payer, held.amount)?;
                }
                self.locks.insert((txid, id), Lock::Done);
                Ok(Fact::Reverted(txid, id))
            }
            (Step::Present(evidence), Some(Lock::Armed(since))) => {
                let terms = escrow(leg)?;
                let window = terms.dispute.ok_or("the escrow has no arbiter")?.window;
                self.check_evidence((txid, id), terms, evidence, since, now)?;
                self.locks.insert((txid, id), Lock::Presented(seen(evidence), now + window));
                Ok(Fact::Presented(txid, id))
            }
            (Step::Settle(evidence), Some(Lock::Presented(presented, until))) => {
                let terms = escrow(leg)?;
                ensure(seen(evidence) == presented, "another observation was presented")?;
                ensure(now > until, "the dispute window is still open")?;
                self.pay(terms.contract, terms.payee, terms.amount)?;
                self.locks.insert((txid, id), Lock::Done);
                Ok(Fact::Settled(txid, id))
            }
            (Step::Overrule(signed), Some(Lock::Presented(presented, until))) => {
                let terms = escrow(leg)?;
                self.check_ruling((txid, id), terms, signed, presented)?;
                ensure(now <= until, "the dispute window is over")?;
                self.pay(terms.contract, terms.payer, terms.amount)?;
                self.locks.insert((txid, id), Lock::Done);
                Ok(Fact::Overruled(txid, id))
            }
            (Step::Settle(evidence), Some(Lock::Armed(since))) => {
                let terms = escrow(leg)?;
                ensure(terms.dispute.is_none(), "its evidence must be presented first")?;
                self.check_evidence((txid, id), terms, evidence, since, now)?;
                self.pay(terms.contract, terms.payee, terms.amount)?;
                self.locks.insert((txid, id), Lock::Done);
                Ok(Fact::Settled(txid, id))
            }
            (Step::Refund, Some(Lock::Armed(_))) => {
                let terms = escrow(leg)?;
                ensure(now > terms.window_end(), "the submission window is still open")?;
                self.pay(terms.contract, terms.payer, terms.amount)?;
                self.locks.insert((txid, id), Lock::Done);
                Ok(Fact::Refunded(txid, id))
            }
            (_, found) => Err(format!("{id} is {found:?}")),
        }
    }

    /// A hashlock's refund whose time has not come: a node takes no transaction that no block may hold yet.
    pub(super) fn is_too_early(&self, operation: &Operation, now: Timestamp) -> bool {
        let Operation::Leg { manifest, leg, step: Step::Revert } = operation else { return false };
        match manifest.leg(*leg).map(|leg| &leg.terms) {
            Some(Terms::Hashlock(terms)) => now < terms.timelock && self.breach != Some(Breach::EarlyRefund),
            _ => false,
        }
    }

    /// Whether a lock of this leg stands, or stood and is spent; `None`: there is none.
    pub(super) fn spent(&self, txid: Txid, leg: LegId) -> Option<bool> {
        self.locks.get(&(txid, leg)).map(|lock| *lock == Lock::Done)
    }

    /// A transfer is paid, an escrow armed, a record closed.
    fn apply(&mut self, terms: &Terms, (txid, id): (Txid, LegId), since: Timestamp) -> Result<Fact, String> {
        let lock = match terms {
            Terms::Transfer(terms) => {
                self.pay(terms.contract, terms.payee, terms.amount)?;
                Lock::Done
            }
            Terms::Record(_) => Lock::Done,
            _ => Lock::Armed(since),
        };
        self.locks.insert((txid, id), lock);
        Ok(Fact::Applied(txid, id))
    }

    fn check_evidence(
        &self,
        (txid, leg): (Txid, LegId),
        terms: &EscrowTerms,
        evidence: &SignedAttestation,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), String> {
        let said = evidence.attestation;
        ensure((said.txid, said.leg) == (txid, leg), "the attestation is about another leg")?;
        let place = (said.chain_id, said.contract);
        ensure(place == (self.chain_id, terms.contract), "the attestation is for another contract")?;
        ensure(said.fulfilled, "the attestation says that it is not fulfilled")?;
        evidence.speaks_for(terms).map_err(|no| no.to_string())?;
        ensure(said.observed_at >= since, "it was observed before the decision")?;
        ensure(evidence.last_observed_at() <= terms.evidence_deadline, "it was observed after the deadline")?;
        ensure(now <= terms.last_evidence(), "the submission window is over")
    }

    fn check_ruling(
        &self,
        (txid, leg): (Txid, LegId),
        terms: &EscrowTerms,
        signed: &SignedRuling,
        presented: (Digest, Timestamp),
    ) -> Result<(), String> {
        let ruling = signed.ruling;
        ensure((ruling.txid, ruling.leg) == (txid, leg), "the ruling is about another leg")?;
        let place = (ruling.chain_id, ruling.contract);
        ensure(place == (self.chain_id, terms.contract), "the ruling is for another contract")?;
        ensure((ruling.observation, ruling.observed_at) == presented, "another observation was presented")?;
        signed.speaks_for(terms).map_err(|no| no.to_string())
    }

    fn decide(&mut self, manifest: &Manifest, decide: &Decide, now: Timestamp) -> Result<Fact, String> {
        let txid = manifest.txid();
        let again = self.breach == Some(Breach::SecondDecision);
        ensure(again || !self.decisions.contains_key(&txid), "a decision stands")?;
        let over = now > manifest.grace_end();
        let decision = match decide {
            Decide::Commit { included, evidence_root, preimages, guard } => {
                if now > manifest.deadline && self.breach != Some(Breach::Deadline) {
                    ensure(!over, "the grace is over")?;
                    let digest = contract::commit_digest(manifest, *included, *evidence_root);
                    ensure(
                        guard.is_some_and(|by| by.signer(digest) == Ok(manifest.guard)),
                        "the deadline is over, and the guard does not sign",
                    )?;
                }
                ensure(manifest.quorum().allows(*included), "the rule does not allow these legs")?;
                if self.breach != Some(Breach::Preimages) {
                    check_preimages(manifest, preimages)?;
                }
                let (included, evidence_root) = (*included, *evidence_root);
                Decision::Commit { included, evidence_root, preimages: preimages.clone() }
            }
            Decide::Abort { by, signatures } if !over && !signatures.is_empty() => {
                check_signatures(manifest, signatures)?;
                Decision::Abort { by: *by }
            }
            Decide::Abort { by, .. } => {
                let takes_part = manifest.participants.iter().any(|one| one.account == *by);
                ensure(over || takes_part, "a stranger aborts only after the grace")?;
                ensure(
                    over || manifest.guard == Account::ZERO || self.breach == Some(Breach::EarlyAbort),
                    "with a pivot, ABORT is valid after the grace, or with every signature",
                )?;
                Decision::Abort { by: *by }
            }
        };
        self.decisions.insert(txid, (decision.clone(), now));
        Ok(Fact::Decided(txid, decision))
    }

    fn pay(&mut self, from: Account, to: Account, amount: u128) -> Result<(), String> {
        let held = self.balances.get(&from).copied().unwrap_or_default();
        let rest = held.checked_sub(amount).ok_or_else(|| format!("{from} holds {held} of {amount}"))?;
        self.balances.insert(from, rest);
        *self.balances.entry(to).or_default() += amount;
        Ok(())
    }
}

fn check_preimages(manifest: &Manifest, preimages: &[Digest]) -> Result<(), String> {
    let hashes: Vec<_> = manifest.participants.iter().map(|one| one.hashlock).collect();
    check_opened(&hashes, preimages)
}

pub(super) fn check_opened(hashes: &[Digest], preimages: &[Digest]) -> Result<(), String> {
    ensure(preimages.len() == hashes.len(), "one preimage a hash is needed")?;
    let fits = |(hash, secret): (&Digest, &Digest)| Digest::sha256(secret.as_bytes()) == *hash;
    ensure(hashes.iter().zip(preimages).all(fits), "a preimage does not fit its hash")
}

/// A lock that forgets the length of what opens it.
fn opened_by_any(manifest: &Manifest, terms: &HashlockTerms, preimages: &[Digest]) -> bool {
    let opens = |(hash, secret): (&Digest, &Digest)| {
        let long = [&[0], secret.as_bytes().as_slice()].concat();
        [secret.as_bytes().as_slice(), &long].into_iter().any(|bytes| Digest::sha256(bytes) == *hash)
    };
    let hashes = manifest.lock_hashes(terms);
    preimages.len() == hashes.len() && hashes.iter().zip(preimages).all(opens)
}

fn check_signatures(manifest: &Manifest, signatures: &[Signature]) -> Result<(), String> {
    ensure(signatures.len() == manifest.participants.len(), "one signature a participant is needed")?;
    let digest = contract::abort_digest(manifest);
    let signed = |(one, by): (&Participant, &Signature)| by.signer(digest) == Ok(one.account);
    ensure(manifest.participants.iter().zip(signatures).all(signed), "a signature is not the participant's")
}

/// Value that a contract holds for a leg.
struct Held {
    payer: Account,
    by: Account,
    amount: u128,
}

impl Held {
    fn of(terms: &Terms) -> Option<Self> {
        match terms {
            Terms::Escrow(terms) => {
                Some(Self { payer: terms.payer, by: terms.contract, amount: terms.amount })
            }
            Terms::Transfer(terms) => {
                Some(Self { payer: terms.payer, by: terms.contract, amount: terms.amount })
            }
            Terms::Hashlock(terms) => Some(Self { payer: terms.payer, by: SCRIPT, amount: terms.amount }),
            Terms::Record(_) => None,
        }
    }
}

/// Where hashlocked value is: no account's, until it is claimed or refunded.
const SCRIPT: Account = Account([0x5c; 20]);

fn escrow(leg: &Leg) -> Result<&EscrowTerms, String> {
    match &leg.terms {
        Terms::Escrow(terms) => Ok(terms),
        _ => Err("the leg holds no value".into()),
    }
}

/// What tells one attestation of a leg from another.
fn seen(evidence: &SignedAttestation) -> (Digest, Timestamp) {
    (evidence.attestation.observation, evidence.attestation.observed_at)
}

fn ensure(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}
