//! Opens a contract: checks what is asked for against what this node knows, makes the agreement and the manifest, and
//! begins both machines in one durable write.

use sofie_market::{Agreement, Penalty, Stake};
use sofie_model::manifest::{DecisionSite, EscrowTerms, Participant};
use sofie_model::{
    Account, Class, Digest, LedgerId, Leg, Manifest, Rule, Salt, Span, Terms, Timestamp, Txid,
};

use super::{Contracts, MAX_RUNNING, Plan, random};
use crate::api::{self, OpenContract};
use crate::auditor::Note;
use crate::clock;
use crate::drafts::{self, Submitted};
use crate::journal::JournalError;
use crate::keys::PartyKeys;
use crate::parties::preimage;

/// No transaction of a contract costs more in fees: in wei, a tenth of an ether.
pub(super) const FEE_LIMIT: u128 = 100_000_000_000_000_000;

/// No deadline of a contract lies further away than this.
pub(super) const LONGEST: u64 = 366 * 24 * 3600;

/// Why a contract is not opened. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A name that this node does not know.
    #[error("{field}: this node has no {what} {name:?}; it has {known}")]
    Unknown {
        /// The field of the request.
        field: String,
        /// What was looked for: `party`, `thing`, `ledger`.
        what: &'static str,
        /// Under this name.
        name: String,
        /// What there is.
        known: String,
    },
    /// A value that cannot be.
    #[error("{field}: {why}")]
    Invalid {
        /// The field of the request.
        field: String,
        /// What is wrong and what is expected.
        why: String,
    },
    /// As many run as may.
    #[error("{MAX_RUNNING} contracts run on this node, the most that may at once")]
    TooMany,
    /// The journal does not take it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The two ledgers of a contract, as they are configured.
struct Sites {
    decision: DecisionSite,
    escrow: Account,
    ledger: sofie_ledgers::Profile,
    record: sofie_ledgers::Profile,
}

impl Contracts {
    /// Opens a contract and lets it run. Once this returns `Ok`, the journal holds it.
    ///
    /// # Errors
    /// [`Refused`] names the field and says what is expected.
    pub async fn open(&self, asked: &OpenContract) -> Result<Txid, Refused> {
        let now = clock::now();
        let key = asked.idempotency_key.as_deref();
        drafts::check_key(key).map_err(|refused| invalid(&refused.field, refused.why))?;
        check_spans(asked)?;
        let renter = self.party(&asked.renter, "renter")?;
        let owner = self.owner_of(&asked.thing, "thing")?;
        self.check_action(&asked.thing, &asked.action)?;
        let sensors = self.sensors_of(&asked.evidence, &[renter.account(), owner.account()])?;
        let dispute = self.dispute_of(asked.dispute.as_ref(), asked.penalty.as_ref())?;
        let sites = self.sites(asked)?;
        let nonce = Digest(random().map_err(|e| invalid("nonce", e.to_string()))?);
        let salt = Salt::new(random().map_err(|e| invalid("salt", e.to_string()))?);
        let start = next_second(now);
        let agreement = Agreement {
            thing: asked.thing.clone(),
            action: asked.action.clone(),
            input: asked.input.as_ref().map(ToString::to_string).unwrap_or_default(),
            renter: renter.account(),
            owner: owner.account(),
            price: asked.price.0,
            not_before: now,
            not_after: start + Span::from_seconds(asked.decision_within_s + asked.open_for_s),
            evidence: sensors.evidence,
            witnesses: sensors.witnesses,
            penalty: stake_of(asked.penalty.as_ref())?.map(|stake| Penalty {
                amount: stake.amount,
                until: start + Span::from_seconds(asked.evidence_within_s) + stake.within,
            }),
            dispute,
        };
        let due = start + Span::from_seconds(asked.evidence_within_s);
        let escrow = EscrowTerms {
            contract: sites.escrow,
            payer: renter.account(),
            payee: owner.account(),
            amount: asked.price.0,
            evidence_key: sensors.key,
            evidence_deadline: due,
            submission_window: Span::from_seconds(asked.submission_window_s),
            dispute,
        };
        let bond = agreement.penalty.map(|penalty| EscrowTerms {
            payer: owner.account(),
            payee: renter.account(),
            amount: penalty.amount,
            evidence_deadline: penalty.until,
            ..escrow.clone()
        });
        let bond = bond.map(|terms| leg(&sites.ledger, Class::Verifying, Terms::Escrow(terms)));
        let manifest = Manifest {
            version: 1,
            legs: [
                leg(&sites.ledger, Class::Verifying, Terms::Escrow(escrow)),
                leg(&sites.record, Class::Record, Terms::Record(agreement.commitment(&salt))),
            ]
            .into_iter()
            .chain(bond)
            .collect(),
            rule: Rule::All,
            decision: sites.decision,
            deadline: start + Span::from_seconds(asked.decision_within_s),
            grace: Span::ZERO,
            guard: Account::ZERO,
            participants: [renter, owner].map(|keys| participant(keys, nonce)).to_vec(),
            nonce,
        };
        manifest.check(now).map_err(|fault| invalid(field_of(&fault.path), fault.why))?;
        let decision_time = sites.ledger.inclusion + sites.ledger.finalises;
        check_decision(asked, decision_time, manifest.deadline.since(now))?;
        let plan = Plan {
            agreement,
            salt,
            manifest,
            record_ledger: Some(asked.record_ledger.clone()),
            opened_at: now,
            part: None,
            offer: None,
        };
        self.start(asked, plan, decision_time).await
    }

    /// Begins it, where there is room for one more.
    pub(super) async fn start(
        &self,
        asked: &OpenContract,
        plan: Plan,
        decision_time: Span,
    ) -> Result<Txid, Refused> {
        let txid = plan.manifest.txid();
        let owner = self.parties.name_of(plan.agreement.owner);
        let offered = format!(
            "{} pays {} to {owner} for {} on {}",
            asked.renter, asked.price.0, asked.action, asked.thing
        );
        let accepted = format!("by {owner}, whose policy allows it to whoever pays");
        let notes = vec![
            Note::about(txid.0, "offered", true, offered).by(asked.renter.clone()),
            Note::about(txid.0, "accepted", true, accepted).by(owner),
        ];
        let submitted = Submitted { asked: drafts::digest_of_contract(asked), txid };
        let transaction = sofie_transaction::Plan {
            manifest: plan.manifest.clone(),
            acts_for: vec![0, 1],
            decision_time,
            pivot: None,
        };
        let mut beginning = self.beginning(plan)?;
        let mut entries = std::mem::take(&mut beginning.entries);
        entries.extend(asked.idempotency_key.clone().map(|key| submitted.entry(key)));
        self.transactions.begin(transaction, entries, notes).await?;
        self.set_out(beginning);
        Ok(txid)
    }

    pub(crate) fn party(&self, name: &str, field: &str) -> Result<&PartyKeys, Refused> {
        self.parties.named(name).ok_or_else(|| self.no_party(name, field))
    }

    pub(super) fn no_party(&self, name: &str, field: &str) -> Refused {
        let known = self.parties.iter().map(|keys| keys.name().to_string()).collect::<Vec<_>>().join(", ");
        Refused::Unknown { field: field.into(), what: "party", name: name.into(), known }
    }

    pub(super) fn owner_of(&self, thing: &sofie_model::ThingId, field: &str) -> Result<&PartyKeys, Refused> {
        let owner = self.platforms.owner_of(thing).ok_or_else(|| Refused::Unknown {
            field: field.into(),
            what: "thing",
            name: thing.to_string(),
            known: self.platforms.things().iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })?;
        // Its receipt tells how the thing was described when the contract was opened.
        if self.platforms.directory(|directory| directory.get(thing).is_none()) {
            let why = format!("{thing} was taken out of the directory; PUT its description there again");
            return Err(invalid(field, why));
        }
        self.party(&owner, field)
    }

    pub(super) fn check_action(&self, thing: &sofie_model::ThingId, action: &str) -> Result<(), Refused> {
        let actions = self.platforms.actions_of(thing);
        if !actions.iter().any(|known| known == action) {
            let known = actions.join(", ");
            let (field, name) = ("action".into(), action.to_owned());
            return Err(Refused::Unknown { field, what: "action", name, known });
        }
        if !self.platforms.allows(thing, action) {
            let why = format!("its owner's policy does not allow {action}");
            return Err(invalid("action", why));
        }
        Ok(())
    }

    fn sites(&self, asked: &OpenContract) -> Result<Sites, Refused> {
        let ledger = self.profile(&asked.ledger, "ledger")?;
        let record = self.profile(&asked.record_ledger, "record_ledger")?;
        let holds = |one: &&crate::contracts::Deployment| one.escrow != sofie_model::Account::ZERO;
        let Some(contracts) = self.deployments.get(&asked.ledger).filter(holds) else {
            return Err(invalid("ledger", format!("{} runs no contract that could decide", asked.ledger)));
        };
        if !record.classes.contains(&Class::Record) {
            return Err(invalid("record_ledger", format!("{} records nothing", asked.record_ledger)));
        }
        let decision = DecisionSite {
            ledger: asked.ledger.clone(),
            chain_id: contracts.chain_id,
            contract: contracts.decision,
            finality: ledger.finality,
            fee_limit: FEE_LIMIT,
        };
        Ok(Sites { decision, escrow: contracts.escrow, ledger, record })
    }

    pub(super) fn profile(&self, id: &LedgerId, field: &str) -> Result<sofie_ledgers::Profile, Refused> {
        let ledgers = self.executor.ledgers();
        ledgers.get(id).map(|ledger| ledger.profile().clone()).ok_or_else(|| Refused::Unknown {
            field: field.into(),
            what: "ledger",
            name: id.to_string(),
            known: ledgers.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })
    }
}

pub(super) fn leg(profile: &sofie_ledgers::Profile, class: Class, terms: Terms) -> Leg {
    Leg {
        ledger: profile.id.clone(),
        class,
        finality: profile.finality,
        required: true,
        terms,
        fee_limit: FEE_LIMIT,
    }
}

fn participant(keys: &PartyKeys, nonce: Digest) -> Participant {
    Participant { account: keys.account(), hashlock: Digest::sha256(preimage(keys, nonce).as_bytes()) }
}

/// What the owner stakes, as it is asked for.
///
/// # Errors
/// [`Refused`] names the field.
pub(super) fn stake_of(asked: Option<&api::Penalty>) -> Result<Option<Stake>, Refused> {
    let Some(asked) = asked else { return Ok(None) };
    if !(1..=LONGEST).contains(&asked.within_s) {
        let why = format!("{} s; 1 to {LONGEST} are expected", asked.within_s);
        return Err(invalid("penalty.within_s", why));
    }
    Ok(Some(Stake { amount: asked.amount.0, within: Span::from_seconds(asked.within_s) }))
}

fn check_spans(asked: &OpenContract) -> Result<(), Refused> {
    let spans = [
        ("open_for_s", asked.open_for_s),
        ("decision_within_s", asked.decision_within_s),
        ("evidence_within_s", asked.evidence_within_s),
    ];
    for (field, seconds) in spans {
        if !(1..=LONGEST).contains(&seconds) {
            return Err(invalid(field, format!("{seconds} s; 1 to {LONGEST} are expected")));
        }
    }
    if asked.submission_window_s > LONGEST {
        return Err(invalid("submission_window_s", format!("at most {LONGEST} are expected")));
    }
    Ok(())
}

/// The field of the request that a fault of the manifest comes from.
pub(super) fn field_of(path: &str) -> &str {
    match path {
        "legs[0].terms.amount" => "price",
        "legs[0].terms.payee" => "renter",
        "legs[0].terms.evidence_key" => "evidence.thing",
        "legs[0].terms.evidence_deadline" => "evidence_within_s",
        "legs[0].terms.submission_window" => "submission_window_s",
        "legs[0].terms.dispute.arbiter" => "dispute.arbiter",
        "legs[0].terms.dispute.window" => "dispute.window_s",
        "deadline" => "decision_within_s",
        other if other.ends_with(".terms.amount") => "penalty.amount",
        other if other.ends_with(".terms.evidence_deadline") => "penalty.within_s",
        other => other,
    }
}

/// Nobody's money is locked for a transaction that can only abort.
fn check_decision(asked: &OpenContract, needed: Span, given: Span) -> Result<(), Refused> {
    if needed <= given {
        return Ok(());
    }
    let why = format!("{} may need {needed} to decide: it would always abort", asked.ledger);
    Err(invalid("decision_within_s", why))
}

pub(crate) fn next_second(now: Timestamp) -> Timestamp {
    Timestamp::from_seconds(now.as_seconds() + 1)
}

pub(super) fn invalid(field: &str, why: impl Into<String>) -> Refused {
    Refused::Invalid { field: field.to_owned(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_needs_the_time_that_its_ledger_may_take() {
        let asked: OpenContract = serde_json::from_value(serde_json::json!({
            "renter": "renter", "thing": "urn:locker:1", "action": "lock", "price": "1", "open_for_s": 60,
            "ledger": "evm", "record_ledger": "calendar",
            "evidence": { "thing": "urn:door:1", "property": "open", "equals": true },
            "decision_within_s": 12, "evidence_within_s": 60, "submission_window_s": 0,
        }))
        .expect("a request");
        let seconds = Span::from_seconds;
        check_decision(&asked, seconds(12), seconds(12)).expect("just enough");
        let refused = check_decision(&asked, seconds(13), seconds(12)).expect_err("too little");
        let expected = "decision_within_s: evm may need 13 s to decide: it would always abort";
        assert_eq!(refused.to_string(), expected);
    }
}
