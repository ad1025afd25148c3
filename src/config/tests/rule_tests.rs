//! Rule tests: which files hold them, what they come to, and what is said of faulty ones.

use serde_json::json;

use super::*;
use crate::event::Scalar;

/// A configuration with something of each kind that tests name.
const MAIN: &str = "\
event: { payload: data, tenant: data.tenant_id }
auth: { providers: [{ tokens: { t0ken: { user: 1, tenant: acme } } }] }
database:
  url: \"sqlite::memory:\"
  queries:
    users_with_access: { sql: \"SELECT 1 WHERE 1 = :tenant AND 1 = :record\" }
    can_view_deal: { sql: \"SELECT 1 WHERE 1 = :tenant\" }
topics:
  - { match: \"deal:{id}\", allow: { query: can_view_deal } }
routes:
  - { name: audit, when: { data.audit: true }, to: { where: { role: auditor } }, continue: true }
  - { name: deals, when: { data.type: \"deal.*\" }, to: { topic: \"deal:{data.deal_id}\" } }
";

/// Each key that a test may have.
pub(super) const ALL: &str = r#"
- name: a deal's viewers see it move
  event: { data: { type: deal.moved, tenant_id: acme, deal_id: 42, tags: [a, null, 1.5, true] } }
  amqp: { routing_key: deal.moved, headers: { source: crm, priority: 7 } }
  sessions:
    viewer: { user: 7, tenant: acme, topics: ["deal:42", "board:*"], role: manager, level: 3 }
    other: { user: "8", tenant: acme, topics: "deal:42" }
    stranger: { user: 7, tenant: globex }
  queries:
    users_with_access: [{ user_id: 7, name: ann }, { name: bob, user_id: 8 }]
    can_view_deal:
      cases:
        - { with: { tenant: acme, deal: 42 }, rows: [{ ok: 1 }] }
        - { with: { tenant: globex }, rows: unavailable }
        - { rows: [] }
  expect:
    route: [audit, deals]
    reaches: [viewer, other, viewer]
    payload: { other: { type: deal.moved, deal_id: 42 }, viewer: [1, text] }
    forgets: [users_with_access, { query: can_view_deal, with: { deal: 42 } }]
    disconnects: stranger

- name: what is no event for anybody
  event: '{"data": {"id": 99999999999999999999}}'
  queries: { users_with_access: failed, can_view_deal: unavailable }
  expect: { dropped: no_route, reaches: [] }

- name: it is dropped somehow
  event: {}
  expect: { dropped: true }

- name: viewers may subscribe
  subscribe: "deal:42"
  sessions: { viewer: { user: 7, tenant: acme }, other: { user: 8, tenant: acme } }
  queries: { can_view_deal: { cases: [{ with: { user: 7 }, rows: [{ ok: 1 }] }, { rows: unavailable }] } }
  expect: { allows: [viewer], unavailable: [other], rule: "deal:{id}" }

- name: a token is somebody's
  token: t0ken
  remote_addr: 10.0.0.1
  expect: { identity: { user: 1, tenant: acme, role: manager } }

- { name: a token is nobody's, token: t0ken2, expect: { identity: denied } }
- { name: nobody can say, token: t0ken2, expect: { identity: unavailable } }
"#;

fn tests(files: &[(&str, &str)]) -> Vec<RuleTest> {
    let (_, loaded) = load_files(files);
    match loaded {
        Ok(loaded) => loaded.tests,
        Err(LoadError::Invalid(_)) => panic!("{}", said(files)),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn an_event_comes_with_all_that_surrounds_it() {
    let all = tests(&[("c.yaml", MAIN), ("tests/all.yaml", ALL)]);
    assert_eq!(all.len(), 7);
    let test = &all[0];
    assert_eq!((test.name.as_str(), test.place.line()), ("a deal's viewers see it move", 2));
    let session = |index: usize| {
        let TestSession { name, identity, topics, .. } = &test.sessions[index];
        let topics: Vec<_> = topics.iter().map(ToString::to_string).collect();
        (name.as_str(), identity.user.as_str(), identity.tenant.as_str(), topics)
    };
    assert_eq!(session(0), ("viewer", "7", "acme", vec!["deal:42".to_owned(), "board:*".to_owned()]));
    assert_eq!(session(1), ("other", "8", "acme", vec!["deal:42".to_owned()]));
    assert_eq!(session(2), ("stranger", "7", "globex", Vec::new()));
    let attributes = [("role".into(), Scalar::Text("manager".into())), ("level".into(), Scalar::Int(3))];
    assert_eq!(test.sessions[0].identity.attributes, attributes);

    let [access, view] = test.queries.as_slice() else { panic!("{:?}", test.queries) };
    let MockAnswer::Rows(rows) = &access.cases[0].answer else { panic!("{access:?}") };
    assert_eq!((access.name.as_str(), &*rows.columns), ("users_with_access", &["user_id".into(), "name".into()][..]));
    let row = |id, name: &str| -> Box<[Scalar]> { Box::new([Scalar::Int(id), Scalar::Text(name.into())]) };
    assert_eq!(rows.rows, [row(7, "ann"), row(8, "bob")]);
    let cases: Vec<_> = view.cases.iter().map(|case| (case.with.len(), &case.answer)).collect();
    assert!(matches!(cases[..], [(2, MockAnswer::Rows(_)), (1, MockAnswer::Unavailable), (0, MockAnswer::Rows(_))]));
    assert_eq!(view.cases[0].with[1], ("deal".into(), Scalar::Int(42)));

    let TestCase::Event(event) = &test.case else { panic!("{test:?}") };
    let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
    let tags = json!(["a", null, 1.5, true]);
    assert_eq!(body, json!({ "data": { "type": "deal.moved", "tenant_id": "acme", "deal_id": 42, "tags": tags } }));
    assert_eq!(event.routing_key.as_deref(), Some("deal.moved"));
    assert_eq!(event.headers, [("source".into(), Scalar::Text("crm".into())), ("priority".into(), Scalar::Int(7))]);
    let expect = &event.expect;
    assert_eq!(expect.routes.as_ref().unwrap().value, ["audit", "deals"]);
    assert_eq!(expect.reaches.as_ref().unwrap().value, [SessionIndex(0), SessionIndex(1)]);
    let payloads: Vec<_> = expect.payloads.iter().map(|(index, payload)| (*index, payload.value.clone())).collect();
    let full = json!({ "type": "deal.moved", "deal_id": 42 });
    assert_eq!(payloads, [(SessionIndex(1), full), (SessionIndex(0), json!([1, "text"]))]);
    assert_eq!(expect.disconnects.as_ref().unwrap().value, [SessionIndex(2)]);
    let forgets = &expect.forgets.as_ref().unwrap().value;
    assert_eq!(forgets[0], ForgetExpectation { query: "users_with_access".into(), with: None });
    let with = Some(vec![("deal".into(), Scalar::Int(42))]);
    assert_eq!(forgets[1], ForgetExpectation { query: "can_view_deal".into(), with });
}

#[test]
fn each_kind_of_test_expects_what_is_of_its_kind() {
    let all = tests(&[("c.yaml", MAIN), ("tests/all.yaml", ALL)]);
    let TestCase::Event(event) = &all[1].case else { panic!("{:?}", all[1]) };
    // Text is taken as it stands, so that no digit is lost.
    assert_eq!(event.body, r#"{"data": {"id": 99999999999999999999}}"#);
    assert_eq!(event.expect.dropped.as_ref().unwrap().value, DropExpectation::Because("no_route".into()));
    assert!(event.expect.reaches.as_ref().unwrap().value.is_empty() && event.expect.routes.is_none());
    assert_eq!(all[1].queries[0].cases[0].answer, MockAnswer::Failed);
    let TestCase::Event(event) = &all[2].case else { panic!("{:?}", all[2]) };
    assert_eq!((event.body.as_str(), &event.expect.dropped.as_ref().unwrap().value), ("{}", &DropExpectation::Somehow));
    let TestCase::Subscribe(subscribe) = &all[3].case else { panic!("{:?}", all[3]) };
    assert_eq!(subscribe.topic.as_str(), "deal:42");
    assert_eq!(subscribe.allows.as_ref().unwrap().value, [SessionIndex(0)]);
    assert_eq!(subscribe.unavailable.as_ref().unwrap().value, [SessionIndex(1)]);
    assert_eq!(subscribe.rule.as_ref().unwrap().value, "deal:{id}");
    let token = |index: usize| match &all[index].case {
        TestCase::Token(token) => token,
        other => panic!("{other:?}"),
    };
    let TokenExpectation::Identity(identity) = &token(4).expect.value else { panic!("{:?}", all[4]) };
    assert_eq!((identity.user.as_str(), identity.tenant.as_str(), identity.attributes.len()), ("1", "acme", 1));
    assert_eq!([token(4).remote.as_str(), &token(5).remote], ["10.0.0.1", "127.0.0.1"]);
    assert!(matches!(token(5).expect.value, TokenExpectation::Denied));
    assert!(matches!(token(6).expect.value, TokenExpectation::Unavailable));
    assert!(!format!("{all:?}").contains("t0ken"));
}

#[test]
fn tests_stand_beside_the_configuration_and_its_plugins() {
    let one = |name: &str| format!("- {{ name: {name}, event: {{}}, expect: {{ dropped: true }} }}\n");
    let main = format!("{MAIN}  - {{ name: a, script: a.lua }}\ninclude: [part.yaml]\nplugins: {{ dir: lua }}\n");
    let named: Vec<_> = ["c", "part", "other", "free", "a", "b", "more", "not"].map(one).into();
    let files = [
        ("c.yaml", main.as_str()),
        ("part.yaml", ""),
        ("other.yaml", "event: {}"),
        ("lua/a.lua", "return {}"),
        ("lua/b.lua", "return {}"),
        // Of a configuration, of a part of it, of another one; of none.
        ("tests/c.yaml", &named[0]),
        ("tests/part.yaml", &named[1]),
        ("tests/other.yaml", &named[2]),
        ("tests/free.yaml", &named[3]),
        // Of a plugin, of one that is not called, of none.
        ("lua/tests/a.yaml", &named[4]),
        ("lua/tests/b.yaml", &named[5]),
        ("lua/tests/more.yaml", &named[6]),
        // No tests.
        ("tests/not.yml", &named[7]),
        ("tests/.not.yaml", &named[7]),
        ("tests/empty.yaml", "# nothing\n"),
        ("not.yaml", &named[7]),
    ];
    let names: Vec<_> = tests(&files).into_iter().map(|test| test.name).collect();
    assert_eq!(names, ["c", "free", "part", "a", "more"]);
}

#[test]
fn plugins_beside_the_configuration_have_one_folder_of_tests_with_it() {
    let main = format!("{MAIN}  - {{ name: a, script: a.lua }}\n");
    let test = "- { name: a, event: {}, expect: { route: a } }\n";
    let files = [("c.yaml", main.as_str()), ("a.lua", "return {}"), ("tests/a.yaml", test)];
    assert_eq!(tests(&files).len(), 1);
}

#[test]
fn tests_that_are_not_asked_for_are_not_read() {
    let main = format!("{MAIN}reload: {{ tests: false }}\n");
    let files = [("c.yaml", main.as_str()), ("tests/a.yaml", "nonsense")];
    let (folder, loaded) = load_files(&files);
    assert!(loaded.unwrap().tests.is_empty());
    let file = ConfigFile::Disk(folder.path().join("c.yaml"));
    let attempt = attempt(&file, "host-1", &environment, ReadTests::Always);
    assert!(matches!(attempt.result, Err(LoadError::Invalid(_))), "{attempt:?}");
}

#[test]
fn faulty_tests_are_told_what_would_be_right() {
    insta::assert_snapshot!(said(&[
        ("x.yaml", MAIN),
        (
            "tests/a.yaml",
            "\
- { name: a }
- { event: {}, expect: { dropped: true } }
- { name: a, event: {}, expect: { dropped: true } }
- { name: c, event: {}, token: t0ken, expect: { dropped: true } }
- { name: d, expect: { dropped: true } }
- { name: e, evnt: {}, expect: { dropped: true } }
- { name: f, event: [1], expect: { dropped: true } }
- { name: g, event: \"{\", expect: { dropped: true } }
- { name: h, event: {}, expect: {} }
- { name: i, event: {}, expect: { dropped: false } }
- { name: j, event: {}, expect: { route: deal, reaches: [veiwer], payload: { x: 1 }, disconnects: y, forgets: [acces, { query: q }] }, sessions: { viewer: { user: 1, tenant: acme } } }
- { name: k, event: {}, expect: { reaches: [a], dropped: true, payload: { b: 1 } }, sessions: { a: { user: 1, tenant: acme }, b: { user: 1, tenant: acme } } }
- { name: l, event: {}, expect: { reach: [] } }
- { name: m, event: {}, expect: { allows: [], identity: denied, unavailable: [], rule: x } }
- name: n
  event: {}
  sessions:
    a: { user: 1 }
    b: { user: 1.5, tenant: acme }
    c: { user: 1, tenant: acme, topcis: [\"a\"], role: { a: b } }
    d: { user: 1, tenant: acme, topics: [\"a::b\"] }
    e: 7
  expect: { reaches: [a] }
- name: o
  event: {}
  queries:
    user_with_access: []
    can_view_deal: [{ a: 1 }, { b: 1 }, { a: 1, b: 2 }]
    users_with_access: { cases: [{ rows: down }, { with: { a: [1] }, rows: [] }, {}] }
    x: 7
    y: [1]
  expect: { dropped: true }
- { name: p, subscribe: \"a::b\", expect: { reaches: [], rule: \"deal:{x}\" } }
- { name: q, subscribe: a, expect: {}, remote_addr: x, amqp: {} }
- { name: r, token: t0ken, expect: { identity: nobody } }
- { name: s, token: t0ken, expect: { allows: [] } }
- { name: t, token: t0ken, expect: { identity: { user: 1, tenant: acme, topics: [a] } } }
- { name: u, token: \"\", expect: { identity: denied } }
"
        ),
        ("tests/b.yaml", "name: a\n"),
        ("tests/c.yaml", "- name: a: b\n  tests: [\n"),
        ("tests/d.yaml", "7\n"),
    ]));
}

#[test]
fn names_are_not_held_against_a_configuration_that_is_faulty() {
    let main = format!("{MAIN}lisen: 1\n");
    let said = said(&[
        ("x.yaml", &main),
        ("tests/a.yaml", "- { name: a, event: {}, queries: { q: [] }, expect: { route: r, reachs: [] } }\n"),
    ]);
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(
        errors,
        ["error: unknown key `reachs`, did you mean `reaches`?", "error: unknown key `lisen`, did you mean `listen`?"]
    );
}
