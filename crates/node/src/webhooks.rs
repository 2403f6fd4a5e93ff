//! Webhooks: each record of the audit log that a `[[webhook]]` asks for is posted to it as one CloudEvent, signed by a
//! party of this node (RFC 9421), with the digest of its body (RFC 9530). In order, at least once: the log is the queue, and
//! how far the receiver has come is kept in the journal, so that neither a crash nor a receiver that is away loses one. A
//! receiver that does not take an event is asked again for ever, at ever longer intervals; nobody else waits for it.
//!
//! Left out: the handshake by `OPTIONS` of "HTTP Webhooks for Event Delivery" (a receiver is the operator's own choice),
//! batches, and TLS, which is a proxy's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use sofie_audit::Record;
use sofie_model::{Timestamp, canonical};

use crate::api::WebhookStatus;
use crate::auditor::Auditor;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::events;
use crate::journal::{Entry, Journal, JournalError};
use crate::outgoing::{self, chain};
use crate::parties::Parties;
use crate::peers::digest;
use crate::peers::envelope::{Fields, params};
use crate::peers::signature::{Fault, Head, Message, sign};

/// What a receiver finds in the signature's `tag`.
pub const TAG: &str = "sofie-webhook-1";
/// The signature's name in its fields.
pub const LABEL: &str = "sofie";
/// What is signed.
pub const COVERED: [&str; 5] =
    ["\"@method\"", "\"@authority\"", "\"@path\"", "\"content-digest\"", "\"content-type\""];

/// Facts of this group: a webhook's name, and the place in the audit log of the next record for it.
const GROUP: &str = "webhook";
/// The longest stored fact.
const MAX_BYTES: usize = 16;
/// The first wait before an event is sent again; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The webhooks of a node. Clones share them.
#[derive(Clone)]
pub(crate) struct Webhooks(Arc<Vec<Arc<Webhook>>>);

/// One of them.
struct Webhook {
    config: config::Webhook,
    source: String,
    key: SigningKey,
    journal: Journal,
    auditor: Auditor,
    client: reqwest::Client,
    standing: Mutex<Standing>,
}

/// How far a receiver has come.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// The place of the next record.
    next: u64,
    /// As the journal has it.
    kept: u64,
    delivered: u64,
    failed: u64,
    error: Option<String>,
}

/// What the measures tell of one.
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) behind: u64,
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) ok: bool,
}

impl Webhooks {
    /// Reads how far each has come. One of a new name begins with what is recorded from now on.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) async fn open(
        config: &Config,
        parties: &Parties,
        journal: &Journal,
        auditor: &Auditor,
    ) -> Result<Self, JournalError> {
        let (reader, client) = (journal.reader()?, outgoing::client());
        let (mut opened, mut news) = (Vec::new(), Vec::new());
        for webhook in &config.webhooks {
            let name = webhook.name.as_str();
            let corrupt = |e| JournalError::Corrupt {
                path: journal.path().to_owned(),
                what: format!("how far webhook {name} has come: {e}"),
            };
            let kept: Option<u64> = reader
                .fact(GROUP, name)?
                .map(|bytes| canonical::decode(&bytes, MAX_BYTES).map_err(corrupt))
                .transpose()?;
            let next = kept.unwrap_or_else(|| auditor.len());
            if kept.is_none() {
                news.push(cursor(name, next));
            }
            let signer = webhook.party.as_ref().unwrap_or(&config.node.operator);
            let keys = parties.named(signer.as_str()).expect("the configuration was checked to name a party");
            opened.push(Arc::new(Webhook {
                config: webhook.clone(),
                source: events::source(config.node.name.as_str()),
                key: keys.ed25519().clone(),
                journal: journal.clone(),
                auditor: auditor.clone(),
                client: client.clone(),
                standing: Mutex::new(Standing { next, kept: next, ..Standing::default() }),
            }));
        }
        if !news.is_empty() {
            journal.keep(news, auditor.clock().now()).await?;
        }
        Ok(Self(Arc::new(opened)))
    }

    /// Begins to tell: one task for each.
    pub(crate) fn start(&self) {
        for webhook in self.0.iter().cloned() {
            tokio::spawn(async move {
                // The journal fails for all: the node stops by itself.
                if let Err(error) = webhook.run().await {
                    tracing::error!(webhook = %webhook.config.name, %error, "no more events are told");
                }
            });
        }
    }

    /// Each as people see it.
    pub(crate) fn shown(&self) -> Vec<WebhookStatus> {
        let shown = |webhook: &Arc<Webhook>| {
            let standing = webhook.standing();
            WebhookStatus {
                name: webhook.config.name.to_string(),
                to: webhook.config.url.to_string(),
                delivered: standing.delivered,
                behind: webhook.auditor.len().saturating_sub(standing.next),
                ok: standing.error.is_none(),
                error: standing.error,
            }
        };
        self.0.iter().map(shown).collect()
    }

    /// Each as it is measured.
    pub(crate) fn measured(&self) -> Vec<Measured> {
        let measured = |webhook: &Arc<Webhook>| {
            let Standing { next, delivered, failed, error, .. } = webhook.standing();
            let (name, behind) =
                (webhook.config.name.to_string(), webhook.auditor.len().saturating_sub(next));
            Measured { name, behind, delivered, failed, ok: error.is_none() }
        };
        self.0.iter().map(measured).collect()
    }
}

impl Webhook {
    /// Tells one record after the other, as long as the journal can be read and written.
    async fn run(&self) -> Result<(), JournalError> {
        let mut grown = self.auditor.watch();
        loop {
            let next = self.standing().next;
            if *grown.borrow_and_update() <= next {
                // The auditor lives as long as this.
                let _ = grown.changed().await;
                continue;
            }
            for record in events::records(&self.journal.reader()?, next)? {
                let place = record.seq;
                if self.config.wants(&record.kind) {
                    self.deliver(record).await?;
                }
                self.change(|standing| standing.next = place + 1);
            }
            self.keep().await?;
        }
    }

    /// Sends a record until it is taken.
    async fn deliver(&self, record: Record) -> Result<(), JournalError> {
        let event = events::event(&self.source, record);
        let body = serde_json::to_vec(&event).expect("texts and numbers are JSON");
        let (mut pause, clock) = (FIRST_PAUSE, self.clock());
        while let Err(why) = self.send(&body, clock.now()).await {
            if self.standing().error.is_none() {
                tracing::warn!(webhook = %self.config.name, %why, event = event.sequence, "an event is not taken");
            }
            self.change(|standing| {
                standing.failed += 1;
                standing.error = Some(why);
            });
            // It may be away for long: what it has taken before is not sent to it again after a crash.
            self.keep().await?;
            clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.change(|standing| {
            standing.delivered += 1;
            standing.error = None;
        });
        Ok(())
    }

    /// One try. Of the answer the status alone counts; its body is not read.
    async fn send(&self, body: &[u8], now: Timestamp) -> Result<(), String> {
        let (url, authority) = (self.config.url.reveal(), self.config.authority());
        let sealed = seal(&authority, url.path(), body, now, &self.key).map_err(|fault| fault.to_string())?;
        let mut request = self.client.post(url.clone()).header("content-type", events::MEDIA_TYPE);
        for (name, value) in sealed.pairs() {
            request = request.header(name, value);
        }
        // Its own words would show the path, which may hold a secret.
        let sent = request.body(body.to_vec()).send().await.map_err(reqwest::Error::without_url);
        let status = sent.map_err(|error| chain(&error))?.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
    }

    /// Keeps how far the receiver has come.
    async fn keep(&self) -> Result<(), JournalError> {
        let Standing { next, kept, .. } = self.standing();
        if next > kept {
            self.journal.keep(vec![cursor(self.config.name.as_str(), next)], self.clock().now()).await?;
            self.change(|standing| standing.kept = next);
        }
        Ok(())
    }

    fn clock(&self) -> &Clock {
        self.auditor.clock()
    }

    fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The fields of a signed event that is posted to `path` at `authority`.
///
/// # Errors
/// [`Fault`] when one of them cannot be written in a field.
pub fn seal(
    authority: &str,
    path: &str,
    body: &[u8],
    now: Timestamp,
    key: &SigningKey,
) -> Result<Fields, Fault> {
    let digest = digest::of(body);
    let fields = [("content-digest", digest.as_str()), ("content-type", events::MEDIA_TYPE)];
    let message = Message::Request(Head { method: "POST", authority, path, fields: &fields });
    let (input, signature) = sign(&message, LABEL, &COVERED, &params(TAG, now, key), key)?;
    Ok(Fields { digest, input, signature })
}

fn cursor(name: &str, next: u64) -> Entry {
    Entry::Fact { group: GROUP, key: name.to_owned(), value: canonical::encode(&next) }
}
