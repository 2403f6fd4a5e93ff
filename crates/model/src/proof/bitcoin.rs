//! What SOFIE writes on Bitcoin: the lock's script, and the marks by which everything is found.

mod mark;
pub mod script;

pub use mark::{MARK_BYTES, Mark, PREFIX};
