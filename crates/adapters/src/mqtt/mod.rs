//! MQTT 3.1.1 (OASIS Standard, 2014): the client side of one owner's broker.

pub mod codec;
mod confirm;
mod describe;
pub mod endpoint;
mod session;
mod watch;

pub use endpoint::{Credentials, MqttAdapter, MqttConfig, Sampling};
