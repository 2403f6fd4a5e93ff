//! What a platform's messages mean, as data that an owner can edit (TOML or JSON): which part of which payload is which
//! property, in which unit and at which scale; when it was observed; how it is written; which request is which action.
//!
//! A part is named by a JSON Pointer (RFC 6901). Numbers are taken as the device wrote them, as decimals: no float comes
//! near an observation. What does not fit is a [`Deviation`], never a guess; the raw bytes stay with the message.
//! Left out: arithmetic beyond powers of ten, and conditions over several fields.

mod decimal;
pub(crate) mod json;
mod mapping;
mod writing;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sofie_model::{Digest, Observation, Quantity, ThingId, Timestamp, Value};

use crate::port::{AdapterError, Deviation, Message, Platform, Receipt, cut};
pub use mapping::{MAX_SAMPLES, Mapping, Reading, Sample, Tested, VERSION};

/// The things of one platform.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// At most [`MAX_THINGS`].
    #[serde(default)]
    pub things: Vec<ThingBinding>,
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThingBinding {
    /// The `id` of its Thing Description.
    pub thing: ThingId,
    /// Its properties by name.
    #[serde(default)]
    pub properties: BTreeMap<String, PropertyBinding>,
    /// Its actions by name.
    #[serde(default)]
    pub actions: BTreeMap<String, ActionBinding>,
}

/// Where a property is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PropertyBinding {
    /// The MQTT topic (no wildcard), or the path of a CoAP server or WoT servient.
    pub source: String,
    /// How its payload is written.
    #[serde(default)]
    pub format: Format,
    /// Which part of it: a JSON Pointer; empty for the whole.
    #[serde(default)]
    pub pointer: String,
    /// What it must be.
    pub kind: Kind,
    /// UCUM code, or empty.
    #[serde(default)]
    pub unit: String,
    /// The written number times ten to this power is the value: -1 makes 215 into 21.5.
    #[serde(default)]
    pub scale: i8,
    /// Where the device says when it was so; without it, the time of arrival counts.
    #[serde(default)]
    pub time: Option<TimeField>,
    /// The payload by which the *broker* announces that the device is gone (MQTT last will): never an observation.
    #[serde(default)]
    pub last_will: Option<String>,
    /// How it is written; without it, it can only be read.
    #[serde(default)]
    pub write: Option<WriteBinding>,
}

/// How a property is written: its `kind`, `format`, `pointer` and `scale` backwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteBinding {
    /// The path of a CoAP server or WoT servient, or the MQTT topic to publish to. Where it is the property's own source, the
    /// payload takes the place of what is there: a part of a larger payload cannot be written so.
    pub target: String,
    /// CoAP and HTTP: `put` or `post`. MQTT publishes.
    #[serde(default = "put")]
    pub method: ActionMethod,
}

/// How an action is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionBinding {
    /// The path of a CoAP server or WoT servient, or the MQTT topic.
    pub target: String,
    /// CoAP and HTTP: `post` or `put`. MQTT publishes.
    #[serde(default)]
    pub method: ActionMethod,
    /// How the input is written.
    #[serde(default)]
    pub format: Format,
}

/// How an action or a write is asked for in CoAP and HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionMethod {
    /// RFC 7252, section 5.8.2, and RFC 9110, section 9.3.3: not idempotent.
    #[default]
    Post,
    /// Sections 5.8.3 and 9.3.4: idempotent.
    Put,
}

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON value (RFC 8259).
    #[default]
    Json,
    /// UTF-8 text: the value itself.
    Text,
}

/// What a property holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// True or false.
    Boolean,
    /// A whole number of 64 bits.
    Integer,
    /// A decimal number.
    Number,
    /// A text.
    String,
}

/// Where a payload tells its own time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeField {
    /// A JSON Pointer.
    pub pointer: String,
    /// How the time is written.
    pub format: TimeFormat,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeFormat {
    /// A date and time with offset (RFC 3339).
    Rfc3339,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
}

/// A message as the endpoint took it.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The platform's address: [`crate::Platform::authority`].
    pub platform: &'a str,
    /// The topic or path.
    pub source: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// What the protocol calls this message, as bytes. Only used where the payload tells no time of its own.
    pub identity: &'a [u8],
    /// When the platform took it, where the protocol says so: then `identity` is its name for good. A time in the payload,
    /// which is the device's own, goes before.
    pub told: Option<Timestamp>,
    /// When it arrived.
    pub at: Timestamp,
    /// Whether the platform kept it from earlier.
    pub retained: bool,
}

/// How many things a platform may have.
pub const MAX_THINGS: usize = 1024;
/// A device's clock may run ahead of ours by this many milliseconds before it is called a deviation.
pub const MAX_AHEAD_MS: u64 = 2_000;

impl Binding {
    /// The binding of `thing`.
    #[must_use]
    pub fn thing(&self, thing: &ThingId) -> Option<&ThingBinding> {
        self.things.iter().find(|known| known.thing == *thing)
    }

    /// How the action `name` of `thing` is asked for.
    #[must_use]
    pub fn action(&self, thing: &ThingId, name: &str) -> Option<&ActionBinding> {
        self.thing(thing)?.actions.get(name)
    }

    /// The source that feeds the property `name` of `thing`.
    #[must_use]
    pub fn source(&self, thing: &ThingId, name: &str) -> Option<&str> {
        self.thing(thing)?.properties.get(name).map(|property| property.source.as_str())
    }

    /// Every source that feeds a property, once, in order.
    #[must_use]
    pub fn sources(&self) -> BTreeSet<&str> {
        let properties = self.things.iter().flat_map(|thing| thing.properties.values());
        properties.map(|property| property.source.as_str()).collect()
    }

    /// Adds what introspection found; a thing that is bound already keeps the owner's words. Says what now holds.
    pub fn learn(&mut self, found: ThingBinding) -> ThingBinding {
        if let Some(known) = self.thing(&found.thing) {
            return known.clone();
        }
        if self.things.len() < MAX_THINGS {
            self.things.push(found.clone());
        }
        found
    }

    /// The properties that `source` feeds.
    pub fn fed_by<'a>(
        &'a self,
        source: &'a str,
    ) -> impl Iterator<Item = (&'a ThingId, &'a str, &'a PropertyBinding)> {
        self.things.iter().flat_map(move |thing| {
            let fed = thing.properties.iter().filter(move |(_, property)| property.source == source);
            fed.map(|(name, property)| (&thing.thing, name.as_str(), property))
        })
    }

    /// Reads a message: what it says of each property that its source feeds. `None` when no property is.
    #[must_use]
    pub fn read(&self, arrival: &Arrival<'_>) -> Option<Message> {
        let mut message = Message {
            source: arrival.source.into(),
            raw: arrival.payload.into(),
            arrived: arrival.at,
            retained: arrival.retained,
            observations: Vec::new(),
            deviations: Vec::new(),
            receipt: Receipt::default(),
        };
        let mut bound = false;
        for (thing, name, property) in self.fed_by(arrival.source) {
            bound = true;
            match observe(thing, name, property, arrival, &mut message.deviations) {
                Ok(observation) => message.observations.push(observation),
                Err(deviation) => message.deviations.push(deviation),
            }
        }
        bound.then_some(message)
    }
}

fn observe(
    thing: &ThingId,
    name: &str,
    property: &PropertyBinding,
    arrival: &Arrival<'_>,
    notes: &mut Vec<Deviation>,
) -> Result<Observation, Deviation> {
    let off = |expected: String, got: &str| Deviation::new(Some(name), expected, got);
    let text = std::str::from_utf8(arrival.payload)
        .map_err(|_| off("UTF-8".into(), &String::from_utf8_lossy(arrival.payload)))?;
    if property.last_will.as_deref() == Some(text) {
        return Err(off("a message of the device itself".into(), "its last will, sent by the broker"));
    }
    let part = match property.format {
        Format::Json => json::part(text, &property.pointer).map_err(|why| off(why, text))?,
        Format::Text => text.trim(),
    };
    let value = property.value(part).map_err(|expected| off(expected, part))?;
    let own = match &property.time {
        Some(field) => Some(field.read(text).map_err(|expected| off(expected, text))?),
        None => None,
    };
    let in_payload = own.is_some();
    let own = own.or(arrival.told);
    if own.is_some_and(|own| own.since(arrival.at).as_millis() > MAX_AHEAD_MS) {
        notes.push(off("a time that is not after its arrival".into(), text));
    }
    Ok(Observation {
        thing: thing.clone(),
        property: name.into(),
        quantity: Quantity { value, unit: property.unit.clone() },
        // Nothing is observed after it arrived: a clock that runs ahead cannot win time.
        observed_at: own.map_or(arrival.at, |own| own.min(arrival.at)),
        message_id: arrival.id(in_payload),
        retained: arrival.retained,
    })
}

impl Arrival<'_> {
    /// Names the message. One that tells its own time is named by its content, so that a second delivery has the same
    /// name; one that the platform keeps with its time, by what it is called there; any other by what the protocol calls
    /// it and when it came.
    fn id(&self, tells_time: bool) -> Digest {
        let at = self.at.as_millis().to_be_bytes();
        let (identity, at): (&[u8], &[u8]) = match self.told {
            _ if tells_time => (&[], &[]),
            Some(_) => (self.identity, &[]),
            None => (self.identity, &at),
        };
        let parts = [self.platform.as_bytes(), self.source.as_bytes(), self.payload, identity, at];
        let retained = [u8::from(self.retained)];
        let parts: Vec<&[u8]> = parts.into_iter().chain([&retained[..]]).collect();
        Digest::of("sofie.message.v1", &parts)
    }
}

impl ActionMethod {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

impl Format {
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain",
        }
    }
}

impl ActionBinding {
    /// The input as a payload: nothing for null.
    pub(crate) fn payload(
        &self,
        platform: &Platform,
        input: &serde_json::Value,
    ) -> Result<Vec<u8>, AdapterError> {
        use serde_json::Value::{Array, Null, Object, String};
        match (self.format, input) {
            (_, Null) => Ok(Vec::new()),
            (Format::Text, String(text)) => Ok(text.clone().into_bytes()),
            (Format::Text, Array(_) | Object(_)) => {
                let reason = format!("{} takes a text, not a JSON structure", cut(&self.target));
                Err(platform.permanent(reason, "give the input as a text, a number or a truth value"))
            }
            (_, input) => Ok(input.to_string().into_bytes()),
        }
    }
}

impl PropertyBinding {
    /// Makes the value of `part`; `Err` says what was expected.
    fn value(&self, part: &str) -> Result<Value, String> {
        let as_json = self.format == Format::Json;
        match self.kind {
            Kind::Boolean => match part {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                "1" if !as_json => Ok(Value::Bool(true)),
                "0" if !as_json => Ok(Value::Bool(false)),
                _ => Err("true or false".into()),
            },
            Kind::Integer => {
                let shifted = decimal::shift(part, self.scale)?;
                let whole = shifted.parse().map_err(|_| "a whole number of 64 bits".to_owned());
                whole.map(Value::Integer)
            }
            Kind::Number => decimal::shift(part, self.scale).map(Value::Text),
            Kind::String if as_json => json::text(part).map(Value::Text),
            Kind::String => Ok(Value::Text(part.into())),
        }
    }
}

impl TimeField {
    /// Reads the time out of a JSON text; `Err` says what was expected.
    pub(crate) fn read(&self, text: &str) -> Result<Timestamp, String> {
        let part = json::part(text, &self.pointer)?;
        let expected = || format!("a time in {} at {}", self.format.name(), cut(&self.pointer));
        let millis = match self.format {
            TimeFormat::Rfc3339 => {
                let written = json::text(part).map_err(|_| expected())?;
                let instant: jiff::Timestamp = written.parse().map_err(|_| expected())?;
                u64::try_from(instant.as_millisecond()).map_err(|_| expected())?
            }
            TimeFormat::EpochSeconds => {
                let seconds = decimal::shift(part, 3)?;
                seconds.split('.').next().and_then(|whole| whole.parse().ok()).ok_or_else(expected)?
            }
            TimeFormat::EpochMillis => part.parse().map_err(|_| expected())?,
        };
        Ok(Timestamp::from_millis(millis))
    }
}

impl TimeFormat {
    const fn name(self) -> &'static str {
        match self {
            Self::Rfc3339 => "RFC 3339",
            Self::EpochSeconds => "seconds since 1970",
            Self::EpochMillis => "milliseconds since 1970",
        }
    }
}

const fn put() -> ActionMethod {
    ActionMethod::Put
}

#[cfg(test)]
mod tests;
