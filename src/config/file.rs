//! Which configuration: a file, or the one that the program carries.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// A file.
    Disk(PathBuf),
    /// The embedded default: demo tenants in memory, and the demo page.
    Embedded,
}

impl ConfigFile {
    /// Read where no other file is named.
    pub const DEFAULT: &str = "config/pointsman.yaml";

    /// The file asked for; or else the default one, where the working directory has it; or else the embedded one.
    pub fn choose(asked: Option<PathBuf>) -> Self {
        match asked {
            Some(path) => Self::Disk(path),
            // One that cannot be looked at is chosen all the same, so that reading it says why.
            None if Path::new(Self::DEFAULT).try_exists().unwrap_or(true) => Self::Disk(Self::DEFAULT.into()),
            None => Self::Embedded,
        }
    }
}

impl fmt::Display for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path) => path.display().fmt(f),
            Self::Embedded => f.write_str("<embedded>/pointsman.yaml"),
        }
    }
}

/// The files that the program carries, by their names relative to the embedded configuration.
const EMBEDDED: [(&str, &str); 2] = [
    ("pointsman.yaml", include_str!("../../config/pointsman.yaml")),
    ("demo.sql", include_str!("../../config/demo.sql")),
];

/// The text of an embedded file, by its name relative to the embedded configuration: `pointsman.yaml`, `demo.sql`.
pub fn embedded(name: &str) -> Option<&'static str> {
    EMBEDDED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of all embedded files.
pub(super) fn embedded_names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(name, _)| *name)
}
