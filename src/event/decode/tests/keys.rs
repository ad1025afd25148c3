//! Keys that look like declared names: written with escapes, followed by NULs, or with surrogates in them.

use proptest::prelude::*;
use proptest::sample::select;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::*;

/// Names of every length around the eight bytes that the scanner compares at once.
const DECLARED: [&str; 8] = ["a", "id", "type", "tenant", "tenant7", "tenant_8", "tenant_id", "ü\u{1f600}"];

/// Suffixes of a name, as they are written in JSON.
const SUFFIXES: [&str; 9] =
    ["", "", "\\u0000", "\\u0000\\u0000", "\\u0000a", "\\ud83d\\ude00", "\\ud800", "\\udc00\\ud83d", " "];

/// An object as `serde_json` reads it, with all of its members.
struct Members(Vec<(String, i64)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A key as it is written: a declared name or the beginning of one, some of it escaped, and a suffix.
fn key() -> impl Strategy<Value = String> {
    let written = |(name, length, escaped, suffix): (&str, usize, u16, &str)| {
        let mut key = String::new();
        for (index, unit) in name.chars().take(length).enumerate() {
            if escaped >> (index % 16) & 1 == 1 {
                let mut units = [0; 2];
                key.extend(unit.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            } else {
                key.push(unit);
            }
        }
        key + suffix
    };
    (select(DECLARED.to_vec()), 1..=9_usize, select(vec![0, 1, u16::MAX, 0x5555]), select(SUFFIXES.to_vec()))
        .prop_map(written)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn keys_are_told_apart_as_serde_json_does(keys in prop::collection::vec(key(), 1..5)) {
        let members: Vec<String> = keys.iter().zip(1..).map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let body = format!("{{{}}}", members.join(","));
        let mut decoder = Decoder::new(Shape { payload: path("."), tenant: None, id: None, kind: None });
        let slots = DECLARED.map(|name| decoder.slot(&path(name)));
        let event = decode(&decoder, &body);
        let Ok(Members(expected)) = serde_json::from_str(&body) else {
            prop_assert!(event.is_err(), "{body}");
            return Ok(());
        };
        let values_of = |name: &str| -> Vec<i64> {
            expected.iter().filter(|(key, _)| key == name).map(|(_, value)| *value).collect()
        };
        if DECLARED.iter().any(|name| values_of(name).len() > 1) {
            prop_assert!(matches!(event, Err(DecodeError::DuplicateKey(_))), "{body}: {event:?}");
            return Ok(());
        }
        let event = event.map_err(|error| TestCaseError::fail(format!("{body}: {error}")))?;
        for (name, slot) in DECLARED.iter().zip(slots) {
            let expected = values_of(name).first().map_or(Value::Absent, |value| Value::Int(*value));
            prop_assert_eq!(event.field(slot), expected, "{} of {}", name, body);
        }
    }
}

#[test]
fn a_key_that_ends_in_nul_is_another_key() {
    let mut decoder = Decoder::new(Shape { payload: path("."), tenant: Some(path("tenant")), id: None, kind: None });
    let slot = decoder.slot(&path("type"));
    let event = decode(&decoder, r#"{"type\u0000":"deal.moved","tenant\u0000":"acme"}"#).unwrap();
    assert_eq!((event.field(slot), event.tenant()), (Value::Absent, None));
    let event = decode(&decoder, r#"{"type":"deal.moved","type\u0000":1,"tenant":"acme","tenant\u0000\u0000":2}"#);
    let event = event.unwrap();
    assert_eq!(event.field(slot), Value::Text("deal.moved"));
    assert_eq!(event.tenant().map(TenantId::as_str), Some("acme"));
}
