//! Sessions stay, and lose just what the rules of now do not allow.

use serde_json::json;

use super::{HEAD, Stage};
use crate::support::client::Client;

/// Who may see deals, and what decides that.
fn topics(deals: &str) -> String {
    format!(
        "{HEAD}database:
  url: \"sqlite::memory:\"
  queries:
    odd: {{ sql: \"SELECT 1 WHERE :tenant IS NOT NULL AND :deal % 2 = 1\" }}
topics:
  - {{ match: \"deal:{{id}}\", {deals} }}
  - {{ match: \"news\", allow: true }}
routes: [{{ name: r, to: {{ topic: \"{{topic}}\" }} }}]
"
    )
}

#[tokio::test]
async fn topics_that_are_no_longer_allowed_are_taken_away_and_the_client_is_told() {
    let odd = "allow: { query: odd, with: { deal: \"{id}\" } }";
    let script = "script: odd.lua";
    let ways = [("a query", odd), ("nobody", "allow: false"), ("a plugin", script)];
    for (what, rule) in ways {
        let plugin = "return { authorize = function(session, topic) return topic:sub(-1) == '1' end }\n";
        let stage = Stage::start(&[("pointsman.yaml", &*topics("allow: true")), ("odd.lua", plugin)]).await;
        let mut ann = Client::session(&stage.server, "ann", &["deal:1", "deal:2", "news"]).await;
        let mut dan = Client::session(&stage.server, "dan", &["news"]).await;
        stage.write("pointsman.yaml", &topics(rule));
        assert_eq!(stage.reload().await.0, 200, "{what}");
        let mut lost = Vec::new();
        let all = if rule == "allow: false" { 2 } else { 1 };
        while lost.len() < all {
            let told = ann.next().await;
            lost.extend(told["unsubscribed"].as_array().unwrap_or_else(|| panic!("{what}: {told}")).clone());
        }
        lost.sort_by_key(|topic| topic.as_str().map(str::to_owned));
        let expected = if all == 2 { json!(["deal:1", "deal:2"]) } else { json!(["deal:2"]) };
        assert_eq!(json!(lost), expected, "{what}");
        for topic in ["deal:2", "news"] {
            stage.server.publish(json!({ "tenant": "acme", "topic": topic, "data": topic })).await;
        }
        assert_eq!(ann.next_event().await, "news", "{what}");
        stage.server.publish(json!({ "tenant": "globex", "topic": "news", "data": "theirs" })).await;
        assert_eq!(dan.next_event().await, "theirs", "{what}: who lost nothing hears nothing of it");
    }
}

#[tokio::test]
async fn where_topic_rules_are_the_same_nobody_is_asked_again() {
    let rules = topics("allow: { query: odd, with: { deal: \"{id}\" } }");
    let stage = Stage::start(&[("pointsman.yaml", &rules)]).await;
    let mut ann = Client::session(&stage.server, "ann", &["deal:1"]).await;
    let asked = "pointsman_lookups_total{query=\"odd\",outcome=\"ok\"}";
    assert_eq!(stage.server.metric(asked).await, 1);
    stage.write("pointsman.yaml", &rules.replace("name: r", "name: s"));
    assert_eq!(stage.reload().await.0, 200);
    stage.server.publish(json!({ "tenant": "acme", "topic": "deal:1", "data": 1 })).await;
    assert_eq!(ann.next_event().await, 1);
    assert_eq!(stage.server.metric(asked).await, 1);
}

#[tokio::test]
async fn where_the_database_changes_in_what_no_answer_depends_on_nobody_is_asked_again() {
    let rule = "allow: { query: odd, with: { deal: \"{id}\" } }";
    let before = topics(rule);
    // The query that decides has another number by that.
    let pool = "  pool: { max: 3 }\n  queries:\n    more: { sql: \"SELECT 1 WHERE :tenant = 1\" }\n";
    let after = before.replace("  queries:\n", pool);
    let asked = "pointsman_lookups_total{query=\"odd\",outcome=\"ok\"}";
    for (what, sql, expected) in [("the same", "% 2 = 1", 1), ("another one", "% 2 = 1 ", 2)] {
        let stage = Stage::start(&[("pointsman.yaml", &before)]).await;
        let mut ann = Client::session(&stage.server, "ann", &["deal:1", "news"]).await;
        assert_eq!(stage.server.metric(asked).await, 1);
        let after = after.replace("% 2 = 1", sql).replace("\"news\", allow: true", "\"news\", allow: false");
        stage.write("pointsman.yaml", &after);
        assert_eq!(stage.reload().await.0, 200, "{what}");
        // All that a session has is judged, and then it is told.
        assert_eq!(ann.next().await["unsubscribed"], json!(["news"]), "{what}");
        assert_eq!(stage.server.metric(asked).await, expected, "{what}");
        stage.server.publish(json!({ "tenant": "acme", "topic": "deal:1", "data": 1 })).await;
        assert_eq!(ann.next_event().await, 1, "{what}");
    }
}

#[tokio::test]
async fn events_go_on_while_rules_change_and_none_is_lost_or_given_twice() {
    let rules = |number: u64| topics("allow: true").replace("name: r", &format!("name: r{number}"));
    let stage = Stage::start(&[("pointsman.yaml", &rules(0))]).await;
    let mut ann = Client::session(&stage.server, "ann", &["news"]).await;
    let publish = async {
        for number in 0..500 {
            stage.server.publish(json!({ "tenant": "acme", "topic": "news", "data": number })).await;
        }
    };
    let reload = async {
        for number in 1..=20 {
            stage.write("pointsman.yaml", &rules(number));
            assert_eq!(stage.reload().await.0, 200);
        }
    };
    let read = async {
        for number in 0..500 {
            assert_eq!(ann.next_event().await, number);
        }
    };
    tokio::join!(publish, reload, read);
    assert!(stage.standing().await.0 >= 21);
}
