//! What was agreed, as a receipt carries it: the payload under the salted commitment of the transaction's record leg.
//!
//! The room that makes agreements is `market`; rooms do not know each other, so that this one reads the agreed bytes
//! into a type of its own. A test holds both encodings together.

use minicbor::{Decode, Encode};
use serde::Serialize;
use sofie_model::attestation::{BadPanel, Panel};
use sofie_model::manifest::Dispute;
use sofie_model::{Account, Observation, ThingId, Timestamp, Value};

/// The largest agreement that is read, in bytes.
pub const MAX_AGREEMENT: usize = 16 * 1024;

/// Which observation proves the actuation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct EvidenceRule {
    /// The sensor: a thing of a third owner.
    #[n(0)]
    pub thing: ThingId,
    /// The property that it reports.
    #[n(1)]
    pub property: String,
    /// The value that fulfils the contract.
    #[n(2)]
    pub equals: Value,
}

/// The terms between two companies.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Agreement {
    /// The thing that acts.
    #[n(0)]
    pub thing: ThingId,
    /// The action's name in the Thing Description.
    #[n(1)]
    pub action: String,
    /// The action's input: JSON text, or empty.
    #[n(2)]
    pub input: String,
    /// Who pays.
    #[n(3)]
    pub renter: Account,
    /// Who owns the thing and is paid.
    #[n(4)]
    pub owner: Account,
    /// In the smallest unit of the escrow's ledger.
    #[n(5)]
    pub price: u128,
    /// From when the capability is good.
    #[n(6)]
    pub not_before: Timestamp,
    /// Until when.
    #[n(7)]
    pub not_after: Timestamp,
    /// What proves the act.
    #[n(8)]
    pub evidence: EvidenceRule,
    /// That sensor and others, of which so many must attest; none named: that sensor alone.
    #[n(9)]
    pub witnesses: Option<Witnesses>,
    /// What the owner stakes for the act, if anything.
    #[n(10)]
    pub penalty: Option<Penalty>,
    /// Who may overrule the evidence, and for how long, if anybody.
    #[n(11)]
    pub dispute: Option<Dispute>,
}

/// A stake of the owner: the renter's if the sensors say, once it was due, that what was agreed is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Penalty {
    /// In the smallest unit of the escrow's ledger.
    #[n(0)]
    pub amount: u128,
    /// The last instant at which a sensor may show it.
    #[n(1)]
    pub until: Timestamp,
}

/// k of n sensors. The agreement's own rule is the first sensor's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Witnesses {
    /// How many must attest: k.
    #[n(0)]
    pub threshold: u8,
    /// Whose signature counts for the first.
    #[n(1)]
    pub key: Account,
    /// The others.
    #[n(2)]
    pub others: Vec<Witness>,
}

/// One more sensor.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Witness {
    /// What it must see.
    #[n(0)]
    pub rule: EvidenceRule,
    /// Whose signature counts for it.
    #[n(1)]
    pub key: Account,
}

impl Agreement {
    /// What the sensor of `key` must see: of one sensor alone, whoever the escrow believes.
    #[must_use]
    pub fn rule_of(&self, key: Account) -> Option<&EvidenceRule> {
        let Some(all) = self.witnesses.as_ref().filter(|all| all.key != key) else {
            return Some(&self.evidence);
        };
        all.others.iter().find(|witness| witness.key == key).map(|witness| &witness.rule)
    }

    /// The thing that acts, and those that see it.
    pub fn things(&self) -> impl Iterator<Item = &ThingId> {
        let others = self.witnesses.iter().flat_map(|all| &all.others);
        [&self.thing, &self.evidence.thing].into_iter().chain(others.map(|witness| &witness.rule.thing))
    }
}

impl Witnesses {
    /// The panel that their keys make.
    ///
    /// # Errors
    /// [`BadPanel`].
    pub fn panel(&self) -> Result<Panel, BadPanel> {
        let others = self.others.iter().map(|witness| witness.key);
        Panel::new(self.threshold, [self.key].into_iter().chain(others).collect())
    }
}

impl EvidenceRule {
    /// Why `observation` does not show that what was agreed is not so, if it does not.
    ///
    /// # Errors
    /// In words.
    pub fn check_missed(&self, observation: &Observation) -> Result<(), String> {
        Self { equals: observation.quantity.value.clone(), ..self.clone() }.check(observation)?;
        if observation.quantity.value == self.equals {
            return Err(format!("its value is {}, as agreed", self.equals));
        }
        Ok(())
    }

    /// Why `observation` does not fulfil the rule, if it does not.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self, observation: &Observation) -> Result<(), String> {
        if (&observation.thing, &observation.property) != (&self.thing, &self.property) {
            return Err(format!(
                "it is of {} {}, {} {} is agreed",
                observation.thing, observation.property, self.thing, self.property
            ));
        }
        if observation.retained {
            return Err("it is a retained message, which may be of an earlier time".into());
        }
        if observation.quantity.value != self.equals {
            return Err(format!("its value is {}, {} is agreed", observation.quantity.value, self.equals));
        }
        Ok(())
    }
}
