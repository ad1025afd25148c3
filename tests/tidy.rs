//! Rules of the house that a compiler does not hold, as tests.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails where it stands, and tells what it saw"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Files over this are not wrong, but are worth a thought: does it serve two purposes?
const LONG: usize = 300;

struct File {
    /// From the top of the project, with `/` between the parts.
    name: String,
    text: String,
}

fn files(folder: &str, ending: &str) -> Vec<File> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "node_modules" {
                walk(&path, found);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(&top.join(folder), &mut paths);
    paths.sort();
    let read = |path: PathBuf| File {
        name: path.strip_prefix(top).unwrap().to_string_lossy().into_owned(),
        text: fs::read_to_string(&path).unwrap(),
    };
    let found: Vec<File> =
        paths.into_iter().filter(|path| path.to_string_lossy().ends_with(ending)).map(read).collect();
    assert!(!found.is_empty(), "there are {ending} files in {folder}");
    found
}

/// Holds each line of the files against `rule`, which says what is wrong with it.
fn check(files: &[File], rule: impl Fn(&File, &str) -> Option<String>) {
    let mut wrong = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            if let Some(what) = rule(file, line) {
                wrong.push(format!("{}:{number}: {what}: {}", file.name, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whether a file of `src` holds the tests of the module above it, which says what it is for.
fn is_test(name: &str) -> bool {
    name.starts_with("src/") && (name.ends_with("/tests.rs") || name.contains("/tests/"))
}

/// Whether a line uses this crate or module: `lapin::`, `use lapin;`. Comments do not.
fn uses(line: &str, path: &str) -> bool {
    let line = line.trim_start();
    let at = line.find(&format!("{path}::"));
    !line.starts_with("//")
        && at.is_some_and(|at| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

#[test]
fn every_file_says_what_it_is_for() {
    let all = files("src", ".rs").into_iter().chain(files("tests", ".rs"));
    let silent: Vec<String> = all
        .filter(|file| {
            !file.text.starts_with("//!") && !file.text.starts_with("#![doc = include_str!") && !is_test(&file.name)
        })
        .map(|file| file.name)
        .collect();
    assert!(silent.is_empty(), "no `//!` header: {silent:?}");
}

#[test]
fn a_crate_from_outside_has_one_home() {
    let homes: [(&str, &[&str]); 13] = [
        ("lapin", &["src/source/amqp/"]),
        ("async_compat", &["src/source/amqp/"]),
        ("sqlx", &["src/lookup/"]),
        ("granit_parser", &["src/config/yaml"]),
        ("mio", &["src/shard/"]),
        ("axum", &["src/admin/"]),
        ("tungstenite", &["src/wire/", "src/listen/head.rs"]),
        ("tokio_tungstenite", &["src/cli/listen.rs"]),
        ("reqwest", &["src/auth/"]),
        ("jsonwebtoken", &["src/auth/jw", "src/config/validate/public_key.rs"]),
        ("mlua", &["src/route/script/"]),
        ("notify", &["src/reload/watch"]),
        ("arc_swap", &["src/reload/live"]),
    ];
    check(&files("src", ".rs"), |file, line| {
        let strayed = |(krate, homes): &(&str, &[&str])| {
            uses(line, krate) && !homes.iter().any(|home| file.name.starts_with(home))
        };
        homes.iter().find(|entry| strayed(entry)).map(|(krate, homes)| format!("`{krate}` lives in {homes:?}"))
    });
}

#[test]
fn folders_know_only_those_below_them() {
    // A folder, and what of the crate it may not see.
    let unseen: [(&str, &[&str]); 9] = [
        ("src/event/", &["auth", "config", "lane", "route", "shard", "source", "wire", "lookup", "reload"]),
        ("src/wire/", &["auth", "config", "lane", "route", "shard", "source", "lookup", "reload"]),
        ("src/connection/", &["auth", "lane", "route", "shard", "source", "lookup", "reload"]),
        ("src/shard/", &["route", "source", "lookup", "reload", "admin"]),
        ("src/lane/", &["source", "connection", "listen", "admin"]),
        ("src/route/", &["lane", "source", "connection", "listen", "admin"]),
        ("src/explain/", &["lane", "source", "connection", "listen", "admin", "pipeline"]),
        ("src/prove/", &["lane", "source", "connection", "listen", "admin", "pipeline"]),
        ("src/config/", &["lane", "shard", "source", "connection", "listen", "admin", "auth"]),
    ];
    check(&files("src", ".rs"), |file, line| {
        let (_, below) = unseen.iter().find(|(folder, _)| file.name.starts_with(folder))?;
        below
            .iter()
            .find(|name| uses(line, &format!("crate::{name}")))
            .map(|name| format!("this folder does not know `{name}`"))
    });
}

#[test]
fn locks_stay_off_the_way_of_an_event() {
    let allowed = ["src/shard/interest.rs", "src/tls/acceptor.rs"];
    check(&files("src", ".rs"), |file, line| {
        let lock = ["Mutex<", "RwLock<", "DashMap<"].into_iter().find(|lock| line.contains(lock))?;
        let off_the_way = ["src/lookup/", "src/auth/", "src/observe/", "src/admin/", "src/cli/"];
        let is_allowed =
            allowed.contains(&file.name.as_str()) || off_the_way.iter().any(|at| file.name.starts_with(at));
        (!is_allowed).then(|| format!("`{lock}` on an event's way"))
    });
}

#[test]
fn nothing_is_left_to_do_and_tests_wait_for_facts() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat(), ["to", "do!("].concat()];
    let all: Vec<File> = files("src", ".rs").into_iter().chain(files("tests", ".rs")).collect();
    check(&all, |_, line| marks.iter().find(|mark| line.contains(mark.as_str())).map(|mark| format!("`{mark}`")));
    let sleeps = [["thread::", "sleep"].concat(), ["time::", "sleep"].concat()];
    let tests: Vec<File> = all.into_iter().filter(|file| file.name.starts_with("tests/it")).collect();
    check(&tests, |_, line| {
        sleeps.iter().find(|sleep| line.contains(sleep.as_str())).map(|_| "waits for time, not for a fact".to_owned())
    });
}

#[test]
fn long_files_are_worth_a_thought() {
    for file in files("src", ".rs").into_iter().chain(files("tests", ".rs")) {
        let lines = file.text.lines().count();
        if lines > LONG {
            println!("{} has {lines} lines", file.name);
        }
        assert!(lines < 2 * LONG, "{} has {lines} lines: it serves two purposes", file.name);
    }
}
