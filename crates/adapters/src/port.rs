//! The adapter port: the few things that the rest of SOFIE asks of a platform.
//!
//! Order: [`Adapter::introspect`] once, keep what it says (the owner may edit the binding), then read, observe, write and
//! invoke. [`Adapter::invoke`] and [`Adapter::write`] ask the owner's [`Gate`] first. An `Err` of theirs says that nothing
//! left this process; whatever may have reached the device is an [`Outcome`], and one of them is [`Outcome::Unknown`]: then
//! read the device's state, and never send again what is not idempotent.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sofie_model::{Digest, Observation, ThingId, Timestamp, Value};
use tokio::sync::mpsc;
use url::Url;

use crate::binding::ThingBinding;

/// Where an adapter takes the time of arrival from: this room reads no clock by itself.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A platform of one owner, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// The owner's name.
    pub party: String,
    /// `coap://host[:port]`, `mqtt://host[:port]` or `http://host[:port][/path]`. Credentials never stand in it.
    pub url: Url,
}

/// One property, action or event of a description, and how the adapter came to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `property` or `action`.
    pub kind: String,
    /// The affordance's name in the Thing Description.
    pub name: String,
    /// What the platform said, and where: `link </lock>;if="core.a"`, `3 messages on site/7`.
    pub source: String,
    /// How far the platform's own words carry it.
    pub confidence: Confidence,
}

/// How far an affordance rests on the platform's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Nothing but the protocol's rules speak for it (a GET is safe, so a link may be read).
    Guessed,
    /// Concluded from samples or from an interface type.
    Inferred,
    /// Said in so many words: by the platform, or by the owner in the binding.
    Stated,
}

/// A thing as introspection found it.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The `id` of the Thing Description; the same at each introspection of the same platform and path.
    pub thing: ThingId,
    /// The Thing Description (W3C TD 1.1). It repeats `origins` as extension terms.
    pub td: serde_json::Value,
    /// What its messages mean: the owner's words where there are any, else inferred. Keep it, and let the owner edit it.
    pub binding: ThingBinding,
    /// Where each affordance comes from.
    pub origins: Vec<Origin>,
}

/// An action that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Whose action.
    pub thing: ThingId,
    /// The action's name in the Thing Description.
    pub action: String,
    /// Its input, or null.
    pub input: serde_json::Value,
    /// Names this request: the same name is sent at most once by one adapter.
    pub message: Digest,
    /// The capability that its sender shows, as bytes that only the gate understands.
    pub capability: Vec<u8>,
}

/// A property that somebody wants to be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Whose property.
    pub thing: ThingId,
    /// The property's name in the Thing Description.
    pub property: String,
    /// What it shall be, as an observation would say it: a decimal number is a text.
    pub value: Value,
    /// In which unit (UCUM); `None` for the property's own.
    pub unit: Option<String>,
    /// Names this request: the same name is sent at most once by one adapter, be it a write or an action.
    pub message: Digest,
    /// The capability that its sender shows, as bytes that only the gate understands.
    pub capability: Vec<u8>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The device says that it did it.
    Answered {
        /// The protocol's own code: `2.04`.
        code: String,
        /// The answer's bytes.
        payload: Vec<u8>,
    },
    /// It was not done, and it will not be.
    Refused(Refuser),
    /// It was sent, and nobody can say whether it was done.
    Unknown {
        /// What is known.
        reason: String,
    },
}

/// Who refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refuser {
    /// The owner's gate: nothing was sent.
    Gate(Refusal),
    /// The device.
    Device {
        /// The protocol's own code: `4.03`.
        code: String,
        /// What it says about it, cut to 256 characters.
        diagnostic: String,
    },
}

/// Why a gate lets a request not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "refusal")]
pub enum Refusal {
    /// The request shows no capability.
    #[error("no capability is shown")]
    Missing,
    /// Its signature or form does not hold.
    #[error("the capability does not hold: {reason}")]
    Forged {
        /// What is wrong with it.
        reason: String,
    },
    /// It names another thing.
    #[error("the capability is for another thing")]
    WrongThing,
    /// It names another action or property, or another operation on it.
    #[error("the capability is for another action or property")]
    WrongAction,
    /// Its time has not come.
    #[error("the capability is not valid yet")]
    TooEarly,
    /// Its time is over.
    #[error("the capability has expired")]
    Expired,
    /// Its issuer took it back.
    #[error("the capability is revoked")]
    Revoked,
    /// The owner's policy does not allow it, or says nothing of it yet.
    #[error("the owner's policy does not allow it: {reason}")]
    Policy {
        /// The policy's words.
        reason: String,
    },
}

/// The owner's word on who may act. Asked before anything is sent.
pub trait Gate: Send + Sync {
    /// Lets the request pass, or says why not.
    ///
    /// # Errors
    /// [`Refusal`].
    fn admit(&self, request: &Request) -> Result<(), Refusal>;

    /// The same for a write. A gate that says nothing of writes lets none pass.
    ///
    /// # Errors
    /// [`Refusal`].
    fn admit_write(&self, _: &Write) -> Result<(), Refusal> {
        Err(Refusal::Policy { reason: "the owner lets nobody write".into() })
    }
}

/// The gate of an owner who has said nothing yet: nobody passes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Closed;

impl Gate for Closed {
    fn admit(&self, _: &Request) -> Result<(), Refusal> {
        Err(Refusal::Policy { reason: "the owner has allowed no action yet".into() })
    }
}

/// One message as it came, and what the binding made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The MQTT topic, or the path.
    pub source: String,
    /// The payload, untouched.
    pub raw: Vec<u8>,
    /// When it arrived, by the adapter's clock.
    pub arrived: Timestamp,
    /// The platform kept it from an earlier time.
    pub retained: bool,
    /// What it says.
    pub observations: Vec<Observation>,
    /// Where it breaks what was expected of it.
    pub deviations: Vec<Deviation>,
    /// Hold it until what the message says is kept.
    pub receipt: Receipt,
}

/// A delivery that is confirmed to the platform when the last clone of this is dropped, where the protocol can (MQTT
/// QoS 1). Until then the platform delivers it again to a reader who died.
#[derive(Clone, Default)]
pub struct Receipt(Option<Arc<Held>>);

pub(crate) struct Held(Box<dyn Fn() + Send + Sync>);

impl Receipt {
    pub(crate) fn new(dropped: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Held(Box::new(dropped)))))
    }

    pub(crate) fn watched(&self) -> Weak<Held> {
        self.0.as_ref().map_or_else(Weak::new, Arc::downgrade)
    }

    /// Never confirms it: what it says could not be kept.
    pub fn withhold(self) {
        std::mem::forget(self);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Receipt(held)" } else { "Receipt(none)" })
    }
}

/// A message is what it says, not how it was delivered.
impl PartialEq for Receipt {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Receipt {}

/// A message that is not what its binding, or its protocol, leads to expect. The connection stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deviation {
    /// Which property, where it is one.
    pub property: Option<String>,
    /// What was expected.
    pub expected: String,
    /// What came, cut to 256 characters.
    pub got: String,
}

/// What an endpoint has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Messages taken in.
    pub received: u64,
    /// Messages refused because they are longer than the limit.
    pub oversize: u64,
    /// Datagrams or packets that are none.
    pub malformed: u64,
    /// Messages read already: answered again, not used again.
    pub duplicates: u64,
    /// Messages that no binding names.
    pub unbound: u64,
    /// Messages lost because the reader of [`Adapter::observe`] was too slow.
    pub dropped: u64,
    /// Connections made again after a loss.
    pub reconnects: u64,
    /// Datagrams sent again.
    pub retransmissions: u64,
}

/// Why a call did not succeed. Nothing was done to any device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// The platform is away, slow or busy.
    #[error("{party}'s platform {url} does not answer: {reason}; try again later")]
    Transient {
        /// The owner.
        party: String,
        /// The platform.
        url: String,
        /// What happened.
        reason: String,
    },
    /// It will be the same next time.
    #[error("{party}'s platform {url} cannot be used so: {reason}; {next}")]
    Permanent {
        /// The owner.
        party: String,
        /// The platform.
        url: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        next: String,
    },
    /// The thing, property or action is not one that the binding knows.
    #[error("{party}'s platform {url} has no {what}; introspect it again, or edit its binding")]
    NotThere {
        /// The owner.
        party: String,
        /// The platform.
        url: String,
        /// What was asked for.
        what: String,
    },
}

impl AdapterError {
    /// What is wrong, without whose and where.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Transient { reason, .. } | Self::Permanent { reason, .. } => reason.clone(),
            Self::NotThere { what, .. } => format!("there is no {what}"),
        }
    }
}

/// A platform. All methods may be called from many tasks at once.
#[async_trait]
pub trait Adapter: Send + Sync {
    /// Whose platform this is, and where.
    fn platform(&self) -> &Platform;

    /// Reads what the platform tells of itself, and describes each thing. Writes nothing and acts on nothing. From now on
    /// this adapter understands the messages of what it found.
    ///
    /// # Errors
    /// [`AdapterError::Transient`], [`AdapterError::Permanent`].
    async fn introspect(&self) -> Result<Vec<Description>, AdapterError>;

    /// Asks the gate, then has the action done. A request whose name this adapter has seen is not sent again, and the gate
    /// is not asked again: the first outcome is returned. (A request that the gate refused has left no name.)
    ///
    /// # Errors
    /// Nothing was sent: [`AdapterError::NotThere`], [`AdapterError::Permanent`], [`AdapterError::Transient`].
    async fn invoke(&self, request: &Request) -> Result<Outcome, AdapterError>;

    /// Asks the gate, then has the property written as its binding says. A name is sent once, as with
    /// [`Adapter::invoke`]. An adapter that writes nothing leaves this as it is.
    ///
    /// # Errors
    /// Nothing was sent: [`AdapterError::NotThere`]; [`AdapterError::Permanent`] for a property that cannot be written, and
    /// for a value that does not fit it; [`AdapterError::Transient`].
    async fn write(&self, write: &Write) -> Result<Outcome, AdapterError> {
        let what = format!("{} of {} cannot be written", cut(&write.property), write.thing);
        Err(self.platform().permanent(what, "have somebody write it at the device"))
    }

    /// Reads a property now. What a platform kept from earlier is marked as retained.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn read(&self, thing: &ThingId, property: &str) -> Result<Message, AdapterError>;

    /// Every message from now on. When this returns, the platform has confirmed that it will send them. The channel holds
    /// [`QUEUE`] messages; a reader who is too slow loses the newest, and is told so by a deviation. Dropping the
    /// receiver ends it. Where the platform can deliver again, it does so after a crash of ours, until the message's
    /// [`Receipt`] has been dropped.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn observe(&self) -> Result<mpsc::Receiver<Message>, AdapterError>;

    /// What was counted so far.
    fn counters(&self) -> Counters;
}

/// How many messages wait for the reader of [`Adapter::observe`].
pub const QUEUE: usize = 256;
/// How many requests an adapter remembers, to send each at most once.
pub const REMEMBERED: usize = 256;
const SHOWN: usize = 256;

impl Platform {
    /// Takes an owner's name and an address such as `coap://127.0.0.1:5683`.
    ///
    /// # Errors
    /// [`AdapterError::Permanent`] for another scheme than `scheme`, no host, or credentials, path or query in the address.
    pub fn new(party: &str, scheme: &str, url: &str) -> Result<Self, AdapterError> {
        let platform = Self::at_path(party, scheme, url)?;
        if !matches!(platform.url.path(), "" | "/") {
            let next = format!("write it as {scheme}://host:port");
            return Err(platform.permanent("its address has more than host and port", &next));
        }
        Ok(platform)
    }

    /// [`Platform::new`], for a protocol whose platforms may stand at a path.
    ///
    /// # Errors
    /// [`AdapterError::Permanent`], as there, but not for a path.
    pub fn at_path(party: &str, scheme: &str, url: &str) -> Result<Self, AdapterError> {
        let refuse = |reason: String| AdapterError::Permanent {
            party: party.into(),
            url: cut(url),
            reason,
            next: format!("write it as {scheme}://host:port"),
        };
        let parsed = Url::parse(url).map_err(|e| {
            // A text that is no address may still hold a password.
            AdapterError::Permanent {
                party: party.into(),
                url: "(unreadable)".into(),
                reason: format!("its address is not one: {e}"),
                next: format!("write it as {scheme}://host:port"),
            }
        })?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            let (url, reason) = ("(with credentials)".into(), "credentials stand in its address".into());
            let next = "put them where secrets are kept".into();
            return Err(AdapterError::Permanent { party: party.into(), url, reason, next });
        }
        if parsed.scheme() != scheme {
            return Err(refuse(format!("its scheme is {}, not {scheme}", parsed.scheme())));
        }
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err(refuse("its address names no host".into()));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(refuse("its address has a query or a fragment".into()));
        }
        Ok(Self { party: party.into(), url: parsed })
    }

    /// `scheme://host:port` with the port written out: the same text for the same platform.
    #[must_use]
    pub fn authority(&self, default_port: u16) -> String {
        let (host, port) = (self.url.host_str().unwrap_or_default(), self.url.port().unwrap_or(default_port));
        format!("{}://{}:{port}", self.url.scheme(), host.to_ascii_lowercase())
    }

    /// [`Platform::authority`] with the path, where there is one.
    #[must_use]
    pub fn address(&self, default_port: u16) -> String {
        format!("{}{}", self.authority(default_port), self.url.path().trim_end_matches('/'))
    }

    pub(crate) fn transient(&self, reason: impl fmt::Display) -> AdapterError {
        AdapterError::Transient {
            party: self.party.clone(),
            url: self.url.to_string(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn permanent(&self, reason: impl fmt::Display, next: &str) -> AdapterError {
        let (party, url) = (self.party.clone(), self.url.to_string());
        AdapterError::Permanent { party, url, reason: reason.to_string(), next: next.into() }
    }

    pub(crate) fn not_there(&self, what: impl fmt::Display) -> AdapterError {
        AdapterError::NotThere {
            party: self.party.clone(),
            url: self.url.to_string(),
            what: what.to_string(),
        }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(property) = &self.property {
            write!(f, "property {property}: ")?;
        }
        write!(f, "expected {}, got {}", self.expected, self.got)
    }
}

impl Deviation {
    /// A deviation of `property`, or of the whole message.
    #[must_use]
    pub fn new(property: Option<&str>, expected: impl Into<String>, got: &str) -> Self {
        Self { property: property.map(Into::into), expected: expected.into(), got: cut(got) }
    }
}

/// At most [`SHOWN`] characters of foreign text, without control characters: it may reach a terminal.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_never_shows_a_password() {
        assert!(Platform::new("a", "coap", "coap://127.0.0.1:5683").is_ok());
        assert!(Platform::new("a", "coap", "coap://[::1]/").is_ok());
        for bad in ["mqtt://h", "coap:///x", "coap://h/x", "coap://h?q", "coap://u:hunter2@h", "hunter2"] {
            let error = Platform::new("a", "coap", bad).expect_err(bad).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let platform = Platform::new("a", "coap", "coap://EXAMPLE.org").expect("it is one");
        assert_eq!(platform.authority(5683), "coap://example.org:5683");
    }
}
