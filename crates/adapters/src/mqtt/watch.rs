//! What an observer hears, as long as it listens: through losses of the connection, with back-off.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rumqttc::ConnectionError;
use sofie_model::Digest;
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::{
    codec::Publish,
    confirm::Confirms,
    endpoint::Endpoint,
    session::{Happened, Session, was_oversize},
};
use crate::{
    outbox::Outbox,
    port::{Deviation, Held, Message},
    tally::{Recent, one_more},
};

/// The first wait after a loss; it doubles up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);
/// How many deliveries are remembered, to see repeats.
const REPEATS: usize = 1024;

/// An observer's side of a connection.
pub(super) struct Watch {
    adapter: Arc<Endpoint>,
    session: Session,
    outbox: Outbox,
    seen: Recent<(u16, Digest), Weak<Held>>,
    confirms: Confirms,
    heard: u64,
    /// The right to the client identifier, as long as this lives.
    name: Option<OwnedMutexGuard<()>>,
}

impl Watch {
    pub(super) fn new(
        adapter: Arc<Endpoint>,
        session: Session,
        sender: mpsc::Sender<Message>,
        name: Option<OwnedMutexGuard<()>>,
    ) -> Self {
        let (seen, confirms) = (Recent::new(REPEATS), Confirms::new(session.client.clone()));
        Self { adapter, session, outbox: Outbox::new(sender), seen, confirms, heard: 0, name }
    }

    /// Passes messages on until nobody listens.
    pub(super) async fn run(mut self) {
        let mut wait = SHORTEST;
        loop {
            let sender = self.outbox.listener();
            self.confirms.send();
            let happened = tokio::select! {
                biased;
                () = sender.closed() => return self.leave().await,
                happened = self.session.next(&self.adapter.tally) => happened,
            };
            match happened {
                Ok(happened) => {
                    if matches!(happened, Happened::Message(_)) {
                        wait = SHORTEST;
                    }
                    self.take(happened);
                }
                Err(error) => {
                    self.confirms.forget();
                    self.lose(&error);
                    tokio::select! {
                        () = sender.closed() => return,
                        () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST),
                    }
                }
            }
        }
    }

    /// Says goodbye, unless the broker keeps what comes from now on: then nothing more may be taken, and acknowledged,
    /// that nobody reads.
    async fn leave(self) {
        if self.name.is_none() {
            self.session.close().await;
        }
    }

    fn lose(&mut self, error: &ConnectionError) {
        if was_oversize(error) {
            one_more(&self.adapter.tally.oversize);
        }
        tracing::debug!(%error, broker = self.adapter.authority, "the connection to a broker is lost");
        self.outbox.note(Deviation::new(None, "an unbroken connection", &error.to_string()));
    }

    fn take(&mut self, happened: Happened) {
        match happened {
            Happened::Message(message) => match self.earlier(&message) {
                Some(earlier) => {
                    one_more(&self.adapter.tally.duplicates);
                    self.confirms.like(message.id, earlier);
                }
                None => self.pass(&message),
            },
            Happened::Refused(error, id) => {
                self.confirms.at_once(id);
                self.outbox.note(Deviation::new(None, "a message within the limits", &error.to_string()));
            }
            Happened::NotSubscribed => {
                self.outbox.note(Deviation::new(None, "the right to subscribe", "the broker took it away"));
            }
            Happened::Again | Happened::Acknowledged | Happened::Nothing => {}
        }
    }

    /// The first delivery of a message that says it may have come before, and did (4.3.2).
    fn earlier(&self, message: &Publish) -> Option<Weak<Held>> {
        let earlier = self.seen.get(&delivery(message)).filter(|_| message.redelivered);
        earlier.cloned()
    }

    fn pass(&mut self, message: &Publish) {
        self.heard += 1;
        let receipt = self.confirms.hold(message.id);
        if message.qos > 0 {
            let delivery = delivery(message);
            self.seen.forget(&delivery);
            self.seen.put(delivery, receipt.watched());
        }
        let Some(mut read) = self.adapter.understand(message, self.heard) else {
            one_more(&self.adapter.tally.unbound);
            return;
        };
        read.receipt = receipt;
        self.outbox.pass(read, &self.adapter.tally);
    }
}

/// Names one delivery.
fn delivery(message: &Publish) -> (u16, Digest) {
    (message.id, Digest::of("sofie.mqtt.delivery", &[message.topic.as_bytes(), &message.payload]))
}
