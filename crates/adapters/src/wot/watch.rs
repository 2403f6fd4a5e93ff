//! Watching one source: by a stream of its changes (subprotocol `sse`, W3C WoT Binding for HTTP) or by asking for the next
//! one (`longpoll`) where its description offers that, else by reading it again and again. Only what has changed is passed on: after a loss the state
//! is read anew, and nothing comes twice.
//!
//! A long poll tells nothing of what happens between two of its requests. So the state is read beside it: shortly after
//! each request, and from then on now and again. A stream tells them all; it is compared with the state when it begins and
//! when it has been silent for a while, and one that kept a change to itself is opened anew.

use std::{sync::Arc, time::Duration};

use sofie_model::Digest;
use tokio::{sync::mpsc, time::sleep};

use super::{discovery::Changes, endpoint::Endpoint, events::Events};
use crate::{
    backoff::Backoff,
    outbox::Outbox,
    port::{AdapterError, Deviation, Message},
    tally::one_more,
};

/// When the state is looked at after a long poll began: what happened just before it did is seen then.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// And then as often as this.
const LOOK: Duration = Duration::from_secs(30);
/// How long one request waits for a change.
const LONG_POLL: Duration = Duration::from_secs(600);

/// A source that is being watched.
pub(super) struct Watch {
    endpoint: Arc<Endpoint>,
    source: String,
    changes: Option<Changes>,
    outbox: Outbox,
    /// The last state that was passed on.
    last: Option<Digest>,
    heard: u64,
}

impl Watch {
    /// Reads the source once.
    pub(super) async fn begin(
        endpoint: &Arc<Endpoint>,
        source: &str,
        changes: Option<Changes>,
        sender: mpsc::Sender<Message>,
    ) -> Result<Self, AdapterError> {
        let (endpoint, outbox) = (Arc::clone(endpoint), Outbox::new(sender));
        let mut watch = Self { endpoint, source: source.into(), changes, outbox, last: None, heard: 0 };
        watch.look().await?;
        Ok(watch)
    }

    /// Passes changes on until nobody listens.
    pub(super) async fn run(mut self) {
        let listener = self.outbox.listener();
        tokio::select! {
            () = listener.closed() => {}
            () = self.follow() => {}
        }
    }

    /// Never ends: a source that fails is asked again, ever more seldom.
    async fn follow(&mut self) {
        let mut wait = Backoff::default();
        loop {
            let went = match self.changes.clone() {
                Some(Changes::Stream(path)) => self.stream(&path).await,
                Some(Changes::Next(path)) => self.next_change(&path).await,
                None => self.look_later().await,
            };
            let Err(mut error) = went else { continue };
            loop {
                tracing::warn!(%error, source = self.source, "a property cannot be watched just now");
                self.outbox.note(Deviation::new(None, "an unbroken connection", &error.to_string()));
                sleep(wait.next()).await;
                match self.look().await {
                    Ok(_) => break,
                    Err(again) => error = again,
                }
            }
            one_more(&self.endpoint.tally.reconnects);
            wait = Backoff::default();
        }
    }

    async fn look_later(&mut self) -> Result<(), AdapterError> {
        sleep(self.endpoint.interval).await;
        self.look().await.map(drop)
    }

    /// Waits for one change.
    async fn next_change(&mut self, path: &str) -> Result<(), AdapterError> {
        let endpoint = Arc::clone(&self.endpoint);
        let change = endpoint.change(path, LONG_POLL);
        tokio::pin!(change);
        let mut pause = FIRST_LOOK;
        loop {
            tokio::select! {
                changed = &mut change => return self.changed(changed).await,
                () = sleep(pause) => {}
            }
            pause = LOOK;
            self.look().await?;
        }
    }

    async fn changed(&mut self, changed: Result<Vec<u8>, AdapterError>) -> Result<(), AdapterError> {
        match changed {
            // Nothing has changed. One that answers at once, or with what is known, is not asked in a circle.
            Ok(payload) if payload.is_empty() => self.look_later().await,
            Ok(payload) => {
                if !self.take(&payload) {
                    sleep(self.endpoint.interval).await;
                }
                Ok(())
            }
            Err(error) => self.untold(error),
        }
    }

    /// What fails for good is not asked in this way again.
    fn untold(&mut self, error: AdapterError) -> Result<(), AdapterError> {
        if matches!(error, AdapterError::Transient { .. }) {
            return Err(error);
        }
        tracing::warn!(%error, source = self.source, "it does not tell of changes; it is read again and again");
        self.outbox.note(Deviation::new(None, "to be told of changes", &error.to_string()));
        self.changes = None;
        Ok(())
    }

    /// Passes on what a stream tells, until it ends.
    async fn stream(&mut self, path: &str) -> Result<(), AdapterError> {
        let mut stream = match self.endpoint.events(path).await {
            Ok(stream) => stream,
            Err(error) => return self.untold(error),
        };
        // What changed before it began.
        self.look().await?;
        let mut events = Events::default();
        loop {
            let piece = tokio::select! {
                piece = stream.next() => piece,
                () = sleep(LOOK) => match self.look().await? {
                    false => continue,
                    true => return Ok(()),
                },
            };
            let broken = |reason: &str| self.endpoint.platform.transient(format!("{path}: {reason}"));
            let piece = piece.map_err(|why| broken(&why))?.ok_or_else(|| broken("the stream ended"))?;
            let told = events.feed(&piece);
            match told {
                Ok(told) => {
                    for event in told.iter().filter(|event| !event.is_empty()) {
                        self.take(event);
                    }
                }
                Err(error) => {
                    one_more(&self.endpoint.tally.oversize);
                    let next = "have the servient tell less at once";
                    return self.untold(self.endpoint.platform.permanent(error, next));
                }
            }
        }
    }

    async fn look(&mut self) -> Result<bool, AdapterError> {
        let payload = self.endpoint.state(&self.source).await?;
        Ok(self.take(&payload))
    }

    /// Passes a state on that is not the last one.
    fn take(&mut self, payload: &[u8]) -> bool {
        let state = Digest::sha256(payload);
        if self.last == Some(state) {
            one_more(&self.endpoint.tally.duplicates);
            return false;
        }
        self.last = Some(state);
        self.heard += 1;
        match self.endpoint.understand(&self.source, payload, self.heard) {
            Some(message) => self.outbox.pass(message, &self.endpoint.tally),
            None => one_more(&self.endpoint.tally.unbound),
        }
        true
    }
}
