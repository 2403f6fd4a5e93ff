//! Adapters: how a platform that knows nothing of SOFIE is joined to it.
//!
//! One folder a protocol. In each, `codec` is pure (bytes in, typed messages out, and back) and `endpoint` does the
//! I/O. All endpoints stand behind one port ([`Adapter`]); what their messages mean is data ([`binding`]) that an owner
//! can edit. Nothing is learned by writing or acting: introspection only reads.
//!
//! Not here: DTLS and OSCORE for CoAP, TLS and version 5 for MQTT, block-wise transfer (RFC 7959), TLS and credentials for
//! W3C WoT, every binding of oneM2M but HTTP.

mod backoff;
pub mod binding;
pub mod coap;
pub mod conformance;
mod describe;
pub mod fake;
mod http;
mod infer;
pub mod mqtt;
mod once;
pub mod onem2m;
mod outbox;
pub mod port;
mod tally;
pub mod wot;

pub use binding::Binding;
pub use port::{Adapter, AdapterError, Clock, Gate, Outcome, Platform, Refusal, Request, Write};
