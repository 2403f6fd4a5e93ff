//! The fake platform keeps the promises of the adapter port.

use sofie_model::Timestamp;

use super::*;
use crate::{
    conformance::{self, Scene},
    port::{Closed, Refusal},
};

struct Open;

/// Lets each request in once, as a door that remembers proofs does.
#[derive(Default)]
struct Once(Mutex<Vec<Digest>>);

impl Gate for Once {
    fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let mut seen = self.0.lock().expect("nobody panics");
        if seen.contains(&request.message) {
            return Err(Refusal::Forged { reason: "shown before".into() });
        }
        seen.push(request.message);
        Ok(())
    }
}

impl Gate for Open {
    fn admit(&self, _: &Request) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_write(&self, _: &Write) -> Result<(), Refusal> {
        Ok(())
    }
}

fn lamp(gate: Arc<dyn Gate>) -> FakeAdapter {
    FakeAdapter::new("lamp-co", gate, Arc::new(|| Timestamp::from_seconds(1_000))).expect("a good address")
}

fn request(lamp: &FakeAdapter, name: &str) -> Request {
    Request {
        thing: lamp.0.binding.things[0].thing.clone(),
        action: "switch".into(),
        input: true.into(),
        message: Digest::sha256(name.as_bytes()),
        capability: Vec::new(),
    }
}

#[tokio::test]
async fn it_passes_the_suite() {
    let lamp = lamp(Arc::new(Open));
    let hand = lamp.clone();
    let scene = Scene {
        adapter: Arc::new(lamp.clone()),
        shut: Arc::new(self::lamp(Arc::new(Closed))),
        property: "on".into(),
        action: Some(("switch".into(), true.into())),
        change: Some(Box::new(move || hand.switch_by_hand(true))),
    };
    conformance::run(scene).await.expect("the fake keeps the port's promises");
}

#[tokio::test]
async fn it_passes_the_part_about_writing() {
    let (open, shut) = (lamp(Arc::new(Open)), lamp(Arc::new(Once::default())));
    let (on, unfit) = (Value::Bool(true), Value::Text("true".into()));
    conformance::writing(&open, &shut, "on", on, unfit).await.expect("the fake keeps the port's promises");
    assert_eq!((open.deeds(), shut.deeds()), (1, 0), "a gate that says nothing of writes lets none pass");
}

#[tokio::test]
async fn an_unanswered_request_is_never_sent_twice() {
    let lamp = lamp(Arc::new(Once::default()));
    lamp.set_weather(Weather::AnswersLost);
    let first = lamp.invoke(&request(&lamp, "a")).await;
    assert!(matches!(first, Ok(Outcome::Unknown { .. })), "{first:?}");
    lamp.set_weather(Weather::Fair);
    assert_eq!(lamp.invoke(&request(&lamp, "a")).await, first);
    assert_eq!(lamp.deeds(), 1);
}

#[tokio::test]
async fn what_was_never_sent_may_be_tried_again() {
    let lamp = lamp(Arc::new(Open));
    lamp.set_weather(Weather::Away);
    assert!(matches!(lamp.invoke(&request(&lamp, "a")).await, Err(AdapterError::Transient { .. })));
    lamp.set_weather(Weather::Fair);
    assert!(matches!(lamp.invoke(&request(&lamp, "a")).await, Ok(Outcome::Answered { .. })));
    assert_eq!(lamp.deeds(), 1);
}
