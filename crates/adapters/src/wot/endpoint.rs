//! The adapter of one WoT servient over HTTP.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use reqwest::Method;
use sofie_model::ThingId;
use tokio::sync::mpsc;

use super::{discovery::Learned, watch::Watch};
use crate::{
    binding::{ActionBinding, ActionMethod, Arrival, Binding},
    http::{Answer, End, Http, Question, Silence, Stream},
    once::Once,
    port::{
        Adapter, AdapterError, Clock, Closed, Counters, Description, Gate, Message, Outcome, Platform, QUEUE,
        Refuser, Request, Write, cut,
    },
    tally::Tally,
};

/// What a WoT adapter is made of.
#[derive(Clone)]
pub struct WotConfig {
    /// The owner's name.
    pub party: String,
    /// `http://host[:port][/path]`: a servient, or the Thing Description of one of its things.
    pub url: String,
    /// What the owner, or an earlier introspection, says of its messages.
    pub binding: Binding,
    /// How often a property is read that does not let itself be observed.
    pub interval: Duration,
    /// The owner's word on who may act.
    pub gate: Arc<dyn Gate>,
    /// Tells when a message arrived.
    pub clock: Clock,
}

impl WotConfig {
    /// Nothing is bound, a property is read every two seconds, and the gate is closed.
    #[must_use]
    pub fn new(party: &str, url: &str, clock: Clock) -> Self {
        Self {
            party: party.into(),
            url: url.into(),
            binding: Binding::default(),
            interval: Duration::from_secs(2),
            gate: Arc::new(Closed),
            clock,
        }
    }
}

/// One servient of one owner.
#[derive(Clone)]
pub struct WotAdapter(Arc<Endpoint>);

pub(super) struct Endpoint {
    pub(super) platform: Platform,
    pub(super) authority: String,
    pub(super) interval: Duration,
    pub(super) tally: Tally,
    pub(super) clock: Clock,
    http: Http,
    binding: RwLock<Binding>,
    pub(super) learned: RwLock<Option<Learned>>,
    gate: Arc<dyn Gate>,
    once: Once,
}

/// RFC 9110, section 4.2.1.
const DEFAULT_PORT: u16 = 80;
/// How many sources are watched.
const MAX_WATCHED: usize = 128;
/// The longest payload that is sent or taken.
const MAX_PAYLOAD: usize = 64 * 1024;
/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long an action may take to be answered.
const ACTION_PATIENCE: Duration = Duration::from_secs(20);
/// WHATWG HTML, section 9.2.5.
const EVENT_STREAM: &str = "text/event-stream";
const CREDENTIALS: &str =
    "this adapter holds no credentials yet: have the servient offer it without, or leave it out";

impl WotAdapter {
    /// Checks the configuration. Connects to nothing yet.
    ///
    /// # Errors
    /// [`AdapterError::Permanent`] for an address that is none.
    pub fn open(config: WotConfig) -> Result<Self, AdapterError> {
        let platform = Platform::at_path(&config.party, "http", &config.url)?;
        let authority = platform.authority(DEFAULT_PORT);
        Ok(Self(Arc::new(Endpoint {
            http: Http::open(&platform, &authority)?,
            authority,
            platform,
            interval: config.interval,
            tally: Tally::default(),
            clock: config.clock,
            binding: RwLock::new(config.binding),
            learned: RwLock::default(),
            gate: config.gate,
            once: Once::default(),
        })))
    }
}

impl Endpoint {
    fn bound<T>(&self, look: impl FnOnce(&mut Binding) -> T) -> T {
        look(&mut self.binding.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads a path. A request that was not answered changes nothing: it may be made again.
    pub(super) async fn get(
        &self,
        path: &str,
        accept: &'static str,
        limit: usize,
        patience: Duration,
    ) -> Result<Vec<u8>, AdapterError> {
        let question = Question { path, accept, limit, patience, ..Question::default() };
        let answer = self.http.ask(question, &self.tally).await.map_err(|silence| match silence {
            Silence::NotSent(reason) | Silence::Unknown(reason) => self.platform.transient(reason),
        })?;
        self.whole(path, limit, answer)
    }

    /// The present state of a source.
    pub(super) async fn state(&self, source: &str) -> Result<Vec<u8>, AdapterError> {
        self.get(source, "*/*", MAX_PAYLOAD, PATIENCE).await
    }

    /// The next change of a source: an answer may take as long as the other side lets it.
    pub(super) async fn change(&self, path: &str, patience: Duration) -> Result<Vec<u8>, AdapterError> {
        self.get(path, "*/*", MAX_PAYLOAD, patience).await
    }

    /// Server-sent events of a source.
    pub(super) async fn events(&self, path: &str) -> Result<Stream, AdapterError> {
        let stream = self.http.stream(path, EVENT_STREAM, PATIENCE, &self.tally).await;
        let stream = stream.map_err(|silence| match silence {
            Silence::NotSent(reason) | Silence::Unknown(reason) => self.platform.transient(reason),
        })?;
        let status = stream.status();
        if status == 200 && stream.is(EVENT_STREAM) {
            return Ok(stream);
        }
        let answer = Answer { status, heard: None, body: Vec::new(), end: End::Whole };
        self.whole(path, MAX_PAYLOAD, answer)?;
        // Section 9.2.3: what answers otherwise is not asked again.
        let reason = format!("{} answers {status}, and with no stream of events", cut(path));
        Err(self.platform.permanent(reason, "look at the servient's descriptions"))
    }

    fn whole(&self, path: &str, limit: usize, answer: Answer) -> Result<Vec<u8>, AdapterError> {
        let Answer { status, body, end, .. } = answer;
        let told = |next: &str| Err(self.platform.permanent(format!("{path} answers {status}"), next));
        match (status, end) {
            (200..=299, End::Whole) => Ok(body),
            (200..=299, End::Broken(why)) => {
                Err(self.platform.transient(format!("{path} breaks off: {why}")))
            }
            (200..=299, End::TooLong) => {
                let reason = format!("{path} answers with more than {limit} bytes");
                Err(self.platform.permanent(reason, "have the servient answer with less"))
            }
            (300..=399, _) => told("no other place is asked: join the one that it points to"),
            (401 | 403 | 407, _) => told(CREDENTIALS),
            (408 | 429 | 500..=599, _) => Err(self.platform.transient(format!("{path} answers {status}"))),
            _ => told("look at the servient's descriptions"),
        }
    }

    /// Why an affordance is not bound.
    fn unbound(&self, kind: &str, thing: &ThingId, name: &str) -> AdapterError {
        let scheme =
            self.learned().and_then(|all| all.locked.get(&(thing.clone(), name.to_owned())).cloned());
        let what = format!("{kind} {} of {thing}", cut(name));
        match scheme {
            Some(scheme) => self
                .platform
                .permanent(format!("{what} needs credentials of the scheme {scheme}"), CREDENTIALS),
            None => self.platform.not_there(what),
        }
    }

    fn action(&self, request: &Request) -> Result<ActionBinding, AdapterError> {
        let found = self.bound(|binding| binding.action(&request.thing, &request.action).cloned());
        found.ok_or_else(|| self.unbound("action", &request.thing, &request.action))
    }

    /// Refuses what could not be sent.
    fn sendable(&self, action: &ActionBinding, payload: &[u8]) -> Result<(), AdapterError> {
        if action.target.starts_with('/') && payload.len() <= MAX_PAYLOAD {
            return Ok(());
        }
        let reason = format!("{} is no path, or the input is longer than 64 KiB", cut(&action.target));
        Err(self.platform.permanent(reason, "correct the binding, or shorten the input"))
    }

    /// Asks for an action or a write; `judge` says what its answer means.
    async fn act(
        &self,
        action: &ActionBinding,
        payload: Vec<u8>,
        judge: fn(Answer) -> Outcome,
    ) -> Result<Outcome, AdapterError> {
        let method = match action.method {
            ActionMethod::Post => Method::POST,
            ActionMethod::Put => Method::PUT,
        };
        let content = (!payload.is_empty()).then(|| (payload, action.format.content_type()));
        let (path, accept) = (action.target.as_str(), "*/*");
        let question = Question {
            method,
            path,
            content,
            accept,
            limit: MAX_PAYLOAD,
            patience: ACTION_PATIENCE,
            ..Question::default()
        };
        match self.http.ask(question, &self.tally).await {
            Ok(answer) => Ok(judge(answer)),
            Err(Silence::Unknown(reason)) => Ok(Outcome::Unknown { reason }),
            Err(Silence::NotSent(reason)) => Err(self.platform.transient(reason)),
        }
    }

    /// What a payload of `source` says, if anything is bound to it. `heard` numbers the messages of one reader.
    pub(super) fn understand(&self, source: &str, payload: &[u8], heard: u64) -> Option<Message> {
        let identity = heard.to_be_bytes();
        let arrival = Arrival {
            platform: &self.authority,
            source,
            payload,
            identity: &identity,
            told: None,
            at: (self.clock)(),
            retained: false,
        };
        self.bound(|binding| binding.read(&arrival))
    }

    /// The sources that something is bound to.
    fn sources(&self) -> Vec<String> {
        let mut sources: Vec<String> = self.bound(|binding| {
            binding.sources().into_iter().filter(|path| path.starts_with('/')).map(str::to_owned).collect()
        });
        if sources.len() > MAX_WATCHED {
            tracing::warn!(platform = %self.platform.url, "only {MAX_WATCHED} of {} sources are watched", sources.len());
            sources.truncate(MAX_WATCHED);
        }
        sources
    }
}

#[async_trait]
impl Adapter for WotAdapter {
    fn platform(&self) -> &Platform {
        &self.0.platform
    }

    async fn introspect(&self) -> Result<Vec<Description>, AdapterError> {
        let told = self.0.tell().await?;
        let usable = self.0.usable(&told)?.into_iter();
        Ok(self.0.bound(|binding| usable.map(|one| one.describe(&self.0.authority, binding)).collect()))
    }

    async fn invoke(&self, request: &Request) -> Result<Outcome, AdapterError> {
        let action = self.0.action(request)?;
        let payload = action.payload(&self.0.platform, &request.input)?;
        self.0.sendable(&action, &payload)?;
        self.0.once.run(self.0.gate.as_ref(), request, self.0.act(&action, payload, outcome)).await
    }

    async fn write(&self, write: &Write) -> Result<Outcome, AdapterError> {
        let encoded = self.0.bound(|binding| binding.encode(&self.0.platform, write));
        let absent = || self.0.unbound("property", &write.thing, &write.property);
        let (request, payload) = encoded.ok_or_else(absent)??;
        self.0.sendable(&request, &payload)?;
        let judge = if request.method == ActionMethod::Put { put } else { outcome };
        self.0.once.write(self.0.gate.as_ref(), write, self.0.act(&request, payload, judge)).await
    }

    async fn read(&self, thing: &ThingId, property: &str) -> Result<Message, AdapterError> {
        let source = self.0.bound(|binding| binding.source(thing, property).map(str::to_owned));
        let source = source.ok_or_else(|| self.0.unbound("property", thing, property))?;
        let payload = self.0.state(&source).await?;
        self.0.understand(&source, &payload, 0).ok_or_else(|| self.0.unbound("property", thing, property))
    }

    async fn observe(&self) -> Result<mpsc::Receiver<Message>, AdapterError> {
        // After a restart the binding is known, and how to hear of changes is not.
        if self.0.learned().is_none() {
            match self.0.tell().await {
                Err(error @ AdapterError::Transient { .. }) => return Err(error),
                Err(error) => tracing::warn!(%error, "its properties are read again and again"),
                Ok(_) => {}
            }
        }
        let polls = self.0.learned().unwrap_or_default().polls;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut watched = Vec::new();
        for source in self.0.sources() {
            let poll = polls.get(&source).cloned();
            match Watch::begin(&self.0, &source, poll, sender.clone()).await {
                Ok(watch) => watched.push(watch),
                Err(error @ AdapterError::Transient { .. }) => return Err(error),
                Err(error) => tracing::warn!(%error, "a property is not watched"),
            }
        }
        if watched.is_empty() {
            let next = "introspect it first, or see what its properties answer";
            return Err(self.0.platform.permanent("none of its properties can be read", next));
        }
        for watch in watched {
            tokio::spawn(watch.run());
        }
        Ok(receiver)
    }

    fn counters(&self) -> Counters {
        self.0.tally.snapshot()
    }
}

/// RFC 9110, section 15. 4xx was not done, nor what another place is named for; a 5xx may come after the deed, but for
/// those that say it did not begin; 201, 202 and 303 promise something for later.
fn outcome(answer: Answer) -> Outcome {
    let code = answer.status.to_string();
    let diagnostic = cut(&String::from_utf8_lossy(&answer.body));
    match answer.status {
        200 | 203..=299 => Outcome::Answered { code, payload: answer.body },
        300..=302 | 304..=499 | 501 | 503 | 505 => Outcome::Refused(Refuser::Device { code, diagnostic }),
        201 | 202 | 303 => Outcome::Unknown {
            reason: format!("the servient answers {code}: begun, and not said to be done"),
        },
        _ => Outcome::Unknown { reason: format!("the servient answers {code}: {diagnostic}") },
    }
}

/// A state that was put in the place of another: 201 says that it stands (RFC 9110, section 9.3.4).
fn put(answer: Answer) -> Outcome {
    match answer.status {
        201 => Outcome::Answered { code: "201".into(), payload: answer.body },
        _ => outcome(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_answer_says_is_believed() {
        for (statuses, expected) in [
            (&[200, 203, 204][..], "done"),
            (&[300, 301, 302, 307, 308, 400, 401, 403, 404, 409, 429, 501, 503, 505], "not"),
            (&[100, 201, 202, 303, 500, 502, 504], "?"),
        ] {
            for status in statuses {
                let got =
                    match outcome(Answer { status: *status, heard: None, body: Vec::new(), end: End::Whole })
                    {
                        Outcome::Answered { .. } => "done",
                        Outcome::Refused(_) => "not",
                        Outcome::Unknown { .. } => "?",
                    };
                assert_eq!(got, expected, "{status}");
            }
        }
        let created = put(Answer { status: 201, heard: None, body: Vec::new(), end: End::Whole });
        assert!(matches!(created, Outcome::Answered { .. }), "{created:?}");
    }
}
