//! The adapter of one oneM2M CSE over HTTP.

use std::{
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use reqwest::Method;
use sofie_model::{Digest, ThingId};
use tokio::sync::mpsc;

use super::{
    codec::{self, CodecError, Content, MAX_CONTENT, MAX_DOCUMENT, Type, code},
    listener::Listener,
    watch::Watch,
};
use crate::{
    binding::{ActionBinding, ActionMethod, Arrival, Binding},
    http::{Answer, End, Http, Question, Silence},
    once::Once,
    port::{
        Adapter, AdapterError, Clock, Closed, Counters, Description, Gate, Message, Outcome, Platform, QUEUE,
        Refuser, Request, Write, cut,
    },
    tally::{Tally, one_more},
};

/// What a oneM2M adapter is made of.
#[derive(Clone)]
pub struct Onem2mConfig {
    /// The owner's name.
    pub party: String,
    /// `http://host[:port]/cse-name`.
    pub url: String,
    /// As whom the CSE's access control knows this node: an AE-ID or CSE-ID (`X-M2M-Origin`, TS-0009, clause 6.4.2).
    pub originator: String,
    /// What the owner, or an earlier introspection, says of its contents.
    pub binding: Binding,
    /// Where the CSE's notifications are taken in; without, its containers are read again and again.
    pub notified_at: Option<SocketAddr>,
    /// Names this node's subscriptions for good, so that a restart takes them over; without, they have a new name each time.
    pub subscriber: Option<String>,
    /// How often a container is read that is not subscribed to.
    pub interval: Duration,
    /// How often one is looked at that is: a notification may have been lost.
    pub look: Duration,
    /// The owner's word on who may act.
    pub gate: Arc<dyn Gate>,
    /// Tells when a message arrived.
    pub clock: Clock,
}

impl Onem2mConfig {
    /// Nothing is bound, nothing subscribed to but on this machine, and the gate is closed.
    #[must_use]
    pub fn new(party: &str, url: &str, originator: &str, clock: Clock) -> Self {
        Self {
            party: party.into(),
            url: url.into(),
            originator: originator.into(),
            binding: Binding::default(),
            notified_at: None,
            subscriber: None,
            interval: Duration::from_secs(2),
            look: Duration::from_secs(30),
            gate: Arc::new(Closed),
            clock,
        }
    }
}

/// One CSE of one owner.
#[derive(Clone)]
pub struct Onem2mAdapter(Arc<Endpoint>);

pub(super) struct Endpoint {
    pub(super) platform: Platform,
    pub(super) authority: String,
    /// The path of the CSE's base.
    pub(super) base: String,
    pub(super) interval: Duration,
    pub(super) look: Duration,
    pub(super) notified_at: Option<SocketAddr>,
    /// The name of the subscriptions.
    pub(super) subscriber: String,
    pub(super) tally: Tally,
    pub(super) clock: Clock,
    http: Http,
    originator: String,
    /// Numbers the requests: a CSE tells them apart by that (TS-0004, clause 7.5.2, requestIdentifier).
    requests: AtomicU64,
    binding: RwLock<Binding>,
    gate: Arc<dyn Gate>,
    once: Once,
}

/// RFC 9110, section 4.2.1.
const DEFAULT_PORT: u16 = 80;
/// The CSE's base, where its name is not known (TS-0004, clause 6.2.4, the CSE-Base shortcut).
const ANY_BASE: &str = "/-";
/// How many containers are watched.
const MAX_WATCHED: usize = 128;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The release that is spoken (X-M2M-RVI): 3 is understood by every CSE of the last years.
const RELEASE: &str = "3";
/// The longest originator.
const MAX_ORIGINATOR: usize = 128;

impl Onem2mAdapter {
    /// Checks the configuration. Connects to nothing yet.
    ///
    /// # Errors
    /// [`AdapterError::Permanent`] for an address or an originator that is none.
    pub fn open(config: Onem2mConfig) -> Result<Self, AdapterError> {
        let platform = Platform::at_path(&config.party, "http", &config.url)?;
        let named = config.originator.chars().all(|c| c.is_ascii_alphanumeric() || "-._~/".contains(c));
        if config.originator.is_empty() || config.originator.len() > MAX_ORIGINATOR || !named {
            let next = "name the AE-ID that its access control knows, such as Cmonitor";
            return Err(platform.permanent("it needs an originator, and this is none", next));
        }
        let authority = platform.authority(DEFAULT_PORT);
        let path = platform.url.path().trim_end_matches('/');
        let base = if path.is_empty() { ANY_BASE.to_owned() } else { path.to_owned() };
        let subscriber = config.subscriber.unwrap_or_else(|| {
            let mut random = [0; 8];
            let _ = getrandom::fill(&mut random);
            Digest::sha256(&random).to_string()[..16].to_owned()
        });
        Ok(Self(Arc::new(Endpoint {
            http: Http::open(&platform, &authority)?,
            authority,
            base,
            platform,
            interval: config.interval,
            look: config.look,
            notified_at: config.notified_at,
            subscriber: format!("sofie-{subscriber}"),
            tally: Tally::default(),
            clock: config.clock,
            originator: config.originator,
            requests: AtomicU64::new(0),
            binding: RwLock::new(config.binding),
            gate: config.gate,
            once: Once::default(),
        })))
    }
}

impl Endpoint {
    fn bound<T>(&self, look: impl FnOnce(&mut Binding) -> T) -> T {
        look(&mut self.binding.write().unwrap_or_else(PoisonError::into_inner))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        content: Option<(Vec<u8>, &'static str)>,
    ) -> Result<Said, Silence> {
        let number = self.requests.fetch_add(1, Relaxed);
        let headers = vec![
            ("x-m2m-origin", self.originator.clone()),
            ("x-m2m-ri", format!("{}-{number}", self.subscriber)),
            ("x-m2m-rvi", RELEASE.to_owned()),
        ];
        let question = Question {
            method,
            path,
            content,
            accept: "application/json",
            headers,
            hear: Some("x-m2m-rsc"),
            limit: MAX_DOCUMENT,
            patience: PATIENCE,
        };
        let Answer { status, heard, body, end } = self.http.ask(question, &self.tally).await?;
        // A CSE that says no code of its own is taken at HTTP's word (TS-0009, clause 6.3.2).
        let code = heard.and_then(|code| code.parse().ok()).unwrap_or(match status {
            200..=299 => 2000,
            404 => code::NOT_FOUND,
            409 => code::CONFLICT,
            other => other.saturating_mul(10),
        });
        Ok(Said { status, code, body, end })
    }

    /// Reads a path. The inner `Err` says why the CSE does not show it.
    pub(super) async fn retrieve(&self, path: &str) -> Result<Result<Vec<u8>, String>, AdapterError> {
        let said = self.ask(Method::GET, path, None).await.map_err(|silence| self.silent(&silence))?;
        match (said.status, &said.end) {
            (200..=299, End::Whole) => Ok(Ok(said.body)),
            (200..=299, End::Broken(why)) => {
                Err(self.platform.transient(format!("{} breaks off: {why}", cut(path))))
            }
            (200..=299, End::TooLong) => Ok(Err(format!("its answer is longer than {MAX_DOCUMENT} bytes"))),
            (408 | 429 | 500..=599, _) => {
                Err(self.platform.transient(format!("{} answers {}", cut(path), said.told())))
            }
            _ => Ok(Err(said.told())),
        }
    }

    /// Makes sure that this source is told of to `notify`; `known` that it was a while ago. The inner `Err` says why the
    /// CSE does not do it.
    pub(super) async fn subscribe(
        &self,
        source: &str,
        notify: &str,
        known: bool,
    ) -> Result<Result<(), String>, AdapterError> {
        let (parent, of) = subscribed(source);
        let body = codec::subscription(Some(&self.subscriber), notify, of);
        let made = self.write(Method::POST, parent, body, "application/json;ty=23").await?;
        if made.code != code::CONFLICT {
            return Ok(made.done());
        }
        if known {
            return Ok(Ok(()));
        }
        // Ours, from an earlier run, which was notified elsewhere.
        let body = codec::subscription(None, notify, of);
        let path = format!("{parent}/{}", self.subscriber);
        Ok(self.write(Method::PUT, &path, body, "application/json").await?.done())
    }

    /// Takes a subscription back.
    pub(super) async fn unsubscribe(&self, source: &str) {
        let path = format!("{}/{}", subscribed(source).0, self.subscriber);
        match self.ask(Method::DELETE, &path, None).await {
            Ok(said) if said.done().is_err() && said.code != code::NOT_FOUND => {
                tracing::debug!(path, said = said.told(), "a subscription was not taken back");
            }
            Err(Silence::NotSent(reason) | Silence::Unknown(reason)) => {
                tracing::debug!(path, reason, "a subscription was not taken back");
            }
            Ok(_) => {}
        }
    }

    async fn write(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        kind: &'static str,
    ) -> Result<Said, AdapterError> {
        let said =
            self.ask(method, path, Some((body, kind))).await.map_err(|silence| self.silent(&silence))?;
        match said.status {
            408 | 429 | 500..=599 => {
                Err(self.platform.transient(format!("{} answers {}", cut(path), said.told())))
            }
            _ => Ok(said),
        }
    }

    /// What a source holds now. The inner `Err` says why the CSE does not show it.
    pub(super) async fn state(&self, source: &str) -> Result<Result<Content, String>, AdapterError> {
        let next = "look at what stands there";
        let read = |bytes: Vec<u8>| codec::resource(&bytes).and_then(|resource| resource.content());
        match self.retrieve(source).await? {
            Ok(bytes) => read(bytes).map(Ok).map_err(|error| self.nonsense(source, &error, next)),
            Err(why) => Ok(Err(why)),
        }
    }

    /// The instances that came to a container after `since`, oldest first.
    pub(super) async fn since(
        &self,
        container: &str,
        since: &str,
    ) -> Result<Result<Vec<Content>, String>, AdapterError> {
        let query = format!("{container}?rcn=8&ty=4&cra={since}&lim={}", codec::MAX_CHILDREN);
        match self.retrieve(&query).await? {
            Ok(bytes) => {
                let next = "look at what stands there";
                codec::instances(&bytes).map(Ok).map_err(|error| self.nonsense(container, &error, next))
            }
            Err(why) => Ok(Err(why)),
        }
    }

    fn silent(&self, silence: &Silence) -> AdapterError {
        let (Silence::NotSent(reason) | Silence::Unknown(reason)) = silence;
        self.platform.transient(reason)
    }

    pub(super) fn nonsense(&self, path: &str, error: &CodecError, next: &str) -> AdapterError {
        self.malformed();
        self.platform.permanent(format!("{} answers {error}", cut(path)), next)
    }

    pub(super) fn malformed(&self) {
        one_more(&self.tally.malformed);
    }

    /// Makes a content instance; `judge` says what the CSE's answer means.
    async fn tell_it(
        &self,
        target: &str,
        text: &str,
        judge: fn(Said) -> Outcome,
    ) -> Result<Outcome, AdapterError> {
        let content = Some((codec::instance(text), "application/json;ty=4"));
        match self.ask(Method::POST, target, content).await {
            Ok(said) => Ok(judge(said)),
            Err(Silence::Unknown(reason)) => Ok(Outcome::Unknown { reason }),
            Err(Silence::NotSent(reason)) => Err(self.platform.transient(reason)),
        }
    }

    /// What a content of `source` says, if anything is bound to it.
    pub(super) fn understand(&self, source: &str, content: &Content, retained: bool) -> Option<Message> {
        let arrival = Arrival {
            platform: &self.authority,
            source,
            payload: &content.payload,
            identity: content.id.as_bytes(),
            told: content.told,
            at: (self.clock)(),
            retained,
        };
        self.bound(|binding| binding.read(&arrival))
    }

    /// The sources that something is bound to.
    fn sources(&self) -> Vec<String> {
        let mut sources: Vec<String> = self.bound(|binding| {
            binding.sources().into_iter().filter(|path| path.starts_with('/')).map(str::to_owned).collect()
        });
        if sources.len() > MAX_WATCHED {
            tracing::warn!(platform = %self.platform.url, "only {MAX_WATCHED} of {} containers are watched", sources.len());
            sources.truncate(MAX_WATCHED);
        }
        sources
    }

    /// The text of a content instance; refuses what could not be one.
    fn writable(&self, request: &ActionBinding, payload: Vec<u8>) -> Result<String, AdapterError> {
        let next = "correct the binding, or shorten the input";
        let is_container = request.target.starts_with('/') && request.method == ActionMethod::Post;
        if !is_container || payload.len() > MAX_CONTENT {
            let target = cut(&request.target);
            let reason =
                format!("{target} is no container's path, its method is not post, or the input is too long");
            return Err(self.platform.permanent(reason, next));
        }
        String::from_utf8(payload).map_err(|_| self.platform.permanent("the input is no text", next))
    }

    fn no_property(&self, thing: &ThingId, name: &str) -> AdapterError {
        self.platform.not_there(format!("property {} of {thing}", cut(name)))
    }
}

/// The resource to subscribe at, and what it is: new instances are told of by their container.
fn subscribed(source: &str) -> (&str, Type) {
    source.strip_suffix("/la").map_or((source, Type::FlexContainer), |container| (container, Type::Container))
}

/// What a CSE says.
struct Said {
    status: u16,
    /// oneM2M's response status code.
    code: u16,
    body: Vec<u8>,
    end: End,
}

impl Said {
    fn told(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        // ACME and others tell more in words.
        let words = codec::debug(&self.body).unwrap_or_else(|| cut(&text));
        let words = words.trim();
        if words.is_empty() { self.code.to_string() } else { format!("{}: {words}", self.code) }
    }

    fn done(&self) -> Result<(), String> {
        if (200..=299).contains(&self.status) { Ok(()) } else { Err(self.told()) }
    }

    /// What was written stands there.
    fn kept(self) -> Outcome {
        match self.status {
            200..=299 => Outcome::Answered { code: self.code.to_string(), payload: self.body },
            _ => self.outcome(),
        }
    }

    /// A CSE keeps what it is told: whether a device ever reads it, it does not say.
    fn outcome(self) -> Outcome {
        let told = self.told();
        match self.status {
            200..=299 => Outcome::Unknown {
                reason: "the CSE keeps it; whether the device has done it, only a reading tells".into(),
            },
            300..=499 | 501 => {
                let diagnostic =
                    told.split_once(": ").map_or_else(String::new, |(_, words)| words.to_owned());
                Outcome::Refused(Refuser::Device { code: self.code.to_string(), diagnostic })
            }
            _ => Outcome::Unknown { reason: format!("the CSE answers {told}") },
        }
    }
}

#[async_trait]
impl Adapter for Onem2mAdapter {
    fn platform(&self) -> &Platform {
        &self.0.platform
    }

    async fn introspect(&self) -> Result<Vec<Description>, AdapterError> {
        let told = self.0.tell().await?;
        for thing in &told {
            for (path, why) in &thing.lacking {
                tracing::info!(platform = %self.0.platform.url, path, why, "a container cannot be used");
            }
        }
        let describe = |binding: &mut Binding| {
            told.iter().filter_map(|one| one.describe(&self.0.authority, binding)).collect()
        };
        Ok(self.0.bound(describe))
    }

    async fn invoke(&self, request: &Request) -> Result<Outcome, AdapterError> {
        let found = self.0.bound(|binding| binding.action(&request.thing, &request.action).cloned());
        let absent =
            || self.0.platform.not_there(format!("action {} of {}", cut(&request.action), request.thing));
        let action = found.ok_or_else(absent)?;
        let payload = action.payload(&self.0.platform, &request.input)?;
        let text = self.0.writable(&action, payload)?;
        let told = self.0.tell_it(&action.target, &text, Said::outcome);
        self.0.once.run(self.0.gate.as_ref(), request, told).await
    }

    async fn write(&self, write: &Write) -> Result<Outcome, AdapterError> {
        let encoded = self.0.bound(|binding| binding.encode(&self.0.platform, write));
        let absent = || self.0.no_property(&write.thing, &write.property);
        let (request, payload) = encoded.ok_or_else(absent)??;
        let text = self.0.writable(&request, payload)?;
        let told = self.0.tell_it(&request.target, &text, Said::kept);
        self.0.once.write(self.0.gate.as_ref(), write, told).await
    }

    /// A CSE keeps what a device said last: each of its contents is marked as retained.
    async fn read(&self, thing: &ThingId, property: &str) -> Result<Message, AdapterError> {
        let source = self.0.bound(|binding| binding.source(thing, property).map(str::to_owned));
        let source = source.ok_or_else(|| self.0.no_property(thing, property))?;
        match self.0.state(&source).await? {
            Ok(content) => {
                self.0.understand(&source, &content, true).ok_or_else(|| self.0.no_property(thing, property))
            }
            Err(why) => {
                let next = "see whether its device still writes there, and as whom this node may read";
                Err(self.0.platform.permanent(format!("{} answers {why}", cut(&source)), next))
            }
        }
    }

    async fn observe(&self) -> Result<mpsc::Receiver<Message>, AdapterError> {
        let sources = self.0.sources();
        if sources.is_empty() {
            return Err(self.0.platform.permanent("nothing of it is bound", "introspect it first"));
        }
        let listener = match self.0.notified_at {
            Some(at) => Some(Listener::open(at).await.map_err(|error| {
                let next = "name another address to be notified at, or none";
                self.0.platform.permanent(format!("nothing can listen at {at}: {error}"), next)
            })?),
            None => None,
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let watch = Watch::begin(&self.0, sources, listener, sender).await?;
        tokio::spawn(watch.run());
        Ok(receiver)
    }

    fn counters(&self) -> Counters {
        self.0.tally.snapshot()
    }
}
