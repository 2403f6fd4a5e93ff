//! The node: what turns the rooms into a running service. It alone reads the clock, opens files and listens.

pub mod api;
