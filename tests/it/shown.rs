//! What the documents show is what the program does and says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::server::POINTSMAN;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the program in a folder. Answers its exit code, and what it prints.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(POINTSMAN).env_clear().current_dir(folder).args(arguments).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

/// The blocks of a document in this language, in order.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let open = format!("```{language}\n");
    text.split(&open).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn is_shown(document: &str, block: &str) {
    let text = fs::read_to_string(root().join(document)).unwrap();
    assert!(text.contains(&format!("```text\n{block}```\n")), "{document} does not show:\n{block}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The demo's configuration in a folder of its own, with some of its text replaced.
fn demo(from: &str, to: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("config"), &folder.path().join("config"));
    let path = folder.path().join("config/pointsman.yaml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "the demo says `{from}`");
    fs::write(&path, text.replace(from, to)).unwrap();
    folder
}

#[test]
fn the_readme_shows_what_is_said_of_a_rule_that_is_changed() {
    let rule = "{ topics: [\"deal:{data.deal_id}\", \"board:{data.board}\"], except_user: \"{data.actor_id}\" }";
    let changed = demo(rule, "{ topics: [\"deal:{data.deal_id}\", \"board:{data.board}\"] }");
    let (code, said) = run(changed.path(), &["test", "see it move"]);
    assert_eq!(code, 1, "{said}");
    // But for how long it took.
    let failure = said.lines().skip_while(|line| !line.starts_with("  FAIL")).take(5);
    let mut shown: Vec<&str> = failure.collect();
    shown[0] = shown[0].rsplit_once("  ").unwrap().0;
    is_shown("README.md", &format!("{}\n", shown.join("\n")));
}

#[test]
fn the_readme_shows_what_check_says() {
    let rule = "{ topics: [\"deal:{data.deal_id}\", \"board:{data.board}\"], except_user: \"{data.actor_id}\" }";
    let faulty = demo(rule, "{ topic: \"deal:{data.deal_id}\", exept_user: \"{data.actor_id}\" }");
    let (code, said) = run(faulty.path(), &["check"]);
    assert_eq!(code, 1, "{said}");
    let (shown, summary) = said.split_once("\n\n").unwrap();
    assert_eq!(summary, "config/pointsman.yaml: 1 error\n");
    is_shown("README.md", &format!("{shown}\n"));
}

#[test]
fn the_readme_shows_what_explain_says() {
    let of = |user: u32, tenant: &str| format!("{{ user: {user}, tenant: {tenant}, topics: [\"deal:42\"] }}");
    let (bob, ann, dan) = (of(2, "acme"), of(1, "acme"), of(4, "globex"));
    let event = "examples/deal-moved.json";
    let (code, said) = run(root(), &["explain", event, "--session", &bob, "--session", &ann, "--session", &dan]);
    assert_eq!(code, 0, "{said}");
    let (shown, _) = said.split_once("\nDecided in").unwrap();
    is_shown("README.md", shown);
}

#[test]
fn the_plugin_of_the_plugins_page_passes_its_tests() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for (language, comment) in [("yaml", "# "), ("lua", "-- ")] {
        for block in blocks("plugins/README.md", language) {
            let name = block.lines().next().unwrap().strip_prefix(comment).expect("a name in the first line");
            let path: PathBuf = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &block).unwrap();
            written.push(name.to_owned());
        }
    }
    assert_eq!(written, ["pointsman.yaml", "plugins/tests/tasks.yaml", "plugins/tasks.lua"]);
    let (code, said) = run(folder.path(), &["check", "--config", "pointsman.yaml"]);
    assert!(
        code == 0 && said.contains("script tasks.lua, which asks deputy_of") && !said.contains("warning"),
        "{said}"
    );
    let (code, said) = run(folder.path(), &["test", "--config", "pointsman.yaml"]);
    assert!(code == 0 && said.contains("3 tests passed") && said.contains("1 of 1 route reached"), "{said}");
}

/// Each plugin that is shipped has tests, the page tells of it, and the production configuration calls it.
#[test]
fn every_plugin_is_told_of_and_tested() {
    let page = fs::read_to_string(root().join("plugins/README.md")).unwrap();
    let (_, check) = run(root(), &["check", "--config", "config/rabbitmq.yaml", "--format", "json"]);
    let providers = fs::read_to_string(root().join("config/rabbitmq.yaml")).unwrap();
    let mut found = 0;
    for entry in fs::read_dir(root().join("plugins")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".lua").filter(|stem| *stem != "pointsman.d") else { continue };
        assert!(root().join(format!("plugins/tests/{stem}.yaml")).exists(), "{name} has no tests");
        assert!(page.contains(&format!("[{name}]({name})")), "{name} is not on the page");
        assert!(check.contains(&format!("\"{name}\"")) || providers.contains(&format!("plugin: {name}")), "{name}");
        found += 1;
    }
    assert_eq!(found, 4);
}
