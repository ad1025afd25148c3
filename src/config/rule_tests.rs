//! Which files of rule tests belong to a configuration, and what they hold.
//!
//! They are `tests/*.yaml` beside the main file, and beside each plugin that it calls. One that is called like another
//! file of the folder above (`tests/rights.yaml` beside `rights.lua`, `tests/rabbitmq.yaml` beside `rabbitmq.yaml`)
//! is about that one, and is left out where it is no part of the configuration.

use std::io;
use std::path::{Path, PathBuf};

use super::diagnostics::Diagnostics;
use super::file::ConfigFile;
use super::files::{Files, plain};
use super::model::{Config, PluginFile, RuleTest};
use super::node::Kind;
use super::place::{Place, SourceFile};
use super::raw::{At, FromNode, RawRuleTest};
use super::validate::{Known, rule_tests};
use super::yaml;

/// Where tests are, beside what they are about.
const FOLDER: &str = "tests";
/// What a file of tests may be about.
const ABOUT: [&str; 3] = ["yaml", "yml", "lua"];

/// Reads all tests of a configuration. Where it is faulty there is none (`None`), and then names of it are not checked.
pub(super) fn read(
    main: &ConfigFile,
    config: Option<&Config>,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Vec<RuleTest> {
    files.enter(FOLDER);
    // What is faulty may lack names that it has.
    let known = Known(config.filter(|_| diagnostics.errors() == 0));
    let mut tests = Vec::new();
    for folder in folders(main, config) {
        for path in found(&folder, files, diagnostics) {
            if !is_about_another(&path, &folder, files) {
                tests.extend(file(path, &known, files, diagnostics));
            }
        }
    }
    tests
}

/// The folders that tests are beside: the main file's, then those of plugins, each once.
fn folders(main: &ConfigFile, config: Option<&Config>) -> Vec<PathBuf> {
    let main = match main {
        ConfigFile::Disk(path) => path.as_path(),
        ConfigFile::Embedded => Path::new(""),
    };
    let plugins = config.map_or(&[][..], |config| &config.plugins.files).iter().map(PluginFile::path);
    let mut folders: Vec<PathBuf> = Vec::new();
    for path in std::iter::once(main).chain(plugins) {
        let folder = path.parent().unwrap_or(Path::new(""));
        if !folders.iter().any(|known| plain(known) == plain(folder)) {
            folders.push(folder.to_owned());
        }
    }
    folders
}

fn found(folder: &Path, files: &mut Files, diagnostics: &mut Diagnostics) -> Vec<PathBuf> {
    let tests = folder.join(FOLDER);
    match files.matching(&tests, "*.yaml") {
        Ok(paths) => paths,
        // No tests are no fault.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Vec::new(),
        Err(error) => {
            let place = Place::start_of(&SourceFile::new(tests.clone(), tests.display().to_string(), String::new()));
            diagnostics.error(&place, format!("the folder cannot be read: {error}"));
            Vec::new()
        }
    }
}

/// Whether a file of tests is called like a file of the folder above that is no part of the configuration.
fn is_about_another(path: &Path, folder: &Path, files: &Files) -> bool {
    let Some(stem) = path.file_stem() else { return false };
    let namesakes = ABOUT.map(|ending| folder.join(stem).with_added_extension(ending));
    let mut there = namesakes.iter().filter(|path| files.exists(path)).peekable();
    there.peek().is_some() && !there.any(|path| files.has_read(path))
}

fn file(path: PathBuf, known: &Known<'_>, files: &mut Files, diagnostics: &mut Diagnostics) -> Vec<RuleTest> {
    let Some(source) = files.read_found(path, diagnostics) else { return Vec::new() };
    let Some(node) = yaml::parse(&source, diagnostics) else { return Vec::new() };
    // A file that is empty, or all comments, holds no test.
    if node.is_null() {
        return Vec::new();
    }
    if !matches!(node.kind, Kind::List(_)) {
        let message = format!("expected a list of rule tests, found {}", node.what());
        diagnostics.error(&node.place, message).help("start each test with `- name:`");
        return Vec::new();
    }
    let Some(raw) = Vec::<At<RawRuleTest>>::read(&node, diagnostics) else { return Vec::new() };
    rule_tests(&raw, known, diagnostics)
}
