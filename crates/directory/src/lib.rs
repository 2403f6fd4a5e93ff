//! Thing Descriptions: checked, registered, searched, expired.
//!
//! [`parse`] turns the bytes of a W3C Thing Description 1.1 into [`ThingDescription`], or says everything that is wrong
//! with them. Nothing here does I/O, reads a clock or draws randomness.

pub mod canonical;
pub mod discovery;
pub mod json;
pub mod jsonpath;
mod node;
pub mod patch;
pub mod problem;
pub mod store;
mod syntax;
pub mod thing;

pub use problem::{Code, Errors, Problem};
pub use store::{Change, Directory, DirectoryError, Record};
pub use thing::{DataSchema, Form, Operation, Thing, ThingDescription};

/// Reads and checks a Thing Description: [`ThingDescription::parse`].
///
/// # Errors
/// The first fault of the text, or every broken rule of the document.
pub fn parse(bytes: &[u8]) -> Result<ThingDescription, Errors> {
    ThingDescription::parse(bytes)
}
