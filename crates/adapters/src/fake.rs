//! A platform that exists in memory: one lamp with a switch and an inconvenient network. For tests of what stands above
//! the port; it passes the same [`crate::conformance`] suite as the real endpoints.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use sofie_model::{Digest, ThingId, Value};
use tokio::sync::mpsc;

use crate::{
    binding::{
        ActionBinding, ActionMethod, Arrival, Binding, Format, Kind, PropertyBinding, ThingBinding,
        WriteBinding,
    },
    describe::{Draft, thing_id},
    port::{
        Adapter, AdapterError, Clock, Confidence, Counters, Description, Gate, Message, Outcome, Platform,
        QUEUE, REMEMBERED, Refusal, Refuser, Request, Write,
    },
    tally::{Recent, Tally, one_more},
};

/// What the fake's network does with the next requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They arrive and are answered.
    Fair,
    /// They arrive, their answers are lost.
    AnswersLost,
    /// The device refuses them.
    Refusing,
    /// Nothing can be sent.
    Away,
}

/// The fake platform.
#[derive(Clone)]
pub struct FakeAdapter(Arc<Inner>);

struct Inner {
    platform: Platform,
    binding: Binding,
    gate: Arc<dyn Gate>,
    clock: Clock,
    tally: Tally,
    world: Mutex<World>,
}

struct World {
    weather: Weather,
    on: bool,
    /// How often the device did something.
    deeds: u64,
    outcomes: Recent<Digest, Outcome>,
    observers: Vec<mpsc::Sender<Message>>,
}

const AUTHORITY: &str = "fake://lamp:1";
const SOURCE: &str = "lamp";

impl FakeAdapter {
    /// A lamp that is off, of this owner.
    ///
    /// # Errors
    /// None: the address is a good one.
    pub fn new(party: &str, gate: Arc<dyn Gate>, clock: Clock) -> Result<Self, AdapterError> {
        let property = PropertyBinding {
            source: SOURCE.into(),
            format: Format::Json,
            pointer: "/on".into(),
            kind: Kind::Boolean,
            unit: String::new(),
            scale: 0,
            time: None,
            last_will: None,
            write: Some(WriteBinding { target: SOURCE.into(), method: ActionMethod::Put }),
        };
        let action = ActionBinding { target: SOURCE.into(), method: ActionMethod::Put, format: Format::Json };
        let thing = ThingBinding {
            thing: thing_id(AUTHORITY, SOURCE),
            properties: BTreeMap::from([("on".into(), property)]),
            actions: BTreeMap::from([("switch".into(), action)]),
        };
        let outcomes = Recent::new(REMEMBERED);
        let world = World { weather: Weather::Fair, on: false, deeds: 0, outcomes, observers: Vec::new() };
        Ok(Self(Arc::new(Inner {
            platform: Platform::new(party, "fake", AUTHORITY)?,
            binding: Binding { things: vec![thing] },
            gate,
            clock,
            tally: Tally::default(),
            world: Mutex::new(world),
        })))
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.world(|world| world.weather = weather);
    }

    /// How often the device really did something.
    #[must_use]
    pub fn deeds(&self) -> u64 {
        self.world(|world| world.deeds)
    }

    /// Somebody at the lamp switches it by hand: observers hear of it.
    pub fn switch_by_hand(&self, on: bool) {
        self.world(|world| {
            world.on = on;
            let message = self.reading(world);
            world.observers.retain(|observer| !observer.is_closed());
            for observer in &world.observers {
                if observer.try_send(message.clone()).is_err() {
                    one_more(&self.0.tally.dropped);
                }
            }
        });
    }

    fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.0.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn reading(&self, world: &World) -> Message {
        one_more(&self.0.tally.received);
        let received = self.0.tally.snapshot().received.to_be_bytes();
        let payload = serde_json::json!({"on": world.on}).to_string();
        let arrival = Arrival {
            platform: AUTHORITY,
            source: SOURCE,
            payload: payload.as_bytes(),
            identity: &received,
            told: None,
            at: (self.0.clock)(),
            retained: false,
        };
        self.0.binding.read(&arrival).expect("the lamp's only source is bound")
    }

    fn bound(&self, thing: &ThingId) -> Option<&ThingBinding> {
        self.0.binding.thing(thing)
    }
}

#[async_trait]
impl Adapter for FakeAdapter {
    fn platform(&self) -> &Platform {
        &self.0.platform
    }

    async fn introspect(&self) -> Result<Vec<Description>, AdapterError> {
        let binding = self.0.binding.things[0].clone();
        let mut draft = Draft::new(binding.clone(), "A lamp".into());
        for (name, property) in &binding.properties {
            let form = serde_json::json!({"href": "fake://lamp:1/lamp", "op": ["readproperty", "observeproperty", "unobserveproperty"]});
            draft.property(name, property, form, "the fake", Confidence::Stated, true);
            draft.writable(name, serde_json::json!({"href": "fake://lamp:1/lamp"}), Confidence::Inferred);
        }
        let form = serde_json::json!({"href": "fake://lamp:1/lamp", "op": "invokeaction"});
        draft.action("switch", form, "the fake", Confidence::Inferred);
        Ok(vec![draft.finish()])
    }

    async fn invoke(&self, request: &Request) -> Result<Outcome, AdapterError> {
        let known = self.bound(&request.thing).is_some_and(|t| t.actions.contains_key(&request.action));
        if !known {
            return Err(self.0.platform.not_there(format!("action {}", request.action)));
        }
        let on = request.input != serde_json::Value::Bool(false);
        self.once(request.message, || self.0.gate.admit(request), on)
    }

    async fn write(&self, write: &Write) -> Result<Outcome, AdapterError> {
        let absent = || self.0.platform.not_there(format!("property {}", write.property));
        self.0.binding.encode(&self.0.platform, write).ok_or_else(absent)??;
        self.once(write.message, || self.0.gate.admit_write(write), write.value == Value::Bool(true))
    }

    async fn read(&self, thing: &ThingId, property: &str) -> Result<Message, AdapterError> {
        let known = self.bound(thing).is_some_and(|t| t.properties.contains_key(property));
        if !known {
            return Err(self.0.platform.not_there(format!("property {property}")));
        }
        self.world(|world| match world.weather {
            Weather::Away => Err(self.0.platform.transient("it is away")),
            _ => Ok(self.reading(world)),
        })
    }

    async fn observe(&self) -> Result<mpsc::Receiver<Message>, AdapterError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.world(|world| world.observers.push(sender));
        Ok(receiver)
    }

    fn counters(&self) -> Counters {
        self.0.tally.snapshot()
    }
}

impl FakeAdapter {
    /// Switches the lamp, if this name is new and the gate lets it pass.
    fn once(
        &self,
        name: Digest,
        admit: impl FnOnce() -> Result<(), Refusal>,
        on: bool,
    ) -> Result<Outcome, AdapterError> {
        if let Some(outcome) = self.world(|world| world.outcomes.get(&name).cloned()) {
            return Ok(outcome);
        }
        if let Err(refusal) = admit() {
            return Ok(Outcome::Refused(Refuser::Gate(refusal)));
        }
        self.world(|world| {
            if world.weather == Weather::Away {
                return Err(self.0.platform.transient("it is away"));
            }
            let refused = world.weather == Weather::Refusing;
            if !refused {
                world.deeds += 1;
                world.on = on;
            }
            let outcome = match world.weather {
                Weather::AnswersLost => Outcome::Unknown { reason: "no answer came".into() },
                Weather::Refusing => {
                    Outcome::Refused(Refuser::Device { code: "no".into(), diagnostic: "not now".into() })
                }
                Weather::Fair | Weather::Away => {
                    Outcome::Answered { code: "done".into(), payload: Vec::new() }
                }
            };
            world.outcomes.put(name, outcome.clone());
            Ok(outcome)
        })
    }
}

#[cfg(test)]
mod tests;
