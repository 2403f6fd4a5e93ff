//! Whose keys a handle to a fake ledger holds: what another's key would have to sign, it does not make. What it makes is
//! not signed again, so that this is the one place that says who may do what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use sofie_model::{Account, Class, Decide, Digest, Fact, LegId, Manifest, Operation, Step, Terms, Txid};

use super::{Chain, Fake};
use crate::{LedgerError, Presigned, Spend};

/// What another's key signed, by the spend: the lock that it was signed for.
type Accepted = BTreeMap<(Txid, LegId, Spend), Digest>;

/// The keys of a handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    /// `None`: everyone's.
    of: Option<Arc<BTreeSet<Account>>>,
    /// The lock for which another's word was taken.
    accepted: Arc<Mutex<Accepted>>,
}

impl Keys {
    fn hold(&self, account: Account) -> bool {
        self.of.as_ref().is_none_or(|of| of.contains(&account))
    }
}

impl Fake {
    /// The same ledger for somebody who holds the keys of these accounts only.
    #[must_use]
    pub fn held_by(&self, accounts: impl IntoIterator<Item = Account>) -> Self {
        let of = Some(Arc::new(accounts.into_iter().collect()));
        Self { keys: super::keys::Keys { of, ..super::keys::Keys::default() }, ..self.clone() }
    }

    /// Whether the keys for it are here, and whether a hashlock is still there to be spent.
    pub(super) fn may_intend(&self, chain: &Chain, operation: &Operation) -> Result<(), LedgerError> {
        let needs = match operation {
            Operation::Leg { manifest, leg, step } => {
                let Some(found) = manifest.leg(*leg) else { return Ok(()) };
                match (step, found.class) {
                    (Step::Prepare, _) => found.terms.payer(),
                    (Step::Claim(_), Class::Hashlock) => {
                        return self.may_spend(chain, manifest, *leg, Spend::Claim);
                    }
                    (Step::Revert, Class::Hashlock) => {
                        return self.may_spend(chain, manifest, *leg, Spend::Refund);
                    }
                    _ => None,
                }
            }
            Operation::Decide { decide: Decide::Abort { by, .. }, .. } => {
                Some(*by).filter(|by| *by != Account::ZERO)
            }
            Operation::Decide { .. } | Operation::Note { .. } => None,
        };
        match needs {
            Some(account) if !self.keys.hold(account) => {
                Err(self.refused(&format!("no key of {account} is here")))
            }
            _ => Ok(()),
        }
    }

    fn may_spend(
        &self,
        chain: &Chain,
        manifest: &Manifest,
        leg: LegId,
        spend: Spend,
    ) -> Result<(), LedgerError> {
        let txid = manifest.txid();
        match chain.rules.spent(txid, leg) {
            None => return Err(self.transient("its lock is not there, or not yet")),
            Some(true) => return Err(self.refused("the lock is spent already")),
            Some(false) => {}
        }
        let accepted = self.keys.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let word = accepted.get(&(txid, leg, spend));
        if self.keys.hold(spender(manifest, leg, spend))
            || word.is_some_and(|of| chain.lock(txid, leg) == Some(*of))
        {
            return Ok(());
        }
        Err(self.transient("neither the key is here nor anything that it signed"))
    }

    pub(super) fn presigned(
        &self,
        chain: &Chain,
        manifest: &Manifest,
        leg: LegId,
        spend: Spend,
    ) -> Result<Presigned, LedgerError> {
        let who = spender(manifest, leg, spend);
        if !self.keys.hold(who) {
            return Err(self.refused(&format!("no key of {who} is here")));
        }
        let lock = chain.lock(manifest.txid(), leg).ok_or_else(|| self.transient("no lock is seen"))?;
        Ok(Presigned { spend, bytes: word(lock, who, spend).as_bytes().to_vec() })
    }

    pub(super) fn accepted(
        &self,
        chain: &Chain,
        manifest: &Manifest,
        leg: LegId,
        presigned: &Presigned,
    ) -> Result<(), LedgerError> {
        let lock = chain.lock(manifest.txid(), leg).ok_or_else(|| self.transient("no lock is seen"))?;
        let who = spender(manifest, leg, presigned.spend);
        if word(lock, who, presigned.spend).as_bytes() != presigned.bytes.as_slice() {
            return Err(self.refused(&format!("not signed by {who} for this lock")));
        }
        let mut accepted = self.keys.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.insert((manifest.txid(), leg, presigned.spend), lock);
        Ok(())
    }

    fn refused(&self, reason: &str) -> LedgerError {
        LedgerError::Refused { ledger: self.profile.id.clone(), reason: reason.to_owned() }
    }
}

impl Chain {
    /// The transaction that locked the leg.
    fn lock(&self, txid: Txid, leg: LegId) -> Option<Digest> {
        let locked = self.facts.iter().find(|one| one.fact == Fact::Prepared(txid, leg))?;
        Some(locked.position.reference)
    }
}

/// Who signs this spend of the leg's lock.
fn spender(manifest: &Manifest, leg: LegId, spend: Spend) -> Account {
    match (manifest.leg(leg).map(|leg| &leg.terms), spend) {
        (Some(Terms::Hashlock(terms)), Spend::Claim) => terms.claimant,
        (Some(Terms::Hashlock(terms)), Spend::Refund) => terms.payer,
        _ => Account::ZERO,
    }
}

/// In place of a signature: only a handle with the key makes it, so that no one in a test forges it.
fn word(lock: Digest, who: Account, spend: Spend) -> Digest {
    let spend = u8::from(spend == Spend::Refund);
    Digest::of("sofie.fake.presigned.v1", &[lock.as_bytes(), &who.0, &[spend]])
}
