//! What a configuration was read from, and whether that holds something else by now.
//!
//! Invariant: contents are compared, and nothing else: no time, no size, no number of a file.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Refusal;
use crate::config::Watch;
use crate::runtime::is_shortage;

/// Of a larger file it is enough to know that it is too large.
const MAX_BYTES: u64 = 16 << 20;

/// Everything that a reading looked at: files, those that are missing too, and folders of which the names count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<(PathBuf, Option<ContentHash>)>,
    folders: Vec<(PathBuf, Vec<OsString>)>,
}

/// Tells a content from others. No more than that: whoever wants another content of the same hash finds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash(u64);

impl ContentHash {
    /// The hash of this content: FNV-1a, the same in each build, so that instances can be compared.
    fn of(bytes: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Sources {
    /// Reads all of these. Takes as long as the disk does. An error if the system is short of descriptors: that a file
    /// cannot be read then is not a change of it.
    pub(super) fn look(Watch { files, folders }: &Watch) -> Result<Self, Refusal> {
        let mut sources = Self::default();
        for path in files {
            let hash = known(path, read(path))?.map(|bytes| ContentHash::of(&bytes));
            sources.files.push((path.clone(), hash));
        }
        for path in folders {
            sources.folders.push((path.clone(), known(path, names(path))?.unwrap_or_default()));
        }
        Ok(sources)
    }

    /// Reads the same again.
    pub(super) fn look_again(&self) -> Result<Self, Refusal> {
        let files = self.files.iter().map(|(path, _)| path.clone()).collect();
        let folders = self.folders().map(Path::to_owned).collect();
        Self::look(&Watch { files, folders })
    }

    /// The files, in the order in which they were asked for, the main one first; `None` where there is nothing to read.
    pub fn files(&self) -> impl Iterator<Item = (&Path, Option<ContentHash>)> {
        self.files.iter().map(|(path, hash)| (path.as_path(), *hash))
    }

    /// The folders of which the names count.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(|(path, _)| path.as_path())
    }

    /// Whether these files, and no others, hold the same in both.
    pub(super) fn hold_the_same(&self, other: &Self) -> bool {
        self.files == other.files
    }

    /// Whether both are of the same files and folders, whatever those hold.
    pub(super) fn are_of(&self, Watch { files, folders }: &Watch) -> bool {
        self.files.iter().map(|(path, _)| path).eq(files) && self.folders.iter().map(|(path, _)| path).eq(folders)
    }

    /// The files that hold something else than those of `before`, that are new, or that are not asked for any more.
    pub(super) fn changed_since<'s>(&'s self, before: &'s Self) -> impl Iterator<Item = &'s Path> {
        let own = self.files.iter().filter(|file| !before.files.contains(file));
        let is_known = |path: &Path| self.files.iter().any(|(known, _)| known == path);
        let gone = before.files.iter().filter(move |(path, _)| !is_known(path));
        own.chain(gone).map(|(path, _)| path.as_path())
    }
}

/// Returns the content of a path: nothing if it cannot be read, and an error if that cannot be known now.
fn known<T>(path: &Path, read: io::Result<T>) -> Result<Option<T>, Refusal> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(source) if is_shortage(&source) => Err(Refusal::Unreadable { path: path.to_owned(), source }),
        Err(_) => Ok(None),
    }
}

/// What is no file, a pipe for instance, is not opened: whoever waits for it may wait for ever.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The names in a folder that may be files of a configuration: what is hidden, and what editors put beside a file, is
/// not.
fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names = fs::read_dir(here)?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.retain(|name| {
        let name = name.to_string_lossy();
        !name.starts_with(['.', '#']) && !name.ends_with('~')
    });
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_seen_and_another_time_is_not() {
        type Change = (&'static str, bool, fn(&Path));
        let changes: [Change; 8] = [
            ("the same once more", false, |folder| fs::write(folder.join("a"), "1").unwrap()),
            ("another content", true, |folder| fs::write(folder.join("a"), "2").unwrap()),
            ("none", true, |folder| fs::remove_file(folder.join("a")).unwrap()),
            ("one that was missing", true, |folder| fs::write(folder.join("missing"), "").unwrap()),
            ("a file that an editor keeps", false, |folder| fs::write(folder.join("routes/.a.yaml.swp"), "").unwrap()),
            ("a copy that an editor keeps", false, |folder| fs::write(folder.join("routes/a.yaml~"), "").unwrap()),
            ("one more", true, |folder| fs::write(folder.join("routes/b.yaml"), "").unwrap()),
            ("a folder that is gone", true, |folder| fs::remove_dir_all(folder.join("routes")).unwrap()),
        ];
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "1").unwrap();
        fs::create_dir(at("routes")).unwrap();
        let mut before =
            Sources::look(&Watch { files: vec![at("a"), at("missing")], folders: vec![at("routes")] }).unwrap();
        for (what, is_another, change) in changes {
            change(folder.path());
            let after = before.look_again().unwrap();
            assert_eq!(after != before, is_another, "{what}");
            before = after;
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_for_want_of_descriptors_is_not_a_file_that_is_gone() {
        use rustix::io::Errno;
        for (errno, is_known) in [
            (Errno::NOENT, true),
            (Errno::ACCESS, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOMEM, false),
        ] {
            let read = || Err::<(), _>(io::Error::from_raw_os_error(errno.raw_os_error()));
            match known(Path::new("a"), read()) {
                Ok(content) => assert!(is_known && content.is_none(), "{errno:?}"),
                Err(refusal) => assert!(!is_known && refusal.is_shortage(), "{errno:?}: {refusal}"),
            }
        }
    }

    #[test]
    fn what_has_changed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| fs::write(at(name), text).unwrap();
        for name in ["main", "same", "gone"] {
            write(name, "1");
        }
        let look =
            |names: [&str; 3]| Sources::look(&Watch { files: names.map(at).to_vec(), folders: Vec::new() }).unwrap();
        let before = look(["main", "same", "gone"]);
        write("main", "2");
        write("new", "1");
        let after = look(["main", "same", "new"]);
        assert!(after.changed_since(&before).eq(["main", "new", "gone"].map(at)));
        assert_eq!(after.changed_since(&after).count(), 0);
    }
}
