//! Devices of owners who have never heard of SOFIE: a smart locker that speaks CoAP, a door sensor and a broker that
//! speak MQTT, and a double of a servient that speaks W3C WoT. They share no code with the adapters and nothing with each other but a door ([`door`]).
//!
//! Each has a `run` that tells one JSON line when it is ready and ends when its `stop` does.

pub mod broker;
pub mod door;
pub mod door_sensor;
pub mod locker;
pub mod servient;

use std::{future::Future, io, path::PathBuf, sync::Arc};

/// A device's clock: milliseconds since 1970.
pub type Millis = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Why a device ends early.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Its address is taken, or not this machine's.
    #[error("the {device} cannot listen on {address}: {source}; choose another address")]
    Listen {
        /// Which device.
        device: &'static str,
        /// Where.
        address: String,
        /// The system's words.
        source: io::Error,
    },
    /// The door's file is not there, or not a door.
    #[error("the door in {} cannot be used: {source}; create it first", path.display())]
    Door {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Its socket failed.
    #[error("the {device} has lost its socket: {source}")]
    Socket {
        /// Which device.
        device: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// The broker that it was given is none.
    #[error("{address} is no address of a broker: write it as host:port")]
    NoBroker {
        /// As given.
        address: String,
    },
}

/// Ends when the parent process does (its end of our stdin closes) or asks us to (SIGTERM, SIGINT).
pub async fn told_to_stop() {
    let (sender, parent_gone) = tokio::sync::oneshot::channel();
    // A thread of its own: a blocking read in the runtime would keep the runtime from ending.
    std::thread::spawn(move || {
        let mut sink = io::sink();
        let _ = io::copy(&mut io::stdin().lock(), &mut sink);
        let _ = sender.send(());
    });
    let signal = async {
        use tokio::signal::unix::{SignalKind, signal};
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            }
            // Without handlers the system ends the process by itself.
            _ => std::future::pending().await,
        }
    };
    tokio::select! { _ = parent_gone => {}, () = signal => {} }
}

/// Drives a device until it fails or is stopped.
async fn until<T>(
    stop: impl Future<Output = ()>,
    device: impl Future<Output = Result<T, DeviceError>>,
) -> Result<(), DeviceError> {
    tokio::select! {
        () = stop => Ok(()),
        ended = device => ended.map(|_| ()),
    }
}
