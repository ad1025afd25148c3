//! Which folders to watch so that no change of a file is missed: the one that it is in, and the one of each symbolic
//! link on the way to it.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links that are followed on one way: as many as the system follows.
const LINKS: usize = 40;

/// Folders by their real path, each with what tells it from another one of the same path.
pub(super) type Folders = BTreeMap<PathBuf, (u64, u64)>;

/// The folders for these files and folders. Where one is missing, the nearest one above it that is there.
pub(super) fn of<'p>(paths: impl Iterator<Item = &'p Path>) -> Folders {
    let mut found = Folders::new();
    for path in paths {
        follow(path, &mut found);
    }
    found
}

fn follow(path: &Path, found: &mut Folders) {
    let Ok(absolute) = std::path::absolute(path) else { return };
    let mut rest: VecDeque<OsString> = parts(&absolute);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() => {
                add(&at, found);
                links += 1;
                let Some(target) = fs::read_link(&next).ok().filter(|_| links <= LINKS) else { return };
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    rest.push_front(part);
                }
            }
            Ok(metadata) if metadata.is_dir() => at = next,
            // A file, where the way ends; or nothing, which may come.
            Ok(_) | Err(_) => return add(&at, found),
        }
    }
    add(&at, found);
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(part).collect()
}

fn add(folder: &Path, found: &mut Folders) {
    if let Ok(metadata) = fs::metadata(folder) {
        found.insert(folder.to_owned(), (metadata.dev(), metadata.ino()));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The folders for a path below a new folder that `make` has filled, as seen from there.
    fn check(path: &str, make: impl FnOnce(&Path), expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        make(&top);
        let found = of([top.join(path).as_path()].into_iter());
        let found: Vec<_> = found.keys().map(|path| path.strip_prefix(&top).unwrap().to_str().unwrap()).collect();
        assert_eq!(found, expected, "{path}");
    }

    fn file(path: PathBuf) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn a_file_is_watched_by_its_folder() {
        check("etc/a.yaml", |top| file(top.join("etc/a.yaml")), &["etc"]);
        check("etc", |top| file(top.join("etc/a.yaml")), &["etc"]);
    }

    #[test]
    fn each_link_on_the_way_is_watched_by_its_folder() {
        let config_map = |top: &Path| {
            file(top.join("etc/..2026_1/a.yaml"));
            symlink("..2026_1", top.join("etc/..data")).unwrap();
            symlink("..data/a.yaml", top.join("etc/a.yaml")).unwrap();
        };
        check("etc/a.yaml", config_map, &["etc", "etc/..2026_1"]);
        let release = |top: &Path| {
            file(top.join("releases/v2/conf/a.yaml"));
            symlink(top.join("releases/v2"), top.join("current")).unwrap();
        };
        check("current/conf/a.yaml", release, &["", "releases/v2/conf"]);
        let upwards = |top: &Path| {
            file(top.join("other/a.yaml"));
            fs::create_dir(top.join("etc")).unwrap();
            symlink("../other/a.yaml", top.join("etc/a.yaml")).unwrap();
        };
        check("etc/a.yaml", upwards, &["etc", "other"]);
    }

    #[test]
    fn what_is_missing_is_watched_from_above() {
        check("etc/pointsman/a.yaml", |top| fs::create_dir(top.join("etc")).unwrap(), &["etc"]);
        check("etc/a.yaml", |top| symlink("nowhere/b", top.join("etc")).unwrap(), &[""]);
        check("a", |top| symlink("a", top.join("a")).unwrap(), &[""]);
    }

    #[test]
    fn a_folder_that_was_made_anew_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etc/a.yaml");
        file(path.clone());
        let before = of([path.as_path()].into_iter());
        // Kept, so that its number is not used again.
        fs::rename(folder.path().join("etc"), folder.path().join("old")).unwrap();
        file(path.clone());
        assert_ne!(of([path.as_path()].into_iter()), before);
    }
}
