//! What is told, for a configuration that has everything.

use super::*;

const CONFIG: &str = r#"
database:
  url: "sqlite::memory:"
  queries:
    users_with_access: { sql: "SELECT user_id FROM a WHERE tenant = :tenant AND record = :record" }
    team_of: { sql: "SELECT user_id FROM t WHERE tenant = :tenant AND team = :team" }
    can_view: { sql: "SELECT 1 FROM a WHERE tenant = :tenant AND user_id = :user AND record = :record" }
event: { payload: data, tenant: data.tenant_id, id: data.id, type: data.type }
auth: { providers: [{ tokens: { very-secret: { user: 1, tenant: acme } } }] }
topics:
  - { match: "deal:{id}", allow: true }
  - { match: "record:{id}", allow: { query: can_view, with: { user: "{session.user}", record: "{id}" } } }
routes:
  - name: audit
    when: { data.audited: true, data.amount: { gte: 1000 } }
    to: { where: { role: auditor } }
    continue: true
  - name: deals
    when: { data.type: "deal.*" }
    to:
      - { topics: ["deal:{data.deal_id}", "board:{data.board}"], where: { role: [manager, owner] }, except_user: "{data.actor_id}" }
      - { topic: "deal:{data.deal_id}", except_user: "{data.actor_id}", payload: { without: [margin] } }
  - name: notes
    when: { data.type: [note.added, note.edited] }
    to:
      - { topic: "record:{data.record_id}", users: { query: users_with_access, with: { record: "{data.record_id}" } } }
      - { user: "{data.owner_id}" }
  - name: tasks
    when: { data.type: { prefix: "task." }, data.team: { exists: true } }
    script: tasks.lua
    with: { greeting: hello }
  - name: rights
    when: { data.type: rights.changed }
    do: [{ forget: users_with_access, with: { record: "{data.record_id}" } }, { disconnect: { user: "{data.user_id}" } }]
  - name: mine
    when: { data.owner_id: "{data.actor_id}", data.type: { not: silent } }
    to: { tenant: true }
"#;

const TASKS: &str = r#"
return {
  fields = { "data.type", "data.team", "data.assignee" },
  route = function(event, to, params)
    if event.data.type == "task.broken" then
      error("no such task")
    end
    if event.data.type == "task.silent" then
      return to:drop("nobody needs to know")
    end
    log.info(params.greeting, event.data.team)
    log.warn("a warning")
    to:users(lookup("team_of", { team = event.data.team }))
    to:also()
    to:user(event.data.assignee)
    to:payload({ short = true })
  end,
}
"#;

const SESSIONS: &str = r#"
viewer: { user: 7, tenant: acme, topics: ["deal:42", "record:r1"] }
manager: { user: 8, tenant: acme, role: manager, topics: ["deal:*", "board:sales"] }
author: { user: 9, tenant: acme, topics: ["deal:42"] }
stranger: { user: 7, tenant: globex, topics: ["deal:42"] }
"#;

/// What is told for people, without how long it took.
fn told(body: &str, queries: &str) -> String {
    let (made, situation) = read(&[("pointsman.yaml", CONFIG), ("tasks.lua", TASKS)], SESSIONS, queries);
    let told = explain(&made.rulebook, &published(body), &people(&situation), &situation.queries).unwrap();
    let json = serde_json::to_string(&told).unwrap();
    let mut human = Vec::new();
    told.render(&mut human, false).unwrap();
    let human = String::from_utf8(human).unwrap();
    assert!(told.sessions.iter().all(|session| session.by_words == session.gets_it), "{human}");
    for told in [&json, &human] {
        assert!(!told.contains("very-secret"), "{told}");
    }
    human.lines().filter(|line| !line.starts_with("Decided in")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_fast_path_with_payloads_and_fields_that_are_missing() {
    insta::assert_snapshot!(told(
        r#"{"data":{"type":"deal.moved","id":3,"tenant_id":"acme","deal_id":42,"actor_id":9,"margin":1,"audited":"true"}}"#,
        "{}",
    ));
}

#[test]
fn a_query_that_is_answered() {
    let note = r#"{"data":{"type":"note.added","tenant_id":"acme","record_id":"r1"}}"#;
    insta::assert_snapshot!(told(note, "{ users_with_access: [{ user_id: 7 }, { user_id: 3 }], can_view: [] }"));
}

#[test]
fn a_query_that_is_not_answered_and_what_does_not_depend_on_it() {
    let note = r#"{"data":{"type":"note.added","tenant_id":"acme","record_id":"r1","owner_id":8}}"#;
    insta::assert_snapshot!(told(note, "{}"));
}

#[test]
fn a_query_without_a_database() {
    let note = r#"{"data":{"type":"note.added","tenant_id":"acme","record_id":"r1","owner_id":8}}"#;
    insta::assert_snapshot!(told(note, "{ users_with_access: unavailable }"));
}

#[test]
fn a_plugin_with_its_log_and_queries() {
    let task = r#"{"data":{"type":"task.new","tenant_id":"acme","team":"t1","assignee":8}}"#;
    insta::assert_snapshot!(told(task, "{ team_of: [{ user_id: 7 }] }"));
}

#[test]
fn a_plugin_whose_query_is_not_answered() {
    let task = r#"{"data":{"type":"task.new","tenant_id":"acme","team":"t1","assignee":8}}"#;
    insta::assert_snapshot!(told(task, "{}"));
}

#[test]
fn a_plugin_that_fails_and_one_that_drops() {
    let task = |kind| format!(r#"{{"data":{{"type":"task.{kind}","tenant_id":"acme","team":"t1"}}}}"#);
    insta::assert_snapshot!([told(&task("broken"), "{}"), told(&task("silent"), "{}")].join("\n----\n"));
}

#[test]
fn what_reaches_nobody() {
    insta::assert_snapshot!(
        [
            told(r#"{"data":{"type":"rights.changed","tenant_id":"acme","record_id":"r1","user_id":7}}"#, "{}"),
            told(r#"{"data":{"type":"deal.moved","deal_id":1}}"#, "{}"),
            told(r#"{"data":{"type":"silent","tenant_id":"acme","owner_id":1,"actor_id":1}}"#, "{}"),
        ]
        .join("\n----\n")
    );
}

#[test]
fn programs_get_the_same() {
    let (made, situation) = read(&[("pointsman.yaml", CONFIG), ("tasks.lua", TASKS)], SESSIONS, "{}");
    let body = r#"{"data":{"type":"note.added","id":"n1","tenant_id":"acme","record_id":"r1","owner_id":8}}"#;
    let mut told = explain(&made.rulebook, &published(body), &people(&situation), &situation.queries).unwrap();
    told.took_us = 1;
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&told).unwrap()).unwrap();
    insta::assert_snapshot!(format!("{json:#}"));
}

#[test]
fn what_is_no_event_says_why() {
    let (made, _) = read(&[("pointsman.yaml", CONFIG), ("tasks.lua", TASKS)], SESSIONS, "{}");
    for (body, why) in [("{", "not valid JSON"), ("[]", "not an object"), ("{}", "there is no `data`")] {
        let error = explain(&made.rulebook, &published(body), &[], &[]).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
