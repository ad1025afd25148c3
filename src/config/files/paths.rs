//! Paths as a configuration means them.

use std::path::{Component, Path, PathBuf};

use crate::config::place::Place;

/// The folder of the file that something stands in.
pub(super) fn folder(place: &Place) -> &Path {
    place.source().path().parent().unwrap_or(Path::new(""))
}

/// A path without `.` and without `..` where a folder stands before it: one file has one such path, as far as names tell.
pub(in crate::config) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_plain_path() {
        for (written, expected) in [
            ("a.lua", "a.lua"),
            ("./a.lua", "a.lua"),
            ("config/../plugins/a.lua", "plugins/a.lua"),
            ("config/routes/../../plugins/./a.lua", "plugins/a.lua"),
            ("../plugins/a.lua", "../plugins/a.lua"),
            ("../../a.lua", "../../a.lua"),
            ("/etc/x/../../../a.lua", "/../a.lua"),
        ] {
            assert_eq!(plain(Path::new(written)), Path::new(expected), "{written}");
        }
    }
}
