//! What is known of a reading beside what was read: which files it came from, what would change it, and which sections
//! differ from those of another reading.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::node::{Kind, Map, Node};
use crate::event::Scalar;

/// A file that a configuration was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Tells its content from others: 16 hexadecimal digits, the same in each build.
    pub hash: String,
}

/// Whatever a reading looked at: a change of any of it may lead to another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// All files that were asked for, those that are missing too.
    pub files: Vec<PathBuf>,
    /// Folders whose names count: those of patterns, and those of rule tests. They may be missing.
    pub folders: Vec<PathBuf>,
}

/// Tells each section of the whole (`database`, `auth`, `limits`) from that of another reading by this process, with
/// all files that it reads: whitespace, comments and where its values are split among files do not count, but relative
/// paths are another thing in another folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections(BTreeMap<String, u64>);

impl Sections {
    /// Whether a section is the same in both readings, or missing in both.
    pub fn same(&self, other: &Self, section: &str) -> bool {
        self.0.get(section) == other.0.get(section)
    }

    /// The sections that are not the same in both, by name.
    pub fn changed<'s>(&'s self, other: &'s Self) -> Vec<&'s str> {
        let gone = other.0.keys().filter(|name| !self.0.contains_key(*name));
        let differs = self.0.iter().filter(|(name, print)| other.0.get(*name) != Some(print)).map(|(name, _)| name);
        let mut names: Vec<&str> = differs.chain(gone).map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The fingerprints of a whole configuration's sections.
    pub(super) fn of(root: &Node) -> Self {
        let Kind::Map(map) = &root.kind else { return Self::default() };
        let print = |node: &Node| {
            let mut hasher = keyed().build_hasher();
            add_node(node, &mut hasher);
            hasher.finish()
        };
        let given = map.entries.iter().filter(|(key, value)| key.text != "include" && !value.is_null());
        Self(given.map(|(key, value)| (key.text.clone(), print(value))).collect())
    }

    /// A file that a section reads, by name.
    pub(super) fn add_file(&mut self, section: &str, path: &Path, content: u64) {
        let known = self.0.get(section).copied().unwrap_or_default();
        self.0.insert(section.to_owned(), keyed().hash_one((known, path, content)));
    }
}

/// One key for this process: a section is made to look like another one by nobody.
fn keyed() -> &'static RandomState {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new)
}

fn add_node(node: &Node, hasher: &mut impl Hasher) {
    std::mem::discriminant(&node.kind).hash(hasher);
    match &node.kind {
        Kind::Scalar(written) => {
            // What is text by itself is the same with quotes; `7` and `"7"` are not.
            matches!(written.value(), Scalar::Text(_)).hash(hasher);
            written.text.hash(hasher);
            node.place.source().path().parent().hash(hasher);
        }
        Kind::List(items) => {
            items.len().hash(hasher);
            for item in items {
                add_node(item, hasher);
            }
        }
        Kind::Map(Map { entries, .. }) => {
            entries.len().hash(hasher);
            for (key, value) in entries {
                key.text.hash(hasher);
                add_node(value, hasher);
            }
        }
        Kind::Faulty => {}
    }
}
