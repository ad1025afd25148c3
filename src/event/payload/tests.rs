use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

fn filter(keep: Keep, paths: &[&str]) -> PayloadFilter {
    let mut filter = PayloadFilter::new(keep);
    for path in paths {
        filter.name(path).unwrap_or_else(|fault| panic!("{paths:?}: {fault}"));
    }
    filter
}

fn check(keep: Keep, paths: &[&str], payload: &str, expected: &str) {
    let kept = filter(keep, paths).apply(payload.as_bytes());
    assert_eq!(String::from_utf8(kept).unwrap(), expected, "{keep:?} {paths:?} of {payload}");
}

#[test]
fn what_is_named_is_kept_as_it_is_written_and_nothing_else() {
    let payload = r#"{ "title" : "A \"deal\"" , "price": 1.50, "actor":{"name":"Ann","mail":"a@x"},
        "tags": [ 1, 2 ],"none":null}"#;
    for (paths, expected) in [
        (&["title"][..], r#"{"title":"A \"deal\""}"#),
        (&["tags", "price"], r#"{"price":1.50,"tags":[ 1, 2 ]}"#),
        (&["actor.name"], r#"{"actor":{"name":"Ann"}}"#),
        (&["actor"], r#"{"actor":{"name":"Ann","mail":"a@x"}}"#),
        (&["actor.phone"], r#"{"actor":{}}"#),
        (&["nothing", "title.x", "none.x"], "{}"),
        (&["none"], r#"{"none":null}"#),
    ] {
        check(Keep::Only, paths, payload, expected);
    }
}

#[test]
fn what_is_named_goes_and_all_else_stays_as_it_is_written() {
    let payload = r#"{ "title" : "A \"deal\"" , "price": 1.50, "actor":{"name":"Ann","mail":"a@x"},"none":null }"#;
    for (paths, expected) in [
        (&["price", "none"][..], r#"{"title":"A \"deal\"","actor":{"name":"Ann","mail":"a@x"}}"#),
        (&["title", "price", "actor.mail"], r#"{"actor":{"name":"Ann"},"none":null}"#),
        (
            &["actor.phone", "title.x"],
            r#"{"title":"A \"deal\"","price":1.50,"actor":{"name":"Ann","mail":"a@x"},"none":null}"#,
        ),
        (&["title", "price", "actor", "none"], "{}"),
    ] {
        check(Keep::Without, paths, payload, expected);
    }
}

#[test]
fn a_path_applies_to_each_element_of_an_array() {
    let payload = r#"{"items":[{"id":1,"cost":7}, [ {"id":2,"cost":8} ], 9, {}],"cost":10}"#;
    check(Keep::Only, &["items.id"], payload, r#"{"items":[{"id":1},[{"id":2}],{}]}"#);
    check(Keep::Without, &["items.cost"], payload, r#"{"items":[{"id":1},[{"id":2}],9,{}],"cost":10}"#);
    check(Keep::Only, &["id"], r#"[{"id":1,"x":2},"y",{"x":3}]"#, r#"[{"id":1},{}]"#);
    check(Keep::Without, &["x"], r#"[{"id":1,"x":2},"y",{"x":3}]"#, r#"[{"id":1},"y",{}]"#);
}

#[test]
fn what_has_no_fields_is_left_or_left_out() {
    for payload in ["7", "\"a\"", "null", "true", " -1.5e3 "] {
        check(Keep::Only, &["a"], payload, "{}");
        check(Keep::Without, &["a"], payload, payload.trim());
    }
}

#[test]
fn a_name_is_the_same_however_it_is_escaped_or_repeated() {
    let payload = r#"{"\u0073ecret":1,"a":2,"secret":3,"b\u0022":4}"#;
    check(Keep::Without, &["secret"], payload, r#"{"a":2,"b\u0022":4}"#);
    check(Keep::Only, &["secret", "b\""], payload, r#"{"\u0073ecret":1,"secret":3,"b\u0022":4}"#);
    check(Keep::Without, &["ключ"], r#"{"ключ":1,"\u043aлюч":2,"k":"}\\"}"#, r#"{"k":"}\\"}"#);
}

#[test]
fn arrays_without_end_are_left_out() {
    let deep = |depth: usize| format!("{}{{\"secret\":1}}{}", "[".repeat(depth), "]".repeat(depth));
    let kept = |depth: usize| filter(Keep::Without, &["secret"]).apply(deep(depth).as_bytes());
    assert_eq!(kept(127), format!("{}{{}}{}", "[".repeat(127), "]".repeat(127)).as_bytes());
    for depth in [128, 100_000] {
        assert_eq!(kept(depth), format!("{}{}", "[".repeat(128), "]".repeat(128)).as_bytes(), "{depth}");
    }
}

#[test]
fn a_field_is_named_once_and_not_with_a_part_of_it() {
    let within = |part: &str, whole: &str| FieldFault::Within { part: part.into(), whole: whole.into() };
    for (first, second, fault) in [
        ("a", "a", FieldFault::Twice("a".into())),
        ("a.b", "a.b", FieldFault::Twice("a.b".into())),
        ("a", "a.b", within("a.b", "a")),
        ("a.b", "a.b.c.d", within("a.b.c.d", "a.b")),
        ("a.b.c", "a", within("a.b", "a")),
        ("a", "", FieldFault::EmptyPart("".into())),
        ("a", ".", FieldFault::EmptyPart(".".into())),
        ("a", "a..b", FieldFault::EmptyPart("a..b".into())),
        ("a", "b.*", FieldFault::NotPlain("b.*".into())),
        ("a", "{b}", FieldFault::NotPlain("{b}".into())),
    ] {
        assert_eq!(filter(Keep::Only, &[first]).name(second), Err(fault), "{first}, {second}");
    }
    let one = filter(Keep::Only, &["a", "b.c", "b.d"]);
    assert_eq!(one, filter(Keep::Only, &["b.d", "a", "b.c"]));
    assert_ne!(one, filter(Keep::Without, &["a", "b.c", "b.d"]));
}

/// What the words of the specification say, on a tree.
fn naive(keep: Keep, paths: &[Vec<&str>], value: &Value) -> Option<Value> {
    match value {
        Value::Object(members) => {
            let mut kept = Map::new();
            for (key, inner) in members {
                let below: Vec<Vec<&str>> =
                    paths.iter().filter(|path| path[0] == key).map(|path| path[1..].to_vec()).collect();
                let is_named = below.iter().any(Vec::is_empty);
                let inner = match keep {
                    Keep::Only if is_named => Some(inner.clone()),
                    Keep::Without if is_named => None,
                    Keep::Only if below.is_empty() => None,
                    Keep::Without if below.is_empty() => Some(inner.clone()),
                    _ => naive(keep, &below, inner),
                };
                kept.extend(inner.map(|inner| (key.clone(), inner)));
            }
            Some(Value::Object(kept))
        }
        Value::Array(items) => Some(items.iter().filter_map(|item| naive(keep, paths, item)).collect()),
        scalar => (keep == Keep::Without).then(|| scalar.clone()),
    }
}

const NAMES: [&str; 5] = ["a", "b", "c", "\"", "ü"];

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[\\PC\"\\\\{}\\[\\],:]{0,6}".prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 60, 5, |inner| {
        let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::btree_map(name, inner, 0..5).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn path() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4)
}

proptest! {
    #[test]
    fn a_filter_keeps_what_a_filter_of_a_tree_keeps(
        value in value(),
        paths in prop::collection::vec(path(), 0..6),
        keep in prop::sample::select(vec![Keep::Only, Keep::Without]),
        is_pretty in any::<bool>(),
    ) {
        let mut filter = PayloadFilter::new(keep);
        let mut named = Vec::new();
        for path in paths {
            if filter.name(&path.join(".")).is_ok() {
                named.push(path);
            }
        }
        let text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let kept = filter.apply(text.as_bytes());
        let expected = naive(keep, &named, &value).unwrap_or_else(|| Value::Object(Map::new()));
        let kept_value: Value = serde_json::from_slice(&kept).map_err(|error| {
            TestCaseError::fail(format!("{error}: {}", String::from_utf8_lossy(&kept)))
        })?;
        prop_assert_eq!(kept_value, expected);
    }

    #[test]
    fn a_filter_ends_whatever_the_bytes_are(
        bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\a1 \n\xff".to_vec()), 0..60),
        keep in prop::sample::select(vec![Keep::Only, Keep::Without]),
    ) {
        filter(keep, &["a", "b.a"]).apply(&bytes);
    }
}
