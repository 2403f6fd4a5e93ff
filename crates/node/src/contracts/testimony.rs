//! The word of a sensor's owner whose node takes no part in the contract: a node that does asks, and this one looks at the
//! ledgers and at its own sensors, and signs what they saw (docs/adr/0045-a-sensor-at-a-third-node.md). It believes nothing
//! that it is told: the terms must be those that the transaction commits to, and that must stand, committed, on ledgers of
//! this node.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sofie_ledgers::{LedgerError, Status};
use sofie_market::{Contract, ContractTerms, EvidenceRule, Seen};
use sofie_model::{
    Account, Attestation, Decide, Decision, Evidence, Fact, LedgerId, Manifest, Observation, Operation, Salt,
    Step, Timestamp, canonical,
};
use tokio::time::timeout;

use super::{Contracts, random};
use crate::auditor::Note;
use crate::clock;
use crate::config::Peer;
use crate::journal::{Entry, JournalError};
use crate::keys::PartyKeys;

/// Facts of this group: what was signed about one sensor of a contract of other nodes, a [`Seen`].
const GROUP: &str = "testimony";
/// The longest such fact.
const MAX_BYTES: usize = 16 * 1024;
/// A device that does not answer so soon is asked again by the next question.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// Why there is no word.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untold {
    /// There may be one later.
    #[error("{0}")]
    Yet(String),
    /// There is none for whoever asks this.
    #[error("{0}")]
    Never(String),
    /// The journal fails.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What is asked about, once it is found to stand.
struct Case {
    contract: Contract,
    /// By D's clock: nothing counts that was observed before.
    decided_at: Timestamp,
}

impl Contracts {
    /// What the sensors of this node's parties saw of a contract of other nodes, each signed by its owner. The first word about
    /// each sensor is kept, and told again.
    ///
    /// # Errors
    /// [`Untold`].
    pub(crate) async fn testify(
        &self,
        peer: &Peer,
        manifest: Manifest,
        terms: &ContractTerms,
    ) -> Result<Vec<Seen>, Untold> {
        let contract = agreed(peer, &manifest, terms).map_err(Untold::Never)?;
        let sensors = self.own_sensors(peer, &contract).map_err(Untold::Never)?;
        let decided_at = self.armed(Arc::new(manifest), &contract).await?;
        let case = Case { contract, decided_at };
        let mut told = Vec::new();
        for (place, keys) in sensors {
            told.extend(self.word_of(peer, &case, place, keys).await?);
        }
        if told.is_empty() {
            return Err(Untold::Yet("its sensors have not seen what was agreed".into()));
        }
        Ok(told)
    }

    /// The places of the sensors whose owners' keys are here, of those owners that the peer may know.
    fn own_sensors(&self, peer: &Peer, contract: &Contract) -> Result<Vec<(usize, &PartyKeys)>, String> {
        let mut ours = Vec::new();
        let named = contract.keys().into_iter().zip(contract.agreement().rules());
        for (place, (key, rule)) in named.enumerate() {
            let keys = self.parties.with_account(key).filter(|keys| peer.may_know(keys.name()));
            let Some(keys) = keys else { continue };
            if self.platforms.owner_of(&rule.thing).as_deref() != Some(keys.name().as_str()) {
                return Err(format!("{} has no thing {} here", keys.name(), rule.thing));
            }
            ours.push((place, keys));
        }
        if ours.is_empty() {
            return Err("none of its sensors is of a party here".into());
        }
        Ok(ours)
    }

    /// When D committed it, by D's clock, once its escrows are armed.
    async fn armed(&self, manifest: Arc<Manifest>, contract: &Contract) -> Result<Timestamp, Untold> {
        let decide = Decide::Abort { by: Account::ZERO, signatures: Vec::new() };
        let decide = Operation::Decide { manifest: manifest.clone(), decide };
        let decided = self.stands(&manifest.decision.ledger, &decide).await?;
        let Fact::Decided(_, Decision::Commit { .. }) = decided.fact else {
            return Err(Untold::Never("it was aborted".into()));
        };
        for leg in contract.open_escrows() {
            let ledger = &manifest.legs[usize::from(leg.0)].ledger;
            let armed = Operation::Leg { manifest: manifest.clone(), leg, step: Step::Apply };
            self.stands(ledger, &armed).await?;
        }
        Ok(decided.at)
    }

    /// What stands, final, on a ledger of this node.
    async fn stands(&self, id: &LedgerId, operation: &Operation) -> Result<Evidence, Untold> {
        let ledger = self.executor.ledgers().get(id);
        let ledger = ledger.ok_or_else(|| Untold::Never(format!("this node has no ledger {id}")))?;
        match ledger.status(operation, None).await {
            Ok(Status::Final(evidence)) => Ok(evidence),
            Ok(Status::Refused { reason }) => Err(Untold::Never(format!("{id}: {reason}"))),
            Ok(_) => Err(Untold::Yet(format!("{id} does not show that it is committed and armed"))),
            // What its operator must know of a ledger that does not answer is not for a peer's ears.
            Err(error @ (LedgerError::Transient { .. } | LedgerError::Nonsense { .. })) => {
                tracing::warn!(%error, "a contract of other nodes cannot be looked at");
                Err(Untold::Yet(format!("{id} does not answer here now")))
            }
            Err(error) => Err(Untold::Never(error.to_string())),
        }
    }

    /// The word about one sensor: the one that was given, or a new one, which is kept before it is told.
    async fn word_of(
        &self,
        peer: &Peer,
        case: &Case,
        place: usize,
        keys: &PartyKeys,
    ) -> Result<Option<Seen>, Untold> {
        let txid = case.contract.txid();
        let key = format!("{txid} {place}");
        if let Some(kept) = self.kept_word(&key)? {
            return Ok(Some(kept));
        }
        let Some(rule) = case.contract.agreement().rules().nth(place) else { return Ok(None) };
        // A change can only be told from something.
        let learnt = timeout(LOOK_TIME, self.platforms.learn(&rule.thing, &rule.property)).await;
        learnt.unwrap_or(Ok(()))?;
        let Some((observation, salt, said)) = self.saw(case, rule).await else { return Ok(None) };
        let detail = format!(
            "{} {} = {}, for a contract of peer {}",
            rule.thing, rule.property, observation.quantity.value, peer.name
        );
        let seen = Seen { observation, salt, attestation: said.sign(keys.secp256k1()) };
        let fact = Entry::Fact { group: GROUP, key, value: canonical::encode(&seen) };
        let note = Note::about(txid.0, "testified", true, detail).by(keys.name().to_string());
        self.keeper.auditor.keep(vec![fact], vec![note], clock::now()).await?;
        Ok(Some(seen))
    }

    fn kept_word(&self, key: &str) -> Result<Option<Seen>, JournalError> {
        let journal = self.executor.journal();
        let Some(kept) = journal.reader()?.fact(GROUP, key)? else { return Ok(None) };
        let seen = canonical::decode(&kept, MAX_BYTES);
        seen.map(Some).map_err(|error| JournalError::Corrupt {
            path: journal.path().to_owned(),
            what: format!("{GROUP} {key}: {error}"),
        })
    }

    /// What the sensor saw that counts: that it became as agreed; else, where there is a stake and the act was due, that it is
    /// not so.
    async fn saw(&self, case: &Case, rule: &EvidenceRule) -> Option<(Observation, Salt, Attestation)> {
        let contract = &case.contract;
        let since = Timestamp::from_seconds(case.decided_at.as_seconds());
        let mut readings = self.platforms.readings(&rule.thing, since);
        // Those that have come: what comes later is for a later question.
        let heard: Vec<_> = std::iter::from_fn(|| readings.next().now_or_never()).collect();
        // A salt that could be guessed would betray the value: better no word than that.
        let salt = Salt::new(random().ok()?);
        let fulfils = |seen: &Observation| rule.fulfilled_by(seen, since, contract.due()).is_ok();
        if let Some(one) = heard.iter().find(|one| one.changed && fulfils(&one.observation)) {
            let said = contract.attestation(&one.observation, &salt);
            return Some((one.observation.clone(), salt, said));
        }
        let (due, until) = (contract.due(), contract.bond()?.escrow().1.evidence_deadline);
        let now = clock::now();
        if now < due || now > until {
            return None;
        }
        let misses = |seen: &Observation| rule.missed_by(seen, due, until).is_ok();
        let shown = match heard.into_iter().map(|one| one.observation).find(misses) {
            Some(shown) => shown,
            None => self.asked(rule).await.into_iter().find(misses)?,
        };
        let said = contract.missed_attestation(&shown, &salt)?;
        Some((shown, salt, said))
    }

    /// How the property is, if its device says so now.
    async fn asked(&self, rule: &EvidenceRule) -> Vec<Observation> {
        let Some(adapter) = self.platforms.adapter_of(&rule.thing) else { return Vec::new() };
        match timeout(LOOK_TIME, adapter.read(&rule.thing, &rule.property)).await {
            Ok(Ok(message)) => message.observations,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }
}

/// The contract that the manifest and the terms make, if a party of the peer pays or is paid by it.
fn agreed(peer: &Peer, manifest: &Manifest, terms: &ContractTerms) -> Result<Contract, String> {
    // Its deadline may be over: the ledgers say what became of it.
    manifest.check(Timestamp::default()).map_err(|fault| fault.to_string())?;
    let agreement = &terms.agreement;
    if manifest.nonce != agreement.commitment(&terms.salt) {
        return Err("the transaction does not commit to this agreement".into());
    }
    let sides = [agreement.renter, agreement.owner];
    let contract = Contract::begin(agreement.clone(), manifest).filter(|contract| {
        let (_, escrow) = contract.escrow();
        [escrow.payer, escrow.payee] == sides && escrow.amount == agreement.price
    });
    let contract = contract.ok_or("its escrows do not hold what the agreement says")?;
    let takes_part = |side: &Account| manifest.participants.iter().any(|one| one.account == *side);
    if !sides.iter().any(|side| peer.has(*side) && takes_part(side)) {
        return Err(format!("no party of peer {} pays or is paid", peer.name));
    }
    Ok(contract)
}
