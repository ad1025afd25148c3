//! Having a rulebook come into force by hand: the API and the signal.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::{Stage, rules};
use crate::support::client::Client;

/// Without the watcher, so that nothing happens by itself.
fn unwatched(route: &str) -> String {
    format!("{}reload: {{ watch: false }}\n", rules(route))
}

#[tokio::test]
async fn the_api_answers_when_the_files_are_in_force_or_why_they_are_not() {
    let stage = Stage::start(&[("pointsman.yaml", &unwatched("one"))]).await;
    let (status, answer) = stage.reload().await;
    assert_eq!((status, &answer["unchanged"], &answer["generation"]), (200, &json!(true), &json!(1)), "{answer:#}");
    stage.write("pointsman.yaml", &unwatched("two"));
    let (status, answer) = stage.reload().await;
    assert_eq!((status, &answer["unchanged"], &answer["generation"]), (200, &json!(false), &json!(2)), "{answer:#}");
    assert_eq!(stage.standing().await, (2, "two".to_owned()));
    stage.write("pointsman.yaml", "routes: [");
    let (status, answer) = stage.reload().await;
    assert_eq!((status, &answer["status"], &answer["generation"]), (422, &json!("error"), &json!(2)), "{answer:#}");
    assert_eq!(answer["diagnostics"][0]["line"], 1, "{answer:#}");
    assert!(answer["text"].as_str().unwrap().contains("-->"), "{answer:#}");
    let attempts = stage.attempts().await;
    let triggers: Vec<_> = attempts.iter().map(|attempt| attempt["trigger"].as_str().unwrap()).collect();
    assert_eq!(triggers, ["api", "api", "api", "boot"]);
}

#[tokio::test]
async fn the_signal_does_the_same() {
    let stage = Stage::start(&[("pointsman.yaml", &unwatched("one"))]).await;
    stage.write("pointsman.yaml", &unwatched("two"));
    stage.server.signal(Signal::HUP);
    stage.until_in_force("after SIGHUP", "two").await;
    assert_eq!(stage.attempts().await[0]["trigger"], "SIGHUP");
}

#[tokio::test]
async fn many_who_ask_at_once_are_answered_by_few_readings() {
    let stage = Stage::start(&[("pointsman.yaml", &unwatched("one"))]).await;
    stage.write("pointsman.yaml", &unwatched("two"));
    let answers = futures_util::future::join_all((0..20).map(|_| stage.reload())).await;
    for (status, answer) in answers {
        assert_eq!((status, &answer["generation"]), (200, &json!(2)), "{answer:#}");
    }
    assert_eq!(stage.standing().await.0, 2);
    assert!(stage.attempts().await.len() < 20);
}

#[tokio::test]
async fn the_generation_before_is_brought_back_and_stays_until_the_files_change() {
    let stage = Stage::start(&[("pointsman.yaml", &rules("one"))]).await;
    let answer = stage.server.post("/api/rollback", String::new()).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (409, &json!("nothing_before")), "{}", answer.body);
    stage.replace("pointsman.yaml", &rules("two"));
    stage.until_in_force("a change", "two").await;
    let answer = stage.server.post("/api/rollback", String::new()).await;
    assert_eq!((answer.status, &answer.json()["generation"]), (200, &json!(3)), "{}", answer.body);
    assert_eq!(stage.standing().await, (3, "one".to_owned()));
    // A change of another file, which is none of the rulebook's: the watcher looks, and leaves it so.
    stage.write("notes.txt", "nothing");
    stage.replace("pointsman.yaml", &rules("two"));
    stage.replace("pointsman.yaml", &rules("three"));
    stage.until_in_force("the next change", "three").await;
    assert_eq!(stage.standing().await.0, 4, "{:#?}", stage.attempts().await);
    let answer = stage.server.post("/api/rollback", String::new()).await.json();
    assert_eq!(answer["generation"], 5, "{answer:#}");
    assert_eq!(stage.standing().await.1, "one", "what was in force before `three`");
    let (_, answer) = stage.reload().await;
    assert_eq!(answer["generation"], 6, "whoever asks for the files gets them: {answer:#}");
    assert_eq!(stage.standing().await.1, "three");
}

#[tokio::test]
async fn what_was_rolled_back_stays_so_though_a_file_comes_into_the_folder_that_is_none_of_the_rules() {
    let main = rules("one").replace("routes:", "include: [more/*.yaml]\nroutes:");
    let more = "topics: [{ match: \"news\", allow: true }]\n";
    let stage = Stage::start(&[("pointsman.yaml", &*main), ("more/topics.yaml", more)]).await;
    stage.replace("pointsman.yaml", &main.replace("one", "two"));
    stage.until_in_force("a change", "two").await;
    assert_eq!(stage.server.post("/api/rollback", String::new()).await.status, 200);
    stage.write("more/README", "nothing of the rules");
    // What shall not come cannot be waited for: the watcher sees another folder in much less time than these looks take.
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..100 {
        looks.tick().await;
        assert_eq!(stage.standing().await, (3, "one".to_owned()), "{:#?}", stage.attempts().await);
    }
    stage.replace("pointsman.yaml", &main.replace("one", "three"));
    stage.until_in_force("the next change", "three").await;
    assert_eq!(stage.standing().await.0, 4, "{:#?}", stage.attempts().await);
}

#[tokio::test]
async fn whoever_asks_for_the_files_and_whoever_for_the_generation_before_are_both_answered() {
    let stage = Stage::start(&[("pointsman.yaml", &unwatched("one"))]).await;
    stage.write("pointsman.yaml", &unwatched("two"));
    let ask = async |index: usize| {
        let path = if index.is_multiple_of(2) { "/api/reload" } else { "/api/rollback" };
        stage.server.post(path, String::new()).await.status
    };
    let all = futures_util::future::join_all((0..40).map(ask));
    let all = tokio::time::timeout(Duration::from_secs(20), all).await.expect("some were never answered");
    assert!(all.iter().all(|status| [200, 409].contains(status)), "{all:?}");
}

#[tokio::test]
async fn what_is_in_force_is_told() {
    let main = "
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
event: { payload: data, tenant: tenant }
database:
  url: \"sqlite::memory:\"
  queries: { people: { sql: \"SELECT 1 AS user WHERE :tenant IS NOT NULL\" } }
auth: { providers: [{ tokens: { ann: { user: 1, tenant: acme } } }] }
topics: [{ match: \"deal:{id}\", allow: true }]
include: [more.yaml]
";
    let more = "
routes:
  - { name: people, when: { kind: people }, to: { users: { query: people } } }
  - { name: rest, to: { tenant: true } }
";
    let stage = Stage::start(&[("pointsman.yaml", main), ("more.yaml", more)]).await;
    let mut ann = Client::session(&stage.server, "ann", &[]).await;
    for kind in ["people", "other", "other"] {
        stage.server.publish(json!({ "tenant": "acme", "kind": kind, "data": {} })).await;
        ann.next_event().await;
    }
    let rulebook = stage.rulebook().await;
    let routes = json!([
        { "name": "people", "kind": "query", "decisions": 1 },
        { "name": "rest", "kind": "fast_path", "decisions": 2 },
    ]);
    assert_eq!(rulebook["routes"], routes, "{rulebook:#}");
    assert_eq!(rulebook["topics"], json!([{ "match": "deal:{id}", "kind": "fast_path" }]), "{rulebook:#}");
    let files: Vec<_> =
        rulebook["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(files, ["pointsman.yaml", "more.yaml"], "{rulebook:#}");
    assert!(rulebook["files"][0]["hash"].as_str().unwrap().len() == 16, "{rulebook:#}");
    assert!(rulebook["loaded_at"].as_f64().unwrap() > 1.7e9, "{rulebook:#}");
}
