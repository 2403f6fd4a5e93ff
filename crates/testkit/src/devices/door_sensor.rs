//! A door sensor: a battery-powered contact that publishes when the door moves, as `{"open":true,"at":…,"seq":…}` with
//! the retain flag, so that whoever comes later finds the last state.

use std::{future::Future, path::PathBuf, time::Duration};

use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS};
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{DeviceError, Millis, door::Door, until};

/// What a sensor is given.
#[derive(Clone)]
pub struct Args {
    /// The broker: `host:port`.
    pub broker: String,
    /// Where to publish.
    pub topic: String,
    /// The file of its door.
    pub door: PathBuf,
    /// Its clock.
    pub clock: Millis,
}

/// How often the contact is felt.
const TICK: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_millis(200);
/// Messages that wait for the connection.
const OUTBOX: usize = 16;

/// Runs a sensor. `ready` gets `{"publishing":TOPIC,"broker":ADDRESS}` when the broker has taken its first state.
///
/// # Errors
/// [`DeviceError`].
pub async fn run(
    args: Args,
    ready: impl FnOnce(&str) + Send,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), DeviceError> {
    let no_broker = || DeviceError::NoBroker { address: args.broker.clone() };
    let (host, port) = args.broker.rsplit_once(':').ok_or_else(no_broker)?;
    let port = port.parse().map_err(|_| no_broker())?;
    let door = Door::at(&args.door)?;
    let mut options = MqttOptions::new(format!("contact-{}", std::process::id()), host, port);
    options.set_keep_alive(Duration::from_secs(15));
    let (client, events) = AsyncClient::new(options, OUTBOX);
    let (sender, line) = watch::channel(Line::default());
    let connection = tokio::spawn(keep(events, sender));
    let ready = || {
        ready(&serde_json::json!({"publishing": args.topic, "broker": args.broker}).to_string());
    };
    let ended = until(stop, feel(&args, &door, client, line, ready)).await;
    connection.abort();
    ended
}

/// What the connection says: how often it was made, and how many messages the broker has taken.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    connections: u64,
    taken: u64,
}

async fn keep(mut events: EventLoop, line: watch::Sender<Line>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => line.send_modify(|line| line.connections += 1),
            Ok(Event::Incoming(Incoming::PubAck(_))) => line.send_modify(|line| line.taken += 1),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the sensor has lost its broker");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn feel(
    args: &Args,
    door: &Door,
    client: AsyncClient,
    mut line: watch::Receiver<Line>,
    ready: impl FnOnce(),
) -> Result<(), DeviceError> {
    let mut ready = Some(ready);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut seq, mut connections, mut message) = (None, 0_u64, 0, String::new());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = line.changed() => if changed.is_err() { return Ok(()) },
        }
        let now = *line.borrow_and_update();
        if now.taken > 0
            && let Some(ready) = ready.take()
        {
            ready();
        }
        let state = door.state()?;
        let moved = last != Some(state.moves);
        if moved {
            seq += 1;
            message = serde_json::json!({"open": state.open, "at": (args.clock)(), "seq": seq}).to_string();
        }
        let again = now.connections > connections;
        if now.connections == 0 || !(moved || again) {
            continue;
        }
        // A full outbox: the next tick tries again.
        if client.try_publish(&args.topic, QoS::AtLeastOnce, true, message.as_bytes()).is_ok() {
            (last, connections) = (Some(state.moves), now.connections);
        }
    }
}
