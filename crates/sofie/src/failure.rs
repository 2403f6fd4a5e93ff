//! Why a command did not do what it was asked: what was tried, why it failed, and what to do.

use std::error::Error;
use std::fmt::Write;

/// What sort of failure it is: the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 1: refused, or failed as the text says.
    Refused,
    /// 2: the command was used wrongly.
    Usage,
    /// 3: the environment lacks something.
    Lacking,
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// `cannot VERB: reason: deeper reason`.
    pub(crate) text: String,
    /// The next step; may be empty.
    pub(crate) next: String,
}

impl Failure {
    /// The thing itself refuses, or it went wrong.
    pub(crate) fn refused(tried: &str, why: impl Into<Box<dyn Error>>, next: &str) -> Self {
        Self::new(Kind::Refused, tried, why, next)
    }

    /// The command line or a file of the user's is wrong.
    pub(crate) fn usage(tried: &str, why: impl Into<Box<dyn Error>>, next: &str) -> Self {
        Self::new(Kind::Usage, tried, why, next)
    }

    /// Something is not there that should be.
    pub(crate) fn lacking(tried: &str, why: impl Into<Box<dyn Error>>, next: &str) -> Self {
        Self::new(Kind::Lacking, tried, why, next)
    }

    fn new(kind: Kind, tried: &str, why: impl Into<Box<dyn Error>>, next: &str) -> Self {
        let mut text = format!("cannot {tried}");
        let why = why.into();
        let mut cause: Option<&dyn Error> = Some(why.as_ref());
        while let Some(error) = cause {
            let said = error.to_string();
            // Some errors repeat their source's words in their own.
            if !text.contains(&said) {
                let _ = write!(text, ": {said}");
            }
            cause = error.source();
        }
        Self { kind, text, next: next.to_owned() }
    }

    pub(crate) const fn code(&self) -> u8 {
        match self.kind {
            Kind::Refused => 1,
            Kind::Usage => 2,
            Kind::Lacking => 3,
        }
    }
}
