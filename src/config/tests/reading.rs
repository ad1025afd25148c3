//! Readings: files that cannot be, what was looked at, and what differs from another reading.

use std::fmt::Write as _;

use super::*;

/// The first error of the files in a folder, and all that was looked at.
fn attempt_in(folder: &Path) -> (Result<Loaded, String>, Watch, String) {
    let Attempt { result, watch, hash } =
        attempt(&ConfigFile::Disk(folder.join("c.yaml")), "host-1", &environment, ReadTests::AsConfigured);
    let first = |diagnostics: &Diagnostics| {
        let first = diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error).unwrap().clone();
        format!("{}: {}", first.place, first.message).replace(&format!("{}/", folder.display()), "")
    };
    let result = result.map_err(|error| match error {
        LoadError::Invalid(diagnostics) => first(&diagnostics),
        error @ LoadError::Unreadable { .. } => error.to_string(),
    });
    (result, watch, hash)
}

fn write(folder: &Path, files: &[(&str, &[u8])]) {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn alias_bomb() -> String {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{}]", before.trim_end_matches(", ")).unwrap();
    }
    bomb
}

/// What it is, its files, and the first error.
type Case<'c> = (&'c str, Vec<(&'c str, Vec<u8>)>, &'c str);

#[test]
fn files_that_cannot_be_are_refused_with_place_and_reason() {
    let script = BASE.replace("to: { tenant: true }", "script: a.lua");
    let include = |what: &str| format!("{BASE}include: {what}\n");
    let huge = vec![b'#'; 10 << 20];
    let huge_plugin = [&b"--"[..], &vec![b'x'; 10 << 20]].concat();
    let bomb = alias_bomb();
    let cases: [Case<'_>; 18] = [
        ("10 MB of YAML", vec![("c.yaml", huge.clone())], "c.yaml:1:1: the file is larger than 1024 KiB"),
        (
            "10 MB of an included file",
            vec![("c.yaml", include("[a.yaml]").into()), ("a.yaml", huge.clone())],
            "c.yaml:4:11: `a.yaml`: the file is larger than 1024 KiB",
        ),
        (
            "an alias bomb",
            vec![("c.yaml", bomb.clone().into())],
            "c.yaml:6:10: the file holds more than 200000 values, those of aliases counted each time",
        ),
        (
            "an alias bomb in what a plugin is handed",
            vec![
                ("c.yaml", format!("{script}plugins:\n  {}", bomb.replace('\n', "\n  ")).into()),
                ("a.lua", b"".to_vec()),
            ],
            "c.yaml:10:12: the file holds more than 200000 values, those of aliases counted each time",
        ),
        (
            "a file that includes itself",
            vec![("c.yaml", include("[c.yaml]").into())],
            "c.yaml:4:11: `c.yaml` includes itself",
        ),
        (
            "a file whose pattern includes itself",
            vec![("c.yaml", include("[\"./*.yaml\"]").into())],
            "c.yaml:4:11: `./*.yaml` includes itself",
        ),
        (
            "files that include each other",
            vec![("c.yaml", include("[a.yaml]").into()), ("a.yaml", b"include: [c.yaml]\n".to_vec())],
            "a.yaml:1:1: an included file cannot include others",
        ),
        (
            "a folder of included files that is gone",
            vec![("c.yaml", include("[routes/*.yaml]").into())],
            "c.yaml:4:11: the folder of `routes/*.yaml` cannot be read: there is no such folder",
        ),
        (
            "a folder of plugins that is gone",
            vec![("c.yaml", format!("{script}plugins: {{ dir: lua }}\n").into())],
            "c.yaml:3:31: `lua/a.lua` cannot be read: there is no such file",
        ),
        (
            "a plugin that is gone",
            vec![("c.yaml", script.clone().into())],
            "c.yaml:3:31: `a.lua` cannot be read: there is no such file",
        ),
        (
            "a plugin of 10 MB",
            vec![("c.yaml", script.clone().into()), ("a.lua", huge_plugin)],
            "c.yaml:3:31: `a.lua`: the file is larger than 1024 KiB",
        ),
        (
            "a plugin that is no text",
            vec![("c.yaml", script.clone().into()), ("a.lua", b"return {\n  route = '\xff' }".to_vec())],
            "a.lua:2:12: the file is not UTF-8 here",
        ),
        (
            "a plugin that is a folder",
            vec![("c.yaml", script.clone().into()), ("a.lua/b", b"".to_vec())],
            "c.yaml:3:31: `a.lua` cannot be read: it is no regular file",
        ),
        (
            "10 MB of rule tests",
            vec![("c.yaml", BASE.into()), ("tests/a.yaml", huge.clone())],
            "tests/a.yaml:1:1: the file is larger than 1024 KiB",
        ),
        (
            "rule tests that are no text",
            vec![("c.yaml", BASE.into()), ("tests/a.yaml", b"- name: \xff\n".to_vec())],
            "tests/a.yaml:1:9: the file is not UTF-8 here",
        ),
        (
            "rule tests that are a folder",
            vec![("c.yaml", BASE.into()), ("tests/a.yaml/b", b"".to_vec())],
            "tests/a.yaml:1:1: the file cannot be read: it is no regular file",
        ),
        (
            "half of a file of rule tests",
            vec![("c.yaml", BASE.into()), ("tests/a.yaml", b"- name: a\n  event: { a: \n".to_vec())],
            "tests/a.yaml:2:10: this is no valid YAML: unclosed bracket '{'",
        ),
        (
            "half of a file",
            vec![("c.yaml", BASE[..BASE.len() - 6].into())],
            "c.yaml:3:27: this is no valid YAML: unclosed bracket '{'",
        ),
    ];
    for (what, files, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        write(folder.path(), &files);
        let (result, watch, _) = attempt_in(folder.path());
        assert_eq!(result.map(|_| ()), Err(expected.to_owned()), "{what}");
        assert!(watch.files.contains(&folder.path().join("c.yaml")), "{what}");
    }
}

#[test]
fn what_was_looked_at_is_known_whatever_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (result, watch, nothing) = attempt_in(folder.path());
    assert!(result.is_err());
    assert_eq!(watch, Watch { files: vec![at("c.yaml")], folders: Vec::new() });

    let main =
        format!("{}include: [routes/*.yaml, more.yaml]\n", BASE.replace("to: { tenant: true }", "script: a.lua"));
    write(folder.path(), &[("c.yaml", main.as_bytes()), ("routes/b.yaml", b"topics: []")]);
    let (result, watch, incomplete) = attempt_in(folder.path());
    assert_eq!(result.unwrap_err(), "c.yaml:3:31: `a.lua` cannot be read: there is no such file");
    let files = ["c.yaml", "routes/b.yaml", "more.yaml", "a.lua"].map(at);
    assert_eq!(watch, Watch { files: files.to_vec(), folders: vec![at("routes"), at("tests")] });

    write(folder.path(), &[("more.yaml", b""), ("a.lua", b"return {}")]);
    let (result, same, whole) = attempt_in(folder.path());
    assert_eq!((same, result.unwrap().hash.as_str()), (watch, whole.as_str()));
    write(folder.path(), &[("tests/x.yaml", b"[]")]);
    let (result, tested, with_tests) = attempt_in(folder.path());
    assert!(result.unwrap().files.iter().any(|file| file.path == at("tests/x.yaml")));
    assert!(tested.files.contains(&at("tests/x.yaml")));
    let hashes = [nothing, incomplete, whole, with_tests];
    for (index, hash) in hashes.iter().enumerate() {
        assert!(hash.len() == 16 && !hashes[..index].contains(hash), "{hashes:?}");
    }
}

/// A configuration of many sections.
const MAIN: &str = "\
include: [more.yaml]
event: { payload: data, tenant: data.tenant_id }
auth: { providers: [{ tokens: { t0ken: { user: 1, tenant: acme } } }, { script: auth.lua }] }
database: { url: \"sqlite::memory:\", init: [a.sql], queries: { q: { sql: SELECT 1 } } }
limits: { topics: 7 }
ping: { every: 10s }
routes:
  - { name: all, to: { tenant: true } }
";

#[test]
fn a_change_is_known_by_its_sections() {
    let cases: [(&str, &str, &str, &[&str]); 12] = [
        ("c.yaml", "topics: 7", "topics: 8", &["limits"]),
        ("c.yaml", "ping: {", "# as often\nping:  {", &[]),
        ("c.yaml", "every: 10s", "every: \"10s\"", &[]),
        ("c.yaml", "ping: { every: 10s }", "ping:\n  every: ${TEN:-10s}", &[]),
        ("c.yaml", "ping: { every: 10s }\n", "", &["ping"]),
        ("c.yaml", "tenant: true", "user: 1", &["routes"]),
        ("c.yaml", "SELECT 1", "SELECT 2", &["database"]),
        ("c.yaml", "user: 1", "user: 2", &["auth"]),
        ("more.yaml", "demo: false", "demo: true\nshards: 2", &["demo", "shards"]),
        ("more.yaml", "connections: 7", "connections: 8", &["limits"]),
        ("a.sql", "1", "2", &["database"]),
        ("auth.lua", "{}", "{ a = 1 }", &["plugins"]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("c.yaml", MAIN),
        ("more.yaml", "demo: false\nlimits: { connections: 7 }\n"),
        ("a.sql", "SELECT 1;"),
        ("auth.lua", "return {}"),
    ];
    let read = |changed: &str, old: &str, new: &str| -> Sections {
        for (name, text) in files {
            assert!(name != changed || text.contains(old), "{old}");
            let text = if name == changed { text.replace(old, new) } else { text.to_owned() };
            fs::write(folder.path().join(name), text).unwrap();
        }
        attempt_in(folder.path()).0.unwrap_or_else(|first| panic!("{new}: {first}")).sections
    };
    let before = read("", "", "");
    for (file, old, new, expected) in cases {
        let after = read(file, old, new);
        assert_eq!(after.changed(&before), expected, "{old} -> {new}");
        assert_eq!(before.changed(&after), expected, "{old} -> {new}");
        for section in ["limits", "ping", "routes", "database", "auth", "demo", "shards", "plugins", "tls"] {
            assert_eq!(before.same(&after, section), !expected.contains(&section), "{section}: {old} -> {new}");
        }
    }
}
