use proptest::prelude::*;

use super::*;
use crate::event::Glob;

/// Values that are equal to one another in surprising ways, and those that are nearly. Few, so that many meet.
fn value() -> impl Strategy<Value = Scalar> {
    const EXACT: i64 = 1 << 53;
    prop_oneof![
        1 => Just(Scalar::Null),
        2 => any::<bool>().prop_map(Scalar::Bool),
        2 => (0_i64..2).prop_map(Scalar::Int),
        3 => (EXACT - 1..EXACT + 3).prop_map(Scalar::Int),
        2 => prop::sample::select(&[-0.0, 1.0, 1.5]).prop_map(Scalar::Float),
        // The nearest of the integers above.
        3 => prop::sample::select(&[9_007_199_254_740_991.0, 9_007_199_254_740_992.0, 9_007_199_254_740_994.0])
            .prop_map(Scalar::Float),
        6 => "[ab]{0,3}".prop_map(|text| Scalar::Text(text.into())),
        2 => prop::sample::select(&["true", "1", "9007199254740993", "ü.a"]).prop_map(text),
    ]
}

fn matcher() -> impl Strategy<Value = Matcher<Path>> {
    let plain = prop_oneof![
        6 => value().prop_map(Matcher::Equals),
        3 => "[ab]{0,2}[*?][ab*]{0,1}".prop_map(|text| Matcher::Glob(Glob::new(text))),
        3 => prop_oneof!["[ab]{0,2}", Just("9".to_owned()), Just("ü".to_owned())]
            .prop_map(|text| Matcher::Prefix(text.into())),
    ];
    let leaf = prop_oneof![
        20 => plain,
        1 => any::<bool>().prop_map(Matcher::Exists),
        1 => Just(Matcher::Template(template("{data.b}"))),
    ];
    let nested = leaf.clone().prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 0..4).prop_map(Matcher::Any),
            2 => prop::collection::vec(inner.clone(), 0..3).prop_map(Matcher::All),
            1 => inner.prop_map(|inner| Matcher::Not(Box::new(inner))),
        ]
    });
    prop_oneof![4 => leaf, 1 => nested]
}

const FIELDS: [&str; 2] = ["data.a", "data.b"];

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let conditions = prop::collection::vec((0..FIELDS.len(), matcher()), 1..3);
    let route = (conditions, prop::bool::weighted(0.95)).prop_map(|(conditions, go_on)| {
        let when = conditions.into_iter().map(|(field, matcher)| (path(FIELDS[field]), matcher)).collect();
        Route { go_on, ..route("r", when) }
    });
    prop::collection::vec(route, 0..100)
}

fn json(value: &Scalar) -> String {
    match value {
        Scalar::Null => "null".to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
        // With a fraction, so that it reads as a float again.
        Scalar::Float(value) => format!("{value:?}"),
        Scalar::Text(text) => serde_json::to_string(text.as_str()).unwrap(),
    }
}

fn routes_that_decide(plan: &Plan) -> Vec<usize> {
    match plan {
        Plan::Decided(decision) => decision.decided().iter().map(|decided| decided.route.index()).collect(),
        Plan::Waits(pending) => panic!("nothing to ask: {pending:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_index_finds_what_trying_each_route_finds(
        routes in routes(),
        events in prop::collection::vec([value(), value()], 1..24),
    ) {
        let mut decoder = Decoder::new(shape());
        let table = RouteTable::compile(routes, &[], &mut decoder);
        for [a, b] in events {
            let body = format!(r#"{{"data":{{"tenant":"t","a":{},"b":{}}}}}"#, json(&a), json(&b));
            let indexed = routes_that_decide(&table.decide(decode(&decoder, &body), &mut NoScripts));
            let naive = routes_that_decide(&table.decide_one_by_one(decode(&decoder, &body)));
            prop_assert_eq!(indexed, naive, "{}", body);
        }
    }
}

/// How many of `routes` are tried for an event.
fn tried(routes: Vec<Route>, body: &str) -> usize {
    let mut decoder = Decoder::new(shape());
    let table = RouteTable::compile(routes, &[], &mut decoder);
    table.candidates(&decode(&decoder, body))
}

#[test]
fn few_of_many_routes_are_tried() {
    let many = |when: &dyn Fn(usize) -> Vec<(Path, Matcher<Path>)>| -> Vec<Route> {
        (0..5_000).map(|n| route(&format!("r{n}"), when(n))).collect()
    };
    let body = r#"{"type":"kind77.moved","data":{"n":77,"s":"x"}}"#;
    let glob = |n: usize| is("type", &format!("kind{n}.*"));
    assert_eq!(tried(many(&|n| vec![glob(n)]), body), 1);
    assert_eq!(tried(many(&|n| vec![is("type", &format!("kind{n}.moved"))]), body), 1);
    let one_of = |n: usize| Matcher::Any(vec![Matcher::Equals(text("x")), Matcher::Equals(text(&n.to_string()))]);
    assert_eq!(tried(many(&|n| vec![(path("data.n"), one_of(n))]), body), 1);
    // The condition that tells most is the one to go by, not the first.
    assert_eq!(tried(many(&|n| vec![is("data.s", "x"), glob(n)]), body), 1);
    // Two kinds of routes, each with its own field.
    let mixed = |n: usize| if n.is_multiple_of(2) { vec![is("data.n", &n.to_string())] } else { vec![glob(n)] };
    assert_eq!(tried(many(&mixed), body), 1);
    // A field of one route's own is no reason to leave the index.
    let own = |n: usize| vec![is(&format!("data.f{}", n % 1_000), "x"), glob(n)];
    assert_eq!(tried(many(&own), body), 1);
}
