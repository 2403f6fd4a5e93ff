//! oneM2M over HTTP (TS-0004, TS-0009): a common services entity (CSE) with its application entities, their containers and
//! flexContainers. What stands there is read and subscribed to; a content instance is made only where the owner's
//! binding says that it means an action.

pub mod codec;
mod describe;
mod discovery;
pub mod endpoint;
mod listener;
mod watch;

pub use endpoint::{Onem2mAdapter, Onem2mConfig};
