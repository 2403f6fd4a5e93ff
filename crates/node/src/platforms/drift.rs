//! A joined platform, looked at again: what it tells now that it did not tell when it was joined, and what it tells no
//! longer. Nothing of it is taken over: what is registered, and what its messages mean, is the owner's.

use std::collections::BTreeMap;

use sofie_adapters::binding::{ActionBinding, Binding, PropertyBinding, ThingBinding};
use sofie_model::ThingId;

use super::{Allowed, Kept, PlatformError, Platforms};
use crate::api::{self, Drift, DriftKind};

impl Platforms {
    /// Reads what a joined platform tells of itself, and compares it with what it told when it was joined. `None` where no
    /// platform has this name.
    ///
    /// # Errors
    /// [`PlatformError`].
    pub async fn probe(&self, id: &str) -> Result<Option<api::Probed>, PlatformError> {
        let joined = self.joined().into_iter().find(|joined| joined.kept.platform.id == id);
        let Some(Kept { platform, originator, found, descriptions, .. }) = joined.map(|joined| joined.kept)
        else {
            return Ok(None);
        };
        // Without the owner's words, which are no news, and with a gate that lets nothing pass.
        let adapter =
            self.adapter(&platform, Allowed::default(), originator.as_deref(), Binding::default()).await?;
        let now = adapter.introspect().await?.into_iter().map(|one| one.binding).collect();
        let then = found.unwrap_or_else(|| descriptions.into_iter().map(|one| one.binding).collect());
        Ok(Some(api::Probed { platform: platform.id, drift: compare(then, now) }))
    }
}

/// What differs, things in the order of their names.
fn compare(then: Vec<ThingBinding>, now: Vec<ThingBinding>) -> Vec<Drift> {
    let by_name = |all: Vec<ThingBinding>| -> BTreeMap<ThingId, Affordances> {
        all.into_iter().map(|thing| (thing.thing.clone(), affordances(thing))).collect()
    };
    let (then, mut now) = (by_name(then), by_name(now));
    let mut drift = Vec::new();
    for (thing, was) in then {
        let Some(is) = now.remove(&thing) else {
            drift.push(Drift { thing, kind: DriftKind::Missing, affordance: None, was: None, is: None });
            continue;
        };
        drift.extend(of_a_thing(&thing, was, is));
    }
    let new = |thing| Drift { thing, kind: DriftKind::New, affordance: None, was: None, is: None };
    drift.extend(now.into_keys().map(new));
    drift.sort_by(|one, other| one.thing.cmp(&other.thing));
    drift
}

type Affordances = BTreeMap<(&'static str, String), String>;

fn of_a_thing(thing: &ThingId, was: Affordances, mut is: Affordances) -> Vec<Drift> {
    let mut drift = Vec::new();
    let mut differs = |(kind, name): (&str, String), was: Option<String>, is: Option<String>| {
        let change = match (&was, &is) {
            (None, _) => DriftKind::New,
            (Some(_), None) => DriftKind::Missing,
            (Some(_), Some(_)) => DriftKind::Changed,
        };
        let affordance = Some(format!("{kind} {name}"));
        drift.push(Drift { thing: thing.clone(), kind: change, affordance, was, is });
    };
    for (key, was) in was {
        match is.remove(&key) {
            Some(same) if same == was => {}
            other => differs(key, Some(was), other),
        }
    }
    is.into_iter().for_each(|(key, is)| differs(key, None, Some(is)));
    drift
}

/// Each affordance, and what it is in words.
fn affordances(thing: ThingBinding) -> Affordances {
    let properties = thing.properties.into_iter().map(|(name, one)| (("property", name), told(&one)));
    let actions = thing.actions.into_iter().map(|(name, one)| (("action", name), asked(&one)));
    actions.chain(properties).collect()
}

fn told(property: &PropertyBinding) -> String {
    let PropertyBinding { source, format, pointer, kind, unit, scale, time, last_will: _, write } = property;
    let mut words = format!("{} of {source}", word(kind));
    if !pointer.is_empty() {
        words = format!("{words} at {pointer}");
    }
    if !unit.is_empty() {
        words = format!("{words} in {unit}");
    }
    if *scale != 0 {
        words = format!("{words}, scale {scale}");
    }
    if let Some(time) = time {
        words = format!("{words}, time at {}", time.pointer);
    }
    if let Some(write) = write {
        words = format!("{words}, written at {}", write.target);
    }
    format!("{words}, {}", word(format))
}

fn asked(action: &ActionBinding) -> String {
    let ActionBinding { target, method, format } = action;
    format!("{} {target}, {}", word(method), word(format))
}

/// The word that a mapping has for it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn things(text: &str) -> Vec<ThingBinding> {
        let binding: Binding = toml::from_str(text).expect("a binding");
        binding.things
    }

    const THEN: &str = r#"
        [[things]]
        thing = "urn:x:lamp"
        [things.properties.on]
        source = "/on"
        kind = "boolean"
        [things.properties.power]
        source = "/power"
        kind = "integer"
        [things.actions.switch]
        target = "/switch"
        [[things]]
        thing = "urn:x:fan"
    "#;

    #[test]
    fn the_same_is_no_drift() {
        assert_eq!(compare(things(THEN), things(THEN)), []);
    }

    #[test]
    fn what_is_new_missing_and_changed_is_named() {
        let now = THEN
            .replace("urn:x:fan", "urn:x:heater")
            .replace("kind = \"integer\"", "kind = \"number\"\n unit = \"W\"")
            .replace("properties.on]\n        source = \"/on\"", "properties.lit]\n        source = \"/on\"");
        let drift = compare(things(THEN), things(&now));
        let told: Vec<_> = drift
            .iter()
            .map(|one| (one.thing.as_str(), one.kind, one.affordance.as_deref(), one.is.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("urn:x:fan", DriftKind::Missing, None, None),
                ("urn:x:heater", DriftKind::New, None, None),
                ("urn:x:lamp", DriftKind::Missing, Some("property on"), None),
                (
                    "urn:x:lamp",
                    DriftKind::Changed,
                    Some("property power"),
                    Some("number of /power in W, json")
                ),
                ("urn:x:lamp", DriftKind::New, Some("property lit"), Some("boolean of /on, json")),
            ]
        );
    }
}
