//! Instants and spans in milliseconds. Nothing here reads a clock: time is an argument.

use std::{fmt, ops};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX time).
///
/// ```
/// use sofie_model::{Span, Timestamp};
/// let start = Timestamp::from_seconds(10);
/// assert_eq!(start + Span::from_millis(500), Timestamp::from_millis(10_500));
/// assert_eq!((start + Span::from_seconds(3)).since(start), Span::from_seconds(3));
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Timestamp(#[n(0)] u64);

/// A length of time in milliseconds, never negative.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Span(#[n(0)] u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the Unix epoch (a block's timestamp); past the year 584 million it stays there.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: what a contract sees.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// True when no fraction of a second is lost on a ledger that counts seconds.
    #[must_use]
    pub const fn is_whole_second(self) -> bool {
        self.0.is_multiple_of(1000)
    }

    /// This instant if it is a whole second, or else the next one that is.
    ///
    /// ```
    /// use sofie_model::Timestamp;
    /// assert_eq!(Timestamp::from_millis(1_001).whole_second(), Timestamp::from_seconds(2));
    /// assert_eq!(Timestamp::from_seconds(2).whole_second(), Timestamp::from_seconds(2));
    /// ```
    #[must_use]
    pub const fn whole_second(self) -> Self {
        Self::from_seconds(self.0.div_ceil(1000))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From whole seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// True when no fraction of a second is lost on a ledger that counts seconds.
    #[must_use]
    pub const fn is_whole_seconds(self) -> bool {
        self.0.is_multiple_of(1000)
    }
}

impl ops::Add<Span> for Timestamp {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl ops::Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl ops::Mul<u64> for Span {
    type Output = Self;

    fn mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl From<Span> for std::time::Duration {
    fn from(span: Span) -> Self {
        Self::from_millis(span.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            millis if millis % 1000 == 0 => write!(f, "{} s", millis / 1000),
            millis => write!(f, "{millis} ms"),
        }
    }
}
