//! What can be wrong with a config, and where.

use std::{fmt, path::PathBuf};

/// A config or command line that is refused. Its `Display` is one line: where, which key, what is wrong, what is
/// allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    at: At,
    what: String,
}

impl ConfigError {
    /// A complaint about the command line or the environment.
    pub(crate) fn program(key: &str, what: impl Into<String>) -> Self {
        At::program(key).error(what)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.at.place {
            Place::Line { file, line } => format!("{}:{line}", file.display()),
            Place::File(file) => file.display().to_string(),
            Place::Program => "msgd".to_owned(),
        };
        let key = if self.at.key.is_empty() { String::new() } else { format!("{}: ", self.at.key) };
        // One line is a contract: what is quoted from a config may hold anything.
        let line = format!("{place}: {key}{}", self.what);
        line.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_debug()) } else { write!(f, "{c}") }
        })
    }
}

impl std::error::Error for ConfigError {}

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct At {
    place: Place,
    key: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Line {
        file: PathBuf,
        line: usize,
    },
    File(PathBuf),
    /// The command line, the environment, or the system.
    Program,
}

impl At {
    pub(crate) fn line(file: impl Into<PathBuf>, line: usize, key: impl Into<String>) -> Self {
        Self { place: Place::Line { file: file.into(), line }, key: key.into() }
    }

    pub(crate) fn file(file: impl Into<PathBuf>) -> Self {
        Self { place: Place::File(file.into()), key: String::new() }
    }

    pub(crate) fn program(key: impl Into<String>) -> Self {
        Self { place: Place::Program, key: key.into() }
    }

    /// The same place, another key.
    pub(crate) fn with_key(&self, key: String) -> Self {
        Self { place: self.place.clone(), key }
    }

    pub(crate) fn error(&self, what: impl Into<String>) -> ConfigError {
        ConfigError { at: self.clone(), what: what.into() }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) at: At,
}
