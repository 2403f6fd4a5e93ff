//! The HTTP door over a real socket, with a double of the federation behind it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod admission;
mod bounds;
mod console;
mod double;
mod events;
mod openapi;
mod routes;
mod stop;
mod world;
