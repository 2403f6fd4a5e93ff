//! The adapter of one CoAP server.

use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
};

use async_trait::async_trait;
use sofie_model::ThingId;
use tokio::sync::mpsc;

use super::{
    codec::{JSON, LINK_FORMAT, Method, Request as CoapRequest, Response, TEXT},
    describe::{describe, is_readable, resources},
    exchange::Transmission,
    link::{Link, Silence},
    link_format,
    watch::Watch,
};
use crate::{
    binding::{ActionBinding, ActionMethod, Arrival, Binding, Format},
    once::Once,
    port::{
        Adapter, AdapterError, Clock, Closed, Counters, Description, Gate, Message, Outcome, Platform, QUEUE,
        Refuser, Request, Write, cut,
    },
    tally::Tally,
};

/// What a CoAP adapter is made of.
#[derive(Clone)]
pub struct CoapConfig {
    /// The owner's name.
    pub party: String,
    /// `coap://host[:port]`.
    pub url: String,
    /// What the owner, or an earlier introspection, says of its messages.
    pub binding: Binding,
    /// Times and counts of RFC 7252, section 4.8.
    pub transmission: Transmission,
    /// The owner's word on who may act.
    pub gate: Arc<dyn Gate>,
    /// Tells when a message arrived.
    pub clock: Clock,
}

impl CoapConfig {
    /// Nothing is bound, the times are the RFC's, and the gate is closed.
    #[must_use]
    pub fn new(party: &str, url: &str, clock: Clock) -> Self {
        Self {
            party: party.into(),
            url: url.into(),
            binding: Binding::default(),
            transmission: Transmission::default(),
            gate: Arc::new(Closed),
            clock,
        }
    }
}

/// One CoAP server of one owner.
#[derive(Clone)]
pub struct CoapAdapter(Arc<Endpoint>);

pub(super) struct Endpoint {
    pub(super) platform: Platform,
    pub(super) authority: String,
    pub(super) server: SocketAddr,
    pub(super) transmission: Transmission,
    pub(super) clock: Clock,
    pub(super) tally: Tally,
    pub(super) binding: RwLock<Binding>,
    link: tokio::sync::Mutex<Link>,
    gate: Arc<dyn Gate>,
    once: Once,
}

/// RFC 7252, section 6.1.
const DEFAULT_PORT: u16 = 5683;

impl CoapAdapter {
    /// Finds the server's address, once, and opens a socket. Sends nothing.
    ///
    /// # Errors
    /// [`AdapterError::Permanent`] for an address that is none, [`AdapterError::Transient`] when it is not found.
    pub async fn open(config: CoapConfig) -> Result<Self, AdapterError> {
        let platform = Platform::new(&config.party, "coap", &config.url)?;
        let host = platform.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = platform.url.port().unwrap_or(DEFAULT_PORT);
        let mut found = tokio::net::lookup_host((host.as_str(), port))
            .await
            .map_err(|e| platform.transient(format!("{host} is not found: {e}")))?;
        let server = found.next().ok_or_else(|| platform.transient(format!("{host} has no address")))?;
        let link = Link::open(server).await.map_err(|e| platform.transient(format!("no socket: {e}")))?;
        Ok(Self(Arc::new(Endpoint {
            authority: platform.authority(DEFAULT_PORT),
            platform,
            server,
            transmission: config.transmission,
            clock: config.clock,
            tally: Tally::default(),
            binding: RwLock::new(config.binding),
            link: tokio::sync::Mutex::new(link),
            gate: config.gate,
            once: Once::default(),
        })))
    }
}

impl Endpoint {
    pub(super) fn bound<T>(&self, look: impl FnOnce(&mut Binding) -> T) -> T {
        look(&mut self.binding.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    async fn get(&self, path: &str, accept: Option<u16>) -> Result<(Response, Vec<u8>), AdapterError> {
        let request = CoapRequest { accept, ..get(path) };
        let asked = self.link.lock().await.ask(request, self.transmission, &self.tally).await;
        let (response, token) = asked.map_err(|silence| self.silent(&silence))?;
        self.whole(path, response).map(|response| (response, token))
    }

    pub(super) fn silent(&self, silence: &Silence) -> AdapterError {
        match silence {
            Silence::Unsayable(reason) => self.platform.permanent(reason, "shorten the request"),
            other => self.platform.transient(other),
        }
    }

    /// A success in one piece.
    pub(super) fn whole(&self, path: &str, response: Response) -> Result<Response, AdapterError> {
        match response.code.class() {
            2 if response.block.is_none_or(|block| block.is_whole()) => Ok(response),
            2 => Err(self.platform.permanent(
                format!("{path} answers in blocks (RFC 7959), which this adapter does not read"),
                "have the server answer within 1024 bytes, or split the resource",
            )),
            5 => Err(self.platform.transient(format!("{path} answers {}", describe_code(&response)))),
            _ => Err(self.platform.permanent(
                format!("{path} answers {}", describe_code(&response)),
                "look at the server's links and at who may read them",
            )),
        }
    }

    /// What a response of `path` says, if anything is bound to it.
    pub(super) fn understand(&self, path: &str, response: &Response, identity: &[u8]) -> Option<Message> {
        let arrival = Arrival {
            platform: &self.authority,
            source: path,
            payload: &response.payload,
            identity,
            told: None,
            at: (self.clock)(),
            retained: false,
        };
        self.bound(|binding| binding.read(&arrival))
    }

    fn action(&self, request: &Request) -> Result<ActionBinding, AdapterError> {
        let found = self.bound(|binding| binding.action(&request.thing, &request.action).cloned());
        found.ok_or_else(|| {
            self.platform.not_there(format!("action {} of {}", cut(&request.action), request.thing))
        })
    }

    fn encode(&self, action: &ActionBinding, input: &serde_json::Value) -> Result<CoapRequest, AdapterError> {
        Ok(coap(action, action.payload(&self.platform, input)?))
    }

    async fn act(&self, request: CoapRequest) -> Result<Outcome, AdapterError> {
        match self.link.lock().await.ask(request, self.transmission, &self.tally).await {
            Ok((response, _)) => Ok(outcome(response)),
            Err(Silence::Unknown(reason)) => Ok(Outcome::Unknown { reason }),
            Err(Silence::Reset) => {
                let (code, diagnostic) = ("reset".into(), "the device cannot use the request".into());
                Ok(Outcome::Refused(Refuser::Device { code, diagnostic }))
            }
            Err(silence @ (Silence::Unsayable(_) | Silence::NotSent(_))) => Err(self.silent(&silence)),
        }
    }
}

/// The request that asks for an action or a write.
fn coap(action: &ActionBinding, payload: Vec<u8>) -> CoapRequest {
    let format = match action.format {
        Format::Json => JSON,
        Format::Text => TEXT,
    };
    let content_format = (!payload.is_empty()).then_some(format);
    let method = match action.method {
        ActionMethod::Post => Method::Post,
        ActionMethod::Put => Method::Put,
    };
    let (path, query) = segments(&action.target);
    CoapRequest { method, path, query, content_format, payload, ..CoapRequest::default() }
}

#[async_trait]
impl Adapter for CoapAdapter {
    fn platform(&self) -> &Platform {
        &self.0.platform
    }

    async fn introspect(&self) -> Result<Vec<Description>, AdapterError> {
        let (core, _) = self.0.get("/.well-known/core", Some(LINK_FORMAT)).await?;
        let next = "have the server's owner mend it";
        let text = String::from_utf8(core.payload)
            .map_err(|_| self.0.platform.permanent("/.well-known/core is not UTF-8", next))?;
        let links = link_format::parse(&text)
            .map_err(|e| self.0.platform.permanent(format!("/.well-known/core: {e}"), next))?;
        let mut samples = std::collections::BTreeMap::new();
        for link in resources(&links).into_iter().filter(|link| is_readable(link)) {
            match self.0.get(&link.target, None).await {
                Ok((response, _)) => {
                    samples.insert(link.target.clone(), response.payload);
                }
                // A server that has fallen silent would cost a minute a resource.
                Err(AdapterError::Transient { .. }) => break,
                Err(_) => {}
            }
        }
        Ok(vec![self.0.bound(|binding| describe(&self.0.authority, &links, &samples, binding))])
    }

    async fn invoke(&self, request: &Request) -> Result<Outcome, AdapterError> {
        let action = self.0.action(request)?;
        let encoded = self.0.encode(&action, &request.input)?;
        self.0.once.run(self.0.gate.as_ref(), request, self.0.act(encoded)).await
    }

    async fn write(&self, write: &Write) -> Result<Outcome, AdapterError> {
        let encoded = self.0.bound(|binding| binding.encode(&self.0.platform, write));
        let absent =
            || self.0.platform.not_there(format!("property {} of {}", cut(&write.property), write.thing));
        let (request, payload) = encoded.ok_or_else(absent)??;
        self.0.once.write(self.0.gate.as_ref(), write, self.0.act(coap(&request, payload))).await
    }

    async fn read(&self, thing: &ThingId, property: &str) -> Result<Message, AdapterError> {
        let source = self.0.bound(|binding| binding.source(thing, property).map(str::to_owned));
        let absent = || self.0.platform.not_there(format!("property {} of {thing}", cut(property)));
        let source = source.ok_or_else(absent)?;
        let (response, token) = self.0.get(&source, None).await?;
        self.0.understand(&source, &response, &token).ok_or_else(absent)
    }

    async fn observe(&self) -> Result<mpsc::Receiver<Message>, AdapterError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let sources: Vec<String> =
            self.0.bound(|binding| binding.sources().into_iter().map(str::to_owned).collect());
        let mut watched = 0;
        for source in sources {
            if let Some(watch) = Watch::register(&self.0, &source, sender.clone()).await? {
                tokio::spawn(watch.run());
                watched += 1;
            }
        }
        if watched == 0 {
            let next = "read its properties instead, or introspect it first";
            return Err(self.0.platform.permanent("no resource lets itself be observed (RFC 7641)", next));
        }
        Ok(receiver)
    }

    fn counters(&self) -> Counters {
        self.0.tally.snapshot()
    }
}

/// RFC 7252, section 5.9: 4.xx was not done. A 5.xx may come after the deed, but for those that say it did not begin.
fn outcome(response: Response) -> Outcome {
    let code = response.code.to_string();
    match (response.code.class(), code.as_str()) {
        (2, _) => Outcome::Answered { code, payload: response.payload },
        (4, _) | (_, "5.01" | "5.03" | "5.05") => {
            let diagnostic = cut(&String::from_utf8_lossy(&response.payload));
            Outcome::Refused(Refuser::Device { code, diagnostic })
        }
        _ => Outcome::Unknown { reason: format!("the device answers {}", describe_code(&response)) },
    }
}

fn describe_code(response: &Response) -> String {
    let diagnostic = cut(&String::from_utf8_lossy(&response.payload));
    if diagnostic.is_empty() { response.code.to_string() } else { format!("{}: {diagnostic}", response.code) }
}

pub(super) fn get(target: &str) -> CoapRequest {
    let (path, query) = segments(target);
    CoapRequest { path, query, ..CoapRequest::default() }
}

/// RFC 7252, section 6.4: segments and query parts, percent-decoded.
fn segments(target: &str) -> (Vec<String>, Vec<String>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts = |text: &str, by: char| -> Vec<String> {
        if text.is_empty() { Vec::new() } else { text.split(by).map(percent_decoded).collect() }
    };
    (parts(path.strip_prefix('/').unwrap_or(path), '/'), parts(query, '&'))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = text.as_bytes().iter();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let rest = bytes.as_slice();
        let hex = |at: usize| rest.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (*byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                bytes.nth(1);
            }
            _ => decoded.push(*byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::codec::Code;

    #[test]
    fn targets_are_split_and_decoded_as_section_6_4_says() {
        let text = |parts: &[&str]| parts.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        for (target, path, query) in [
            ("/", &[][..], &[][..]),
            ("/a/b", &["a", "b"], &[]),
            ("/a//b/", &["a", "", "b", ""], &[]),
            ("/%7Esensors/t%C3%A4?q=%2F&r", &["~sensors", "tä"], &["q=/", "r"]),
            ("/%4", &["%4"], &[]),
        ] {
            assert_eq!(segments(target), (text(path), text(query)), "{target}");
        }
    }

    #[test]
    fn a_servers_failure_is_not_taken_for_a_refusal() {
        for (class, detail, expected) in
            [(2, 4, "done"), (4, 3, "not"), (5, 3, "not"), (5, 0, "?"), (5, 4, "?")]
        {
            let outcome = match outcome(Response::new(Code::new(class, detail), vec![])) {
                Outcome::Answered { .. } => "done",
                Outcome::Refused(_) => "not",
                Outcome::Unknown { .. } => "?",
            };
            assert_eq!(outcome, expected, "{class}.{detail:02}");
        }
    }
}
