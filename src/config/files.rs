//! Reading: the files of one configuration, from the disk or from the program itself.
//!
//! Invariant: the only place of this folder with I/O. Reading is bounded, whatever a path leads to.

mod asked;
mod paths;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::asked::Asked;
use self::paths::folder;
use super::diagnostics::Diagnostics;
use super::file::{ConfigFile, embedded, embedded_names};
use super::place::{Place, SourceFile};
use super::raw::{At, FileName, Text};
use super::reading::{LoadedFile, Sections, Watch};
use crate::runtime::is_shortage;

pub(super) use self::paths::plain;

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// The files of one configuration, and what has been looked at.
pub(super) struct Files {
    embedded: bool,
    /// All that were asked for.
    asked: Asked,
    /// Folders whose names were looked at.
    folders: Vec<PathBuf>,
    /// A file that could not be read because the system was short of descriptors: that says nothing of the file.
    postponed: Option<(PathBuf, io::Error)>,
}

/// Why a file has no text.
enum NoText {
    Unreadable(io::Error),
    TooLarge,
}

impl Files {
    pub(super) fn of(file: &ConfigFile) -> Self {
        Self { embedded: *file == ConfigFile::Embedded, asked: Asked::default(), folders: Vec::new(), postponed: None }
    }

    /// Tells the content of what was read, in the order in which it was.
    pub(super) fn hash(&self) -> String {
        self.asked.hash()
    }

    /// What is read from now on is a part of this section.
    pub(super) fn enter(&mut self, section: &'static str) {
        self.asked.enter(section);
    }

    /// All files that could be read, in the order in which they were asked for.
    pub(super) fn read(&self) -> Vec<LoadedFile> {
        self.asked.read()
    }

    /// A file that cannot be read now, and why, if there is one. What was read without it is not the configuration.
    pub(super) fn postponed(&mut self) -> Option<(PathBuf, io::Error)> {
        self.postponed.take()
    }

    fn postpone(&mut self, path: &Path, error: &io::Error) {
        if let Some(code) = error.raw_os_error().filter(|_| is_shortage(error)) {
            self.postponed = Some((path.to_owned(), io::Error::from_raw_os_error(code)));
        }
    }

    /// All that was looked at.
    pub(super) fn watch(&self) -> Watch {
        Watch { files: self.asked.paths(), folders: self.folders.clone() }
    }

    /// Adds the files that sections are made of to what tells them apart.
    pub(super) fn add_to(&self, sections: &mut Sections) {
        self.asked.add_to(sections);
    }

    /// Reads the main file. `Err` where it cannot be read at all; what is wrong with what was read is reported.
    pub(super) fn read_main(
        &mut self,
        file: &ConfigFile,
        diagnostics: &mut Diagnostics,
    ) -> Result<Option<Arc<SourceFile>>, io::Error> {
        let path = match file {
            ConfigFile::Disk(path) => path.clone(),
            ConfigFile::Embedded => PathBuf::from("pointsman.yaml"),
        };
        match self.bytes(&path) {
            Ok(bytes) => Ok(self.text(path, bytes, diagnostics)),
            Err(NoText::Unreadable(error)) => Err(error),
            Err(NoText::TooLarge) => {
                let empty = SourceFile::new(path.clone(), self.name(&path), String::new());
                diagnostics.error(&Place::start_of(&empty), too_large());
                Ok(None)
            }
        }
    }

    /// Reads a file that another one names, relative to that one.
    pub(super) fn read_beside(&mut self, named: &At<Text>, diagnostics: &mut Diagnostics) -> Option<Arc<SourceFile>> {
        let path = folder(&named.place).join(&named.value.text);
        self.read_named(path, named, diagnostics)
    }

    /// Where a file is that another one names, relative to that one, for those who read it themselves.
    pub(super) fn beside(named: &At<FileName>) -> PathBuf {
        folder(&named.place).join(&named.value.text)
    }

    /// As [`beside`](Self::beside), for a folder.
    pub(super) fn beside_text(named: &At<Text>) -> PathBuf {
        folder(&named.place).join(&named.value.text)
    }

    /// As [`read_beside`](Self::read_beside), for a file that is no text of ours: answers its path, and its bytes.
    pub(super) fn bytes_beside(
        &mut self,
        named: &At<Text>,
        diagnostics: &mut Diagnostics,
    ) -> Option<(PathBuf, Vec<u8>)> {
        let path = folder(&named.place).join(&named.value.text);
        let bytes = self.bytes_named(&path, named, diagnostics)?;
        Some((path, bytes))
    }

    /// Reads the files that a pattern stands for, in the order of their names. A path without `*` is one file.
    pub(super) fn read_matching(&mut self, pattern: &At<Text>, diagnostics: &mut Diagnostics) -> Vec<Arc<SourceFile>> {
        let path = folder(&pattern.place).join(&pattern.value.text);
        let is_pattern = |text: &str| text.contains(['*', '?']);
        let parent = path.parent().unwrap_or(Path::new(""));
        if is_pattern(&Path::new(&pattern.value.text).parent().unwrap_or(Path::new("")).to_string_lossy()) {
            let message = "`*` may stand in the last part of a path alone";
            diagnostics.error(&pattern.place, message).help("write a line for each folder");
            return Vec::new();
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !is_pattern(&name) {
            return self.read_named(path, pattern, diagnostics).into_iter().collect();
        }
        let paths = match self.matching(parent, &name) {
            Ok(paths) => paths,
            Err(error) => {
                let why = match error.kind() {
                    io::ErrorKind::NotFound => "there is no such folder".to_owned(),
                    _ => error.to_string(),
                };
                let message = format!("the folder of `{}` cannot be read: {why}", pattern.shown());
                diagnostics.error(&pattern.place, message);
                return Vec::new();
            }
        };
        if paths.is_empty() {
            diagnostics.warning(&pattern.place, format!("no file matches `{}`", pattern.shown()));
        }
        paths.into_iter().filter_map(|path| self.read_named(path, pattern, diagnostics)).collect()
    }

    /// The folder of the file that something stands in, where that is on the disk.
    pub(super) fn folder_of(&self, place: &Place) -> Option<String> {
        (!self.embedded).then(|| folder(place).to_string_lossy().into_owned())
    }

    /// The files of a folder whose names a pattern matches, by name.
    pub(super) fn matching(&mut self, parent: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let glob = crate::event::Glob::new(pattern);
        let here = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        if !self.folders.iter().any(|known| known == here) {
            self.folders.push(here.to_owned());
        }
        if self.embedded {
            let names = embedded_names().map(Path::new).filter(|path| path.parent() == Some(parent));
            let names = names.filter(|path| path.file_name().is_some_and(|name| glob.matches(&name.to_string_lossy())));
            return Ok(names.map(Path::to_owned).collect());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(here).inspect_err(|error| self.postpone(here, error))? {
            let name = entry?.file_name();
            let text = name.to_string_lossy();
            // As shells do: what is hidden is asked for by name. Editors and mounts keep their own files there.
            if glob.matches(&text) && (!text.starts_with('.') || pattern.starts_with('.')) {
                names.push(parent.join(&name));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether there is such a file.
    pub(super) fn exists(&self, path: &Path) -> bool {
        if self.embedded { path.to_str().and_then(embedded).is_some() } else { path.exists() }
    }

    /// Whether such a file was read.
    pub(super) fn has_read(&self, path: &Path) -> bool {
        self.asked.has_read(path)
    }

    /// Reads a file that was found, not named: a fault of reading it is said at its start.
    pub(super) fn read_found(&mut self, path: PathBuf, diagnostics: &mut Diagnostics) -> Option<Arc<SourceFile>> {
        let message = match self.bytes(&path) {
            Ok(bytes) => return self.text(path, bytes, diagnostics),
            Err(NoText::Unreadable(error)) => format!("the file cannot be read: {}", plainly(&error)),
            Err(NoText::TooLarge) => too_large(),
        };
        let empty = SourceFile::new(path.clone(), self.name(&path), String::new());
        diagnostics.error(&Place::start_of(&empty), message);
        None
    }

    /// Reads a file at `path`, which `named` leads to. What does not look like a file's name may be a secret, and is not
    /// repeated.
    pub(super) fn read_script(
        &mut self,
        path: PathBuf,
        named: &At<FileName>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Arc<SourceFile>> {
        let shown = if named.value.expanded { named.place.shown().to_owned() } else { self.name(&path) };
        let why = match self.bytes(&path) {
            Ok(bytes) => return self.text(path, bytes, diagnostics),
            Err(NoText::Unreadable(error)) => format!("`{shown}` cannot be read: {}", plainly(&error)),
            Err(NoText::TooLarge) => format!("`{shown}`: {}", too_large()),
        };
        if named.value.is_name {
            diagnostics.error(&named.place, why);
        } else {
            let help = "write the name of a Lua file: tasks.lua";
            diagnostics.error(&named.place, "this names no file that can be read").help(help);
        }
        None
    }

    fn read_named(
        &mut self,
        path: PathBuf,
        named: &At<Text>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Arc<SourceFile>> {
        let bytes = self.bytes_named(&path, named, diagnostics)?;
        self.text(path, bytes, diagnostics)
    }

    fn bytes_named(&mut self, path: &Path, named: &At<Text>, diagnostics: &mut Diagnostics) -> Option<Vec<u8>> {
        let shown = if named.value.expanded { named.shown().to_owned() } else { self.name(path) };
        match self.bytes(path) {
            Ok(bytes) => Some(bytes),
            Err(NoText::Unreadable(error)) => {
                diagnostics.error(&named.place, format!("`{shown}` cannot be read: {}", plainly(&error)));
                None
            }
            Err(NoText::TooLarge) => {
                diagnostics.error(&named.place, format!("`{shown}`: {}", too_large()));
                None
            }
        }
    }

    fn bytes(&mut self, path: &Path) -> Result<Vec<u8>, NoText> {
        let read = self.bytes_of(path);
        if let Err(NoText::Unreadable(error)) = &read {
            self.postpone(path, error);
        }
        self.asked.note(path, read.as_deref().ok());
        read
    }

    fn bytes_of(&self, path: &Path) -> Result<Vec<u8>, NoText> {
        let mut bytes = Vec::new();
        if self.embedded {
            let text = path.to_str().and_then(embedded);
            let text = text.ok_or_else(|| NoText::Unreadable(io::ErrorKind::NotFound.into()))?;
            bytes.extend_from_slice(text.as_bytes());
        } else {
            // A pipe is not opened: whoever waits for one to say something may wait for ever.
            if !fs::metadata(path).map_err(NoText::Unreadable)?.is_file() {
                return Err(NoText::Unreadable(io::Error::other("it is no regular file")));
            }
            let file = File::open(path).map_err(NoText::Unreadable)?;
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(NoText::Unreadable)?;
        }
        if bytes.len() as u64 > MAX_BYTES {
            return Err(NoText::TooLarge);
        }
        Ok(bytes)
    }

    fn text(&self, path: PathBuf, bytes: Vec<u8>, diagnostics: &mut Diagnostics) -> Option<Arc<SourceFile>> {
        let name = self.name(&path);
        match String::from_utf8(bytes) {
            Ok(text) => Some(SourceFile::new(path, name, text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let file = SourceFile::new(path, name, String::from_utf8_lossy(error.as_bytes()).into_owned());
                let place = Place::new(&file, at..at + 1);
                diagnostics.guess_secrets(&place);
                diagnostics.error(&place, "the file is not UTF-8 here").help("save it as UTF-8");
                None
            }
        }
    }

    /// What a file is called: by the shortest path that leads to it. Where a folder is a link, `..` behind it is kept.
    fn name(&self, path: &Path) -> String {
        if self.embedded {
            return format!("<embedded>/{}", path.display());
        }
        let short = plain(path);
        let is_same =
            || matches!((fs::canonicalize(path), fs::canonicalize(&short)), (Ok(left), Ok(right)) if left == right);
        let shown = if short.as_os_str().len() < path.as_os_str().len() && is_same() { &short } else { path };
        shown.display().to_string()
    }
}

fn too_large() -> String {
    format!("the file is larger than {} KiB", MAX_BYTES >> 10)
}

fn plainly(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    }
}
