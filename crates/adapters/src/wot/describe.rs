//! Our Thing Description of a servient's: the same affordances at the owner's own platform, each with the words that it
//! rests on; and what could not be mapped, by name (`sofie:unmapped`).
//!
//! A thing is named by platform and path, not by the `id` that it gives itself (kept as `sofie:id`): an id is a stranger's
//! claim, with which one platform could take another's place in the directory, and a servient may make a new one at each
//! start.

use serde_json::{Map, Value, json};
use sofie_model::ThingId;

use super::codec::{Action, LeftOut, Plan, Property, Target};
use crate::{
    binding::{ActionBinding, ActionMethod, Binding, PropertyBinding, ThingBinding, WriteBinding},
    describe::{Draft, thing_id},
    port::{Confidence, Description},
};

/// A thing that a servient tells of.
pub(super) struct Told {
    /// Where its description was read: path and query, and what stands for it in a list.
    pub(super) path: String,
    pub(super) plan: Plan,
}

/// A property or action that its description shows and that cannot be used without credentials.
pub(super) struct Locked {
    pub(super) thing: ThingId,
    pub(super) name: String,
    pub(super) scheme: String,
}

impl Told {
    pub(super) fn thing(&self, authority: &str) -> ThingId {
        thing_id(authority, &self.path)
    }

    /// What needs credentials.
    pub(super) fn locked(&self, authority: &str) -> Vec<Locked> {
        let thing = self.thing(authority);
        let properties = self.plan.properties.iter().flat_map(|property| {
            let names = property.parts.iter().map(|part| part.name.clone());
            names.filter_map(|name| Some((name, property.read.needs.clone()?)))
        });
        let actions = self.plan.actions.iter();
        let actions = actions.filter_map(|action| Some((action.name.clone(), action.target.needs.clone()?)));
        let locked = |(name, scheme)| Locked { thing: thing.clone(), name, scheme };
        properties.chain(actions).map(locked).collect()
    }

    /// Describes the thing. Only what needs no credentials is bound.
    pub(super) fn describe(&self, authority: &str, known: &mut Binding) -> Description {
        let open = self.plan.properties.iter().filter(|property| property.read.needs.is_none());
        let actions = self.plan.actions.iter().filter(|action| action.target.needs.is_none());
        let found = ThingBinding {
            thing: self.thing(authority),
            properties: open.flat_map(bind).collect(),
            actions: actions.map(|action| (action.name.clone(), bound(action))).collect(),
        };
        let binding = known.learn(found);
        let mut draft = Draft::new(binding.clone(), self.plan.title.clone());
        if let Some((definitions, names)) = &self.plan.security {
            draft.secure(definitions.clone(), names.clone());
        }
        let shut =
            self.plan.properties.iter().filter(|property| property.read.needs.is_some()).flat_map(bind);
        let shut = shut.filter(|(name, _)| !binding.properties.contains_key(name));
        for (name, property) in binding.properties.clone().into_iter().chain(shut) {
            self.property(&mut draft, authority, &name, &property);
        }
        let shut = self.plan.actions.iter().filter(|action| action.target.needs.is_some());
        let shut = shut.filter(|action| !binding.actions.contains_key(&action.name));
        let shut = shut.map(|action| (action.name.clone(), bound(action)));
        for (name, action) in binding.actions.clone().into_iter().chain(shut) {
            self.action(&mut draft, authority, &name, &action);
        }
        let mut description = draft.finish();
        self.complete(&mut description.td, authority);
        description
    }

    fn property(&self, draft: &mut Draft, authority: &str, name: &str, bound: &PropertyBinding) {
        let planned = self.read_at(&bound.source);
        let source = self.source(planned.map(|planned| (planned.name.as_str(), &planned.read)));
        let observable = planned.is_some_and(|planned| planned.poll.is_some());
        let mut form = form(authority, &bound.source, bound.format.content_type());
        form["op"] = "readproperty".into();
        self.secure(&mut form, planned.map(|planned| &planned.read));
        draft.property(name, bound, form, &source, Confidence::Stated, observable);
        if let Some(write) = &bound.write {
            let mut form = self::form(authority, &write.target, bound.format.content_type());
            form["htv:methodName"] = write.method.name().into();
            self.secure(&mut form, planned.and_then(|planned| planned.write.as_ref()));
            draft.writable(name, form, Confidence::Stated);
        }
    }

    fn action(&self, draft: &mut Draft, authority: &str, name: &str, bound: &ActionBinding) {
        let planned = self.plan.actions.iter().find(|planned| planned.target.path == bound.target);
        let source = self.source(planned.map(|planned| (planned.name.as_str(), &planned.target)));
        let mut form = form(authority, &bound.target, bound.format.content_type());
        form["op"] = "invokeaction".into();
        form["htv:methodName"] = bound.method.name().into();
        self.secure(&mut form, planned.map(|planned| &planned.target));
        draft.action(name, form, &source, Confidence::Stated);
    }

    /// What only this protocol's descriptions have: the second form of what can be observed, inputs, names and gaps.
    fn complete(&self, td: &mut Value, authority: &str) {
        for planned in &self.plan.properties {
            let Some(poll) = &planned.poll else { continue };
            for part in &planned.parts {
                let Some(forms) = td["properties"][&part.name]["forms"].as_array_mut() else { continue };
                let mut form = form(authority, &poll.path, poll.format.content_type());
                form["op"] = json!(["observeproperty", "unobserveproperty"]);
                form["subprotocol"] = if poll.sse { "sse" } else { "longpoll" }.into();
                self.secure(&mut form, Some(poll));
                forms.push(form);
            }
        }
        for planned in self.plan.actions.iter().filter(|planned| !planned.input.is_null()) {
            if td["actions"][&planned.name].is_object() {
                td["actions"][&planned.name]["input"] = planned.input.clone();
            }
        }
        if let Some(id) = &self.plan.own_id {
            td["sofie:id"] = id.as_str().into();
        }
        if !self.plan.left_out.is_empty() {
            td["sofie:unmapped"] = self.plan.left_out.iter().map(unmapped).collect();
        }
    }

    fn read_at(&self, path: &str) -> Option<&Property> {
        self.plan.properties.iter().find(|planned| planned.read.path == path)
    }

    fn source(&self, stated: Option<(&str, &Target)>) -> String {
        let Some((name, target)) = stated else { return "the owner's binding".into() };
        let laid = target
            .told
            .as_ref()
            .map(|told| format!(", whose address {told} is laid over the owner's platform"));
        let needs =
            target.needs.as_ref().map(|scheme| format!("; it needs credentials of the scheme {scheme}"));
        format!(
            "{name:?} of the description at {}{}{}",
            self.path,
            laid.unwrap_or_default(),
            needs.unwrap_or_default()
        )
    }

    /// A form's own security, where the definitions that it names are stated.
    fn secure(&self, form: &mut Value, target: Option<&Target>) {
        let names = target.and_then(|target| target.security.as_ref());
        if let (Some(names), Some((definitions, _))) = (names, &self.plan.security)
            && names.iter().all(|name| definitions.contains_key(name))
        {
            form["security"] = json!(names);
        }
    }
}

fn form(authority: &str, path: &str, content_type: &str) -> Value {
    json!({"href": format!("{authority}{path}"), "contentType": content_type})
}

fn unmapped(one: &LeftOut) -> Value {
    let LeftOut { kind, name, reason } = one;
    Value::Object(Map::from_iter(
        [("kind", *kind), ("name", name), ("reason", reason)].map(|(term, text)| (term.into(), text.into())),
    ))
}

fn bind(property: &Property) -> impl Iterator<Item = (String, PropertyBinding)> {
    let write = property.write.as_ref().map(|target| WriteBinding {
        target: target.path.clone(),
        method: target.method.unwrap_or(ActionMethod::Put),
    });
    property.parts.iter().map(move |part| {
        let bound = PropertyBinding {
            source: property.read.path.clone(),
            format: property.read.format,
            pointer: part.pointer.clone(),
            kind: part.kind,
            unit: part.unit.clone(),
            scale: 0,
            time: None,
            last_will: None,
            write: write.clone(),
        };
        (part.name.clone(), bound)
    })
}

fn bound(action: &Action) -> ActionBinding {
    ActionBinding { target: action.target.path.clone(), method: action.method, format: action.target.format }
}
