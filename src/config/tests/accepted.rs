//! What right files come to.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::event::{Comparison, Keep, Matcher, Path, PayloadFilter, Scalar};

#[test]
fn what_is_left_out_has_a_default() {
    let config = config(BASE);
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert!(config.admin.key.is_none() && config.amqp.is_none() && config.database.is_none());
    assert!((1..=64).contains(&config.shards.get()));
    assert_eq!([config.drain, config.auth.deadline, config.ping.every], [10, 10, 60].map(Duration::from_secs));
    let accept = config.auth.accept;
    assert!(accept.message && accept.header && accept.query && !config.demo);
    let Limits { connections, topics, message, event, outbox } = config.limits;
    assert_eq!((connections, topics, message, event), (100_000, 100, 16_384, 16_777_216));
    assert_eq!((outbox.messages, outbox.bytes, outbox.when_full), (256, 1_048_576, WhenFull::Disconnect));
    let [Provider::Tokens(tokens)] = config.auth.providers.as_slice() else { panic!("{:?}", config.auth) };
    let (token, owner) = &tokens[0];
    assert_eq!((token.expose_secret(), owner.user.as_str(), owner.tenant.as_str()), ("t0ken", "1", "acme"));
    assert_eq!(owner.attributes, [("role".into(), Scalar::Text("manager".into()))]);
}

#[test]
fn values_come_from_the_environment_as_one_value() {
    let config = config(&format!(
        "{BASE}demo: ${{YES}}\nlisten: 127.0.0.1:${{PORT}}\nadmin: {{ key: \"${{INJECT}}\" }}\nshards: ${{NOT_SET:-3}}\n"
    ));
    assert!(config.demo);
    assert_eq!(config.listen.port(), 8081);
    assert_eq!(config.shards.get(), 3);
    assert_eq!(config.admin.key.unwrap().expose_secret(), "x\ndemo: true");
}

#[test]
fn queues_are_named_after_the_instance() {
    let config = config(&format!(
        "{BASE}amqp: {{ url: \"amqp://u:p%40@mq:5672/v\", when_lost: exit, exchanges: [{{ name: e, type: x-delayed }}], \
         queues: [{{ name: \"p.{{instance}}\", arguments: {{ x-max-length: 10 }}, bind: [{{ exchange: e }}] }}] }}\n"
    ));
    let amqp = config.amqp.unwrap();
    assert_eq!(amqp.when_lost, WhenLost::Exit);
    assert!(amqp.exchanges[0].durable);
    let queue = &amqp.queues[0];
    assert_eq!((queue.name.as_str(), queue.prefetch), ("p.host-1", 1000));
    assert!(!queue.durable && !queue.exclusive && !queue.auto_delete && !queue.no_ack);
    assert_eq!(queue.arguments, [("x-max-length".to_owned(), Scalar::Int(10))]);
    assert_eq!((queue.bind[0].exchange.as_str(), queue.bind[0].routing_key.as_str()), ("e", ""));
}

#[test]
fn an_exclusive_queue_with_the_instance_in_its_name_is_renewed_with_each_connection() {
    for (queue, stem) in [
        ("name: \"p.{instance}\", exclusive: true", Some("p.host-1")),
        ("name: \"p.{instance}\", auto_delete: true", None),
        ("name: \"p.{instance}\", durable: true", None),
        ("name: \"p.{instance}\", exclusive: true, passive: true", None),
        ("name: p, exclusive: true", None),
    ] {
        let config = config(&format!("{BASE}amqp: {{ url: \"amqp://mq\", queues: [{{ {queue} }}] }}\n"));
        assert_eq!(config.amqp.unwrap().queues[0].stem.as_deref(), stem, "{queue}");
    }
}

#[test]
fn audiences_name_users_and_topics_in_each_way() {
    let path = |text: &str| Path::parse(text).unwrap();
    for (written, users, topics) in [
        ("user: \"{data.owner}\"", "[{data.owner}]", "-"),
        ("user: 7", "[7]", "-"),
        ("users: data.users", "data.users", "-"),
        ("users: \"{data.users}\"", "data.users", "-"),
        ("users: [\"{data.a}\", b]", "[{data.a}, b]", "-"),
        ("users: \"u-{data.a}\"", "[u-{data.a}]", "-"),
        ("topic: \"deal:{data.id}\"", "-", "[deal:{data.id}]"),
        ("topics: data.topics", "-", "data.topics"),
        ("topics: [\"a:{data.a}\", \"b:*\"]", "-", "[a:{data.a}, b:*]"),
        ("topics: []", "-", "[]"),
    ] {
        let text = BASE.replace("tenant: true }", &format!("{written} }}"));
        let config = config(&text);
        let RouteTarget::Audiences(audiences) = &config.routes[0].to else { panic!("{written}") };
        let list = |list: &ListRule| match list {
            ListRule::Field(path) => path.to_string(),
            ListRule::Each(each) => {
                format!("[{}]", each.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
        };
        let found_users = audiences[0].users.as_ref().map_or("-".to_owned(), |users| match users {
            UsersRule::List(users) => list(users),
            UsersRule::Query(_) => "query".to_owned(),
        });
        assert_eq!(found_users, users, "{written}");
        assert_eq!(audiences[0].topics.as_ref().map_or("-".to_owned(), list), topics, "{written}");
    }
    assert_eq!(path("data"), path("data"));
}

#[test]
fn an_audience_says_what_it_gets_of_the_payload() {
    for (written, keep, names) in [
        ("only: [title, actor.name]", Keep::Only, ["title", "actor.name"]),
        ("without: [price, items.cost]", Keep::Without, ["items.cost", "price"]),
    ] {
        let config = config(&BASE.replace("tenant: true }", &format!("tenant: true, payload: {{ {written} }} }}")));
        let RouteTarget::Audiences(audiences) = &config.routes[0].to else { panic!("{written}") };
        let mut filter = PayloadFilter::new(keep);
        for name in names {
            filter.name(name).unwrap();
        }
        assert_eq!(audiences[0].payload.as_ref(), Some(&filter), "{written}");
    }
}

#[test]
fn a_full_outbox_may_drop_what_is_oldest() {
    let outbox =
        config(&format!("{BASE}limits: {{ outbox: {{ bytes: 2KiB, when_full: drop_oldest }} }}\n")).limits.outbox;
    assert_eq!((outbox.messages, outbox.bytes, outbox.when_full), (256, 2048, WhenFull::DropOldest));
}

#[test]
fn conditions_read_in_each_way() {
    let text = |text: &str| Matcher::Equals(Scalar::Text(text.into()));
    let cases: [(&str, Matcher<Path>); 12] = [
        ("a", text("a")),
        ("\"{{a}\"", text("{a}")),
        ("7", Matcher::Equals(Scalar::Int(7))),
        ("\"7\"", text("7")),
        ("true", Matcher::Equals(Scalar::Bool(true))),
        ("null", Matcher::Equals(Scalar::Null)),
        ("a.*", Matcher::from_scalar(Scalar::Text("a.*".into()))),
        ("[a, 7]", Matcher::Any(vec![text("a"), Matcher::Equals(Scalar::Int(7))])),
        ("{ exists: false }", Matcher::Exists(false)),
        ("{ not: { prefix: a } }", Matcher::Not(Box::new(Matcher::Prefix("a".into())))),
        ("{ gt: 1 }", Matcher::Compare(Comparison::Greater, 1.0)),
        (
            "{ gte: 1, lt: 2.5 }",
            Matcher::All(vec![
                Matcher::Compare(Comparison::GreaterOrEqual, 1.0),
                Matcher::Compare(Comparison::Less, 2.5),
            ]),
        ),
    ];
    for (written, expected) in cases {
        let config = config(&BASE.replace("name: all,", &format!("name: all, when: {{ data.x: {written} }},")));
        let (path, matcher) = &config.routes[0].when[0];
        assert_eq!((path.to_string().as_str(), matcher), ("data.x", &expected), "{written}");
    }
}

#[test]
fn topic_rules_refer_to_captures_and_the_session() {
    let config = config(&format!(
        "{BASE}topics:\n  - match: \"inbox:{{x}}:{{user}}\"\n    allow: {{ when: {{ user: \"{{session.user}}\", session.role: [manager, \"{{x}}\"] }} }}\n"
    ));
    let TopicAllow::When(when) = &config.topics[0].allow else { panic!("{:?}", config.topics) };
    assert_eq!(when[0].0, TopicPlace::Capture(1));
    assert_eq!(when[0].1.places(), [&TopicPlace::User]);
    assert_eq!(when[1].0, TopicPlace::Attribute("role".into()));
    assert_eq!(when[1].1.places(), [&TopicPlace::Capture(0)]);
}

#[test]
fn an_anchor_is_written_once_and_used_twice() {
    let config = config(
        "event: { payload: &data data, tenant: data.tenant_id }\n\
         auth: { providers: [{ tokens: { a: &ann { user: 1, tenant: acme }, b: *ann } }] }\n\
         routes: [{ name: *data, to: everyone }]\n",
    );
    assert_eq!(config.routes[0].name, "data");
}

#[test]
fn a_public_key_may_stand_here_or_in_a_file() {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
    for (algorithm, kind) in [
        (&PKCS_ECDSA_P256_SHA256, JwtKeyKind::P256),
        (&PKCS_ECDSA_P384_SHA384, JwtKeyKind::P384),
        (&PKCS_ED25519, JwtKeyKind::Ed25519),
        (&PKCS_RSA_SHA256, JwtKeyKind::Rsa),
    ] {
        let pem = KeyPair::generate_for(algorithm).unwrap().public_key_pem();
        let indented = pem.trim().replace('\n', "\n          ");
        for key in ["issuer.pem".to_owned(), format!("|\n          {indented}")] {
            let providers =
                format!("auth:\n  providers:\n    - jwt:\n        tenant: tid\n        public_key: {key}\n");
            let text = BASE.replace(BASE.lines().nth(1).unwrap(), &providers);
            let (_folder, loaded) = load_files(&[("c.yaml", &text), ("issuer.pem", &pem)]);
            let loaded = loaded.unwrap_or_else(|_| panic!("{}", said(&[("c.yaml", &text), ("issuer.pem", &pem)])));
            let Provider::Jwt(jwt) = &loaded.config.auth.providers[0] else { panic!("{text}") };
            assert!(matches!(&jwt.keys, JwtKeys::PublicKey(found, _) if *found == kind), "{jwt:?}");
            assert_eq!((jwt.algorithms.as_slice(), jwt.user.as_str()), (kind.algorithms(), "sub"));
        }
    }
}
