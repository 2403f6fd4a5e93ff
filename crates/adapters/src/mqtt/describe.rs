//! Thing Descriptions out of what was heard. A topic is a thing; the parts of its payloads are its properties. Nothing
//! can be told to do anything: actions and writes come from the owner's binding alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::codec::Publish;
use crate::{
    binding::{ActionBinding, Binding, Format, PropertyBinding, ThingBinding},
    describe::{Draft, thing_id},
    infer,
    port::{Confidence, Description},
};

/// How many topics are described.
pub(super) const MAX_TOPICS: usize = 256;

/// Describes what these messages come from. Topics whose payloads are no text are left out.
pub(super) fn describe(authority: &str, heard: &[Publish], known: &mut Binding) -> Vec<Description> {
    let mut topics: BTreeMap<&str, Vec<&Publish>> = BTreeMap::new();
    for message in heard {
        if topics.len() < MAX_TOPICS || topics.contains_key(message.topic.as_str()) {
            topics.entry(&message.topic).or_default().push(message);
        }
    }
    let mut described: Vec<Description> = Vec::new();
    for (topic, messages) in &topics {
        let Some((binding, owners)) = bind(authority, topic, messages, known) else { continue };
        if described.iter().all(|other| other.thing != binding.thing) {
            described.push(description(authority, binding, owners, &topics));
        }
    }
    described
}

/// The binding of a topic, and whether the owner said it.
fn bind(
    authority: &str,
    topic: &str,
    messages: &[&Publish],
    known: &mut Binding,
) -> Option<(ThingBinding, bool)> {
    let owners = known.fed_by(topic).next().map(|(thing, ..)| thing.clone());
    if let Some(binding) = owners.and_then(|thing| known.thing(&thing)) {
        return Some((binding.clone(), true));
    }
    let last = topic.rsplit('/').next().unwrap_or(topic);
    let shape = infer::shape(messages.iter().map(|m| m.payload.as_slice()), last)?;
    let (format, time) = (shape.format, shape.time);
    let property = |(pointer, kind)| PropertyBinding {
        source: topic.into(),
        format,
        pointer,
        kind,
        unit: String::new(),
        scale: 0,
        time: time.clone(),
        last_will: None,
        write: None,
    };
    let properties = shape.parts.into_iter().map(|(name, part)| (name, property(part))).collect();
    let thing = thing_id(authority, topic);
    Some((known.learn(ThingBinding { thing, properties, actions: BTreeMap::new() }), false))
}

fn description(
    authority: &str,
    binding: ThingBinding,
    owners: bool,
    topics: &BTreeMap<&str, Vec<&Publish>>,
) -> Description {
    let title = binding.properties.values().next().map_or_else(String::new, |p| p.source.clone());
    let mut draft = Draft::new(binding.clone(), format!("MQTT {title}"));
    for (name, property) in &binding.properties {
        let messages = topics.get(property.source.as_str()).map_or(&[][..], Vec::as_slice);
        let kept = messages.iter().any(|message| message.retained);
        let source = match messages.len() {
            0 => "the owner's binding".into(),
            1 => format!("1 message on {}", property.source),
            n => format!("{n} messages on {}", property.source),
        };
        let confidence = if owners { Confidence::Stated } else { Confidence::Inferred };
        draft.property(name, property, property_form(authority, property, kept), &source, confidence, true);
        if let Some(write) = &property.write {
            let form = publish_form(authority, &write.target, property.format);
            draft.writable(name, form, Confidence::Stated);
        }
    }
    for (name, action) in &binding.actions {
        let form = action_form(authority, action);
        draft.action(name, form, "the owner's binding", Confidence::Stated);
    }
    draft.finish()
}

fn property_form(authority: &str, property: &PropertyBinding, kept: bool) -> Value {
    let mut form = json!({
        "href": href(authority, &property.source),
        "contentType": property.format.content_type(),
        "mqv:controlPacket": "subscribe",
        "mqv:filter": property.source,
        "op": ["observeproperty", "unobserveproperty"],
    });
    if kept {
        form["op"] = json!(["readproperty", "observeproperty", "unobserveproperty"]);
        form["mqv:retain"] = true.into();
    }
    form
}

fn action_form(authority: &str, action: &ActionBinding) -> Value {
    let mut form = publish_form(authority, &action.target, action.format);
    form["op"] = "invokeaction".into();
    form
}

fn publish_form(authority: &str, topic: &str, format: Format) -> Value {
    json!({
        "href": href(authority, topic),
        "contentType": format.content_type(),
        "mqv:controlPacket": "publish",
        "mqv:topic": topic,
    })
}

/// The topic as the path of a URI (RFC 3986, section 3.3).
fn href(authority: &str, topic: &str) -> String {
    let mut href = format!("{authority}/");
    for byte in topic.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            href.push(char::from(byte));
        } else {
            href.push_str(&format!("%{byte:02X}"));
        }
    }
    href
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(topic: &str, payload: &str, retained: bool) -> Publish {
        let (topic, payload) = (topic.into(), payload.into());
        Publish { topic, payload, retained, redelivered: false, qos: 1, id: 1 }
    }

    #[test]
    fn a_topic_becomes_a_thing_that_can_only_be_watched() {
        let messages = [
            heard("site/7/door/42/state", r#"{"open":false,"at":1764022698123,"seq":1}"#, true),
            heard("site/7/door/42/state", r#"{"open":true,"at":1764022699123,"seq":2}"#, false),
            heard("site 7/t", "21.5", false),
            heard("blob", "\u{0}\u{1}", false),
        ];
        let mut known = Binding::default();
        let things = describe("mqtt://127.0.0.1:1883", &messages, &mut known);
        let door =
            things.iter().find(|thing| thing.td["title"] == "MQTT site/7/door/42/state").expect("the door");
        let open = &door.td["properties"]["open"];
        assert_eq!(
            (&open["type"], &open["observable"], &open["readOnly"]),
            (&json!("boolean"), &json!(true), &json!(true))
        );
        assert_eq!(open["forms"][0]["href"], "mqtt://127.0.0.1:1883/site/7/door/42/state");
        assert_eq!(open["sofie:source"], "2 messages on site/7/door/42/state");
        assert!(door.td.get("actions").is_none());
        assert_eq!(door.binding.properties["open"].time.as_ref().expect("a time").pointer, "/at");
        assert!(!door.binding.properties.contains_key("at"), "the time of a reading is no reading");
        let href = things.iter().map(|t| t.td["properties"]["t"]["forms"][0]["href"].clone());
        assert!(href.into_iter().any(|href| href == "mqtt://127.0.0.1:1883/site%207/t"));
        let again = describe("mqtt://127.0.0.1:1883", &messages, &mut known);
        let ids = |things: &[Description]| things.iter().map(|t| t.thing.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&again), ids(&things), "names are stable");
    }
}
