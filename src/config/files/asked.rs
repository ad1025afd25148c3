//! The files that were asked for, and what tells their contents from others.

use std::path::{Path, PathBuf};

use super::plain;
use crate::config::reading::{LoadedFile, Sections};

/// All files that were asked for, in order.
#[derive(Default)]
pub(super) struct Asked {
    files: Vec<File>,
    /// All that was read, in order.
    hash: Hash,
    /// What is read now is a part of this section.
    section: Option<&'static str>,
}

/// A file that was asked for.
struct File {
    path: PathBuf,
    /// The hash of its content, where it could be read.
    content: Option<u64>,
    /// The section that it is a part of, where that is not the text of the configuration itself.
    section: Option<&'static str>,
}

/// The FNV-1a hash of what was read: the same in each build, so that instances can be compared. No more than that: whoever
/// wants another content of the same hash finds one.
struct Hash(u64);

impl Asked {
    /// Tells all that was read, in the order in which it was.
    pub(super) fn hash(&self) -> String {
        format!("{:016x}", self.hash.0)
    }

    /// What is asked for from now on is a part of this section.
    pub(super) fn enter(&mut self, section: &'static str) {
        self.section = Some(section);
    }

    /// Notes a file that was asked for, and its content where it could be read.
    pub(super) fn note(&mut self, path: &Path, content: Option<&[u8]>) {
        let known = self.files.iter().position(|file| file.path == path);
        let index = known.unwrap_or_else(|| {
            self.files.push(File { path: path.to_owned(), content: None, section: self.section });
            self.files.len() - 1
        });
        if let Some(bytes) = content {
            self.hash.add(bytes);
            let mut own = Hash::default();
            own.add(bytes);
            self.files[index].content = Some(own.0);
        } else {
            // So that a file that appears, or becomes one that can be read, makes a difference.
            self.hash.add(b"unread");
        }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    /// Those that could be read.
    pub(super) fn read(&self) -> Vec<LoadedFile> {
        let read = |file: &File| Some(LoadedFile { path: file.path.clone(), hash: format!("{:016x}", file.content?) });
        self.files.iter().filter_map(read).collect()
    }

    /// Whether this one could be read.
    pub(super) fn has_read(&self, path: &Path) -> bool {
        let path = plain(path);
        self.files.iter().any(|file| file.content.is_some() && plain(&file.path) == path)
    }

    /// Adds those that sections are made of to what tells sections apart.
    pub(super) fn add_to(&self, sections: &mut Sections) {
        for File { path, content, section } in &self.files {
            if let (Some(section), Some(content)) = (section, content) {
                sections.add_file(section, path, *content);
            }
        }
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// Adds a file: its length too, so that what moves from one to the next is seen.
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&bytes.len().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
