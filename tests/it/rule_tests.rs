//! Rule tests and explanations, as a shell runs them, and those of what is shipped.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::server::POINTSMAN;

fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(POINTSMAN);
    let folder = env!("CARGO_MANIFEST_DIR");
    let Output { status, stdout, stderr } = command.env_clear().current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A configuration of one route with these tests, in a folder of its own.
fn with_tests(tests: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let config = "event: { payload: data, tenant: data.tenant, type: data.type }\n\
        auth: { providers: [{ tokens: { very-secret: { user: 1, tenant: acme } } }] }\n\
        routes: [{ name: deals, when: { data.type: deal }, to: { topic: \"deal:{data.id}\" } }]\n";
    std::fs::create_dir(folder.path().join("tests")).unwrap();
    std::fs::write(folder.path().join("pointsman.yaml"), config).unwrap();
    std::fs::write(folder.path().join("tests/deals.yaml"), tests).unwrap();
    let path = folder.path().join("pointsman.yaml").display().to_string();
    (folder, path)
}

const TESTS: &str = "\
- name: who looks gets it
  event: { data: { type: deal, tenant: acme, id: 1 } }
  sessions: { ann: { user: 1, tenant: acme, topics: [\"deal:1\"] } }
  expect: { reaches: ann }
- name: others get it
  event: { data: { type: deal, tenant: acme, id: 1 } }
  sessions: { bob: { user: 2, tenant: acme } }
  expect: { reaches: bob }
";

#[test]
fn what_is_shipped_passes_its_tests_which_reach_every_route() {
    for config in ["config/pointsman.yaml", "config/rabbitmq.yaml"] {
        let (code, out, err) = run(&["test", "--config", config, "--format", "json"]);
        assert_eq!(code, 0, "{config}: {out}{err}");
        let said: Value = serde_json::from_str(&out).unwrap();
        assert!(said["passed"].as_u64().unwrap() > 10, "{config}: {said}");
        assert_eq!(said["unreached"], serde_json::json!([]), "{config}");
    }
}

#[test]
fn a_failure_is_told_with_its_reason_and_by_the_exit_code() {
    let (folder, config) = with_tests(TESTS);
    let (code, out, err) = run(&["test", "--config", &config]);
    assert_eq!(code, 1, "{out}{err}");
    for said in [
        "ok    who looks gets it",
        "FAIL  others get it",
        "expected  bob",
        "got       nobody",
        "bob does not get it: it is not subscribed to deal:1 or deal:*",
        "1 test passed, 1 failed",
        "1 of 1 route reached",
    ] {
        assert!(out.contains(said), "`{said}` is missing:\n{out}");
    }
    // One of them, by a part of its name; in XML too.
    let junit = folder.path().join("out.xml").display().to_string();
    let (code, out, err) = run(&["test", "--config", &config, "who looks", "--junit", &junit]);
    assert_eq!(code, 0, "{out}{err}");
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("tests=\"1\" failures=\"0\"") && xml.contains("name=\"who looks gets it\""), "{xml}");
}

#[test]
fn where_no_test_is_meant_programs_get_an_empty_result() {
    let (folder, config) = with_tests(TESTS);
    let junit = folder.path().join("out.xml").display().to_string();
    let arguments = ["test", "--config", &config, "no such test", "--junit", &junit];
    let (code, out, err) = run(&arguments);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("tests=\"0\" failures=\"0\"") && xml.ends_with("</testsuites>\n"), "{xml}");

    let (code, out, json_err) = run(&[&arguments[..], &["--format", "json"]].concat());
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &said["ok"], &said["tests"]), (1, &serde_json::json!(false), &serde_json::json!([])), "{said}");
    for err in [err, json_err] {
        assert!(err.contains("none of the 2 tests has `no such test`"), "{err}");
    }
}

#[test]
fn programs_get_what_is_wrong_with_a_configuration_as_check_says_it() {
    let (folder, config) = with_tests("- { name: a, event: {}, expect: { route: nowhere } }\n");
    let of = |command: &[&str]| {
        let (code, out, err) = run(&[command, &["--config", &config, "--format", "json"]].concat());
        assert_eq!((code, err.as_str()), (1, ""), "{out}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let said = of(&["test"]);
    assert_eq!(said["diagnostics"], of(&["check"])["diagnostics"]);
    assert_eq!(said["diagnostics"][0]["line"], 1, "{said}");
    assert!(said["error"].as_str().unwrap().ends_with("pointsman.yaml: 1 error"), "{said}");
    std::fs::write(folder.path().join("tests/deals.yaml"), "[]").unwrap();
    let said = of(&["explain", "examples/deal-moved.json", "--session", "{ user: 1 }"]);
    assert_eq!(said["diagnostics"][0]["message"], "`tenant` is missing", "{said}");
}

#[test]
fn what_cannot_be_tested_says_whose_fault_it_is() {
    let (_folder, config) = with_tests("- { name: a, event: {}, expect: { route: nowhere } }\n");
    for format in ["human", "json"] {
        let (code, out, err) = run(&["test", "--config", &config, "--format", format]);
        assert_eq!(code, 1, "{out}{err}");
        assert!(out.contains("there is no route `nowhere`"), "{out}");
    }
    assert_eq!(run(&["test", "--config", "/nowhere/x.yaml"]).0, 3);
    assert_eq!(run(&["test", "--junit"]).0, 2);
    let (_folder, config) = with_tests(TESTS);
    assert_eq!(run(&["test", "--config", &config, "looks", "--junit", "/nowhere/x.xml"]).0, 3);
}

#[test]
fn an_event_is_explained_by_files_alone() {
    let session = r#"{"user": 2, "tenant": "acme", "topics": ["deal:42"]}"#;
    let event = "examples/deal-moved.json";
    let (code, out, err) = run(&["explain", event, "--session", session]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("✓ user 2 of acme gets it, by `deals`"), "{out}");

    let (code, out, err) = run(&["explain", event, "--session", session, "--format", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["decision"]["routes"], serde_json::json!(["deals"]));
    assert_eq!(told["sessions"][0]["gets_it"], "yes");
    assert_eq!(told["sessions"][0]["payload"]["deal_id"], 42);
}

#[test]
fn what_queries_answer_can_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let event = folder.path().join("note.json");
    std::fs::write(&event, r#"{"data":{"type":"note.added","tenant_id":"acme","record_id":"r1"}}"#).unwrap();
    let sessions = folder.path().join("people.yaml");
    std::fs::write(&sessions, "bob: { user: 2, tenant: acme, topics: [\"record:r1\"] }\n").unwrap();
    let (event, sessions) = (event.display().to_string(), sessions.display().to_string());
    let mut arguments = vec!["explain", &event, "--sessions", &sessions];
    let (_, out, _) = run(&arguments);
    assert!(out.contains("would ask users_with_access") && out.contains("? bob (user 2 of acme) may get it"), "{out}");
    arguments.extend(["--queries", "{ users_with_access: [{ user_id: 2 }] }"]);
    let (code, out, err) = run(&arguments);
    assert!(code == 0 && out.contains("✓ bob (user 2 of acme) gets it"), "{out}{err}");
    *arguments.last_mut().unwrap() = "{ users_with_acess: [] }";
    let (code, out, err) = run(&arguments);
    assert!(code == 1 && out.contains("did you mean `users_with_access`"), "{out}{err}");
}

#[test]
fn what_cannot_be_explained_says_why() {
    let event = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md").display().to_string();
    for (arguments, code, why) in [
        (vec!["explain", &event], 1, "is no event: the body is not valid JSON"),
        (vec!["explain", "nowhere.json"], 3, "cannot read nowhere.json"),
        (vec!["explain", "examples/deal-moved.json", "--header", "x"], 2, "NAME=VALUE"),
        (vec!["explain", "-", "--sessions", "-"], 2, "one thing only"),
    ] {
        let (found, out, err) = run(&arguments);
        assert_eq!(found, code, "{arguments:?}: {out}{err}");
        assert!(err.contains(why), "{arguments:?}: {err}");
    }
    let (code, out, _) = run(&["explain", "examples/deal-moved.json", "--session", "{ user: 1 }"]);
    assert!(code == 1 && out.contains("`tenant` is missing"), "{out}");
}
