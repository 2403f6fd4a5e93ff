//! A mapping: the file in which an owner says what a platform's messages mean, with samples of them that the same file
//! judges. What it says goes before what introspection found.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sofie_model::{Digest, Observation, ThingId, Timestamp, Value};

use super::{Arrival, Binding, MAX_THINGS, ThingBinding};
use crate::port::{Platform, Write, cut};

/// The version of the form that is read here.
pub const VERSION: u32 = 1;
/// How many samples a mapping may have.
pub const MAX_SAMPLES: usize = 1024;
/// Samples arrive late (the year 9999): no time that one tells is ahead of it.
const LATE: Timestamp = Timestamp::from_millis(253_402_300_799_000);

/// What an owner writes down.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The version of this form: [`VERSION`].
    #[serde(default = "newest")]
    pub version: u32,
    /// At most [`MAX_THINGS`].
    #[serde(default)]
    pub things: Vec<ThingBinding>,
    /// Messages, and what they must say; at most [`MAX_SAMPLES`].
    #[serde(default)]
    pub samples: Vec<Sample>,
}

/// A message as the platform sends it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The topic or path.
    pub source: String,
    /// What it carries, as text.
    pub payload: String,
    /// Of which thing the properties of `expect` are, where the source feeds several.
    #[serde(default)]
    pub thing: Option<ThingId>,
    /// What it must say, by property. Decimal numbers are texts.
    #[serde(default)]
    pub expect: BTreeMap<String, Value>,
    /// Properties that it must not say anything of, because it does not fit.
    #[serde(default)]
    pub deviates: BTreeSet<String>,
}

/// What a sample says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tested {
    /// The topic or path.
    pub source: String,
    /// What it says.
    pub readings: Vec<Reading>,
    /// What is wrong with that; none for a sample that keeps its promise.
    pub faults: Vec<String>,
}

/// One property's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Of which thing.
    pub thing: ThingId,
    /// Which property.
    pub property: String,
    /// Its value; a decimal number is a text.
    pub value: Value,
    /// Its unit, or empty.
    pub unit: String,
    /// Whether it was also written, and read again.
    pub written: bool,
}

impl Mapping {
    /// Checks what its form does not.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let (things, samples) = (self.things.len(), self.samples.len());
        if self.version != VERSION {
            return Err(format!("its version is {}, and only {VERSION} is known here", self.version));
        }
        if things > MAX_THINGS || samples > MAX_SAMPLES {
            return Err(format!("it has more than {MAX_THINGS} things or {MAX_SAMPLES} samples"));
        }
        let mut names = BTreeSet::new();
        match self.things.iter().find(|thing| !names.insert(&thing.thing)) {
            Some(twice) => Err(format!("it says what {} is twice", twice.thing)),
            None => Ok(()),
        }
    }

    /// What it means to an adapter.
    #[must_use]
    pub fn binding(self) -> Binding {
        Binding { things: self.things }
    }

    /// Reads each sample, and writes what can be written of it and reads that again.
    #[must_use]
    pub fn test(&self) -> Vec<Tested> {
        let binding = Binding { things: self.things.clone() };
        self.samples.iter().map(|sample| sample.test(&binding)).collect()
    }

    /// The properties, as `thing property`, of which no sample says anything.
    #[must_use]
    pub fn untested(&self, tested: &[Tested]) -> Vec<String> {
        let said: BTreeSet<(&ThingId, &str)> = tested
            .iter()
            .flat_map(|one| &one.readings)
            .map(|reading| (&reading.thing, reading.property.as_str()))
            .collect();
        let all = self
            .things
            .iter()
            .flat_map(|thing| thing.properties.keys().map(move |property| (&thing.thing, property.as_str())));
        all.filter(|one| !said.contains(one)).map(|(thing, property)| format!("{thing} {property}")).collect()
    }
}

impl Sample {
    fn test(&self, binding: &Binding) -> Tested {
        let mut tested = Tested { source: self.source.clone(), readings: Vec::new(), faults: Vec::new() };
        let Some(message) = binding.read(&self.arrives(self.payload.as_bytes())) else {
            tested.faults.push(format!("no property has the source {}", cut(&self.source)));
            return tested;
        };
        let deviates = |property: &str| self.deviates.contains(property);
        for deviation in &message.deviations {
            if deviation.property.as_deref().is_none_or(|property| !deviates(property)) {
                tested.faults.push(deviation.to_string());
            }
        }
        for observation in &message.observations {
            let written = match write_back(binding, self, observation) {
                Ok(written) => written,
                Err(fault) => {
                    tested.faults.push(fault);
                    false
                }
            };
            let Observation { thing, property, quantity, .. } = observation;
            if deviates(property) {
                tested.faults.push(format!(
                    "property {property}: expected a deviation, got {}",
                    shown(&quantity.value)
                ));
            }
            tested.readings.push(Reading {
                thing: thing.clone(),
                property: property.clone(),
                value: quantity.value.clone(),
                unit: quantity.unit.clone(),
                written,
            });
        }
        for (property, expected) in &self.expect {
            let is_it = |one: &&Reading| {
                one.property == *property && self.thing.as_ref().is_none_or(|thing| one.thing == *thing)
            };
            let mut found = tested.readings.iter().filter(is_it);
            let fault = match (found.next(), found.next()) {
                (Some(reading), None) if same(&reading.value, expected) => None,
                (Some(reading), None) => {
                    Some(format!("expected {}, got {}", shown(expected), shown(&reading.value)))
                }
                (None, _) => Some(format!("expected {}, got nothing", shown(expected))),
                (Some(_), Some(_)) => Some("two things have it: say which one by `thing`".into()),
            };
            tested.faults.extend(fault.map(|fault| format!("property {property}: {fault}")));
        }
        tested
    }

    const fn arrives<'a>(&'a self, payload: &'a [u8]) -> Arrival<'a> {
        Arrival {
            platform: "sample:",
            source: self.source.as_str(),
            payload,
            identity: &[],
            told: None,
            at: LATE,
            retained: false,
        }
    }
}

/// `write(read(x)) = x`, where the property is written at all.
fn write_back(binding: &Binding, sample: &Sample, read: &Observation) -> Result<bool, String> {
    let Observation { thing, property, quantity, .. } = read;
    let bound = binding.thing(thing).and_then(|bound| bound.properties.get(property));
    let Some(bound) = bound.filter(|bound| bound.write.is_some()) else { return Ok(false) };
    let write = Write {
        thing: thing.clone(),
        property: property.clone(),
        value: quantity.value.clone(),
        unit: None,
        message: Digest::ZERO,
        capability: Vec::new(),
    };
    let nowhere = Platform::new("the mapping's owner", "mqtt", "mqtt://sample").map_err(|e| e.to_string())?;
    let fault = |what: String| format!("property {property}: it cannot be written back: {what}");
    let encoded = binding.encode(&nowhere, &write).ok_or_else(|| fault("it is not there".into()))?;
    let (_, payload) = encoded.map_err(|error| fault(error.reason()))?;
    // Alone: a payload for a command topic need not hold what its source holds besides.
    let one = ThingBinding {
        thing: thing.clone(),
        properties: [(property.clone(), super::PropertyBinding { time: None, ..bound.clone() })].into(),
        actions: BTreeMap::new(),
    };
    let again = Binding { things: vec![one] }.read(&sample.arrives(&payload));
    let same = again.is_some_and(|message| message.observations.iter().any(|o| o.quantity == *quantity));
    let told = String::from_utf8_lossy(&payload);
    if same {
        Ok(true)
    } else {
        Err(fault(format!("{} is not read as {}", cut(&told), shown(&quantity.value))))
    }
}

/// Whether a value is the one that was written down: a decimal may also be written as a whole number.
fn same(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Text(text), Value::Integer(whole)) => *text == whole.to_string(),
        _ => value == expected,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Text(text) => cut(text),
    }
}

const fn newest() -> u32 {
    VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPING: &str = r#"
        version = 1
        [[things]]
        thing = "urn:x:room"
        [things.properties.temperature]
        source = "room/climate"
        pointer = "/t"
        kind = "number"
        unit = "Cel"
        scale = -1
        [things.properties.open]
        source = "room/door"
        format = "text"
        kind = "boolean"
        [things.properties.setpoint]
        source = "room/setpoint"
        kind = "number"
        scale = -1
        write = { target = "room/setpoint/set" }
        [[samples]]
        source = "room/climate"
        payload = '{"t":215}'
        expect = { temperature = "21.5" }
        [[samples]]
        source = "room/setpoint"
        payload = "190"
        expect = { setpoint = 19 }
        [[samples]]
        source = "room/door"
        payload = "ajar"
        deviates = ["open"]
    "#;

    fn tested(text: &str) -> Vec<Tested> {
        let mapping: Mapping = toml::from_str(text).expect("a mapping");
        mapping.check().expect("it is good");
        mapping.test()
    }

    #[test]
    fn samples_say_what_they_must() {
        let all = tested(MAPPING);
        assert!(all.iter().all(|one| one.faults.is_empty()), "{all:?}");
        assert_eq!(all.iter().map(|one| one.readings.len()).collect::<Vec<_>>(), [1, 1, 0]);
        assert!(all[1].readings[0].written && !all[0].readings[0].written);
        let mapping: Mapping = toml::from_str(MAPPING).expect("a mapping");
        assert_eq!(mapping.untested(&all), ["urn:x:room open"]);
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        for (good, bad, fault) in [
            (
                "temperature = \"21.5\"",
                "temperature = \"215\"",
                "property temperature: expected 215, got 21.5",
            ),
            (
                "\"room/climate\"\n        payload",
                "\"room/weather\"\n        payload",
                "no property has the source room/weather",
            ),
            ("setpoint = 19", "setpoint = 19, speed = 1", "property speed: expected 1, got nothing"),
            ("\"ajar\"", "\"true\"", "property open: expected a deviation, got true"),
            (
                "'{\"t\":215}'",
                "'{\"t\":\"warm\"}'",
                "property temperature: expected a decimal number, got \"warm\"",
            ),
        ] {
            assert!(MAPPING.contains(good), "{good}");
            let faults: Vec<String> =
                tested(&MAPPING.replace(good, bad)).into_iter().flat_map(|one| one.faults).collect();
            assert!(faults.iter().any(|told| told == fault), "{faults:?}");
        }
    }

    #[test]
    fn a_form_of_another_version_is_refused() {
        for (bad, told) in [
            ("version = 2", "version"),
            ("[[things]]\nthing = \"urn:x:a\"\n[[things]]\nthing = \"urn:x:a\"", "twice"),
        ] {
            let mapping: Mapping = toml::from_str(bad).expect("its form is good");
            assert!(mapping.check().expect_err(bad).contains(told));
        }
    }
}
