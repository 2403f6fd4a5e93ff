//! A Thing Description out of a server's links (RFC 6690) and of what its readable resources answered.
//!
//! One server is one thing. A link gives a property, because a GET is safe (RFC 7252, section 5.1). It gives an action
//! only when its interface type says actuator (`core.a`, as OMA and OCF servers write it). A property can be written (PUT)
//! where its interface type says so (`core.p` and `core.a` of draft-ietf-core-interfaces, section 4) and its state is one
//! scalar: a larger one cannot be rebuilt from one value. Links to other hosts and to
//! `/.well-known/` are left out: nothing makes this adapter follow a platform elsewhere.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    codec::{JSON, LINK_FORMAT, TEXT},
    link_format::Link,
};
use crate::{
    binding::{
        ActionBinding, ActionMethod, Binding, Format, Kind, PropertyBinding, ThingBinding, WriteBinding,
    },
    describe::{Draft, thing_id},
    infer,
    port::{Confidence, Description},
};

/// How many resources are described, and read once for their shape.
pub(super) const MAX_RESOURCES: usize = 64;

/// The links that are resources of this server, each path once.
pub(super) fn resources(links: &[Link]) -> Vec<&Link> {
    let mut resources: Vec<&Link> = Vec::new();
    for link in links {
        let own = link.target.starts_with('/')
            && !link.target.starts_with("/.well-known/")
            && !link.target.contains(['?', '#']);
        let new = resources.iter().all(|known| known.target != link.target);
        if own && new && link.target.len() > 1 && resources.len() < MAX_RESOURCES {
            resources.push(link);
        }
    }
    resources
}

/// Whether reading the resource may tell its shape: text or JSON, said or not denied.
pub(super) fn is_readable(link: &Link) -> bool {
    let formats = link.content_formats();
    let readable = formats.is_empty() || formats.contains(&JSON) || formats.contains(&TEXT);
    readable && !formats.contains(&LINK_FORMAT)
}

/// Describes the server. `samples` holds what a path answered to one GET.
pub(super) fn describe(
    authority: &str,
    links: &[Link],
    samples: &BTreeMap<String, Vec<u8>>,
    known: &mut Binding,
) -> Description {
    let mut found = ThingBinding {
        thing: thing_id(authority, "/"),
        properties: BTreeMap::new(),
        actions: BTreeMap::new(),
    };
    let resources = resources(links);
    for link in &resources {
        bind(link, samples.get(&link.target).map(Vec::as_slice), &mut found);
    }
    let binding = known.learn(found.clone());
    let owners = binding != found;
    let title = format!("CoAP server {}", authority.trim_start_matches("coap://"));
    let mut draft = Draft::new(binding.clone(), title);
    let stated = |inferred: Confidence| if owners { Confidence::Stated } else { inferred };
    for (name, property) in &binding.properties {
        let link = resources.iter().find(|link| link.target == property.source);
        let observable = link.is_some_and(|link| link.has("obs"));
        let sampled = samples.contains_key(&property.source);
        let confidence = stated(if sampled { Confidence::Inferred } else { Confidence::Guessed });
        let form = property_form(authority, property, observable);
        draft.property(name, property, form, &source(link, sampled), confidence, observable);
        if let Some(write) = &property.write {
            let form = write_form(authority, property, write);
            draft.writable(name, form, stated(Confidence::Inferred));
        }
    }
    for (name, action) in &binding.actions {
        let link = resources.iter().find(|link| link.target == action.target);
        let form = action_form(authority, action);
        draft.action(name, form, &source(link, false), stated(Confidence::Inferred));
    }
    draft.finish()
}

fn source(link: Option<&&Link>, sampled: bool) -> String {
    match (link, sampled) {
        (None, _) => "the owner's binding".into(),
        (Some(link), false) => format!("link {link}"),
        (Some(link), true) => format!("link {link} and one GET"),
    }
}

/// What a link and its sample bind.
fn bind(link: &Link, sample: Option<&[u8]>, found: &mut ThingBinding) {
    let formats = link.content_formats();
    let format = if formats.contains(&JSON) || formats.is_empty() { Format::Json } else { Format::Text };
    let shape = sample.and_then(|sample| infer::shape([sample], &link.target));
    let told = |word| link.words("if").any(|interface| interface == word);
    let scalar =
        |shape: &infer::Shape| shape.time.is_none() && shape.parts.values().all(|(at, _)| at.is_empty());
    let takes = (told("core.p") || told("core.a")) && shape.as_ref().is_some_and(scalar);
    let write = takes.then(|| WriteBinding { target: link.target.clone(), method: ActionMethod::Put });
    let (format, time) = shape.as_ref().map_or((format, None), |shape| (shape.format, shape.time.clone()));
    let parts = match shape {
        Some(shape) => shape.parts.into_iter().collect(),
        // Not read: at least the whole of it, as text.
        None => vec![(infer::name_of(&link.target), (String::new(), Kind::String))],
    };
    for (name, (pointer, kind)) in parts {
        let name = infer::free_name(&found.properties, &name);
        let format = if sample.is_none() { Format::Text } else { format };
        let property = PropertyBinding {
            source: link.target.clone(),
            format,
            pointer,
            kind,
            unit: String::new(),
            scale: 0,
            time: time.clone(),
            last_will: None,
            write: write.clone(),
        };
        found.properties.insert(name, property);
    }
    if told("core.a") {
        let name = infer::free_name(&found.actions, &link.target);
        let target = link.target.clone();
        found.actions.insert(name, ActionBinding { target, method: ActionMethod::Post, format });
    }
}

fn property_form(authority: &str, property: &PropertyBinding, observable: bool) -> Value {
    let mut form = json!({
        "href": format!("{authority}{}", property.source),
        "contentType": property.format.content_type(),
        "cov:method": "GET",
        "op": "readproperty",
    });
    if observable {
        form["op"] = json!(["readproperty", "observeproperty", "unobserveproperty"]);
        form["subprotocol"] = "cov:observe".into();
    }
    form
}

fn write_form(authority: &str, property: &PropertyBinding, write: &WriteBinding) -> Value {
    json!({
        "href": format!("{authority}{}", write.target),
        "contentType": property.format.content_type(),
        "cov:method": write.method.name(),
    })
}

fn action_form(authority: &str, action: &ActionBinding) -> Value {
    json!({
        "href": format!("{authority}{}", action.target),
        "contentType": action.format.content_type(),
        "cov:method": action.method.name(),
        "op": "invokeaction",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::link_format::parse;

    const AUTHORITY: &str = "coap://127.0.0.1:5683";

    #[test]
    fn only_resources_of_the_server_itself_are_taken() {
        let links = parse("</.well-known/core>,</a>,</a>;obs,<coap://other/b>,</c?d>,</>").expect("links");
        let targets: Vec<_> = resources(&links).iter().map(|link| link.target.as_str()).collect();
        assert_eq!(targets, ["/a"]);
    }

    #[test]
    fn an_actuator_becomes_an_action_that_waits_for_its_owner() {
        let links = parse(r#"</lock>;if="core.a";rt="lock";ct=50,</t>;if="core.s";obs;ct=0"#).expect("links");
        let samples = [("/lock".to_owned(), br#"{"locked":true}"#.to_vec()), ("/t".into(), b"21.5".to_vec())];
        let description = describe(AUTHORITY, &links, &samples.into(), &mut Binding::default());
        let td = description.td;
        assert_eq!(td["actions"]["lock"]["sofie:awaits"], "owner-policy");
        assert_eq!(td["actions"]["lock"]["forms"][0]["cov:method"], "POST");
        assert_eq!(td["actions"]["lock"]["forms"][0]["href"], "coap://127.0.0.1:5683/lock");
        assert_eq!(
            (&td["properties"]["locked"]["type"], &td["properties"]["locked"]["sofie:pointer"]),
            (&json!("boolean"), &json!("/locked"))
        );
        assert_eq!(
            (&td["properties"]["t"]["type"], &td["properties"]["t"]["observable"]),
            (&json!("number"), &json!(true))
        );
        assert_eq!(td["securityDefinitions"]["unstated"]["scheme"], "auto");
        assert!(!td.to_string().contains("nosec"));
        assert_eq!(td["actions"]["lock"]["sofie:awaits"], "owner-policy");
        let names: Vec<_> = td["actions"].as_object().expect("actions").keys().collect();
        assert_eq!(names, ["lock"], "a sensor is no actuator");
    }

    #[test]
    fn a_parameter_can_be_written_once_its_owner_allows_it() {
        let links = r#"</level>;if="core.p";ct=0,</relay>;if="core.a";ct=0,</t>;if="core.s";ct=0,</lock>;if="core.a";ct=50,</far>;if="core.p""#;
        let links = parse(links).expect("links");
        let sample = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
        let samples = [
            sample("/level", "42"),
            sample("/relay", "true"),
            sample("/t", "21.5"),
            sample("/lock", r#"{"locked":true}"#),
        ];
        let td = describe(AUTHORITY, &links, &samples.into(), &mut Binding::default()).td;
        for (name, read_only) in
            [("level", false), ("relay", false), ("t", true), ("locked", true), ("far", true)]
        {
            let property = &td["properties"][name];
            assert_eq!(property["readOnly"], read_only, "{name}: {property}");
        }
        let form = &td["properties"]["level"]["forms"][1];
        assert_eq!((&form["op"], &form["cov:method"]), (&json!("writeproperty"), &json!("PUT")));
        assert_eq!(form["sofie:awaits"], "owner-policy");
    }

    #[test]
    fn the_owners_words_stand() {
        let links = parse(r#"</lock>;if="core.a";ct=50"#).expect("links");
        let mut known = Binding::default();
        let found = describe(AUTHORITY, &links, &BTreeMap::new(), &mut known);
        let action = known.things[0].actions.remove("lock").expect("found just now");
        known.things[0].actions.insert("open".into(), action);
        let edited = describe(AUTHORITY, &links, &BTreeMap::new(), &mut known);
        assert_eq!(found.thing, edited.thing);
        assert_eq!(edited.td["actions"]["open"]["sofie:confidence"], "stated");
        assert_eq!(edited.td["actions"]["open"]["sofie:awaits"], "owner-policy", "what it is is not who may");
    }
}
