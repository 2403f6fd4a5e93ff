//! An MQTT 3.1.1 broker in the process: `rumqttd`, on loopback, without its console, metrics or bridge.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::{sync::oneshot, time::timeout};

use super::DeviceError;

/// What a broker is given.
#[derive(Debug, Clone)]
pub struct Args {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// A free port can be taken by another program before the broker has it: so often is another one tried.
const ATTEMPTS: usize = 8;
/// How long the broker may take to answer its first client.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(20);
const MAX_CONNECTIONS: usize = 128;
const MAX_PAYLOAD: usize = 512 * 1024;

/// Runs a broker. `ready` gets `{"listening":"127.0.0.1:PORT"}` when it answers. Its threads end with the process: the
/// crate has no way to stop them.
///
/// # Errors
/// [`DeviceError::Listen`].
pub async fn run(
    args: Args,
    ready: impl FnOnce(&str) + Send,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), DeviceError> {
    let failed = |source| DeviceError::Listen { device: "broker", address: args.listen.to_string(), source };
    let mut last = io::Error::other("it ended at once");
    for _ in 0..ATTEMPTS {
        let address = free(args.listen).map_err(failed)?;
        match start(address).await {
            Ok(()) => {
                ready(&serde_json::json!({"listening": address.to_string()}).to_string());
                stop.await;
                return Ok(());
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// The address with a port that is free at this moment.
fn free(listen: SocketAddr) -> io::Result<SocketAddr> {
    TcpListener::bind(listen)?.local_addr()
}

/// Starts the broker and waits until it has let a client in.
async fn start(address: SocketAddr) -> io::Result<()> {
    let (sender, ended) = oneshot::channel();
    let name = format!("broker-{}", address.port());
    std::thread::Builder::new().name(name).spawn(move || {
        let ended = Broker::new(config(address)).start();
        let _ = sender.send(ended.err().map_or_else(|| "its listener ended".into(), |e| e.to_string()));
    })?;
    tokio::select! {
        answers = timeout(PATIENCE, answers(address)) => {
            answers.map_err(|_| io::Error::other("it does not answer"))
        }
        why = ended => Err(io::Error::other(why.unwrap_or_else(|_| "its thread died".into()))),
    }
}

async fn answers(address: SocketAddr) {
    loop {
        let options = MqttOptions::new("first", address.ip().to_string(), address.port());
        let (_client, mut events) = AsyncClient::new(options, 1);
        if matches!(events.poll().await, Ok(Event::Incoming(Incoming::ConnAck(_)))) {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 10_000,
        max_payload_size: MAX_PAYLOAD,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "v4".into(), listen, tls: None, next_connection_delay_ms: 1, connections };
    Config {
        router: RouterConfig {
            max_connections: MAX_CONNECTIONS,
            max_outgoing_packet_count: 200,
            max_segment_size: 1024 * 1024,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("v4".into(), server)])),
        ..Config::default()
    }
}
