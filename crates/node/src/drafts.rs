//! Turns a [`Draft`] into what a transaction begins with: names into keys and contracts, spans into instants, payloads
//! into salted commitments, and every instant of P5 from the declared times of the ledgers. All that can be seen before
//! anything is prepared is checked here, and a refusal names the field of the draft. A party whose keys are on another
//! node is enquired there first ([`Guest`]).

mod guests;
mod legs;
mod once;
#[cfg(test)]
mod tests;
mod times;

use std::collections::BTreeMap;

use sofie_audit::receipt::Sealed;
use sofie_ledgers::Profile;
use sofie_model::manifest::{DecisionSite, MAX_LEGS};
use sofie_model::{Account, Digest, LedgerId, LegId, Manifest, Rule, Span, Timestamp, custodian};
use sofie_transaction::Plan;

use crate::api::{Draft, DraftRule, LegKind};
use crate::config::{LedgerKind, Name, nearest};
use crate::contracts::Deployment;
use crate::parties::Parties;

pub(crate) use guests::Guest;
use guests::Party;
pub(crate) use once::{Once, Submitted, check_key, digest, digest_of_contract};

/// What a draft can refer to.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) parties: Parties,
    /// The parties of peers, each with its peer.
    pub(crate) elsewhere: BTreeMap<Name, Name>,
    /// Who runs the node.
    pub(crate) operator: Name,
    /// In the order of the configuration.
    pub(crate) sites: Vec<Site>,
    /// How long until this node notices and acts, a restart included.
    pub(crate) detection: Span,
}

/// A ledger, as a draft needs to know it.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) profile: Profile,
    pub(crate) deployment: Option<Deployment>,
    /// What manifests name as the holder of value here: an escrow contract, or a custodian by its key; zero where nothing
    /// holds any.
    pub(crate) holder: Account,
    /// The most that one ledger transaction may cost in fees, unless the draft says otherwise.
    pub(crate) fee_limit: u128,
    /// How far its clock may be from the true time.
    pub(crate) skew: Span,
}

impl Site {
    /// What holds value on a ledger of this kind, by its name in manifests.
    pub(crate) fn holder_of(kind: &LedgerKind, deployment: Option<Deployment>) -> Account {
        match kind {
            LedgerKind::Custodian { key, .. } => custodian::account(key),
            _ => deployment.map_or(Account::ZERO, |contracts| contracts.escrow),
        }
    }

    /// Whether its decisions are a group's certificates (docs/specs/inter-ledger.md, "A quorum that decides").
    fn is_group(&self) -> bool {
        self.profile.classes.is_empty() && self.deployment.is_some_and(|one| one.chain_id == 0)
    }
}

/// A draft that cannot become a transaction. Nothing was prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub(crate) struct Refused {
    /// The field of the draft, as `legs[1].amount`.
    pub(crate) field: String,
    /// What is wrong with it and what is expected.
    pub(crate) why: String,
}

/// What begins.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) plan: Plan,
    /// What opens the commitments of the record legs.
    pub(crate) openings: Vec<(LegId, Sealed)>,
}

/// A source of randomness; it may fail.
pub(crate) type Chance<'a> = &'a mut dyn FnMut() -> Result<[u8; 32], getrandom::Error>;

impl Desk {
    /// Makes a transaction of `draft`, to begin at `now`. `nonce` was drawn for it alone, and the `guests` were enquired
    /// with it.
    ///
    /// # Errors
    /// [`Refused`] for the first field that is wrong.
    pub(crate) fn resolve(
        &self,
        draft: &Draft,
        (nonce, guests): (Digest, &[Guest]),
        now: Timestamp,
        chance: Chance<'_>,
    ) -> Result<Resolved, Refused> {
        once::check_key(draft.idempotency_key.as_deref())?;
        let count = draft.legs.len();
        ensure((1..=MAX_LEGS).contains(&count), "legs", || format!("{count}; 1 to {MAX_LEGS} are expected"))?;
        let start = times::next_second(now);
        let decision = self.decision(draft)?;
        let participants = self.participants(draft, guests)?;
        let mut openings = Vec::new();
        let mut legs = Vec::with_capacity(count);
        for (index, leg) in draft.legs.iter().enumerate() {
            let (leg, opening) = self.leg(leg, (index, guests), start, chance)?;
            openings.extend(opening.map(|sealed| (LegId(index as u16), sealed)));
            legs.push(leg);
        }
        let mut manifest = Manifest {
            version: 1,
            legs,
            rule: match draft.rule {
                DraftRule::All => Rule::All,
                DraftRule::AtLeast(count) => Rule::AtLeast(count),
            },
            decision: decision_site(decision, draft),
            deadline: times::instant(draft.deadline, start),
            grace: draft.grace.map_or(Span::ZERO, |grace| grace.0),
            guard: Account::ZERO,
            participants: participants.iter().map(|party| party.participant(nonce)).collect(),
            nonce,
        };
        self.fill_times(&mut manifest, draft, decision)?;
        manifest
            .check(now)
            .map_err(|fault| Refused { field: field_of(&fault.path, draft), why: fault.why })?;
        self.check_times(&manifest, decision, now)?;
        let here = (0..).zip(&participants).filter(|(_, party)| party.is_here());
        let acts_for: Vec<u16> = here.map(|(who, _)| who).collect();
        between_nodes(&manifest, &acts_for)?;
        let decision_time = decision.profile.inclusion + decision.profile.finalises;
        let pivot = self.pivot_clock(&manifest, decision)?;
        Ok(Resolved { plan: Plan { manifest, acts_for, decision_time, pivot }, openings })
    }

    /// The most that one transaction on this ledger may cost in fees, by the configuration.
    pub(crate) fn fee_limit(&self, id: &LedgerId) -> u128 {
        self.sites.iter().find(|site| site.profile.id == *id).map_or(0, |site| site.fee_limit)
    }

    fn site(&self, id: &LedgerId, field: &str) -> Result<&Site, Refused> {
        self.sites.iter().find(|site| site.profile.id == *id).ok_or_else(|| {
            let known: Vec<_> = self.sites.iter().map(|site| site.profile.id.as_str()).collect();
            let hint = nearest(id.as_str(), &known);
            let hint = hint.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            refused(
                field,
                format!("this node has no ledger {:?}; it has {}{hint}", id.as_str(), known.join(", ")),
            )
        })
    }

    /// D: as the draft says, else where a contract of a leg reads the decision, else the first that has a contract, else
    /// the first that can decide.
    fn decision(&self, draft: &Draft) -> Result<&Site, Refused> {
        let timed = draft.legs.iter().any(|leg| leg.kind == LegKind::Hashlock);
        if let Some(id) = &draft.decision {
            let site = self.site(id, "decision")?;
            ensure(site.profile.decides, "decision", || format!("{id} cannot hold a decision"))?;
            ensure(!(timed && site.is_group()), "decision", || {
                format!(
                    "{id} is a group, and a group decides no transaction with a hashlock leg; name another ledger"
                )
            })?;
            return Ok(site);
        }
        let fits = |site: &&Site| site.profile.decides && !(timed && site.is_group());
        let mut deciding: Vec<&Site> = self.sites.iter().filter(fits).collect();
        let holds_value = |site: &Site| {
            let value = |leg: &crate::api::DraftLeg| matches!(leg.kind, LegKind::Transfer | LegKind::Escrow);
            draft.legs.iter().any(|leg| value(leg) && leg.ledger == site.profile.id)
        };
        deciding.sort_by_key(|site| (!holds_value(site), site.deployment.is_none()));
        deciding.into_iter().next().ok_or_else(|| refused("decision", "no ledger of this node can hold one"))
    }

    /// Everybody who pays or is paid, in the order of the legs.
    fn participants<'a>(&'a self, draft: &Draft, guests: &'a [Guest]) -> Result<Vec<Party<'a>>, Refused> {
        if !draft.participants.is_empty() {
            let named = draft.participants.iter().enumerate();
            return named
                .map(|(index, name)| self.party(guests, name, &format!("participants[{index}]")))
                .collect();
        }
        let mut all: Vec<Party<'a>> = Vec::new();
        for (index, leg) in draft.legs.iter().enumerate() {
            for (field, name) in [("from", &leg.from), ("to", &leg.to)] {
                let Some(name) = name else { continue };
                let party = self.party(guests, name, &format!("legs[{index}].{field}"))?;
                if all.iter().all(|known| known.account() != party.account()) {
                    all.push(party);
                }
            }
        }
        if all.is_empty() {
            all.push(self.party(guests, self.operator.as_str(), "participants")?);
        }
        Ok(all)
    }
}

/// What no peer would take.
fn between_nodes(manifest: &Manifest, acts_for: &[u16]) -> Result<(), Refused> {
    if acts_for.len() == manifest.participants.len() {
        return Ok(());
    }
    ensure(!acts_for.is_empty(), "participants", || {
        "no party of this node takes part; name one of its own, or submit the draft at the node of one that does".into()
    })?;
    for (id, leg) in manifest.legs() {
        let asked = |account| manifest.participants.iter().any(|one| one.account == account);
        let payer = leg.terms.payer();
        ensure(payer.is_none_or(asked), format!("legs[{}].from", id.0), || {
            "pays without being asked: name it among the participants, which other nodes demand".into()
        })?;
    }
    Ok(())
}

fn decision_site(site: &Site, draft: &Draft) -> DecisionSite {
    let contract = site.deployment.as_ref();
    DecisionSite {
        ledger: site.profile.id.clone(),
        chain_id: contract.map_or(0, |contract| contract.chain_id),
        contract: contract.map_or(Account::ZERO, |contract| contract.decision),
        finality: site.profile.finality,
        fee_limit: draft.decision_fee_limit.map_or(site.fee_limit, |limit| limit.0),
    }
}

/// The field of the draft that a fault of the manifest comes from.
fn field_of(path: &str, draft: &Draft) -> String {
    let (leg, field) = match path.split_once(".terms.") {
        Some((leg, field)) => (leg, field),
        None => return path.replace(".terms", ".kind").replace(".account", "").replace(".hashlock", ""),
    };
    let field = match field {
        "payer" | "payer_key" => "from",
        "payee" | "claimant" | "claimant_key" => "to",
        "contract" => "ledger",
        "evidence_key" => "evidence.by",
        "evidence_deadline" => "evidence.until",
        "submission_window" => "evidence.window",
        // Without it the draft's deadline is what it was made of.
        "timelock" if draft.legs.iter().all(|leg| leg.timelock.is_none()) => return "deadline".into(),
        other => other,
    };
    format!("{leg}.{field}")
}

fn random(chance: Chance<'_>, field: &str) -> Result<[u8; 32], Refused> {
    chance().map_err(|error| refused(field, format!("the system gives no randomness for it: {error}")))
}

fn ensure(holds: bool, field: impl Into<String>, why: impl FnOnce() -> String) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(refused(field, why())) }
}

fn refused(field: impl Into<String>, why: impl Into<String>) -> Refused {
    Refused { field: field.into(), why: why.into() }
}
