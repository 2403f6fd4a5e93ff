//! A simulated world: devices that other owners run, and the tests of the tree.

pub mod devices;
