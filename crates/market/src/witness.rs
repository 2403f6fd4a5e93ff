//! Whose sensors prove an act: one, or k of n of different owners.

use minicbor::{Decode, Encode};
use sofie_model::attestation::{BadPanel, Panel};
use sofie_model::{Account, Observation, SignedAttestation, ThingId, Timestamp, Value};

use crate::Unfit;

/// Which observation proves the actuation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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

/// One more sensor.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Witness {
    /// What it must see.
    #[n(0)]
    pub rule: EvidenceRule,
    /// Whose signature counts for it.
    #[n(1)]
    pub key: Account,
}

/// k of n sensors. The agreement's own rule is the first sensor's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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

/// Sensors that prove nothing together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWitnesses {
    /// Their keys make no panel.
    #[error(transparent)]
    Panel(#[from] BadPanel),
    /// One sensor would have two voices.
    #[error("{property} of {thing} stands twice among the sensors")]
    Same {
        /// Whose.
        thing: ThingId,
        /// Which property.
        property: String,
    },
    /// Who pays or is paid would be judge in his own cause.
    #[error("{0} pays or is paid, and would sign for a sensor, too")]
    Interested(Account),
    /// The escrow believes somebody else.
    #[error("the sensors' keys make the panel {expected}; the terms name {got}")]
    Account {
        /// Whom the terms name.
        got: Account,
        /// Whom the sensors' keys make.
        expected: Account,
    },
}

/// What a sensor's owner has said so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Nothing.
    Silent,
    /// Its reading fulfils the agreement; it is not signed yet.
    Seen,
    /// It has attested what was agreed.
    Attests,
    /// It has attested that it was not so.
    Contradicts,
}

impl EvidenceRule {
    /// Whether `observation` proves the act that began at `acted_at`, for an escrow that takes evidence until
    /// `deadline`.
    ///
    /// # Errors
    /// [`Unfit`] says why not.
    pub fn fulfilled_by(
        &self,
        observation: &Observation,
        acted_at: Timestamp,
        deadline: Timestamp,
    ) -> Result<(), Unfit> {
        if (&observation.thing, &observation.property) != (&self.thing, &self.property) {
            return Err(Unfit::Other {
                got: format!("{} {}", observation.thing, observation.property),
                expected: format!("{} {}", self.thing, self.property),
            });
        }
        if observation.retained {
            return Err(Unfit::Retained);
        }
        if observation.quantity.value != self.equals {
            return Err(Unfit::Value {
                got: observation.quantity.value.clone(),
                expected: self.equals.clone(),
            });
        }
        if observation.observed_at < acted_at {
            return Err(Unfit::TooEarly);
        }
        if observation.observed_at > deadline {
            return Err(Unfit::TooLate);
        }
        Ok(())
    }
}

impl EvidenceRule {
    /// Whether `observation` shows, at `due` or later but not after `until`, that what was agreed is not so.
    ///
    /// # Errors
    /// [`Unfit`] says why it does not.
    pub fn missed_by(
        &self,
        observation: &Observation,
        due: Timestamp,
        until: Timestamp,
    ) -> Result<(), Unfit> {
        let other = Self { equals: observation.quantity.value.clone(), ..self.clone() };
        other.fulfilled_by(observation, due, until)?;
        if observation.quantity.value == self.equals {
            return Err(Unfit::Fulfils { value: self.equals.clone() });
        }
        Ok(())
    }
}

impl Witnesses {
    /// Whose signatures count, in the sensors' order.
    pub fn keys(&self) -> impl Iterator<Item = Account> {
        [self.key].into_iter().chain(self.others.iter().map(|witness| witness.key))
    }

    /// The panel that their keys make.
    ///
    /// # Errors
    /// [`BadPanel`].
    pub fn panel(&self) -> Result<Panel, BadPanel> {
        Panel::new(self.threshold, self.keys().collect())
    }

    /// Whether they can prove anything, with the sensor of `first`, for terms whose evidence key is `named`, between
    /// the `parties` that pay and are paid.
    ///
    /// # Errors
    /// [`BadWitnesses`] says what is wrong with them.
    pub fn check(
        &self,
        first: &EvidenceRule,
        named: Account,
        parties: &[Account],
    ) -> Result<(), BadWitnesses> {
        let expected = self.panel()?.account();
        if named != expected {
            return Err(BadWitnesses::Account { got: named, expected });
        }
        let rules: Vec<_> = [first].into_iter().chain(self.others.iter().map(|one| &one.rule)).collect();
        let same = |one: &EvidenceRule, other: &EvidenceRule| {
            (&one.thing, &one.property) == (&other.thing, &other.property)
        };
        let mut seen = rules.iter().enumerate();
        if let Some((_, twin)) = seen.find(|(place, rule)| rules[..*place].iter().any(|one| same(one, rule)))
        {
            return Err(BadWitnesses::Same { thing: twin.thing.clone(), property: twin.property.clone() });
        }
        match self.keys().find(|key| parties.contains(key)) {
            Some(key) => Err(BadWitnesses::Interested(key)),
            None => Ok(()),
        }
    }
}

/// The word that settles, of those that each of `panel` signed for itself; of one key alone, its only word.
pub(crate) fn together(panel: Option<&Panel>, words: &[SignedAttestation]) -> Option<SignedAttestation> {
    match panel {
        Some(panel) => panel.attest(words).ok(),
        None => words.first().cloned(),
    }
}
