//! A simulated world: devices that other owners run, whole worlds from a seed, and the tests of the tree.

pub mod devices;
pub mod simulation;
