//! The adapter of one MQTT broker.
//!
//! A last will (3.1.2.5) is published by the broker for a device that is gone; 3.1.1 does not mark it. A binding can name
//! its payload ([`crate::binding::PropertyBinding::last_will`]); then it is noted and never observed.

use std::{
    fmt,
    sync::{Arc, RwLock},
};

use async_trait::async_trait;
use rumqttc::{MqttOptions, QoS};
use sofie_model::{Span, ThingId};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use super::{
    codec::{MAX_PAYLOAD, Publish, is_filter, is_topic},
    describe::describe,
    session::{Happened, Session, explain, options},
    watch::Watch,
};
use crate::{
    binding::{ActionBinding, Arrival, Binding},
    once::Once,
    port::{
        Adapter, AdapterError, Clock, Closed, Counters, Description, Gate, Message, Outcome, Platform, QUEUE,
        Request, Write, cut,
    },
    tally::Tally,
};

/// What an MQTT adapter is made of.
#[derive(Clone)]
pub struct MqttConfig {
    /// The owner's name.
    pub party: String,
    /// `mqtt://host[:port]`.
    pub url: String,
    /// What the owner, or an earlier introspection, says of its messages.
    pub binding: Binding,
    /// How introspection listens.
    pub sampling: Sampling,
    /// With a name, the broker keeps what comes while we are away; without, it does not.
    pub client_id: Option<String>,
    /// How to log in.
    pub credentials: Option<Credentials>,
    /// The owner's word on who may act.
    pub gate: Arc<dyn Gate>,
    /// Tells when a message arrived.
    pub clock: Clock,
}

/// How introspection listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// To what: a topic filter (4.7).
    pub filter: String,
    /// How long.
    pub time: Span,
    /// To how many messages at most.
    pub messages: usize,
}

/// A user name and password, given once by the platform's owner.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password. Shown nowhere.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self { filter: "#".into(), time: Span::from_millis(1_500), messages: 1_000 }
    }
}

impl MqttConfig {
    /// Nothing is bound, the broker names the client, and the gate is closed.
    #[must_use]
    pub fn new(party: &str, url: &str, clock: Clock) -> Self {
        Self {
            party: party.into(),
            url: url.into(),
            binding: Binding::default(),
            sampling: Sampling::default(),
            client_id: None,
            credentials: None,
            gate: Arc::new(Closed),
            clock,
        }
    }
}

/// One MQTT broker of one owner.
#[derive(Clone)]
pub struct MqttAdapter(Arc<Endpoint>);

pub(super) struct Endpoint {
    platform: Platform,
    pub(super) authority: String,
    pub(super) tally: Tally,
    binding: RwLock<Binding>,
    sampling: Sampling,
    client_id: Option<String>,
    credentials: Option<Credentials>,
    gate: Arc<dyn Gate>,
    clock: Clock,
    /// Held by the observer that uses the client identifier: a broker lets in one at a time (3.1.4).
    named: Arc<tokio::sync::Mutex<()>>,
    once: Once,
}

/// IANA: mqtt.
const DEFAULT_PORT: u16 = 1883;
/// How long to wait for the message that a broker keeps.
const READ_TIME: Span = Span::from_millis(2_000);
/// How long a broker may take to confirm a message.
const CONFIRM_TIME: std::time::Duration = std::time::Duration::from_secs(10);
/// How long an observer that ends may take to leave its name to the next.
const HANDOVER: std::time::Duration = std::time::Duration::from_secs(2);
/// How many filters one subscription has.
const MAX_FILTERS: usize = 1024;

impl MqttAdapter {
    /// Checks the configuration. Connects to nothing yet.
    ///
    /// # Errors
    /// [`AdapterError::Permanent`] for an address or a filter that is none.
    pub fn open(config: MqttConfig) -> Result<Self, AdapterError> {
        let platform = Platform::new(&config.party, "mqtt", &config.url)?;
        if !is_filter(&config.sampling.filter) {
            let reason = format!("{:?} is not a topic filter", cut(&config.sampling.filter));
            return Err(platform.permanent(reason, "write it as MQTT 3.1.1, section 4.7 says: a/+/b or a/#"));
        }
        if config.client_id.as_ref().is_some_and(|id| id.starts_with(' ') || id.len() > 64) {
            let reason = "its client identifier is longer than 64 bytes, or starts with a space";
            return Err(platform.permanent(reason, "configure another one"));
        }
        Ok(Self(Arc::new(Endpoint {
            authority: platform.authority(DEFAULT_PORT),
            platform,
            tally: Tally::default(),
            binding: RwLock::new(config.binding),
            sampling: config.sampling,
            client_id: config.client_id,
            credentials: config.credentials,
            gate: config.gate,
            clock: config.clock,
            named: Arc::default(),
            once: Once::default(),
        })))
    }
}

impl Endpoint {
    fn bound<T>(&self, look: impl FnOnce(&mut Binding) -> T) -> T {
        look(&mut self.binding.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn options(&self, client_id: Option<&str>) -> MqttOptions {
        let host = self.platform.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let mut options = options(host, self.platform.url.port().unwrap_or(DEFAULT_PORT), client_id);
        if let Some(Credentials { user, password }) = &self.credentials {
            options.set_credentials(user, password);
        }
        options
    }

    /// What comes on `filter` within `time`, at most `messages`.
    async fn sample(&self, filter: &str, time: Span, messages: usize) -> Result<Vec<Publish>, AdapterError> {
        let filters = vec![filter.to_owned()];
        let mut session = Session::open(&self.platform, self.options(None), filters, &self.tally).await?;
        let until = Instant::now() + time.into();
        let mut heard = Vec::new();
        while heard.len() < messages {
            match timeout_at(until, session.next(&self.tally)).await {
                Ok(Ok(Happened::Message(message))) => heard.push(message),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(explain(&self.platform, &error)),
                Err(_) => break,
            }
        }
        session.close().await;
        Ok(heard)
    }

    /// What a message says, if anything is bound to its topic. `heard` numbers the messages of one observer.
    pub(super) fn understand(&self, message: &Publish, heard: u64) -> Option<Message> {
        let packet = message.id.to_be_bytes();
        let count = heard.to_be_bytes();
        let arrival = Arrival {
            platform: &self.authority,
            source: &message.topic,
            payload: &message.payload,
            identity: if message.id == 0 { &count } else { &packet },
            told: None,
            at: (self.clock)(),
            retained: message.retained,
        };
        self.bound(|binding| binding.read(&arrival))
    }

    /// Publishes once (QoS 1) and waits for the broker, which is not the device.
    async fn publish(&self, topic: &str, payload: Vec<u8>) -> Result<Outcome, AdapterError> {
        let mut session = Session::open(&self.platform, self.options(None), Vec::new(), &self.tally).await?;
        if let Err(error) = session.client.try_publish(topic, QoS::AtLeastOnce, false, payload) {
            return Err(self.platform.transient(error));
        }
        let confirmed = timeout(CONFIRM_TIME, async {
            loop {
                match session.next(&self.tally).await {
                    Ok(Happened::Acknowledged) => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
        });
        let reason = match confirmed.await {
            Ok(Ok(())) => "the broker took it; MQTT 3.1.1 carries no answer of the device".into(),
            Ok(Err(error)) => format!("the connection was lost before the broker confirmed: {error}"),
            Err(_) => "the broker did not confirm in time".into(),
        };
        session.close().await;
        Ok(Outcome::Unknown { reason })
    }

    fn encode(&self, request: &Request) -> Result<(String, Vec<u8>), AdapterError> {
        let found = self.bound(|binding| binding.action(&request.thing, &request.action).cloned());
        let absent =
            || self.platform.not_there(format!("action {} of {}", cut(&request.action), request.thing));
        let action = found.ok_or_else(absent)?;
        let payload = action.payload(&self.platform, &request.input)?;
        self.sendable(action, payload)
    }

    fn sendable(&self, action: ActionBinding, payload: Vec<u8>) -> Result<(String, Vec<u8>), AdapterError> {
        if !is_topic(&action.target) || payload.len() > MAX_PAYLOAD {
            let reason = format!("{} is no topic, or the input is longer than 64 KiB", cut(&action.target));
            return Err(self.platform.permanent(reason, "correct the binding, or shorten the input"));
        }
        Ok((action.target, payload))
    }
}

#[async_trait]
impl Adapter for MqttAdapter {
    fn platform(&self) -> &Platform {
        &self.0.platform
    }

    async fn introspect(&self) -> Result<Vec<Description>, AdapterError> {
        let Sampling { filter, time, messages } = &self.0.sampling;
        let heard = self.0.sample(filter, *time, *messages).await?;
        Ok(self.0.bound(|binding| describe(&self.0.authority, &heard, binding)))
    }

    async fn invoke(&self, request: &Request) -> Result<Outcome, AdapterError> {
        let (topic, payload) = self.0.encode(request)?;
        self.0.once.run(self.0.gate.as_ref(), request, self.0.publish(&topic, payload)).await
    }

    async fn write(&self, write: &Write) -> Result<Outcome, AdapterError> {
        let encoded = self.0.bound(|binding| binding.encode(&self.0.platform, write));
        let absent =
            || self.0.platform.not_there(format!("property {} of {}", cut(&write.property), write.thing));
        let (action, payload) = encoded.ok_or_else(absent)??;
        let (topic, payload) = self.0.sendable(action, payload)?;
        self.0.once.write(self.0.gate.as_ref(), write, self.0.publish(&topic, payload)).await
    }

    async fn read(&self, thing: &ThingId, property: &str) -> Result<Message, AdapterError> {
        let source = self.0.bound(|binding| binding.source(thing, property).map(str::to_owned));
        let absent = || self.0.platform.not_there(format!("property {} of {thing}", cut(property)));
        let source = source.ok_or_else(absent)?;
        let heard = self.0.sample(&source, READ_TIME, 1).await?;
        let silent = || self.0.platform.transient(format!("it keeps no message on {}", cut(&source)));
        let message = heard.first().ok_or_else(silent)?;
        self.0.understand(message, 0).ok_or_else(absent)
    }

    async fn observe(&self) -> Result<mpsc::Receiver<Message>, AdapterError> {
        let filters: Vec<String> = self.0.bound(|binding| {
            let topics = binding.sources().into_iter().filter(|topic| is_topic(topic));
            topics.take(MAX_FILTERS).map(str::to_owned).collect()
        });
        if filters.is_empty() {
            return Err(self
                .0
                .platform
                .permanent("nothing of it is bound to a property", "introspect it first"));
        }
        // A second observer has no name, and no queue at the broker.
        let name = timeout(HANDOVER, Arc::clone(&self.0.named).lock_owned()).await.ok();
        let client_id = self.0.client_id.as_deref().filter(|_| name.is_some());
        let mut options = self.0.options(client_id);
        // Confirmed by hand, when the reader has kept it.
        options.set_manual_acks(true);
        let session = Session::open(&self.0.platform, options, filters, &self.0.tally).await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(Watch::new(Arc::clone(&self.0), session, sender, name).run());
        Ok(receiver)
    }

    fn counters(&self) -> Counters {
        self.0.tally.snapshot()
    }
}
