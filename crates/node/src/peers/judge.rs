//! Whether this node's parties take part in what a peer proposes: first what no owner would want, which is declined;
//! then the owner's rule, which says what needs a person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sofie_ledgers::{LedgerError, Status};
use sofie_model::{
    Account, Decide, Digest, LedgerId, LegId, Manifest, Operation, Rule, Span, Step, Terms, Timestamp,
    commitment, manifest::HashlockTerms,
};
use sofie_transaction::{PivotClock, Plan};

use super::message::Opening;
use crate::api::MAX_PAYLOAD;
use crate::config::Peer;
use crate::contracts;
use crate::drafts::Desk;
use crate::executor::Ledgers;
use crate::parties::{Parties, enquired};

/// A deadline further away needs a person: value would be locked for so long.
pub(super) const AUTOMATIC_WITHIN: Span = Span::from_seconds(3_600);

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// What this node would begin with.
    pub(super) plan: Plan,
    /// Why a person must decide; `None` when the owner's rule allows it.
    pub(super) person: Option<String>,
    /// The contract that begins with it.
    pub(super) contract: Option<contracts::Plan>,
}

/// Who looks at the proposal.
pub(super) struct Bench<'a> {
    pub(super) peer: &'a Peer,
    /// Whether the account's key is at this peer or at another one.
    pub(super) known: &'a (dyn Fn(Account) -> bool + Sync),
    pub(super) parties: &'a Parties,
    /// This node's own word on its ledgers' times.
    pub(super) desk: &'a Desk,
    pub(super) ledgers: &'a Ledgers,
    /// What this node's parties already pay in transactions with this peer that have not ended.
    pub(super) outstanding: BTreeMap<LedgerId, u128>,
    pub(super) now: Timestamp,
}

impl Bench<'_> {
    /// Judges `manifest`.
    ///
    /// # Errors
    /// Why it is declined.
    pub(super) async fn judge(&self, manifest: &Manifest, openings: &[Opening]) -> Result<Judged, String> {
        manifest.check(self.now).map_err(|fault| fault.to_string())?;
        let acts_for = self.ours(manifest)?;
        Self::pays_only_as_participant(manifest)?;
        Self::opens(manifest, openings)?;
        self.ledgers_agree(manifest).await?;
        let pivot = self.pivot(manifest)?;
        let decision = self.ledger(&manifest.decision.ledger)?.profile();
        let decision_time = decision.inclusion + decision.finalises;
        if self.now + decision_time > manifest.deadline {
            return Err(format!(
                "the deadline leaves less than the {decision_time} that a decision may take"
            ));
        }
        let person = self.person(manifest, openings);
        let plan = Plan { manifest: manifest.clone(), acts_for, decision_time, pivot };
        Ok(Judged { plan, person, contract: None })
    }

    /// The participants whose keys are here. Each has the hashlock that this peer was told when it enquired.
    fn ours(&self, manifest: &Manifest) -> Result<Vec<u16>, String> {
        let mut ours = Vec::new();
        for (who, participant) in (0..).zip(&manifest.participants) {
            // One that the peer may not know is to it like one that is not here.
            let here = self.parties.with_account(participant.account);
            match here.filter(|keys| self.peer.may_know(keys.name())) {
                Some(keys) => {
                    let secret = enquired(keys, self.peer.key.as_bytes(), manifest.nonce);
                    if Digest::sha256(secret.as_bytes()) != participant.hashlock {
                        return Err(format!(
                            "the hashlock of participant {who} is not the one that was enquired"
                        ));
                    }
                    ours.push(who);
                }
                None if (self.known)(participant.account) => {}
                None => return Err(format!("participant {who} is of no node that is known here")),
            }
        }
        match ours.is_empty() {
            true => Err("no participant lives here".into()),
            false if !manifest.participants.iter().any(|one| self.peer.has(one.account)) => {
                Err(format!("no party of peer {} takes part", self.peer.name))
            }
            false => Ok(ours),
        }
    }

    /// Who pays must be asked before COMMIT, wherever its key is.
    fn pays_only_as_participant(manifest: &Manifest) -> Result<(), String> {
        for (id, leg) in manifest.legs() {
            let Some(payer) = leg.terms.payer() else { continue };
            if !manifest.participants.iter().any(|one| one.account == payer) {
                return Err(format!("{id} is paid by {payer}, who is no participant"));
            }
        }
        Ok(())
    }

    /// A pivot rests on time, and on who may have a late COMMIT: both must do by what this node's own configuration says of
    /// its ledgers (P5), whatever the proposer takes them for. And who spends it must be who takes part.
    fn pivot(&self, manifest: &Manifest) -> Result<Option<PivotClock>, String> {
        let Some((id, terms)) = pivot(manifest) else { return Ok(None) };
        if manifest.guard != terms.payer {
            return Err(format!("its guard is {}, not {}, who pays {id}", manifest.guard, terms.payer));
        }
        for (account, key, whose) in
            [(terms.payer, terms.payer_key, "payer"), (terms.claimant, terms.claimant_key, "claimant")]
        {
            if key.account() != Some(account) {
                return Err(format!("the {whose}'s key of {id} is not that of {account}"));
            }
        }
        self.desk.clock_of(manifest, self.now).map_err(|refused| refused.to_string())
    }

    /// What is shown of a record is what its commitment holds: once for each leg, and a text.
    fn opens(manifest: &Manifest, openings: &[Opening]) -> Result<(), String> {
        let mut shown = BTreeSet::new();
        for Opening { leg, salt, payload } in openings {
            let commitment = commitment::commit(salt, payload);
            let opened = manifest.leg(*leg).map(|leg| &leg.terms);
            if opened != Some(&Terms::Record(commitment)) || !shown.insert(*leg) {
                return Err(format!("what is said to open {leg} does not"));
            }
            if payload.len() > MAX_PAYLOAD || std::str::from_utf8(payload).is_err() {
                return Err(format!("{leg} records no text of at most {MAX_PAYLOAD} bytes"));
            }
        }
        Ok(())
    }

    /// Each ledger must itself know the contracts that the manifest names, as final as this node takes it to be, and
    /// hold nothing of the transaction yet that would rule it out.
    async fn ledgers_agree(&self, manifest: &Manifest) -> Result<(), String> {
        let shared = Arc::new(manifest.clone());
        for (id, leg) in manifest.legs() {
            let profile = self.ledger(&leg.ledger)?.profile();
            if !profile.classes.contains(&leg.class) || profile.finality != leg.finality {
                return Err(format!("{id}: {} is another ledger here, by class or finality", leg.ledger));
            }
            let operation = Operation::Leg { manifest: shared.clone(), leg: id, step: Step::Prepare };
            self.fits(&leg.ledger, &operation).await?;
        }
        let site = &manifest.decision;
        let profile = self.ledger(&site.ledger)?.profile();
        if !profile.decides || profile.finality != site.finality {
            return Err(format!("{} does not decide here, or is final otherwise", site.ledger));
        }
        let decide = Decide::Abort { by: Account::ZERO, signatures: Vec::new() };
        match self.fits(&site.ledger, &Operation::Decide { manifest: shared, decide }).await? {
            Status::Absent => Ok(()),
            _ => Err(format!("{} has decided it already", site.ledger)),
        }
    }

    async fn fits(&self, ledger: &LedgerId, operation: &Operation) -> Result<Status, String> {
        let found: Result<Status, LedgerError> = self.ledger(ledger)?.status(operation, None).await;
        // What its operator must know of a ledger that does not answer is not for a peer's ears.
        let told = |error: LedgerError| match error {
            LedgerError::Transient { .. } | LedgerError::Nonsense { .. } => {
                tracing::warn!(%error, peer = %self.peer.name, "a proposal cannot be judged");
                format!("{ledger} does not answer here now; propose it again later")
            }
            LedgerError::Refused { .. } | LedgerError::Unsupported { .. } => error.to_string(),
        };
        match found.map_err(told)? {
            Status::Refused { reason } => Err(format!("{ledger}: {reason}")),
            status => Ok(status),
        }
    }

    fn ledger(&self, id: &LedgerId) -> Result<&Arc<dyn sofie_ledgers::Ledger>, String> {
        self.ledgers.get(id).ok_or_else(|| format!("this node has no ledger {id}"))
    }

    /// A claim and a refund take their fee out of what is locked.
    fn dear_pivot(&self, manifest: &Manifest) -> Option<String> {
        let (id, _) = pivot(manifest)?;
        let leg = manifest.leg(id)?;
        let most = self.desk.fee_limit(&leg.ledger);
        (leg.fee_limit > most).then(|| {
            let (limit, ledger) = (leg.fee_limit, &leg.ledger);
            format!("{id} may cost fees of {limit} on {ledger}, and this node's own limit is {most}")
        })
    }

    /// The owner's rule ([`Peer::automatic`]).
    fn person(&self, manifest: &Manifest, openings: &[Opening]) -> Option<String> {
        if manifest.rule != Rule::All {
            return Some("not every leg must take effect".into());
        }
        // Without a pivot, that is the deadline.
        if manifest.grace_end() > self.now + AUTOMATIC_WITHIN {
            return Some(format!("its deadline, with grace, is more than {AUTOMATIC_WITHIN} away"));
        }
        if let Some(why) = self.dear_pivot(manifest) {
            return Some(why);
        }
        let hidden = manifest.legs().find(|(id, leg)| {
            matches!(leg.terms, Terms::Record(_)) && openings.iter().all(|opening| opening.leg != *id)
        });
        if let Some((id, _)) = hidden {
            return Some(format!("what {id} records is not shown"));
        }
        let mut paid = payments(manifest, self.parties);
        for (ledger, sum) in &mut paid {
            *sum = sum.saturating_add(self.outstanding.get(ledger).copied().unwrap_or_default());
        }
        paid.into_iter().find_map(|(ledger, sum)| match self.peer.automatic.get(&ledger) {
            Some(limit) if sum <= *limit => None,
            Some(limit) => Some(format!("with it {sum} is paid on {ledger}, and {limit} is automatic")),
            None => Some(format!("with it {sum} is paid on {ledger}, where nothing is automatic")),
        })
    }
}

/// The hashlock leg.
fn pivot(manifest: &Manifest) -> Option<(LegId, &HashlockTerms)> {
    manifest.pivot().zip(manifest.pivot_terms())
}

/// What `parties` pay, by ledger.
pub(super) fn payments(manifest: &Manifest, parties: &Parties) -> BTreeMap<LedgerId, u128> {
    let mut paid: BTreeMap<LedgerId, u128> = BTreeMap::new();
    for leg in &manifest.legs {
        if let Some((payer, amount)) = payment(&leg.terms)
            && parties.with_account(payer).is_some()
        {
            let sum = paid.entry(leg.ledger.clone()).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
    paid
}

/// Who pays how much.
fn payment(terms: &Terms) -> Option<(Account, u128)> {
    match terms {
        Terms::Escrow(terms) => Some((terms.payer, terms.amount)),
        Terms::Transfer(terms) => Some((terms.payer, terms.amount)),
        Terms::Hashlock(terms) => Some((terms.payer, terms.amount)),
        Terms::Record(_) => None,
    }
}
