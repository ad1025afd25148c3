use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::de::IgnoredAny;

use super::*;

/// A JSON value as it is written, members and all.
#[derive(Clone, Debug)]
enum Written {
    /// Its text, and what it is read as.
    Plain(String, Scalar),
    List(Vec<Written>),
    Object(Vec<(&'static str, Written)>),
}

/// Names, and how they are written.
const NAMES: [(&str, &str); 6] = [("a", "a"), ("b", "b"), ("0", "0"), ("1", "1"), ("a", "\\u0061"), ("ü\"", "ü\\\"")];
const DECLARED: [&str; 9] = ["a", "a.b", "a.0", "a.1.b", "b", "b.a", "b.a.b", "ü\"", "0"];
const SPACE: [&str; 5] = ["", "", " ", "\n", "\t\r "];

fn written() -> impl Strategy<Value = Written> {
    let text = prop_oneof!["[a-z ü€]{0,20}", "\\PC{0,9}"].prop_map(|text| {
        let escaped = serde_json::to_string(&text).unwrap();
        Written::Plain(escaped, Scalar::Text(text.into()))
    });
    let constant = select(vec![
        ("null", Scalar::Null),
        ("true", Scalar::Bool(true)),
        ("false", Scalar::Bool(false)),
        ("0", Scalar::Int(0)),
        ("9223372036854775807", Scalar::Int(i64::MAX)),
        ("-9223372036854775808", Scalar::Int(i64::MIN)),
        ("9223372036854775808", Scalar::Text("9223372036854775808".into())),
        ("-9223372036854775809", Scalar::Float(-9_223_372_036_854_775_809.0)),
        ("-0", Scalar::Float(0.0)),
        ("1.5e2", Scalar::Float(150.0)),
        ("1E-2", Scalar::Float(0.01)),
        ("1e-999", Scalar::Float(0.0)),
        ("\"\\u00fc\\ud83d\\ude00\\/\\b\"", Scalar::Text("ü😀/\u{8}".into())),
    ]);
    let plain = prop_oneof![
        text,
        constant.prop_map(|(text, value)| Written::Plain(text.to_owned(), value)),
        any::<i64>().prop_map(|number| Written::Plain(number.to_string(), Scalar::Int(number))),
        any::<f64>().prop_filter("a number of JSON", |number| number.is_finite()).prop_map(|number| {
            let text = serde_json::to_string(&number).unwrap();
            Written::Plain(text, Scalar::Float(number))
        }),
    ];
    plain.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Written::List),
            members(inner).prop_map(Written::Object),
        ]
    })
}

fn members(of: impl Strategy<Value = Written>) -> impl Strategy<Value = Vec<(&'static str, Written)>> {
    prop::collection::vec((select(NAMES.map(|(_, written)| written).to_vec()), of), 0..5)
}

fn body() -> impl Strategy<Value = Written> {
    prop_oneof![9 => members(written()).prop_map(Written::Object), 1 => written()]
}

impl Written {
    fn write(&self, space: &mut impl FnMut() -> &'static str, out: &mut String) {
        out.push_str(space());
        let (open, close) = match self {
            Self::Plain(text, _) => (text.as_str(), ""),
            Self::List(_) => ("[", "]"),
            Self::Object(_) => ("{", "}"),
        };
        out.push_str(open);
        let parts: Vec<(Option<&str>, &Self)> = match self {
            Self::Plain(..) => Vec::new(),
            Self::List(items) => items.iter().map(|item| (None, item)).collect(),
            Self::Object(members) => members.iter().map(|(key, value)| (Some(*key), value)).collect(),
        };
        for (index, (key, value)) in parts.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            if let Some(key) = key {
                out.extend([space(), "\"", key, "\"", space(), ":"]);
            }
            value.write(space, out);
        }
        out.push_str(space());
        out.push_str(close);
    }

    /// What stands at a path; an error where a key on the way stands twice.
    fn at(&self, path: &[&str]) -> Result<Option<&Self>, ()> {
        let Some((first, rest)) = path.split_first() else { return Ok(Some(self)) };
        match self {
            Self::Plain(..) => Ok(None),
            Self::List(items) => match first.parse::<usize>().ok().and_then(|index| items.get(index)) {
                Some(item) => item.at(rest),
                None => Ok(None),
            },
            Self::Object(members) => {
                let is_named = |key: &str| NAMES.contains(&(*first, key));
                let mut found = members.iter().filter(|(key, _)| is_named(key));
                match (found.next(), found.next()) {
                    (None, _) => Ok(None),
                    (Some((_, value)), None) => value.at(rest),
                    _ => Err(()),
                }
            }
        }
    }

    fn scalar(&self) -> Scalar {
        match self {
            Self::Plain(_, value) => value.clone(),
            Self::List(_) | Self::Object(_) => Scalar::Null,
        }
    }
}

/// A decoder of everything that is declared, and its slots and parts.
fn declared() -> (Decoder, Vec<(Slot, Part)>) {
    let mut decoder = Decoder::new(Shape { payload: path("."), tenant: None, id: None, kind: None });
    let slots = DECLARED.iter().map(|text| (decoder.slot(&path(text)), decoder.part(&path(text)))).collect();
    (decoder, slots)
}

fn text_of(body: &Written, spaces: &[Index]) -> String {
    let (mut text, mut at) = (String::new(), 0);
    let mut space = || {
        at += 1;
        if spaces.is_empty() { "" } else { SPACE[spaces[at % spaces.len()].index(SPACE.len())] }
    };
    body.write(&mut space, &mut text);
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_written_is_read(body in body(), spaces in prop::collection::vec(any::<Index>(), 0..20)) {
        let text = text_of(&body, &spaces);
        let (decoder, places) = declared();
        let event = decode(&decoder, &text);
        let is_twice = DECLARED.iter().any(|path| body.at(&path.split('.').collect::<Vec<_>>()).is_err());
        if is_twice {
            prop_assert!(matches!(event, Err(DecodeError::DuplicateKey(_))), "{text}");
            return Ok(());
        }
        if !matches!(body, Written::Object(_)) {
            prop_assert!(matches!(event, Err(DecodeError::NotAnObject)), "{text}");
            return Ok(());
        }
        let event = event.unwrap();
        prop_assert_eq!(event.payload(), text.trim().as_bytes());
        for (name, (slot, part)) in DECLARED.iter().zip(places) {
            let expected = body.at(&name.split('.').collect::<Vec<_>>()).unwrap();
            let items: Vec<Scalar> = match expected {
                Some(Written::List(items)) => items.iter().map(Written::scalar).collect(),
                _ => Vec::new(),
            };
            let value = match expected {
                None => Value::Absent,
                Some(Written::Plain(_, value)) => value.as_value(),
                Some(Written::List(_)) => Value::List(&items),
                Some(Written::Object(_)) => Value::Object,
            };
            prop_assert_eq!(event.field(slot), value, "{} of {}", name, text);
            let raw = event.part(part).map(|raw| serde_json::from_str::<serde_json::Value>(raw).unwrap());
            let written = expected.map(|expected| serde_json::from_str(&text_of(expected, &[])).unwrap());
            prop_assert_eq!(raw, written, "{} of {}", name, text);
        }
    }

    #[test]
    fn what_is_no_json_is_refused_as_elsewhere(
        body in body(),
        spaces in prop::collection::vec(any::<Index>(), 0..20),
        changes in prop::collection::vec((any::<Index>(), 0..3_u8, "[\\x00-\\x7fü]"), 1..3),
    ) {
        let mut text: Vec<char> = text_of(&body, &spaces).chars().collect();
        for (at, change, with) in changes {
            let at = at.index(text.len() + 1);
            match change {
                0 => text.truncate(at),
                1 => drop(text.splice(at..text.len().min(at + 1), [])),
                _ => drop(text.splice(at..at, with.chars())),
            }
        }
        let text: String = text.into_iter().collect();
        let expected = serde_json::from_str::<IgnoredAny>(&text);
        let bare = Decoder::new(Shape { payload: path("."), tenant: None, id: None, kind: None });
        match (decode(&bare, &text), &expected) {
            (Ok(_), Ok(_)) => {}
            (Err(DecodeError::NotAnObject), Ok(_)) => prop_assert!(!text.trim().starts_with('{'), "{text}"),
            (Err(DecodeError::NotJson(said)), Err(error)) => prop_assert_eq!(said.to_string(), error.to_string()),
            (other, _) => prop_assert!(false, "{text}: {other:?}, and {expected:?}"),
        }
        let is_duplicate = |error: &DecodeError| matches!(error, DecodeError::DuplicateKey(_));
        let with_fields = decode(&declared().0, &text);
        prop_assert!(
            expected.is_ok() || with_fields.as_ref().is_err_and(|error| is_duplicate(error) || error.cause() == "not_json"),
            "{text}"
        );
    }
}

#[test]
fn texts_of_every_length_end_where_they_end() {
    let decoder = Decoder::new(Shape { payload: path("x"), tenant: None, id: None, kind: None });
    for length in 0..40 {
        let text = "ü€xyz\u{7f}".chars().cycle().take(length).collect::<String>();
        for (inside, is_valid) in [("", true), ("\\n", true), ("\\u00FF", true), ("\u{1f}", false), ("\\x", false)] {
            let body = format!("{{\"x\":\"{text}{inside}{text}\"}}");
            match decode(&decoder, &body) {
                Ok(event) if is_valid => assert_eq!(event.payload(), format!("\"{text}{inside}{text}\"").as_bytes()),
                Err(DecodeError::NotJson(_)) if !is_valid => {}
                other => panic!("{body:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn levels_are_not_counted_where_nothing_is_read() {
    let decoder = Decoder::new(Shape { payload: path("x"), tenant: None, id: None, kind: None });
    let deep = format!("{}1{}", "[{\"a\":".repeat(50_000), "}]".repeat(50_000));
    assert_eq!(decode(&decoder, &format!("{{\"x\":{deep}}}")).unwrap().payload(), deep.as_bytes());
}

#[test]
fn what_no_value_is_made_of_is_wrong_only_where_one_is_needed() {
    let mut decoder = Decoder::new(Shape { payload: path("."), tenant: None, id: None, kind: None });
    let bodies = ["{\n \"a\": 1e999}", "{\"b\":0,\"a\":\"\\ud800\"}", "{\"a\":[-1e999]}"];
    for body in bodies {
        assert!(decode(&decoder, body).is_ok(), "{body}");
    }
    decoder.slot(&path("a"));
    for (body, said) in bodies.iter().zip([
        "number out of range at line 2 column 7",
        "lone surrogate in a string at line 1 column 12",
        "number out of range at line 1 column 7",
    ]) {
        let error = decode(&decoder, body).unwrap_err();
        assert_eq!(error.to_string(), format!("the body is not valid JSON: {said}"));
    }
}
