//! A connection to the broker with its subscriptions: opened until the broker has confirmed both, or not at all.

use std::{collections::VecDeque, time::Duration};

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, MqttOptions, QoS,
    StateError, SubscribeFilter, SubscribeReasonCode,
};
use tokio::time::timeout;

use super::codec::{self, CodecError, MAX_PACKET, Publish};
use crate::{
    port::{AdapterError, Platform, QUEUE, cut},
    tally::{Tally, one_more},
};

/// How long the broker may take to accept a connection, and to confirm subscriptions.
const PATIENCE: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Requests that wait for the connection: one subscription, or one message.
const REQUESTS: usize = 4;

/// An open connection.
pub(super) struct Session {
    pub(super) client: AsyncClient,
    events: EventLoop,
    filters: Vec<String>,
    /// Messages that came before the subscription was confirmed.
    early: VecDeque<Publish>,
}

/// What happened on a connection.
pub(super) enum Happened {
    /// A message came.
    Message(Publish),
    /// The broker took our message (QoS 1).
    Acknowledged,
    /// A message came that is none, or is too long; it was counted. With its packet's identifier.
    Refused(CodecError, u16),
    /// Connected again after a loss, and subscribed again.
    Again,
    /// The broker refuses a subscription.
    NotSubscribed,
    /// Nothing that matters here.
    Nothing,
}

impl Session {
    /// Connects and subscribes (QoS 1); returns when the broker has confirmed.
    pub(super) async fn open(
        platform: &Platform,
        options: MqttOptions,
        filters: Vec<String>,
        tally: &Tally,
    ) -> Result<Self, AdapterError> {
        let (client, events) = AsyncClient::new(options, REQUESTS);
        let mut session = Self { client, events, filters, early: VecDeque::new() };
        let confirmed = timeout(PATIENCE, session.confirmed(platform, tally)).await;
        confirmed.map_err(|_| platform.transient("the broker did not confirm in time"))??;
        Ok(session)
    }

    async fn confirmed(&mut self, platform: &Platform, tally: &Tally) -> Result<(), AdapterError> {
        loop {
            match self.events.poll().await.map_err(|e| explain(platform, &e))? {
                Event::Incoming(Incoming::ConnAck(_)) if self.filters.is_empty() => return Ok(()),
                Event::Incoming(Incoming::ConnAck(_)) => {
                    self.subscribe().map_err(|e| platform.transient(e))?
                }
                Event::Incoming(Incoming::SubAck(answer)) => {
                    if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                        let reason =
                            format!("the broker refuses a subscription to {}", self.filters.join(", "));
                        return Err(
                            platform.permanent(cut(&reason), "ask its owner for the right to read it")
                        );
                    }
                    return Ok(());
                }
                Event::Incoming(Incoming::Publish(publish)) => {
                    if let Happened::Message(message) = counted(publish, tally)
                        && self.early.len() < QUEUE
                    {
                        self.early.push_back(message);
                    }
                }
                _ => {}
            }
        }
    }

    fn subscribe(&self) -> Result<(), rumqttc::ClientError> {
        let filters = self.filters.iter().map(|f| SubscribeFilter::new(f.clone(), QoS::AtLeastOnce));
        self.client.try_subscribe_many(filters)
    }

    /// The next thing that happens. After an error the next call connects again.
    pub(super) async fn next(&mut self, tally: &Tally) -> Result<Happened, ConnectionError> {
        if let Some(message) = self.early.pop_front() {
            return Ok(Happened::Message(message));
        }
        Ok(match self.events.poll().await? {
            Event::Incoming(Incoming::Publish(publish)) => counted(publish, tally),
            Event::Incoming(Incoming::PubAck(_)) => Happened::Acknowledged,
            Event::Incoming(Incoming::ConnAck(answer)) => {
                one_more(&tally.reconnects);
                if !answer.session_present && self.subscribe().is_err() {
                    return Err(ConnectionError::RequestsDone);
                }
                Happened::Again
            }
            Event::Incoming(Incoming::SubAck(answer))
                if answer.return_codes.contains(&SubscribeReasonCode::Failure) =>
            {
                Happened::NotSubscribed
            }
            _ => Happened::Nothing,
        })
    }

    /// Says goodbye (3.14). A broker that does not listen any more is not waited for.
    pub(super) async fn close(mut self) {
        const GOODBYE: Duration = Duration::from_secs(1);
        if self.client.try_disconnect().is_ok() {
            let _ = timeout(GOODBYE, async { while self.events.poll().await.is_ok() {} }).await;
        }
    }
}

fn counted(publish: rumqttc::Publish, tally: &Tally) -> Happened {
    one_more(&tally.received);
    let id = publish.pkid;
    match codec::take(publish) {
        Ok(message) => Happened::Message(message),
        Err(error) => {
            let counter = match error {
                CodecError::TooLong { .. } => &tally.oversize,
                CodecError::Malformed(_) => &tally.malformed,
            };
            one_more(counter);
            Happened::Refused(error, id)
        }
    }
}

/// Whether a lost connection was ended by a packet beyond [`MAX_PACKET`].
pub(super) const fn was_oversize(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::MqttState(StateError::Deserialization(rumqttc::Error::PayloadSizeLimitExceeded(_)))
    )
}

/// A refusal by the broker stays one; anything else may pass.
pub(super) fn explain(platform: &Platform, error: &ConnectionError) -> AdapterError {
    use ConnectReturnCode::{BadClientId, BadUserNamePassword, NotAuthorized, RefusedProtocolVersion};
    match error {
        ConnectionError::ConnectionRefused(BadUserNamePassword | NotAuthorized) => platform.permanent(
            "the broker does not let this client in",
            "enrol credentials for it with the platform's owner",
        ),
        ConnectionError::ConnectionRefused(BadClientId) => {
            platform.permanent("the broker refuses the client identifier", "configure another one")
        }
        ConnectionError::ConnectionRefused(RefusedProtocolVersion) => {
            platform.permanent("the broker does not speak MQTT 3.1.1", "use a listener of its that does")
        }
        other => platform.transient(other),
    }
}

/// What every connection has.
pub(super) fn options(host: &str, port: u16, client_id: Option<&str>) -> MqttOptions {
    let mut options = MqttOptions::new(client_id.unwrap_or_default(), host, port);
    options.set_keep_alive(KEEP_ALIVE).set_max_packet_size(MAX_PACKET, MAX_PACKET);
    // With a name of its own, the broker keeps what comes while we are away (3.1.2.4); without, it names us (3.1.3.1).
    options.set_clean_session(client_id.is_none_or(str::is_empty));
    options
}
