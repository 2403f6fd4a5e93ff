//! Thing Descriptions (W3C TD 1.1) of what introspection found.
//!
//! A platform that states no security gets the scheme `auto` (TD 1.1, section 5.3.3.3: negotiated by the protocol), and
//! the extension term `sofie:stated` false: never `nosec`, which would be a claim. What a platform states is marked as
//! stated. Each affordance carries where it comes from and how sure that is; an action says that it awaits the owner's
//! policy, and so does the form of a write, whoever stated them.

use serde_json::{Map, Value, json};
use sofie_model::{Digest, ThingId};

use crate::{
    binding::{Kind, PropertyBinding, ThingBinding},
    port::{Confidence, Description, Origin},
};

/// The stable name of what is at `path` of a platform: a UUID of version 8 (RFC 9562) out of their digest.
pub(crate) fn thing_id(authority: &str, path: &str) -> ThingId {
    let digest = Digest::of("sofie.thing.v1", &[authority.as_bytes(), path.as_bytes()]);
    let mut bits = u128::from_be_bytes(digest.0[..16].try_into().expect("a digest has 32 bytes"));
    bits = bits & !(0xf << 76) | 0x8 << 76;
    bits = bits & !(0x3 << 62) | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("urn:uuid:{}", parts.join("-")).parse().expect("a UUID's URN is a URI")
}

/// A description in the making.
pub(crate) struct Draft {
    binding: ThingBinding,
    title: String,
    properties: Map<String, Value>,
    actions: Map<String, Value>,
    origins: Vec<Origin>,
    /// What the platform states of its security: the definitions, and which of them hold.
    security: Option<(Map<String, Value>, Vec<String>)>,
    /// What could not be mapped.
    lacking: Vec<Value>,
}

impl Draft {
    pub(crate) fn new(binding: ThingBinding, title: String) -> Self {
        let (properties, actions) = (Map::new(), Map::new());
        Self { binding, title, properties, actions, origins: Vec::new(), security: None, lacking: Vec::new() }
    }

    /// States the security that the platform states, each definition marked as the platform's own word.
    pub(crate) fn secure(&mut self, mut definitions: Map<String, Value>, names: Vec<String>) {
        for definition in definitions.values_mut() {
            definition["sofie:stated"] = true.into();
        }
        self.security = Some((definitions, names));
    }

    /// States the one scheme that the protocol itself demands of everybody.
    pub(crate) fn secure_as_demanded(&mut self, name: &str, definition: Value) {
        self.secure(Map::from_iter([(name.to_owned(), definition)]), vec![name.to_owned()]);
    }

    /// Names what could not be mapped, and why.
    pub(crate) fn lack(&mut self, kind: &str, name: &str, reason: &str) {
        self.lacking.push(json!({"kind": kind, "name": name, "reason": reason}));
    }

    /// Adds a property that is read or observed by `form`.
    pub(crate) fn property(
        &mut self,
        name: &str,
        bound: &PropertyBinding,
        form: Value,
        source: &str,
        confidence: Confidence,
        observable: bool,
    ) {
        let mut schema = json!({"type": bound.kind.json_type(), "readOnly": true, "forms": [form]});
        if observable {
            schema["observable"] = true.into();
        }
        if !bound.pointer.is_empty() {
            schema["sofie:pointer"] = bound.pointer.as_str().into();
        }
        if !bound.unit.is_empty() {
            schema["unit"] = bound.unit.as_str().into();
        }
        let origin = origin("property", name, source, confidence);
        self.properties.insert(name.into(), marked(schema, &origin));
        self.origins.push(origin);
    }

    /// Says that a property that was added can be written, by `form`. A property is `readOnly` otherwise.
    pub(crate) fn writable(&mut self, name: &str, mut form: Value, confidence: Confidence) {
        form["op"] = "writeproperty".into();
        form["sofie:confidence"] = json!(confidence);
        form["sofie:awaits"] = "owner-policy".into();
        let Some(property) = self.properties.get_mut(name) else { return };
        property["readOnly"] = false.into();
        if let Some(forms) = property["forms"].as_array_mut() {
            forms.push(form);
        }
    }

    /// Adds an action that `form` asks for.
    pub(crate) fn action(&mut self, name: &str, form: Value, source: &str, confidence: Confidence) {
        let origin = origin("action", name, source, confidence);
        let schema =
            json!({"safe": false, "idempotent": false, "forms": [form], "sofie:awaits": "owner-policy"});
        self.actions.insert(name.into(), marked(schema, &origin));
        self.origins.push(origin);
    }

    /// The whole description.
    pub(crate) fn finish(self) -> Description {
        let mut td = json!({
            "@context": ["https://www.w3.org/2022/wot/td/v1.1", {
                "sofie": "urn:sofie:td:",
                "cov": "https://www.w3.org/2019/wot/coap#",
                "mqv": "https://www.w3.org/2019/wot/mqtt#",
            }],
            "id": self.binding.thing,
            "title": self.title,
            "securityDefinitions": {"unstated": {
                "scheme": "auto",
                "description": "The platform states no security; what it demands is not known.",
                "sofie:stated": false,
            }},
            "security": ["unstated"],
        });
        if let Some((definitions, names)) = self.security {
            td["securityDefinitions"] = definitions.into();
            td["security"] = names.into();
        }
        for (name, affordances) in [("properties", self.properties), ("actions", self.actions)] {
            if !affordances.is_empty() {
                td[name] = affordances.into();
            }
        }
        if !self.lacking.is_empty() {
            td["sofie:unmapped"] = self.lacking.into();
        }
        Description { thing: self.binding.thing.clone(), td, binding: self.binding, origins: self.origins }
    }
}

fn origin(kind: &str, name: &str, source: &str, confidence: Confidence) -> Origin {
    Origin { kind: kind.into(), name: name.into(), source: source.into(), confidence }
}

fn marked(mut schema: Value, origin: &Origin) -> Value {
    schema["sofie:source"] = origin.source.as_str().into();
    schema["sofie:confidence"] = json!(origin.confidence);
    schema
}

impl Kind {
    pub(crate) const fn json_type(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_things_name_is_stable_and_a_uuid_of_version_8() {
        let id = thing_id("coap://127.0.0.1:5683", "/");
        assert_eq!(id, thing_id("coap://127.0.0.1:5683", "/"));
        assert_ne!(id, thing_id("coap://127.0.0.1:5684", "/"));
        let text = id.as_str();
        assert_eq!((text.len(), &text[23..24]), (45, "8"), "{text}");
        assert!("89ab".contains(&text[28..29]), "{text}");
    }
}
