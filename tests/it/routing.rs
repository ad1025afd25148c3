//! The language of routes, end to end: which event reaches whom, and whom it does not.
//!
//! Two tenants have people of the same ids who look at topics of the same names. Every case runs for both of them, and
//! a marker of the same lane that everyone gets tells when an event has reached all whom it ever will.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::server::{Server, Setup};

const TENANTS: [&str; 2] = ["acme", "globex"];

/// Name, identity beside the tenant, topics.
const PEOPLE: [(&str, &str, &[&str]); 5] = [
    ("ann", "user: 1, role: manager, level: 5, team: 7", &["deal:42", "board:sales"]),
    ("anns-phone", "user: \"1\", role: manager, level: 5, team: 7", &[]),
    ("bob", "user: 2, role: agent, level: 3, team: \"7\"", &["deal:42", "deal:7"]),
    ("cleo", "user: c-3, role: agent, level: 2", &["board:sales", "deal:7"]),
    ("wild", "user: 4, role: guest", &["board:*"]),
];

const ALL: &str = "ann anns-phone bob cleo wild";

const DATABASE: &str = "
    CREATE TABLE access (tenant TEXT, record TEXT, person);
    INSERT INTO access VALUES
        ('acme', '9', 1), ('acme', '9', 'c-3'), ('acme', '9', NULL), ('acme', 'acme', 2), ('acme', 'globex', 1),
        ('globex', '9', 1), ('globex', '9', 'c-3'), ('globex', 'globex', 2), ('globex', 'acme', 1);";

const SETTINGS: &str = r#"
database:
  url: "sqlite::memory:"
  init: [access.sql]
  queries:
    people: { sql: "SELECT person, record FROM access WHERE tenant = :tenant AND record = :record" }
    broken: { sql: "SELECT nothing FROM nowhere WHERE tenant = :tenant" }
event: { payload: data, tenant: tenant }
topics: [{ match: "board:*", allow: true }, { match: "deal:{id}", allow: true }]
"#;

/// Routes of one case, each without its name: `when`, and the rest.
type Routes<'a> = Vec<(&'a str, &'a str)>;

/// A server with the routes of all cases, and everyone there.
struct Stage {
    server: Server,
    /// Tenant, name, connection.
    people: Vec<(&'static str, &'static str, Client)>,
}

impl Stage {
    /// An event's field `case` says whose routes are meant.
    async fn new<'a>(cases: impl Iterator<Item = Routes<'a>>) -> Self {
        let mut yaml = SETTINGS.to_owned() + "auth:\n  providers:\n    - tokens:\n";
        for tenant in TENANTS {
            for (name, identity, _) in PEOPLE {
                writeln!(yaml, "        {tenant}-{name}: {{ tenant: {tenant}, {identity} }}").unwrap();
            }
        }
        yaml += "routes:\n  - { name: marker, when: { marker: true }, to: everyone, all_tenants: true }\n";
        for (case, routes) in cases.enumerate() {
            for (number, (when, rest)) in routes.into_iter().enumerate() {
                writeln!(yaml, "  - {{ name: c{case}-{number}, when: {{ case: {case}, {when} }}, {rest} }}").unwrap();
            }
        }
        let files = [("access.sql", DATABASE)];
        let server = Server::start_with(&yaml, &Setup { files: &files, ..Setup::default() }).await;
        let mut people = Vec::new();
        for tenant in TENANTS {
            for (name, _, topics) in PEOPLE {
                people.push((tenant, name, Client::session(&server, &format!("{tenant}-{name}"), topics).await));
            }
        }
        Self { server, people }
    }

    /// Publishes an event and a marker behind it. Answers whom the event reached, by tenant and name, with repeats.
    async fn reached(&mut self, case: usize, tenant: Option<&str>, data: &Value) -> Vec<String> {
        let mut event = json!({ "case": case, "data": data, "tenant": tenant });
        let mut marker = json!({ "marker": true, "data": { "marker": case }, "tenant": tenant });
        if tenant.is_none() {
            event.as_object_mut().unwrap().remove("tenant");
            marker.as_object_mut().unwrap().remove("tenant");
        }
        let answer = self.server.post("/publish", format!("{event}\n{marker}\n")).await;
        assert_eq!(answer.json()["accepted"], 2, "{}", answer.body);
        let mut reached = Vec::new();
        for (of, name, client) in &mut self.people {
            loop {
                let got = client.next_event().await;
                if got == marker["data"] {
                    break;
                }
                assert_eq!(got, *data, "case {case}");
                reached.push(format!("{of}/{name}"));
            }
        }
        reached
    }
}

/// Runs cases of routes, an event's data, and whom of its tenant it reaches: for an event of either tenant.
async fn check(cases: &[(Routes<'_>, Value, &str)]) {
    let mut stage = Stage::new(cases.iter().map(|(routes, ..)| routes.clone())).await;
    for (case, (routes, data, expected)) in cases.iter().enumerate() {
        for tenant in TENANTS {
            let expected: Vec<String> = expected.split_whitespace().map(|name| format!("{tenant}/{name}")).collect();
            let reached = stage.reached(case, Some(tenant), data).await;
            assert_eq!(reached, expected, "an event of {tenant}, {data}, by {routes:?}");
        }
    }
}

#[tokio::test]
async fn a_condition_holds_or_does_not() {
    let mut cases = Vec::new();
    for (when, data, holds) in [
        ("data.type: deal.moved", json!({ "type": "deal.moved" }), true),
        ("data.type: deal.moved", json!({ "type": "deal.moved.x" }), false),
        ("data.type: deal.moved", json!({}), false),
        ("data.n: 7", json!({ "n": "7" }), true),
        ("data.n: \"7\"", json!({ "n": 7 }), true),
        ("data.n: 7", json!({ "n": 7.0 }), true),
        ("data.n: 7", json!({ "n": [7] }), false),
        ("data.b: true", json!({ "b": true }), true),
        ("data.b: true", json!({ "b": "true" }), false),
        ("data.type: [note.added, \"deal.*\"]", json!({ "type": "note.added" }), true),
        ("data.type: [note.added, \"deal.*\"]", json!({ "type": "deal.won" }), true),
        ("data.type: [note.added, \"deal.*\"]", json!({ "type": "note.gone" }), false),
        ("data.type: \"deal.*\"", json!({ "type": "deal." }), true),
        ("data.type: \"deal.*\"", json!({ "type": "ideal.won" }), false),
        ("data.type: \"*.w?n\"", json!({ "type": "deal.wön" }), true),
        ("data.type: \"*.w?n\"", json!({ "type": "deal.wn" }), false),
        ("data.a.b.c: 1", json!({ "a": { "b": { "c": 1 } } }), true),
        ("data.a.b.c: 1", json!({ "a": { "b": 1 } }), false),
        ("data.x: { exists: true }", json!({ "x": {} }), true),
        ("data.x: { exists: true }", json!({ "x": null }), false),
        ("data.x: { exists: false }", json!({ "x": null }), true),
        ("data.x: { exists: false }", json!({ "x": 0 }), false),
        ("data.x: { not: a }", json!({ "x": "b" }), true),
        ("data.x: { not: a }", json!({ "x": "a" }), false),
        ("data.x: { not: a }", json!({}), true),
        ("data.x: { not: [a, \"b*\"] }", json!({ "x": "bc" }), false),
        ("data.x: { not: { gt: 3 } }", json!({ "x": 3 }), true),
        ("data.x: { prefix: \"ab*\" }", json!({ "x": "ab*c" }), true),
        ("data.x: { prefix: \"ab*\" }", json!({ "x": "abc" }), false),
        ("data.x: { gt: 3 }", json!({ "x": 3.5 }), true),
        ("data.x: { gt: 3 }", json!({ "x": 3 }), false),
        ("data.x: { gte: 3 }", json!({ "x": 3 }), true),
        ("data.x: { lt: 3 }", json!({ "x": 3 }), false),
        ("data.x: { lt: 3 }", json!({ "x": -1e3 }), true),
        ("data.x: { lte: 3 }", json!({ "x": 3 }), true),
        ("data.x: { lte: 3 }", json!({ "x": "2" }), false),
        ("data.x: { gte: 2, lt: 4 }", json!({ "x": 2 }), true),
        ("data.x: { gte: 2, lt: 4 }", json!({ "x": 4 }), false),
        ("data.x: 1, data.y: { prefix: a }", json!({ "x": 1, "y": "ab" }), true),
        ("data.x: 1, data.y: { prefix: a }", json!({ "x": 1, "y": "ba" }), false),
        ("data.x: \"{data.y}\"", json!({ "x": 5, "y": "5" }), true),
        ("data.x: \"{data.y}\"", json!({ "x": 5 }), false),
    ] {
        cases.push((vec![(when, "to: { tenant: true }")], data, if holds { ALL } else { "" }));
    }
    check(&cases).await;
}

#[tokio::test]
async fn an_audience_holds_some_and_not_others() {
    let mut cases = Vec::new();
    let data = json!({
        "user": 1, "people": ["2", "c-3", null, 99], "text": "c-3", "deal": 42, "record": 9, "team": 7, "none": [],
        "topics": ["deal:7", "board:sales"], "a": { "b": { "id": 4 } },
    });
    for (to, reaches) in [
        ("{ tenant: true }", ALL),
        ("{ user: \"{data.user}\" }", "ann anns-phone"),
        ("{ user: 2 }", "bob"),
        ("{ user: \"c-{data.three}\" }", ""),
        ("{ user: \"{data.missing}\" }", ""),
        ("{ user: \"{data.people}\" }", ""),
        ("{ user: \"{data.a.b.id}\" }", "wild"),
        ("{ users: [2, \"{data.text}\", \"{data.missing}\"] }", "bob cleo"),
        ("{ users: data.people }", "bob cleo"),
        ("{ users: data.text }", "cleo"),
        ("{ users: data.missing }", ""),
        ("{ users: data.none }", ""),
        ("{ users: [] }", ""),
        ("{ users: { query: people, with: { record: \"{data.record}\" } } }", "ann anns-phone cleo"),
        // The tenant's own rows, whatever else is bound.
        ("{ users: { query: people, with: { record: \"{tenant}\" } } }", "bob"),
        ("{ users: { query: people, with: { record: none } } }", ""),
        ("{ users: { query: people, with: { record: \"{data.missing}\" } } }", ""),
        ("{ topic: \"deal:{data.deal}\" }", "ann bob"),
        ("{ topic: \"deal:{data.missing}\" }", ""),
        ("{ topic: \"board:sales\" }", "ann cleo wild"),
        ("{ topic: \"board:hr\" }", "wild"),
        ("{ topic: \"board:a:b\" }", ""),
        ("{ topics: [\"deal:{data.deal}\", \"deal:7\"] }", "ann bob cleo"),
        ("{ topics: data.topics }", "ann bob cleo wild"),
        ("{ topics: data.missing }", ""),
        ("{ where: { role: agent } }", "bob cleo"),
        ("{ where: { role: [manager, \"g*\"], level: { exists: false } } }", "wild"),
        ("{ where: { level: { gte: 3 } } }", "ann anns-phone bob"),
        ("{ where: { team: \"{data.team}\" } }", "ann anns-phone bob"),
        ("{ where: { team: \"{data.missing}\" } }", ""),
        ("{ where: { role: { not: agent } } }", "ann anns-phone wild"),
        ("{ tenant: true, except_user: \"{data.user}\" }", "bob cleo wild"),
        ("{ tenant: true, except_user: [1, \"{data.text}\"] }", "bob wild"),
        ("{ tenant: true, except_user: \"{data.missing}\" }", ALL),
        ("{ topic: \"deal:42\", user: 1 }", "ann"),
        ("{ topic: \"deal:42\", where: { role: agent }, except_user: 2 }", ""),
        ("{ topic: \"board:sales\", users: { query: people, with: { record: 9 } } }", "ann cleo"),
        ("[{ user: 4 }, { topic: \"deal:7\" }, { topic: \"board:sales\" }]", "ann bob cleo wild"),
        ("[{ topic: \"deal:42\", except_user: 1 }, { user: 1 }]", "ann anns-phone bob"),
        ("[{ user: \"{data.missing}\" }, { where: { role: guest } }]", "wild"),
        ("[{ users: { query: people, with: { record: none } } }, { user: 2 }]", "bob"),
        ("[{ users: { query: broken } }, { user: 2 }]", ""),
    ] {
        cases.push((to, reaches));
    }
    let texts: Vec<String> = cases.iter().map(|(to, _)| format!("to: {to}")).collect();
    let routed = texts.iter().zip(&cases).map(|(to, (_, reaches))| (vec![("", to.as_str())], data.clone(), *reaches));
    check(&routed.collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn the_first_route_that_holds_decides_unless_it_goes_on() {
    let data = || json!({ "a": 1, "b": 2 });
    check(&[
        (vec![("data.a: 1", "to: { user: 2 }"), ("data.b: 2", "to: { user: 4 }")], data(), "bob"),
        (vec![("data.a: 2", "to: { user: 2 }"), ("data.b: 2", "to: { user: 4 }")], data(), "wild"),
        (vec![("data.a: 2", "to: { user: 2 }"), ("data.b: 3", "to: { user: 4 }")], data(), ""),
        // One that names nobody decides, too.
        (vec![("data.a: 1", "to: { user: \"{data.x}\" }"), ("", "to: { user: 4 }")], data(), ""),
        (vec![("data.a: 1", "to: { user: 2 }, continue: true"), ("", "to: { user: 4 }")], data(), "bob wild"),
        // Whoever is meant twice gets it once.
        (
            vec![
                ("data.a: 1", "to: { topics: [\"deal:42\", \"board:sales\"] }, continue: true"),
                ("data.b: 3", "to: { tenant: true }"),
                ("", "to: [{ user: 1 }, { topic: \"deal:7\" }]"),
                ("", "to: { tenant: true }"),
            ],
            data(),
            "ann anns-phone bob cleo wild",
        ),
        // What one route cannot ask costs that route alone.
        (vec![("", "to: { users: { query: broken } }, continue: true"), ("", "to: { user: 2 }")], data(), "bob"),
    ])
    .await;
}

#[tokio::test]
async fn what_reaches_nobody_is_counted_and_what_is_everyones_is_said_so() {
    let everyone = ("", "to: everyone");
    let all_tenants = ("", "to: everyone, all_tenants: true");
    let by_tenant = ("", "to: { tenant: true }");
    let query = ("", "to: { users: { query: broken } }");
    let cases = [
        (everyone, None, "acme globex", ""),
        (all_tenants, None, "acme globex", ""),
        (all_tenants, Some("acme"), "acme globex", ""),
        (everyone, Some("acme"), "", "everyone_of_a_tenant"),
        (by_tenant, None, "", "no_tenant"),
        (by_tenant, Some("nobodys"), "", ""),
        (query, Some("globex"), "", "lookup_failed"),
        (("data.x: 2", "to: everyone"), Some("acme"), "", "no_route"),
    ];
    let mut stage = Stage::new(cases.iter().map(|(route, ..)| vec![*route])).await;
    for (case, ((_, rest), tenant, expected, cause)) in cases.into_iter().enumerate() {
        let names = |of: &str| PEOPLE.map(|(name, ..)| format!("{of}/{name}"));
        let expected: Vec<String> = expected.split_whitespace().flat_map(names).collect();
        let drops = |cause: &str| format!("pointsman_drops_total{{cause=\"{cause}\"}}");
        let before = stage.server.metric(&drops(cause)).await;
        assert_eq!(stage.reached(case, tenant, &json!({ "x": 1 })).await, expected, "{rest} of {tenant:?}");
        let dropped = stage.server.metric(&drops(cause)).await - before;
        assert_eq!(dropped, i64::from(!cause.is_empty()), "{cause}: {rest} of {tenant:?}");
        if !["", "no_route"].contains(&cause) {
            let is_it = |line: &Value| line["message"] == "event dropped" && line["route"] == format!("c{case}-0");
            let line = stage.server.wait_for_log("that it dropped the event", is_it).await;
            assert_eq!((line["level"].as_str(), line["tenant"].as_str()), (Some("WARN"), tenant), "{line}");
        }
    }
}
