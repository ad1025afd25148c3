//! Why the files do not come into force.

use std::path::PathBuf;
use std::{fmt, io};

use crate::auth::ProviderError;
use crate::config::{Diagnostics, LoadError};
use crate::lookup::OpenError;
use crate::prove::Proof;
use crate::runtime::is_shortage;

/// Why the files do not come into force. What was in force before goes on.
#[derive(Debug)]
pub enum Refusal {
    /// The main file cannot be read, or the system is short of what it takes to read this file.
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files held something else each time that they were read.
    Unsteady,
    /// Reading, compiling or testing has not come to an end in its time.
    Hangs,
    /// What was read is no valid configuration.
    Invalid(Diagnostics),
    /// Plugins do not compile, or lack what rules ask of them.
    Plugins(Diagnostics),
    /// Rule tests failed.
    Tests(Proof),
    /// The database can never answer.
    Database(OpenError),
    /// A provider of identities can never be asked.
    Provider(ProviderError),
    /// A lane could not prepare for it, for this reason.
    Lanes(String),
    /// There was no other generation before this one.
    NothingBefore,
    /// The program itself is at fault.
    Broken(String),
}

impl Refusal {
    /// The kind of reason, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::Unsteady | Self::Hangs => "read",
            Self::Invalid(_) => "config",
            Self::Plugins(_) => "plugins",
            Self::Tests(_) => "tests",
            Self::Database(_) => "database",
            Self::Provider(_) => "auth",
            Self::Lanes(_) => "lanes",
            Self::NothingBefore => "nothing_before",
            Self::Broken(_) => "broken",
        }
    }

    /// What is wrong with the files, where that can be said by place.
    pub fn diagnostics(&self) -> Option<&Diagnostics> {
        match self {
            Self::Invalid(diagnostics) | Self::Plugins(diagnostics) => Some(diagnostics),
            _ => None,
        }
    }

    /// Whether nothing is known of the files, because the system was short of what it takes to read them. They can be
    /// read later.
    pub(super) fn is_shortage(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if is_shortage(source))
    }

    /// Whether the files are at fault, and not what is around them.
    pub fn is_about_the_files(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::Plugins(_) | Self::Tests(_))
    }
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unreadable { path, source } => Self::Unreadable { path, source },
            LoadError::Invalid(diagnostics) => Self::Invalid(diagnostics),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Unsteady => f.write_str("the files change faster than they can be read"),
            Self::Hangs => f.write_str("reading or testing the files takes too long"),
            Self::Invalid(diagnostics) => write!(f, "the configuration has {}", errors(diagnostics)),
            Self::Plugins(diagnostics) => write!(f, "the plugins have {}", errors(diagnostics)),
            Self::Tests(proof) => {
                write!(f, "{} of {} rule tests failed", proof.failed().count(), proof.tested.len())
            }
            Self::Database(error) => error.fmt(f),
            Self::Provider(error) => error.fmt(f),
            Self::Lanes(said) => write!(f, "the lanes cannot take it up: {said}"),
            Self::NothingBefore => f.write_str("there is no generation before this one"),
            Self::Broken(said) => write!(f, "the attempt broke off: {said}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// How many there are, and the first of them.
fn errors(diagnostics: &Diagnostics) -> String {
    let count = diagnostics.errors();
    let first = diagnostics.iter().find(|diagnostic| diagnostic.severity == crate::config::Severity::Error);
    let first = first.map(|first| format!(": {}: {}", first.place, first.message)).unwrap_or_default();
    format!("{count} error{}{first}", if count == 1 { "" } else { "s" })
}
