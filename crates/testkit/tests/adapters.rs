//! The adapters against devices of other makers: the locker, sensor, broker and servient of `devices`, and four
//! independent peers: libcoap's server (Debian `libcoap3-bin`), mosquitto (Debian `mosquitto`), node-wot (npm) and ACME
//! (PyPI).

#[path = "adapters/coap.rs"]
mod coap;
#[path = "adapters/mqtt.rs"]
mod mqtt;
#[path = "adapters/onem2m.rs"]
mod onem2m;
#[path = "adapters/peer.rs"]
mod peer;
#[path = "adapters/relay.rs"]
mod relay;
#[path = "adapters/wot.rs"]
mod wot;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sofie_adapters::{Clock, Gate, Refusal, Request, Write, coap::exchange::Transmission};
use sofie_model::Timestamp;
use sofie_testkit::devices::{DeviceError, Millis, broker, door_sensor, locker};
use tokio::{sync::oneshot, time::timeout};

/// A bound on waiting, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);

#[expect(clippy::disallowed_methods, reason = "the devices of this world live in real time")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("it is before the year 584 million")
}

fn clock() -> Clock {
    Arc::new(|| Timestamp::from_millis(now()))
}

fn millis() -> Millis {
    Arc::new(now)
}

/// Lets everybody pass.
struct Open;

impl Gate for Open {
    fn admit(&self, _: &Request) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_write(&self, _: &Write) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Short enough for a test, long enough for a busy machine: nothing here asserts how long anything takes.
const fn quick() -> Transmission {
    Transmission {
        ack_timeout: Duration::from_millis(300),
        random_percent: 150,
        max_retransmit: 4,
        response_timeout: Duration::from_secs(10),
    }
}

/// A device that runs until this is dropped.
struct Running {
    line: serde_json::Value,
    _stop: oneshot::Sender<()>,
}

impl Running {
    fn address(&self) -> String {
        self.line["listening"].as_str().expect("it tells where it listens").into()
    }
}

/// Starts a device and waits for its line.
async fn start<F, R>(run: F) -> Running
where
    F: FnOnce(Box<dyn FnOnce(&str) + Send>, oneshot::Receiver<()>) -> R,
    R: Future<Output = Result<(), DeviceError>> + Send + 'static,
{
    let (sender, line) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let ready = Box::new(move |line: &str| {
        let _ = sender.send(line.to_owned());
    });
    let device = tokio::spawn(run(ready, stopped));
    let line = tokio::select! {
        line = timeout(PATIENCE, line) => line.expect("it is ready in time").expect("it is ready"),
        ended = device => panic!("the device ended: {ended:?}"),
    };
    Running { line: serde_json::from_str(&line).expect("one JSON line"), _stop: stop }
}

async fn locker(door: &Path, separate: bool) -> Running {
    let door = PathBuf::from(door);
    start(move |ready, stop| async move {
        let args = locker::Args { listen: loopback(), door, clock: millis(), separate };
        locker::run(args, ready, async { drop(stop.await) }).await
    })
    .await
}

async fn broker() -> Running {
    start(move |ready, stop| async move {
        broker::run(broker::Args { listen: loopback() }, ready, async { drop(stop.await) }).await
    })
    .await
}

async fn sensor(broker: &str, topic: &str, door: &Path) -> Running {
    let (broker, topic, door) = (broker.to_owned(), topic.to_owned(), PathBuf::from(door));
    start(move |ready, stop| async move {
        let args = door_sensor::Args { broker, topic, door, clock: millis() };
        door_sensor::run(args, ready, async { drop(stop.await) }).await
    })
    .await
}

/// The directory takes the description: it keeps the schema and the normative text of TD 1.1.
fn accepted(td: &serde_json::Value) {
    let bytes = serde_json::to_vec(td).expect("JSON can be written");
    if let Err(errors) = sofie_directory::parse(&bytes) {
        panic!("{errors}: {td:#}");
    }
}

fn loopback() -> std::net::SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}
