//! The promises of the adapter port, as a suite that every adapter passes: the fake here, CoAP, MQTT and W3C WoT against
//! devices and independent peers in `crates/testkit/tests`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::Value;
use sofie_model::{Digest, ThingId, Value as Scalar};
use tokio::time::timeout;

use crate::port::{Adapter, AdapterError, Description, Message, Outcome, Refuser, Request, Write};

/// A platform that is set up, and what the suite must know of it.
pub struct Scene {
    /// Its gate lets everybody pass.
    pub adapter: Arc<dyn Adapter>,
    /// The same platform, with a gate that lets nobody pass. It has introspected nothing yet.
    pub shut: Arc<dyn Adapter>,
    /// A property of one of its things.
    pub property: String,
    /// An action of the same thing, with an input, if there is one.
    pub action: Option<(String, Value)>,
    /// Changes the property at the device, so that an observer hears of it.
    pub change: Option<Box<dyn FnOnce() + Send>>,
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the adapter breaks a promise: {0}")]
pub struct Broken(pub String);

/// How long an observer waits: a bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the suite.
///
/// # Errors
/// [`Broken`]: the first promise that was not kept.
pub async fn run(scene: Scene) -> Result<(), Broken> {
    let Scene { adapter, shut, property, action, change } = scene;
    let thing = introspection(adapter.as_ref(), &property, action.as_ref()).await?;
    reading(adapter.as_ref(), &thing, &property).await?;
    if let Some((name, input)) = action {
        let request = |label: &str| Request {
            thing: thing.clone(),
            action: name.clone(),
            input: input.clone(),
            message: Digest::sha256(label.as_bytes()),
            capability: Vec::new(),
        };
        gate(shut.as_ref(), &request("at the gate")).await?;
        invocation(adapter.as_ref(), &request("through the gate")).await?;
    }
    absent(adapter.as_ref(), &thing).await?;
    match change {
        Some(change) => observation(adapter.as_ref(), &thing, &property, change).await,
        None => Ok(()),
    }
}

/// The part of the suite for a platform with a property that can be written: `adapter` and `shut` as in a [`Scene`],
/// and a value of another kind than the property's.
///
/// # Errors
/// [`Broken`].
pub async fn writing(
    adapter: &dyn Adapter,
    shut: &dyn Adapter,
    property: &str,
    value: Scalar,
    unfit: Scalar,
) -> Result<(), Broken> {
    let things = introspect(adapter).await?;
    let has = |thing: &&Description| thing.binding.properties.contains_key(property);
    let found = things.iter().find(has).ok_or_else(|| Broken(format!("{property} is found")))?;
    let affordance = &found.td["properties"][property];
    let forms = affordance["forms"].as_array().into_iter().flatten();
    let offered = forms.filter(|form| form["op"] == "writeproperty").any(|form| form["href"].is_string());
    promise(offered && affordance["readOnly"] == false, "the description says that it can be written")?;
    let write = |value: &Scalar, label: &str| Write {
        thing: found.thing.clone(),
        property: property.into(),
        value: value.clone(),
        unit: None,
        message: Digest::sha256(label.as_bytes()),
        capability: Vec::new(),
    };
    introspect(shut).await?;
    let before = shut.counters();
    let refused = shut.write(&write(&value, "written at the gate")).await;
    let gated = matches!(refused, Ok(Outcome::Refused(Refuser::Gate(_))));
    promise(gated && before == shut.counters(), format!("a shut gate refuses a write: {refused:?}"))?;
    let before = adapter.counters();
    for bad in [
        write(&unfit, "of another kind"),
        Write { unit: Some("an unknown unit".into()), ..write(&value, "in another unit") },
        Write { property: "no-such-property".into(), ..write(&value, "nowhere") },
    ] {
        let refused = adapter.write(&bad).await;
        promise(
            refused.is_err() && before == adapter.counters(),
            format!("{bad:?} is not sent: {refused:?}"),
        )?;
    }
    let good = write(&value, "written through the gate");
    let first = adapter.write(&good).await.map_err(|e| Broken(format!("write: {e}")))?;
    let passed = matches!(first, Outcome::Answered { .. } | Outcome::Unknown { .. });
    promise(passed, format!("a good value is written: {first:?}"))?;
    let before = adapter.counters();
    let again = adapter.write(&good).await;
    promise(again.as_ref() == Ok(&first) && before == adapter.counters(), "one name is written once")?;
    if matches!(first, Outcome::Answered { .. }) {
        let message = adapter.read(&found.thing, property).await;
        let message = message.map_err(|e| Broken(format!("read: {e}")))?;
        let seen = message.observations.iter().find(|o| o.property == property);
        let same = seen.is_some_and(|o| o.quantity.value == value);
        promise(same, format!("what was written is read: {message:?}"))?;
    }
    Ok(())
}

fn promise(kept: bool, what: impl Into<String>) -> Result<(), Broken> {
    if kept { Ok(()) } else { Err(Broken(what.into())) }
}

async fn introspect(adapter: &dyn Adapter) -> Result<Vec<Description>, Broken> {
    adapter.introspect().await.map_err(|e| Broken(format!("introspect: {e}")))
}

/// Things keep their names; each affordance says where it comes from; nothing claims that no security is needed.
async fn introspection(
    adapter: &dyn Adapter,
    property: &str,
    action: Option<&(String, Value)>,
) -> Result<ThingId, Broken> {
    let first = introspect(adapter).await?;
    let again = introspect(adapter).await?;
    let names = |things: &[Description]| things.iter().map(|t| t.thing.clone()).collect::<BTreeSet<_>>();
    promise(!first.is_empty(), "introspection finds something")?;
    promise(names(&first) == names(&again), "a thing keeps its name")?;
    for thing in &first {
        promise(thing.td["id"] == thing.thing.as_str(), "the description bears the thing's name")?;
        promise(says_nosec_only_as_stated(&thing.td), "what is not known is not called nosec")?;
        promise(!thing.origins.is_empty(), "affordances have origins")?;
        for origin in &thing.origins {
            let group = if origin.kind == "action" { "actions" } else { "properties" };
            let affordance = &thing.td[group][&origin.name];
            let said = affordance["sofie:source"] == origin.source.as_str();
            promise(said && !origin.source.is_empty(), format!("{} says where it comes from", origin.name))?;
            promise(affordance["forms"][0]["href"].is_string(), format!("{} has a form", origin.name))?;
        }
    }
    let has = |thing: &&Description| {
        thing.binding.properties.contains_key(property)
            && action.is_none_or(|(name, _)| thing.binding.actions.contains_key(name))
    };
    let found = first.iter().find(has).ok_or_else(|| Broken(format!("{property} is found")))?;
    Ok(found.thing.clone())
}

/// No security definition is `nosec`, but one that is marked as the platform's own word.
fn says_nosec_only_as_stated(td: &Value) -> bool {
    let definitions = td["securityDefinitions"].as_object();
    let is_claim = |one: &Value| one["scheme"] == "nosec" && one["sofie:stated"] != true;
    definitions.is_some_and(|all| !all.is_empty() && !all.values().any(is_claim))
}

/// A reading keeps its bytes and names its thing.
async fn reading(adapter: &dyn Adapter, thing: &ThingId, property: &str) -> Result<(), Broken> {
    let message = adapter.read(thing, property).await.map_err(|e| Broken(format!("read: {e}")))?;
    promise(!message.raw.is_empty(), "the raw bytes are kept")?;
    let seen = message.observations.iter().any(|o| o.thing == *thing && o.property == property);
    promise(seen, format!("a reading of {property} says what it is: {message:?}"))
}

/// A refusal at the gate is an outcome, and nothing was sent.
async fn gate(shut: &dyn Adapter, request: &Request) -> Result<(), Broken> {
    introspect(shut).await?;
    let before = shut.counters();
    let outcome = shut.invoke(request).await;
    let refused = matches!(outcome, Ok(Outcome::Refused(Refuser::Gate(_))));
    promise(refused, format!("a shut gate refuses: {outcome:?}"))?;
    promise(before == shut.counters(), "a request that the gate refused is not sent")
}

/// The same name is sent once, and has one outcome.
async fn invocation(adapter: &dyn Adapter, request: &Request) -> Result<(), Broken> {
    let first = adapter.invoke(request).await.map_err(|e| Broken(format!("invoke: {e}")))?;
    let gated = matches!(first, Outcome::Refused(Refuser::Gate(_)));
    promise(!gated, "an open gate lets a request pass")?;
    let before = adapter.counters();
    let again = adapter.invoke(request).await;
    promise(again.as_ref() == Ok(&first), format!("one name, one outcome: {first:?}, then {again:?}"))?;
    promise(before == adapter.counters(), "one name is sent once")
}

/// What is not there is said to be not there.
async fn absent(adapter: &dyn Adapter, thing: &ThingId) -> Result<(), Broken> {
    let nowhere: ThingId = "urn:x:nowhere".parse().map_err(|e| Broken(format!("{e}")))?;
    for (thing, property) in [(thing, "no-such-property"), (&nowhere, "on")] {
        let read = adapter.read(thing, property).await;
        let said = matches!(read, Err(AdapterError::NotThere { .. }));
        promise(said, format!("{property} of {thing} is not there: {read:?}"))?;
    }
    let request = Request {
        thing: thing.clone(),
        action: "no-such-action".into(),
        input: Value::Null,
        message: Digest::ZERO,
        capability: Vec::new(),
    };
    let outcome = adapter.invoke(&request).await;
    promise(matches!(outcome, Err(AdapterError::NotThere { .. })), format!("no such action: {outcome:?}"))
}

/// A change after [`Adapter::observe`] has returned is heard, as a message of now.
async fn observation(
    adapter: &dyn Adapter,
    thing: &ThingId,
    property: &str,
    change: Box<dyn FnOnce() + Send>,
) -> Result<(), Broken> {
    let mut messages = adapter.observe().await.map_err(|e| Broken(format!("observe: {e}")))?;
    // What the platform says at first may be old, or the state before the change.
    let mut names = BTreeSet::new();
    while let Ok(message) = messages.try_recv() {
        names.extend(message.observations.iter().map(|o| o.message_id));
    }
    change();
    let told = |message: &Message| {
        !message.retained && message.observations.iter().any(|o| o.thing == *thing && o.property == property)
    };
    let heard = timeout(PATIENCE, async {
        while let Some(message) = messages.recv().await {
            let new = message.observations.iter().all(|o| !names.contains(&o.message_id));
            if new && told(&message) {
                return true;
            }
        }
        false
    });
    promise(heard.await.unwrap_or(false), format!("a change of {property} is heard"))
}
