//! W3C Web of Things over HTTP: a servient whose Thing Descriptions (TD 1.1) say how its things are read, observed and
//! told to act.

pub mod codec;
mod describe;
mod discovery;
pub mod endpoint;
pub mod events;
mod forms;
mod watch;

pub use endpoint::{WotAdapter, WotConfig};
