//! What is wrong with a configuration, for a person to mend.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot be read: {source}; name another file with -c, or write one (docs/guide/configuration.md)", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("{}: it has more than {limit} bytes, as no configuration has; is it the right file?", file.display())]
    TooLarge {
        /// Which file.
        file: PathBuf,
        /// [`super::MAX_CONFIG`].
        limit: usize,
    },
    /// The file says something that cannot be.
    #[error("{}", Lines { file, faults })]
    Faults {
        /// Which file.
        file: PathBuf,
        /// Everything that is wrong, in the order of the file; never empty.
        faults: Vec<Fault>,
    },
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The section and key, what is wrong with it, and what to do.
    pub message: String,
}

impl Fault {
    /// With the file's name, for a person.
    #[must_use]
    pub fn shown(&self, file: &Path) -> String {
        format!("{}:{}:{}: {}", file.display(), self.line, self.column, self.message)
    }

    /// At a byte of `source`.
    pub(super) fn at(source: &str, offset: usize, message: String) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
        }
    }
}

struct Lines<'a> {
    file: &'a PathBuf,
    faults: &'a [Fault],
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{}", fault.shown(self.file))?;
        }
        Ok(())
    }
}
