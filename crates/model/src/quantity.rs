//! A value with its unit. Numbers are decimal, not binary: an evidence digest must not depend on a float's printing.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// What a property can hold.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// True or false.
    #[n(0)]
    Bool(#[n(0)] bool),
    /// A whole number.
    #[n(1)]
    Integer(#[n(0)] i64),
    /// A decimal fraction or a text, exactly as the device wrote it.
    #[n(2)]
    Text(#[n(0)] String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// A value and its unit: a UCUM code (`Cel`, `kW.h`), or empty for a value that has none.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Quantity {
    /// The value.
    #[n(0)]
    pub value: Value,
    /// UCUM code, or empty.
    #[n(1)]
    pub unit: String,
}

impl Quantity {
    /// A value that has no unit.
    #[must_use]
    pub const fn unitless(value: Value) -> Self {
        Self { value, unit: String::new() }
    }
}
