//! A value on its way back: the payload that a device would have written, had it had this value. What cannot be rebuilt from
//! the value alone is refused, never guessed: `write(read(x)) = x`.

use sofie_model::Value;

use super::{ActionBinding, Binding, Format, Kind, PropertyBinding, WriteBinding, decimal};
use crate::port::{AdapterError, Platform, Write, cut};

/// How deep a pointer may reach.
const MAX_STEPS: usize = 16;

impl Binding {
    /// The request that a write becomes, and its payload; `None` where no such property is bound.
    ///
    /// # Errors
    /// [`AdapterError::Permanent`] for a property that cannot be written, and for a value that it cannot have.
    pub(crate) fn encode(
        &self,
        platform: &Platform,
        write: &Write,
    ) -> Option<Result<(ActionBinding, Vec<u8>), AdapterError>> {
        let property = self.thing(&write.thing)?.properties.get(&write.property)?;
        let name = cut(&write.property);
        let Some(how) = &property.write else {
            let reason = format!("nothing says that its property {name} can be written");
            let next = "if the device takes it, say how in the owner's mapping (docs/guide/mapping.md)";
            return Some(Err(platform.permanent(reason, next)));
        };
        let payload = self.alone(property, how).and_then(|()| property.payload(write));
        let payload = payload.map_err(|reason| {
            platform.permanent(
                format!("property {name}: {reason}"),
                "give a value that fits, or correct the mapping",
            )
        });
        let request =
            ActionBinding { target: how.target.clone(), method: how.method, format: property.format };
        Some(payload.map(|payload| (request, payload)))
    }

    /// Whether the property is all that is known of what it would replace.
    fn alone(&self, property: &PropertyBinding, how: &WriteBinding) -> Result<(), String> {
        if how.target != property.source {
            return Ok(());
        }
        if property.time.is_some() {
            return Err("its payload tells a time of the device, which nobody else can say".into());
        }
        match self.fed_by(&property.source).find(|(.., other)| other.pointer != property.pointer) {
            Some((_, other, _)) => Err(format!("its payload also holds {}, which would be lost", cut(other))),
            None => Ok(()),
        }
    }
}

impl PropertyBinding {
    /// The payload that says this value; `Err` says what was expected.
    fn payload(&self, write: &Write) -> Result<Vec<u8>, String> {
        if let Some(unit) = write.unit.as_ref().filter(|unit| **unit != self.unit) {
            let own = if self.unit.is_empty() { "none" } else { &self.unit };
            return Err(format!("its unit is {own}, not {:?}", cut(unit)));
        }
        let part = self.part(&write.value)?;
        let payload = match self.format {
            Format::Json => around(&self.pointer, part)?,
            Format::Text if self.pointer.is_empty() => part,
            Format::Text => return Err("a text has no parts".into()),
        };
        if self.last_will.as_ref() == Some(&payload) {
            return Err("it would be taken for the last will of a dead device".into());
        }
        Ok(payload.into_bytes())
    }

    /// [`PropertyBinding::value`], backwards.
    fn part(&self, value: &Value) -> Result<String, String> {
        match (self.kind, value) {
            (Kind::Boolean, Value::Bool(value)) => Ok(value.to_string()),
            (Kind::Integer | Kind::Number, Value::Integer(value)) => self.unscaled(&value.to_string()),
            (Kind::Number, Value::Text(text)) => self.unscaled(text),
            (Kind::String, Value::Text(text)) if self.format == Format::Json => {
                serde_json::to_string(text).map_err(|e| e.to_string())
            }
            // Spaces at its ends would not be read back.
            (Kind::String, Value::Text(text)) if text.trim() == text => Ok(text.clone()),
            (Kind::String, Value::Text(_)) => Err("a text without spaces at its ends".into()),
            (Kind::Boolean, _) => Err("expected true or false".into()),
            (Kind::Integer, _) => Err("expected a whole number of 64 bits".into()),
            (Kind::Number, _) => Err("expected a decimal number".into()),
            (Kind::String, _) => Err("expected a text".into()),
        }
    }

    fn unscaled(&self, value: &str) -> Result<String, String> {
        let back = self.scale.checked_neg().ok_or("a scale within ±127")?;
        decimal::shift(value, back).map_err(|expected| format!("expected {expected}"))
    }
}

/// An object that holds `part` at `pointer`, and nothing else.
fn around(pointer: &str, part: String) -> Result<String, String> {
    if pointer.is_empty() {
        return Ok(part);
    }
    let steps = pointer.strip_prefix('/').ok_or("a pointer that starts with /")?;
    let steps: Vec<&str> = steps.split('/').collect();
    if steps.len() > MAX_STEPS {
        return Err(format!("a pointer of at most {MAX_STEPS} steps"));
    }
    steps.iter().rev().try_fold(part, |inner, step| {
        // It may be an element of an array, whose others nobody knows.
        if !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("its pointer leads through {step:?}, which may be a place in a list"));
        }
        let name = step.replace("~1", "/").replace("~0", "~");
        let name = serde_json::to_string(&name).map_err(|e| e.to_string())?;
        Ok(format!("{{{name}:{inner}}}"))
    })
}
