//! Thing Descriptions of what stands on a CSE: an application entity is a thing, and what its containers hold are its
//! properties. oneM2M says of a plain container neither what is in it nor what that means: kinds are concluded from the
//! newest content instance.

use serde_json::{Value, json};
use sofie_model::ThingId;

use super::{
    codec::Resource,
    discovery::{Source, Told},
};
use crate::{
    binding::{ActionBinding, ActionMethod, Binding, PropertyBinding, ThingBinding, WriteBinding},
    describe::{Draft, thing_id},
    infer,
    port::{Confidence, Description},
};

impl Told {
    pub(super) fn thing(&self, authority: &str) -> ThingId {
        thing_id(authority, &self.path)
    }

    /// Describes the thing; `None` where nothing of it is known.
    pub(super) fn describe(&self, authority: &str, known: &mut Binding) -> Option<Description> {
        let found = self.bind(authority);
        if found.properties.is_empty() && known.thing(&found.thing).is_none() {
            return None;
        }
        let inferred = found.clone();
        let binding = known.learn(found);
        let mut draft = Draft::new(binding.clone(), self.title());
        draft.secure_as_demanded(
            "originator",
            json!({"scheme": "apikey", "in": "header", "name": "X-M2M-Origin"}),
        );
        for (name, property) in &binding.properties {
            let owners = inferred.properties.get(name) != Some(property);
            self.property(&mut draft, authority, name, property, owners);
        }
        for (name, action) in &binding.actions {
            draft.action(name, action_form(authority, action), "the owner's binding", Confidence::Stated);
        }
        for (path, why) in &self.lacking {
            draft.lack("property", path, why);
        }
        for source in
            self.sources.iter().filter(|source| shape(source).is_none_or(|shape| shape.parts.is_empty()))
        {
            draft.lack("property", &source.path, "its content has no part that could be a property");
        }
        let mut description = draft.finish();
        if let Some(entity) = &self.entity {
            complete(&mut description.td, entity);
        }
        Some(description)
    }

    fn title(&self) -> String {
        let named = self.entity.as_ref().and_then(|entity| entity.text("apn"));
        named.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("oneM2M {}", self.path))
    }

    fn bind(&self, authority: &str) -> ThingBinding {
        let mut found =
            ThingBinding { thing: self.thing(authority), properties: [].into(), actions: [].into() };
        for source in &self.sources {
            let Some(shape) = shape(source) else { continue };
            // A content that is one value can be written as the next one; whether a device reads it is the owner's to know.
            let container = source.path.strip_suffix("/la").filter(|_| shape.time.is_none());
            for (pointer, kind) in shape.parts.into_values() {
                if found.properties.len() == infer::MAX_PROPERTIES {
                    break;
                }
                let name = infer::free_name(&found.properties, &format!("{}{pointer}", source.name));
                let property = PropertyBinding {
                    source: source.path.clone(),
                    write: container.filter(|_| pointer.is_empty()).map(|container| WriteBinding {
                        target: container.into(),
                        method: ActionMethod::Post,
                    }),
                    format: shape.format,
                    pointer,
                    kind,
                    unit: String::new(),
                    scale: 0,
                    time: shape.time.clone(),
                    last_will: None,
                };
                found.properties.insert(name, property);
            }
        }
        found
    }

    fn property(
        &self,
        draft: &mut Draft,
        authority: &str,
        name: &str,
        bound: &PropertyBinding,
        owners: bool,
    ) {
        let source = self.sources.iter().find(|source| source.path == bound.source);
        let words = source.map_or_else(|| "the owner's binding".to_owned(), |source| source.words.clone());
        let stated = owners || source.is_some_and(|source| source.modelled);
        let confidence = if stated { Confidence::Stated } else { Confidence::Inferred };
        let mut form = json!({
            "href": format!("{authority}{}", bound.source),
            "contentType": "application/json",
            "op": ["readproperty", "observeproperty", "unobserveproperty"],
        });
        // Where in the answer the content stands: the pointer of the property reads that.
        form["sofie:envelope"] = if bound.source.ends_with("/la") { "/m2m:cin/con" } else { "/*" }.into();
        draft.property(name, bound, form, &words, confidence, true);
        if let Some(write) = &bound.write {
            let confidence = if owners { Confidence::Stated } else { Confidence::Guessed };
            draft.writable(name, written_form(authority, &write.target), confidence);
        }
    }
}

fn shape(source: &Source) -> Option<infer::Shape> {
    infer::shape([source.content.payload.as_slice()], "")
}

/// A content instance is made.
fn written_form(authority: &str, container: &str) -> Value {
    json!({
        "href": format!("{authority}{container}"),
        "contentType": "application/json",
        "htv:methodName": "POST",
        "sofie:envelope": "/m2m:cin/con",
    })
}

fn action_form(authority: &str, action: &ActionBinding) -> Value {
    let mut form = written_form(authority, &action.target);
    form["op"] = "invokeaction".into();
    form
}

/// What the entity says of itself: its application and its labels.
fn complete(td: &mut Value, entity: &Resource) {
    if let Some(api) = entity.text("api") {
        td["sofie:application"] = api.into();
    }
    let labels = entity.attribute("lbl").and_then(|list| serde_json::from_str::<Vec<String>>(list).ok());
    let labels: Vec<Value> =
        labels.into_iter().flatten().take(16).map(|label| crate::port::cut(&label).into()).collect();
    if !labels.is_empty() {
        td["sofie:labels"] = labels.into();
    }
}
