//! What does not come into force: said with place and reason, while what was in force goes on.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{SUCCESSFUL, Stage, rules};
use crate::support::client::Client;

/// What is wrong, the file in which it stands with its text, the reason, and what is said.
type Fault = (&'static str, &'static str, String, &'static str, &'static [&'static str]);

fn faults() -> Vec<Fault> {
    let with = |route: &str| rules("good").replace("name: good", route);
    vec![
        ("no YAML", "pointsman.yaml", "routes: [".to_owned(), "config", &["pointsman.yaml:"]),
        ("nothing", "pointsman.yaml", String::new(), "config", &["`event` is missing"]),
        ("an unknown key", "pointsman.yaml", with("name: good, whne: {}"), "config", &["whne", "pointsman.yaml:6:"]),
        (
            "two routes of one name",
            "pointsman.yaml",
            rules("good, to: everyone }, { name: good"),
            "config",
            &["good", "pointsman.yaml:6:"],
        ),
        (
            "a plugin that is missing",
            "pointsman.yaml",
            rules("good").replace("to: { tenant: true }", "script: nowhere.lua"),
            "config",
            &["nowhere.lua", "there is no such file", "pointsman.yaml:6:"],
        ),
        (
            "an include that is missing",
            "pointsman.yaml",
            format!("{}include: [nowhere.yaml]\n", rules("good")),
            "config",
            &["nowhere.yaml", "pointsman.yaml:7:"],
        ),
        (
            "an include of itself",
            "pointsman.yaml",
            format!("{}include: [pointsman.yaml]\n", rules("good")),
            "config",
            &["pointsman.yaml"],
        ),
        ("not UTF-8", "pointsman.yaml", rules("g\u{0}"), "config", &["pointsman.yaml:6:"]),
        ("10 MB", "pointsman.yaml", format!("{}# {}", rules("good"), "x".repeat(10 << 20)), "config", &["larger"]),
    ]
}

#[tokio::test]
async fn each_fault_is_refused_with_its_place_and_what_is_right_again_is_taken_up() {
    let stage = Stage::start(&[("pointsman.yaml", &rules("r0"))]).await;
    let mut ann = Client::session(&stage.server, "ann", &[]).await;
    for (round, (what, file, text, reason, said)) in faults().into_iter().enumerate() {
        let known = stage.attempts().await.len();
        stage.replace(file, &text);
        let refused = stage.until_refused(what, known, reason).await;
        for part in said {
            let all = format!("{} {} {}", refused["error"], refused["text"], refused["diagnostics"]);
            assert!(all.contains(part), "{what}: `{part}` is not in {refused:#}");
        }
        assert!(!refused["diagnostics"].as_array().unwrap().is_empty(), "{what}: {refused:#}");
        assert_eq!(stage.server.metric(SUCCESSFUL).await, 0, "{what}");
        assert_eq!(stage.standing().await, (1 + round as u64, format!("r{round}")), "{what}");
        assert_eq!(stage.server.get("/readyz").await.status, 200, "{what}");
        stage.server.publish(json!({ "tenant": "acme", "data": round })).await;
        assert_eq!(ann.next_event().await, round, "{what}");
        let route = format!("r{}", round + 1);
        stage.replace("pointsman.yaml", &rules(&route));
        stage.until_in_force(what, &route).await;
        assert_eq!(stage.server.metric(SUCCESSFUL).await, 1, "{what}");
    }
}

#[tokio::test]
async fn what_is_refused_once_is_not_tried_again_until_it_changes() {
    let stage = Stage::start(&[("pointsman.yaml", &rules("good"))]).await;
    stage.replace("pointsman.yaml", "routes: [");
    stage.until_refused("a broken file", 1, "config").await;
    // Back to what is in force: there is nothing to swap, and all is well again.
    stage.replace("pointsman.yaml", &rules("good"));
    stage.server.wait_for_metric(SUCCESSFUL, 1).await;
    let attempts = stage.attempts().await;
    let results: Vec<_> = attempts.iter().map(|attempt| attempt["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["unchanged", "refused", "applied"], "{attempts:#?}");
    assert_eq!(stage.standing().await.0, 1);
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_holds_up_nothing() {
    let stage = Stage::start(&[("pointsman.yaml", &rules("good"))]).await;
    fs::remove_file(stage.path("pointsman.yaml")).unwrap();
    let made = Command::new("mkfifo").arg(stage.path("pointsman.yaml")).status().unwrap();
    assert!(made.success());
    let (status, answer) = stage.reload().await;
    assert_eq!((status, &answer["reason"]), (409, &"read".into()), "{answer:#}");
    assert!(answer["error"].as_str().unwrap().contains("no regular file"), "{answer:#}");
    fs::remove_file(stage.path("pointsman.yaml")).unwrap();
    stage.write("pointsman.yaml", &rules("again"));
    stage.until_in_force("a file again", "again").await;
}

const TEST: &str = "
- name: everyone of the tenant gets it
  event: { tenant: acme, data: 1 }
  sessions:
    ann: { user: 1, tenant: acme }
    dan: { user: 1, tenant: globex }
  expect: { route: good, reaches: [ann] }
";

#[tokio::test]
async fn rules_that_fail_their_tests_do_not_come_into_force() {
    let stage = Stage::start(&[("pointsman.yaml", &*rules("good")), ("tests/first.yaml", TEST)]).await;
    assert_eq!(stage.rulebook().await["tests_passed"], 1);
    let nobody = rules("good").replace("{ tenant: true }", "{ user: 2 }");
    stage.replace("pointsman.yaml", &nobody);
    let refused = stage.until_refused("a rule that reaches nobody", 1, "tests").await;
    assert!(refused["tests_failed"].to_string().contains("everyone of the tenant gets it"), "{refused:#}");
    assert_eq!(stage.standing().await.0, 1);
    assert_eq!(stage.server.metric(SUCCESSFUL).await, 0);
    // The test is a part of it: it may change with the rules.
    stage.replace("tests/first.yaml", &TEST.replace("reaches: [ann]", "reaches: []"));
    stage.until("both agree", async || stage.standing().await.0 == 2).await;
    assert_eq!(stage.attempts().await[0]["tests_passed"], 1);
}
