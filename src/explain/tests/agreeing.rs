//! The explanation is held against what live delivery does, over audiences and sessions of all kinds.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

/// Users, topics and roles are few, so that they meet.
fn id() -> impl Strategy<Value = u8> {
    0..4_u8
}

fn audience() -> impl Strategy<Value = String> {
    let topics = prop::option::of(prop::collection::vec(id().prop_map(|n| format!("\"t:{n}\"")), 1..3));
    let users = prop::option::of(prop_oneof![
        prop::collection::vec(id().prop_map(|n| n.to_string()), 1..3).prop_map(|all| format!("[{}]", all.join(", "))),
        Just("\"{data.user}\"".to_owned()),
        Just("{ query: some, with: { x: \"{data.x}\" } }".to_owned()),
    ]);
    let role = prop::option::of(prop_oneof![
        Just("a".to_owned()),
        Just("[a, b]".to_owned()),
        Just("{ not: a }".to_owned()),
        Just("{ exists: false }".to_owned()),
    ]);
    let except = prop::option::of(prop_oneof![id().prop_map(|n| n.to_string()), Just("{data.user}".to_owned())]);
    let payload = prop::option::of(Just("{ only: [x] }"));
    (topics, users, role, except, payload).prop_map(|(topics, users, role, except, payload)| {
        let keys = [
            topics.map(|topics| format!("topics: [{}]", topics.join(", "))),
            users.map(|users| format!("users: {users}")),
            role.map(|role| format!("where: {{ role: {role} }}")),
            except.map(|except| format!("except_user: \"{except}\"")),
        ];
        let mut keys: Vec<String> = keys.into_iter().flatten().collect();
        if keys.is_empty() {
            keys.push("tenant: true".to_owned());
        }
        keys.extend(payload.map(|payload| format!("payload: {payload}")));
        format!("{{ {} }}", keys.join(", "))
    })
}

fn session() -> impl Strategy<Value = String> {
    let topics = prop::collection::btree_set(
        prop_oneof![id().prop_map(|n| format!("\"t:{n}\"")), Just("\"t:*\"".to_owned())],
        0..3,
    );
    let role = prop::option::of(prop_oneof![Just("a"), Just("b")]);
    (id(), any::<bool>(), role, topics).prop_map(|(user, is_acme, role, topics)| {
        let (tenant, topics) = (if is_acme { "acme" } else { "globex" }, topics.into_iter().collect::<Vec<_>>());
        let role = role.map(|role| format!(", role: {role}")).unwrap_or_default();
        format!("{{ user: {user}, tenant: {tenant}{role}, topics: [{}] }}", topics.join(", "))
    })
}

fn configuration(routes: &[(Vec<String>, bool)]) -> String {
    let mut text = "database: { url: \"sqlite::memory:\", queries: { some: { sql: \"SELECT u FROM t WHERE a = :tenant AND x = :x\" } } }\n\
        event: { payload: data, tenant: data.tenant }\n\
        auth: { providers: [{ tokens: { a: { user: 1, tenant: acme } } }] }\nroutes:\n"
        .to_owned();
    for (index, (audiences, goes_on)) in routes.iter().enumerate() {
        let audiences = audiences.join(", ");
        writeln!(text, "  - {{ name: r{index}, to: [{audiences}], continue: {goes_on} }}").unwrap();
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn who_gets_it_and_why_agree(
        routes in prop::collection::vec((prop::collection::vec(audience(), 1..3), any::<bool>()), 1..3),
        sessions in prop::collection::vec(session(), 1..6),
        user in prop::option::of(id()),
        x in any::<bool>(),
        answer in prop::option::of(prop::collection::vec(id(), 0..3)),
    ) {
        let user = user.map(|user| format!(r#","user":{user}"#)).unwrap_or_default();
        let x = if x { r#","x":1"# } else { "" };
        let body = format!(r#"{{"data":{{"tenant":"acme"{user}{x}}}}}"#);
        let queries = answer.as_ref().map_or("{}".to_owned(), |users| {
            let rows: Vec<String> = users.iter().map(|user| format!("{{ u: {user} }}")).collect();
            format!("{{ some: [{}] }}", rows.join(", "))
        });
        let yaml = configuration(&routes);
        let (made, situation) = read(&[("pointsman.yaml", &yaml)], &format!("[{}]", sessions.join(", ")), &queries);
        let people = people(&situation);
        let told = explain(&made.rulebook, &published(&body), &people, &situation.queries).unwrap();

        // What live delivery comes to, if the query answers this.
        let reached = |answer: Vec<String>| {
            let rows = answer.into_iter().map(|user| Box::from([crate::event::Scalar::Text(user.into())])).collect();
            let rows = crate::lookup::Rows { columns: vec!["u".into()].into(), rows };
            let answer = Ok(std::sync::Arc::new(rows));
            let rehearsal = Rehearsal::of(&made.rulebook, &published(&body), &|_, _, _| Some(answer.clone()), &answer);
            let rehearsal = rehearsal.unwrap();
            Crowd::new(&people).reached(&rehearsal.audiences(), rehearsal.decision.event())
        };
        let given = answer.as_ref().map(|users| reached(users.iter().map(ToString::to_string).collect()));
        let names_somebody = told.routes.iter().flat_map(|route| &route.parts).any(|part| part.names_somebody);
        for (number, told) in told.sessions.iter().enumerate() {
            let context = format!("{told:?}\n{yaml}\n{body}");
            if let Some(reached) = &given {
                let expected = if reached.contains_key(&number) { Reaches::Yes } else { Reaches::No };
                prop_assert_eq!(told.gets_it, expected, "{}", context);
                let payload = reached.get(&number).map(|payload| String::from_utf8(payload.clone()).unwrap());
                prop_assert_eq!(told.payload.as_ref().map(|raw| raw.get().to_owned()), payload, "{}", context);
            } else {
                let nobody = reached(Vec::new()).contains_key(&number);
                let own = reached(vec![told.user.clone()]).contains_key(&number);
                let expected = match (nobody, own) {
                    (true, _) => Reaches::Yes,
                    (false, true) => Reaches::Depends,
                    (false, false) => Reaches::No,
                };
                prop_assert_eq!(told.gets_it, expected, "{}", context);
            }
            prop_assert_eq!(told.by_words, told.gets_it, "{}", context);
            // Whatever came, something says why: it was found by reading the expression as live code does.
            prop_assert!(!told.because.is_empty() || !names_somebody, "{}", context);
            prop_assert_eq!(told.route.is_some(), told.gets_it == Reaches::Yes, "{}", context);
        }
    }
}
