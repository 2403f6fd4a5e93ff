//! Contracts whose sides are on two nodes: both make the manifest of the same offer, and the payer's proposes it. The
//! manifest's nonce is the salted commitment of the agreement, so that the transaction binds the terms although no ledger
//! but the one that holds the money is reached by both.

use sofie_market::{ContractTerms, Offer, Part, Report};
use sofie_model::manifest::{DecisionSite, Participant};
use sofie_model::{
    Account, Class, Digest, LedgerId, Manifest, Rule, Span, Terms, Timestamp, Txid, canonical,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{Contracts, Driven, Plan, Refused, open};
use crate::api::PublishOffer;
use crate::auditor::Note;
use crate::clock;
use crate::config::Peer;
use crate::drive::Handle;
use crate::journal::{Entry, JournalError};
use crate::offers::{MAX_OFFER, Published};

/// A contract that is about to begin, in one write with its transaction.
pub(crate) struct Beginning {
    driven: Driven,
    room: OwnedSemaphorePermit,
    /// To be journaled with the transaction's beginning.
    pub(crate) entries: Vec<Entry>,
}

impl Contracts {
    /// Makes ready what begins; holds its place among those that run.
    ///
    /// # Errors
    /// [`Refused::TooMany`]; [`Refused::Invalid`] for a plan without an escrow.
    pub(crate) fn beginning(&self, plan: Plan) -> Result<Beginning, Refused> {
        let room = self.room.clone().try_acquire_owned().map_err(|_| Refused::TooMany)?;
        let entries = self.begun(&plan);
        let driven =
            Driven::begin(plan).ok_or_else(|| open::invalid("ledger", "no leg of it holds the payment"))?;
        Ok(Beginning { driven, room, entries })
    }

    /// Lets it run, once the journal holds it.
    pub(crate) fn set_out(&self, beginning: Beginning) -> Handle<Driven> {
        self.run(beginning.driven, 0, Some(beginning.room))
    }

    /// All that run.
    pub(crate) fn all_live(&self) -> Vec<Handle<Driven>> {
        self.live.lock().expect("no holder of this lock panics").values().cloned().collect()
    }

    /// The manifest that an offer makes between its owner and a payer: `participants`, in the order payer, owner.
    ///
    /// # Errors
    /// [`Refused`] for a ledger that this node has not, or that holds no money.
    pub(crate) fn manifest_of(
        &self,
        offer: &Offer,
        participants: [Participant; 2],
        (deadline, nonce): (Timestamp, Digest),
    ) -> Result<Manifest, Refused> {
        let profile = self.profile(&offer.ledger, "ledger")?;
        let contracts = self.deployments.get(&offer.ledger).ok_or_else(|| {
            open::invalid("ledger", format!("{} runs no contract that could decide", offer.ledger))
        })?;
        let payer = participants[0].account;
        let escrow = offer.escrow(contracts.escrow, payer, deadline);
        let bond = offer.bond(contracts.escrow, payer, deadline);
        let escrows = [escrow].into_iter().chain(bond);
        Ok(Manifest {
            version: 1,
            legs: escrows.map(|terms| open::leg(&profile, Class::Verifying, Terms::Escrow(terms))).collect(),
            rule: Rule::All,
            decision: DecisionSite {
                ledger: offer.ledger.clone(),
                chain_id: contracts.chain_id,
                contract: contracts.decision,
                finality: profile.finality,
                fee_limit: open::FEE_LIMIT,
            },
            deadline,
            grace: Span::ZERO,
            guard: Account::ZERO,
            participants: participants.to_vec(),
            nonce,
        })
    }

    /// The offer that is asked for.
    ///
    /// # Errors
    /// [`Refused`] names the field and says what is expected.
    pub(crate) fn offer_of(&self, asked: &PublishOffer, now: Timestamp) -> Result<Offer, Refused> {
        let spans = [
            ("decision_within_s", asked.decision_within_s, 1),
            ("evidence_within_s", asked.evidence_within_s, 1),
            ("submission_window_s", asked.submission_window_s, 0),
            ("valid_for_s", asked.valid_for_s, 1),
        ];
        for (field, seconds, least) in spans {
            if !(least..=open::LONGEST).contains(&seconds) {
                return Err(open::invalid(
                    field,
                    format!("{seconds} s; {least} to {} are expected", open::LONGEST),
                ));
            }
        }
        let owner = self.owner_of(&asked.thing, "thing")?.account();
        self.check_action(&asked.thing, &asked.action)?;
        let sensors = self.sensors_of(&asked.evidence, &[owner])?;
        let decision_within = Span::from_seconds(asked.decision_within_s);
        let needed = self.decision_time(&asked.ledger)?;
        if needed > decision_within {
            let why = format!("{} may need {needed} to decide: every contract would abort", asked.ledger);
            return Err(open::invalid("decision_within_s", why));
        }
        let offer = Offer {
            thing: asked.thing.clone(),
            action: asked.action.clone(),
            input: asked.input.as_ref().map(ToString::to_string).unwrap_or_default(),
            owner,
            price: asked.price.0,
            ledger: asked.ledger.clone(),
            evidence: sensors.evidence,
            evidence_key: sensors.key,
            witnesses: sensors.witnesses,
            penalty: open::stake_of(asked.penalty.as_ref())?,
            dispute: self.dispute_of(asked.dispute.as_ref(), asked.penalty.as_ref())?,
            decision_within,
            evidence_within: Span::from_seconds(asked.evidence_within_s),
            submission_window: Span::from_seconds(asked.submission_window_s),
            until: open::next_second(now) + Span::from_seconds(asked.valid_for_s),
        };
        self.check_offer(&offer, now)?;
        Ok(offer)
    }

    /// What any payer's manifest of it would be refused for, and what no message would hold.
    fn check_offer(&self, offer: &Offer, now: Timestamp) -> Result<(), Refused> {
        let got = canonical::encode(offer).len();
        if got > MAX_OFFER {
            let field = if offer.witnesses.is_none() { "input" } else { "evidence.others" };
            return Err(open::invalid(
                field,
                format!("the offer has {got} bytes; at most {MAX_OFFER} are carried"),
            ));
        }
        let somebody = |account: Account| Participant { account, hashlock: Digest::sha256(&account.0) };
        // No account of a key: the payer's is not known yet.
        let participants = [somebody(Account([0xff; 20])), somebody(offer.owner)];
        let made = (open::next_second(now) + offer.decision_within, Digest::sha256(&[]));
        let manifest = self.manifest_of(offer, participants, made)?;
        manifest.check(now).map_err(|fault| open::invalid(open::field_of(&fault.path), fault.why))
    }

    /// How long a decision on this ledger may take.
    ///
    /// # Errors
    /// [`Refused`] for a ledger that this node has not.
    pub(crate) fn decision_time(&self, ledger: &LedgerId) -> Result<Span, Refused> {
        let profile = self.profile(ledger, "ledger")?;
        Ok(profile.inclusion + profile.finalises)
    }

    /// Whether what a peer proposes is the contract that the offer makes, and nothing besides; then this node's plan for it,
    /// and why a person must decide, if one must.
    ///
    /// # Errors
    /// Why it is declined.
    pub(crate) fn judge(
        &self,
        published: Option<Published>,
        peer: &Peer,
        manifest: &Manifest,
        terms: &ContractTerms,
    ) -> Result<(Plan, Option<String>), String> {
        let (id, now) = (terms.offer, clock::now());
        let Some(Published { offer, ask, .. }) = published else {
            return Err(format!("no offer {id} is open here; list them again"));
        };
        let agreement = &terms.agreement;
        offer.met_by(agreement, manifest.deadline, now).map_err(|unmet| unmet.to_string())?;
        let [payer, owner] = manifest.participants[..] else {
            return Err("payer and owner take part, and nobody else".into());
        };
        if payer.account != agreement.renter || owner.account != offer.owner || !peer.has(payer.account) {
            return Err(format!("the first participant is not the payer, of peer {}", peer.name));
        }
        let made = (manifest.deadline, agreement.commitment(&terms.salt));
        let expected =
            self.manifest_of(&offer, [payer, owner], made).map_err(|refused| refused.to_string())?;
        if expected != *manifest {
            return Err("the manifest is not the one that the offer makes".into());
        }
        if self.all_live().iter().any(|live| live.state().plan.offer == Some(id)) {
            return Err("a contract of this offer runs; agree to it again when that one has ended".into());
        }
        let plan = self.plan_of(terms.clone(), manifest.clone(), Part::Owner);
        Ok((plan, ask.then(|| "its owner wants to be asked about each contract of this offer".to_owned())))
    }

    /// What this node begins with.
    pub(crate) fn plan_of(&self, terms: ContractTerms, manifest: Manifest, part: Part) -> Plan {
        Plan {
            agreement: terms.agreement,
            salt: terms.salt,
            manifest,
            record_ledger: None,
            opened_at: clock::now(),
            part: Some(part),
            offer: Some(terms.offer),
        }
    }

    /// What a peer may know of how far the contract is; `None`: there is none between it and a party here. The payer's node has
    /// nothing of its own to tell, but the words of sensors about the stake.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn report_to(&self, peer: &Peer, txid: Txid) -> Result<Option<Report>, JournalError> {
        let Some(driven) = self.state(txid)? else { return Ok(None) };
        let (contract, agreement) = (&driven.contract, driven.contract.agreement());
        let report = contract.report();
        Ok(match contract.part() {
            Part::Owner if peer.has(agreement.renter) => {
                Some(Report { told_at: contract.told_at(), ..report })
            }
            Part::Payer if peer.has(agreement.owner) => {
                Some(Report { missed: report.missed, ..Report::default() })
            }
            Part::Both | Part::Owner | Part::Payer => None,
        })
    }
}

impl Plan {
    /// What its proposal says of it.
    pub(crate) fn terms(&self) -> Option<ContractTerms> {
        let offer = self.offer?;
        Some(ContractTerms { offer, agreement: self.agreement.clone(), salt: self.salt })
    }

    /// What people are told when it begins.
    pub(crate) fn begins(&self, name_of: impl Fn(Account) -> String) -> Vec<Note> {
        let (id, agreement) = (self.manifest.txid().0, &self.agreement);
        let (payer, owner) = (name_of(agreement.renter), name_of(agreement.owner));
        let offered = format!(
            "{payer} pays {} to {owner} for {} on {}",
            agreement.price, agreement.action, agreement.thing
        );
        vec![
            Note::about(id, "offered", true, offered).by(payer),
            Note::about(id, "accepted", true, format!("by {owner}, on its own node")).by(owner),
        ]
    }
}
