//! Whose sensors are asked for, held against the things and parties that this node knows.

use sofie_adapters::binding::Kind;
use sofie_market::{EvidenceRule, Witness, Witnesses};
use sofie_model::attestation::MAX_KEYS;
use sofie_model::{Account, Value};

use super::{Contracts, Refused, open::invalid};
use crate::api;

/// What proves the act, and whose word an escrow takes for it.
pub(super) struct Sensors {
    pub(super) evidence: EvidenceRule,
    pub(super) witnesses: Option<Witnesses>,
    /// The sensor's owner, or the panel that the owners make.
    pub(super) key: Account,
}

impl Contracts {
    /// The sensors that are asked for. `parties` pay or are paid.
    ///
    /// # Errors
    /// [`Refused`] names the field and says what is expected.
    pub(super) fn sensors_of(
        &self,
        asked: &api::EvidenceRule,
        parties: &[Account],
    ) -> Result<Sensors, Refused> {
        let first = self.witness("evidence", &asked.first())?;
        let named = asked.others.len() + 1;
        if named == 1 {
            return match asked.threshold {
                None | Some(1) => Ok(Sensors { evidence: first.rule, witnesses: None, key: first.key }),
                Some(threshold) => Err(too_many(threshold, named)),
            };
        }
        if named > MAX_KEYS {
            return Err(invalid(
                "evidence.others",
                format!("{named} sensors; at most {MAX_KEYS} attest together"),
            ));
        }
        let mut all = vec![first];
        for (index, sensor) in asked.others.iter().enumerate() {
            let path = format!("evidence.others[{index}]");
            let witness = self.witness(&path, sensor)?;
            all.iter().try_for_each(|other| self.differ(&path, other, &witness))?;
            all.push(witness);
        }
        if let Some(place) = all.iter().position(|one| parties.contains(&one.key)) {
            let field = if place == 0 {
                "evidence.thing".into()
            } else {
                format!("evidence.others[{}].thing", place - 1)
            };
            let name = self.parties.name_of(all[place].key);
            return Err(invalid(&field, format!("{name} pays or is paid, and would sign for this sensor")));
        }
        let Some(threshold) = asked.threshold else {
            let why = format!("is missing: how many of the {named} sensors must attest");
            return Err(invalid("evidence.threshold", why));
        };
        if threshold == 0 || usize::from(threshold) > named {
            return Err(too_many(threshold, named));
        }
        let first = all.remove(0);
        let witnesses = Witnesses { threshold, key: first.key, others: all };
        let panel = witnesses.panel().map_err(|bad| invalid("evidence.others", bad.to_string()))?;
        Ok(Sensors { evidence: first.rule, key: panel.account(), witnesses: Some(witnesses) })
    }

    /// One sensor: of a thing of this node, or of a party that signs elsewhere.
    fn witness(&self, path: &str, asked: &api::Sensor) -> Result<Witness, Refused> {
        let at = |field: &str| format!("{path}.{field}");
        let here = self.platforms.owner_of(&asked.thing).is_some();
        let key = match &asked.by {
            Some(name) if !here => {
                self.parties.account_of(name).ok_or_else(|| self.no_party(name, &at("by")))?
            }
            by => {
                let owner = self.owner_of(&asked.thing, &at("thing"))?;
                if by.as_ref().is_some_and(|name| owner.name().as_str() != name) {
                    return Err(invalid(&at("by"), format!("{} is of {} here", asked.thing, owner.name())));
                }
                owner.account()
            }
        };
        if here {
            self.check_property(path, asked)?;
        }
        let (thing, property) = (asked.thing.clone(), asked.property.clone());
        Ok(Witness { rule: EvidenceRule { thing, property, equals: asked.equals.clone() }, key })
    }

    /// Each sensor is another owner's, and another one.
    fn differ(&self, path: &str, one: &Witness, other: &Witness) -> Result<(), Refused> {
        if one.key == other.key {
            let name = self.parties.name_of(one.key);
            let why = format!("{name} signs for {} already: each sensor needs another owner", one.rule.thing);
            return Err(invalid(&format!("{path}.thing"), why));
        }
        if (&one.rule.thing, &one.rule.property) == (&other.rule.thing, &other.rule.property) {
            return Err(invalid(&format!("{path}.property"), "stands twice among the sensors"));
        }
        Ok(())
    }

    fn check_property(&self, path: &str, asked: &api::Sensor) -> Result<(), Refused> {
        let properties = self.platforms.properties_of(&asked.thing);
        let Some(kind) = properties.get(&asked.property) else {
            return Err(Refused::Unknown {
                field: format!("{path}.property"),
                what: "property",
                name: asked.property.clone(),
                known: properties.into_keys().collect::<Vec<_>>().join(", "),
            });
        };
        let fits = matches!(
            (kind, &asked.equals),
            (Kind::Boolean, Value::Bool(_))
                | (Kind::Integer, Value::Integer(_))
                | (Kind::Number, Value::Integer(_) | Value::Text(_))
                | (Kind::String, Value::Text(_))
        );
        if !fits {
            let property = &asked.property;
            let why = format!("{} is expected: no other value can ever be read from {property}", noun(*kind));
            return Err(invalid(&format!("{path}.equals"), why));
        }
        Ok(())
    }
}

fn too_many(threshold: u8, named: usize) -> Refused {
    invalid("evidence.threshold", format!("{threshold} of {named} cannot attest; 1 to {named} are expected"))
}

const fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "true or false",
        Kind::Integer => "a whole number",
        Kind::Number => "a whole number, or a decimal fraction as a text",
        Kind::String => "a text",
    }
}
