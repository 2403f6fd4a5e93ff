//! A locker, a sensor and a broker of other makers; a line to the broker that can be cut; nodes that come and go.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sofie_node::clock;
use sofie_node::config::Config;
use sofie_node::journal::JournalError;
use sofie_node::runtime::{Runtime, StartError};
use sofie_testkit::devices::{DeviceError, Millis, broker, door_sensor, locker};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// A bound on waiting, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One life of a node; when it returns, nothing of the node is left.
pub(crate) fn life<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

/// A node over what the one before left, whose journal may still be closing.
pub(crate) async fn open(config: &Config) -> (Runtime, mpsc::Receiver<JournalError>) {
    within(async {
        loop {
            match Runtime::open(config.clone(), None).await {
                Err(StartError::Journal(JournalError::Held { .. })) => tokio::time::sleep(LOOK_AGAIN).await,
                opened => return opened.unwrap(),
            }
        }
    })
    .await
}

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it comes in time")
}

pub(crate) async fn eventually(holds: impl Fn() -> bool) {
    within(async {
        while !holds() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

pub(crate) fn config(folder: &Path, locker: &str, broker: &str) -> Config {
    let text = format!(
        r#"
[[party]]
name = "operator"

[[party]]
name = "locker-co"

[[party]]
name = "sensor-co"

[[ledger]]
id = "calendar"
kind = "calendar"

[[platform]]
owner = "locker-co"
kind = "coap"
url = "coap://{locker}"
[platform.policy]
actions = ["lock"]

[[platform]]
owner = "sensor-co"
kind = "mqtt"
url = "mqtt://{broker}"
mapping = "mapping.toml"
"#
    );
    Config::parse(&text, &folder.join("sofie.toml")).unwrap()
}

/// A device that runs until this is dropped.
pub(crate) struct Running {
    line: serde_json::Value,
    _stop: oneshot::Sender<()>,
}

impl Running {
    pub(crate) fn address(&self) -> String {
        self.line["listening"].as_str().expect("it tells where it listens").into()
    }
}

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
        line = within(line) => line.expect("it is ready"),
        ended = device => panic!("the device ended: {ended:?}"),
    };
    Running { line: serde_json::from_str(&line).unwrap(), _stop: stop }
}

fn millis() -> Millis {
    Arc::new(|| clock::now().as_millis())
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) async fn locker(door: &Path) -> Running {
    let door = PathBuf::from(door);
    start(move |ready, stop| async move {
        let args = locker::Args { listen: loopback(), door, clock: millis(), separate: false };
        locker::run(args, ready, async { drop(stop.await) }).await
    })
    .await
}

pub(crate) async fn broker() -> Running {
    start(move |ready, stop| async move {
        broker::run(broker::Args { listen: loopback() }, ready, async { drop(stop.await) }).await
    })
    .await
}

pub(crate) async fn sensor(broker: &str, topic: &str, door: &Path) -> Running {
    let (broker, topic, door) = (broker.to_owned(), topic.to_owned(), PathBuf::from(door));
    start(move |ready, stop| async move {
        let args = door_sensor::Args { broker, topic, door, clock: millis() };
        door_sensor::run(args, ready, async { drop(stop.await) }).await
    })
    .await
}

/// A line to the broker at an address that stays the same. Nobody answers there while it is cut.
pub(crate) struct Line {
    address: SocketAddr,
    to: String,
    carries: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Line {
    pub(crate) fn new(to: &str) -> Self {
        let address = std::net::TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
        Self { address, to: to.to_owned(), carries: Mutex::new(None) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn connect(&self, on: &tokio::runtime::Runtime) {
        let (address, to) = (self.address, self.to.clone());
        let carrying = on.spawn(async move {
            let listener = loop {
                // The ends of the cut connections may still be about.
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
                }
            };
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let to = to.clone();
                connections.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(&to).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        *self.carries.lock().unwrap() = Some(carrying);
    }

    /// Ends every connection, and takes no new one.
    pub(crate) fn cut(&self) {
        if let Some(carrying) = self.carries.lock().unwrap().take() {
            carrying.abort();
        }
    }
}
