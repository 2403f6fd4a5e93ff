//! CoAP (RFC 7252) over UDP: the client side of one server of one owner.

pub mod codec;
mod describe;
pub mod endpoint;
pub mod exchange;
mod link;
pub mod link_format;
mod watch;

pub use endpoint::{CoapAdapter, CoapConfig};
