use std::fmt::Write;

use super::*;
use crate::explain::tests::read;

const CONFIG: &str = r#"
database:
  url: "sqlite::memory:"
  queries:
    users_with_access: { sql: "SELECT user_id FROM a WHERE tenant = :tenant AND record = :record" }
    can_view: { sql: "SELECT 1 FROM a WHERE tenant = :tenant AND user_id = :user AND record = :record" }
    user_by_token: { sql: "SELECT id AS user, tenant_id AS tenant, role FROM u WHERE token = :token" }
event: { payload: data, tenant: data.tenant_id, id: data.id, type: data.type }
auth:
  providers:
    - tokens: { listed: { user: 1, tenant: acme, role: manager } }
    - sql: { query: user_by_token }
    - script: { plugin: cookies.lua }
    - http: { url: "http://127.0.0.1:1/" }
topics:
  - { match: "deal:{id}", allow: { query: can_view, with: { user: "{session.user}", record: "{id}" } } }
  - { match: "team:{id}", script: cookies.lua }
routes:
  - name: deals
    when: { data.type: "deal.*" }
    to: { topic: "deal:{data.deal_id}", except_user: "{data.actor_id}" }
  - name: notes
    when: { data.type: note.added }
    to: { users: { query: users_with_access, with: { record: "{data.record_id}" } } }
  - name: rights
    when: { data.type: rights.changed }
    do: [{ forget: users_with_access, with: { record: "{data.record_id}" } }, { disconnect: { user: "{data.user_id}" } }]
  - name: tasks
    when: { data.type: "task.*" }
    script: cookies.lua
  - name: never
    when: { data.type: never }
    to: { tenant: true }
"#;

const PLUGIN: &str = r#"
local calls = 0
return {
  route = function(event, to)
    calls = calls + 1
    if calls > 1 then error("something is left of another event") end
    if event.data.type == "task.drop" then return to:drop("not now") end
    if event.data.type == "task.fail" then error("no such task") end
    if event.data.type == "task.misspelt" then to:users(lookup("users_with_access", { recrod = 7 })) end
    if event.data.type == "task.loop" then while true do end end
    to:user(event.data.user)
  end,
  authorize = function(session, topic) return session.role == "manager" end,
  authenticate = function(token)
    if token == "asks" then lookup("users_with_access", { record = 7 }) end
    if token == "fails" then error("I saw " .. token) end
    if token == "cookie" then return { user = 5, tenant = "acme", role = "sales" } end
  end,
}
"#;

/// What came of these tests: of each, its differences, without how long it took.
fn proven(tests: &str) -> (Proof, String) {
    let files = [("pointsman.yaml", CONFIG), ("cookies.lua", PLUGIN), ("tests/a.yaml", tests)];
    let (made, _) = read(&files, "[]", "{}");
    let proof = prove(&made.rulebook, &made.providers, &made.tests);
    let mut said = String::new();
    for test in &proof.tested {
        let test = test.to_string();
        let folder = test.find("/tests/a.yaml").map(|at| test[..at].rfind(['(', ' ']).map_or(0, |open| open + 1));
        let folder = folder.map(|start| test[start..test.find("/tests/a.yaml").unwrap()].to_owned());
        let test = folder.map_or(test.clone(), |folder| test.replace(&format!("{folder}/"), ""));
        writeln!(said, "{test}\n").unwrap();
    }
    (proof, said)
}

#[test]
fn what_comes_as_expected_passes() {
    let (proof, said) = proven(
        r#"
- name: viewers, not the author
  event: { data: { type: deal.moved, tenant_id: acme, deal_id: 42, actor_id: 8 } }
  sessions:
    viewer: { user: 7, tenant: acme, topics: ["deal:42"] }
    author: { user: 8, tenant: acme, topics: ["deal:42"] }
  expect: { route: deals, reaches: [viewer] }
- name: by a query
  event: { data: { type: note.added, tenant_id: acme, record_id: 7 } }
  sessions: { ann: { user: 1, tenant: acme }, bob: { user: 2, tenant: acme } }
  queries: { users_with_access: { cases: [{ with: { record: "7", tenant: acme }, rows: [{ user_id: "1" }] }] } }
  expect: { reaches: ann, payload: { ann: { record_id: 7, tenant_id: acme, type: note.added } } }
- name: actions
  event: { data: { type: rights.changed, tenant_id: acme, record_id: 7, user_id: 1 } }
  sessions: { ann: { user: 1, tenant: acme }, other: { user: 1, tenant: globex } }
  expect: { reaches: [], forgets: { query: users_with_access, with: { record: 7 } }, disconnects: ann }
- name: a plugin
  event: { data: { type: task.new, tenant_id: acme, user: 1 } }
  sessions: { ann: { user: 1, tenant: acme } }
  expect: { route: tasks, reaches: ann }
- name: a plugin's reason
  event: { data: { type: task.drop, tenant_id: acme, user: 1 } }
  expect: { dropped: not now }
- name: no route
  event: { data: { type: nothing, tenant_id: acme } }
  expect: { dropped: no_route }
- name: topics
  subscribe: "deal:1"
  sessions: { ann: { user: 1, tenant: acme }, bob: { user: 2, tenant: acme }, eve: { user: 3, tenant: acme } }
  queries:
    can_view:
      cases: [{ with: { user: 1 }, rows: [{ x: 1 }] }, { with: { user: 2 }, rows: [] }, { rows: unavailable }]
  expect: { allows: ann, unavailable: eve, rule: "deal:{id}" }
- name: topics by a plugin
  subscribe: "team:1"
  sessions: { ann: { user: 1, tenant: acme, role: manager }, bob: { user: 2, tenant: acme } }
  expect: { allows: ann }
- name: listed
  token: listed
  expect: { identity: { user: 1, tenant: acme, role: manager } }
- name: by the plugin
  token: cookie
  queries: { user_by_token: [] }
  expect: { identity: { user: 5, tenant: acme } }
- name: nobody's
  token: other
  queries: { user_by_token: [] }
  expect: { identity: denied }
- name: no database
  token: other
  queries: { user_by_token: unavailable }
  expect: { identity: unavailable }
"#,
    );
    assert!(proof.holds() && proof.passed() == 12, "{said}");
    assert_eq!((proof.routes, proof.unreached), (5, vec!["never".to_owned()]));
}

#[test]
fn what_comes_otherwise_is_told_with_the_reason() {
    let (proof, said) = proven(
        r#"
- name: another route and other sessions
  event: { data: { type: deal.moved, tenant_id: acme, deal_id: 42, actor_id: 8 } }
  sessions:
    viewer: { user: 7, tenant: acme, topics: ["deal:42"] }
    author: { user: 8, tenant: acme, topics: ["deal:42"] }
    elsewhere: { user: 9, tenant: acme, topics: ["deal:7"] }
    stranger: { user: 7, tenant: globex, topics: ["deal:42"] }
  expect: { route: notes, reaches: [author, elsewhere, stranger], payload: { author: {} } }
- name: another payload
  event: { data: { type: deal.moved, tenant_id: acme, deal_id: 42 } }
  sessions: { viewer: { user: 7, tenant: acme, topics: ["deal:42"] } }
  expect: { payload: { viewer: { type: deal.lost } } }
- name: no route
  event: { data: { type: nothing, tenant_id: acme } }
  sessions: { ann: { user: 1, tenant: acme } }
  expect: { route: deals, reaches: [ann] }
- name: a query that nobody has answered
  event: { data: { type: note.added, tenant_id: acme, record_id: 7 } }
  sessions: { ann: { user: 1, tenant: acme } }
  expect: { reaches: ann }
- name: a query that is asked otherwise
  event: { data: { type: note.added, tenant_id: acme, record_id: 7 } }
  queries: { users_with_access: { cases: [{ with: { record: 8 }, rows: [] }] } }
  expect: { reaches: [] }
- name: actions
  event: { data: { type: rights.changed, tenant_id: acme, record_id: 7, user_id: 1 } }
  sessions: { ann: { user: 1, tenant: acme } }
  expect: { forgets: [can_view, { query: users_with_access, with: { record: 8 } }], disconnects: [] }
- name: dropped
  event: { data: { type: deal.moved, tenant_id: acme, deal_id: 1 } }
  expect: { dropped: no_tenant }
- name: a plugin that fails
  event: { data: { type: task.fail, tenant_id: acme } }
  expect: { dropped: not now }
- name: no event
  event: { send: 1 }
  expect: { dropped: true }
- name: topics
  subscribe: "deal:1"
  sessions: { ann: { user: 1, tenant: acme }, bob: { user: 2, tenant: acme } }
  queries: { can_view: [] }
  expect: { allows: ann, rule: "team:{id}" }
- name: a topic that no rule knows
  subscribe: "x:1"
  sessions: { ann: { user: 1, tenant: acme } }
  expect: { allows: ann }
- name: another's token
  token: cookie
  queries: { user_by_token: [] }
  expect: { identity: { user: 5, tenant: acme, role: manager } }
- name: a query that is asked for a token
  token: very-secret
  expect: { identity: denied }
- name: a token that somebody outside may know
  token: other
  queries: { user_by_token: [] }
  expect: { identity: { user: 1, tenant: acme } }
"#,
    );
    assert_eq!(proof.passed(), 0, "{said}");
    assert!(!said.contains("very-secret"), "{said}");
    insta::assert_snapshot!(said);
}

#[test]
fn why_nobody_gets_an_event_is_what_its_route_says() {
    for (data, queries, why) in [
        (
            "type: note.added, tenant_id: acme",
            "failed",
            "`notes`: users_with_access: the query failed: so it was given",
        ),
        (
            "type: note.added, tenant_id: acme",
            "unavailable",
            "`notes`: users_with_access: the database is unavailable: so it was given",
        ),
        ("type: note.added, tenant_id: acme", "[]", "the query users_with_access does not name user 1"),
        ("type: task.fail, tenant_id: acme", "[]", "`tasks`: the plugin failed: cookies.lua:8: no such task"),
        ("type: task.drop, tenant_id: acme", "[]", "`tasks`: the plugin drops the event: not now"),
        ("type: deal.moved, tenant_id: acme", "[]", "`deals`: the event has no usable data.deal_id, data.actor_id: so"),
        ("type: deal.moved", "[]", "`deals`: it is about a tenant's sessions, and the event names no tenant"),
        ("type: rights.changed, tenant_id: acme", "[]", "`rights`: nobody gets it, and what is kept of users_with"),
        ("type: nothing, tenant_id: acme", "[]", "no route holds for it: nobody gets it"),
    ] {
        let (_, said) = proven(&format!(
            "- name: a\n  event: {{ data: {{ {data}, record_id: 7, user_id: 8 }} }}\n  \
             sessions: {{ ann: {{ user: 1, tenant: acme }}, bob: {{ user: 2, tenant: acme }} }}\n  \
             queries: {{ users_with_access: {queries} }}\n  expect: {{ reaches: [ann, bob] }}\n"
        ));
        assert_eq!(said.matches(why).count(), 1, "{data}: {said}");
    }
}

#[test]
fn a_plugin_that_never_ends_costs_its_budget() {
    let (proof, said) = proven(
        "- { name: loops, event: { data: { type: task.loop, tenant_id: acme } }, expect: { dropped: script_failed } }\n",
    );
    assert!(proof.holds(), "{said}");
    assert!(proof.took() < std::time::Duration::from_secs(5), "{:?}", proof.took());
}

#[test]
fn a_token_does_not_show_where_a_plugin_says_it() {
    let (_, said) =
        proven("- { name: t, token: fails, queries: { user_by_token: [] }, expect: { identity: denied } }\n");
    assert!(said.contains("unavailable") && !said.contains("fails"), "{said}");
}

#[test]
fn a_query_that_lacks_a_bind_fails_as_it_would_live_whatever_the_test_answers() {
    let (proof, said) = proven(
        r"
- name: a misspelt bind
  event: { data: { type: task.misspelt, tenant_id: acme } }
  sessions: { ann: { user: 1, tenant: acme } }
  queries: { users_with_access: [{ user_id: 1 }] }
  expect: { dropped: no_route }
- name: a token is of no tenant yet
  token: asks
  queries: { user_by_token: [], users_with_access: [{ user_id: 1 }] }
  expect: { identity: denied }
",
    );
    assert_eq!(proof.passed(), 0, "{said}");
    for reason in ["it binds `:record`, which was not given", "what it is asked for has no tenant"] {
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn a_thousand_tests_are_run_in_a_moment() {
    let mut tests = String::new();
    for number in 0..1_000 {
        let kind = if number % 2 == 0 { "deal.moved" } else { "task.new" };
        writeln!(
            tests,
            "- name: t{number}\n  event: {{ data: {{ type: {kind}, tenant_id: acme, deal_id: {number}, user: 1 }} }}\n  \
             sessions: {{ a: {{ user: 1, tenant: acme, topics: [\"deal:{number}\"] }} }}\n  expect: {{ reaches: a }}"
        )
        .unwrap();
    }
    let (proof, said) = proven(&tests);
    assert!(proof.holds() && proof.passed() == 1_000, "{said}");
    // Without optimisation, and beside other tests.
    assert!(proof.took() < std::time::Duration::from_secs(10), "{:?}", proof.took());
}
