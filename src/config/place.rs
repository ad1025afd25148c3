//! Configuration files as they were read, and places in them.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The text of one file, and what it is called in messages.
pub(super) struct SourceFile {
    path: PathBuf,
    name: String,
    text: String,
    /// Where each line starts, in bytes.
    lines: Vec<usize>,
}

/// A part of a file: what a diagnostic points at.
#[derive(Clone)]
pub struct Place {
    file: Arc<SourceFile>,
    start: usize,
    end: usize,
}

impl SourceFile {
    /// A file of this path. In messages it is called `name`.
    pub(super) fn new(path: PathBuf, name: String, text: String) -> Arc<Self> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Arc::new(Self { path, name, text, lines })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of a line, counted from 0, without its end.
    pub(super) fn line(&self, index: usize) -> Range<usize> {
        let start = self.lines.get(index).copied().unwrap_or(self.text.len());
        let end = self.lines.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        start..end
    }

    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

impl Place {
    /// The bytes `range` of `file`, brought inside of it and to whole characters.
    pub(super) fn new(file: &Arc<SourceFile>, range: Range<usize>) -> Self {
        let start = file.text.floor_char_boundary(range.start);
        let end = file.text.ceil_char_boundary(range.end.max(start));
        Self { file: Arc::clone(file), start, end }
    }

    /// The very start of a file.
    pub(super) fn start_of(file: &Arc<SourceFile>) -> Self {
        Self::new(file, 0..0)
    }

    pub(super) fn source(&self) -> &Arc<SourceFile> {
        &self.file
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// What stands there, as written.
    pub(super) fn text(&self) -> &str {
        &self.file.text[self.start..self.end]
    }

    /// What stands there, as written, for a message: without quotes, and its first line alone.
    pub(super) fn shown(&self) -> &str {
        let line = self.text().lines().next().unwrap_or_default();
        line.trim_matches(['"', '\''])
    }

    /// A part of this place, by bytes counted from its start.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        Self::new(&self.file, self.start + range.start..(self.start + range.end).min(self.end))
    }

    /// The file, as messages call it.
    pub fn file(&self) -> &str {
        &self.file.name
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.file.line_of(self.start) + 1
    }

    /// The column, counted from 1, in characters.
    pub fn column(&self) -> usize {
        let line = self.file.line(self.line() - 1);
        self.file.text[line.start..self.start].chars().count() + 1
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file(), self.line(), self.column())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}
