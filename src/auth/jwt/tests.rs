//! Tokens of every kind, made by a real issuer's library, against keys of every kind.

use jsonwebtoken::{EncodingKey, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::json;

use super::*;
use crate::event;

const NOW: u64 = 1_790_000_000;
const SECRET: &str = "a secret of thirty-two bytes or so";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn jwt(keys: JwtKeys) -> Jwt {
    let algorithms = match &keys {
        JwtKeys::Secret(_) => JwtAlgorithm::SECRET,
        JwtKeys::PublicKey(kind, _) => kind.algorithms(),
        JwtKeys::Jwks { .. } => JwtAlgorithm::PUBLIC,
    };
    let config = JwtProvider {
        keys,
        user: "sub".to_owned(),
        tenant: "realm.tid".to_owned(),
        issuers: vec!["https://login".to_owned()],
        audiences: vec!["app".to_owned(), "mobile".to_owned()],
        algorithms: algorithms.to_vec(),
        leeway: Duration::from_secs(5),
    };
    Jwt::new(&config).unwrap()
}

fn with_secret() -> Jwt {
    jwt(JwtKeys::Secret(SecretString::from(SECRET)))
}

/// Claims with nothing wrong, changed by these; a null takes one away.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "sub": 7, "realm": { "tid": "acme" }, "iss": "https://login", "aud": "app", "exp": NOW + 60, "role": "manager",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn signed(algorithm: Algorithm, key: &EncodingKey, changes: &Value) -> String {
    encode(&Header::new(algorithm), &claims(changes), key).unwrap()
}

fn by_secret(changes: &Value) -> String {
    signed(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), changes)
}

/// What is said of a token: its user and end, or why it is denied, or that it means nothing here.
fn said(jwt: &Jwt, token: &str) -> String {
    match jwt.at_once(&SecretString::from(token), now()) {
        Some(Answer::Known(identity)) => {
            let end = identity.expires_at.unwrap().duration_since(now()).unwrap().as_secs();
            format!("{} of {} for {end} s", identity.user, identity.tenant)
        }
        Some(Answer::Denied(reason)) => reason.to_owned(),
        Some(Answer::Unknown) => "unknown".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn claims_decide_whose_token_it_is_and_how_long() {
    let jwt = with_secret();
    for (changes, expected) in [
        (json!({}), "7 of acme for 60 s"),
        (json!({ "sub": "ann", "realm": { "tid": 3 } }), "ann of 3 for 60 s"),
        (json!({ "realm.tid": "literally" }), "7 of literally for 60 s"),
        (json!({ "sub": null }), "the claim for the user is no id"),
        (json!({ "sub": "" }), "the claim for the user is no id"),
        (json!({ "sub": [7] }), "the claim for the user is no id"),
        (json!({ "sub": "7\0" }), "its user or tenant holds control characters"),
        (json!({ "realm": { "tid": "ac\nme" } }), "its user or tenant holds control characters"),
        (json!({ "realm": null }), "the claim for the tenant is no id"),
        (json!({ "realm": "acme" }), "the claim for the tenant is no id"),
        (json!({ "exp": NOW + 1 }), "7 of acme for 1 s"),
        (json!({ "exp": 1_790_000_007.9 }), "7 of acme for 7 s"),
        (json!({ "exp": NOW }), "7 of acme for 5 s"),
        (json!({ "exp": NOW - 4 }), "7 of acme for 1 s"),
        (json!({ "exp": NOW - 5 }), "it has expired"),
        (json!({ "exp": 0 }), "it has expired"),
        (json!({ "exp": -1 }), "it has expired"),
        (json!({ "exp": null }), "it has no `exp` that is a time"),
        (json!({ "exp": "1790000060" }), "it has no `exp` that is a time"),
        (json!({ "exp": u64::MAX }), "it has no `exp` that is a time"),
        (json!({ "exp": 1e300 }), "it has no `exp` that is a time"),
        (json!({ "nbf": NOW - 1 }), "7 of acme for 60 s"),
        (json!({ "nbf": NOW + 5 }), "7 of acme for 60 s"),
        (json!({ "nbf": NOW + 6 }), "it is not good yet"),
        (json!({ "nbf": "soon" }), "its `nbf` is no time"),
        (json!({ "aud": ["other", "mobile"] }), "7 of acme for 60 s"),
        (json!({ "aud": "other" }), "unknown"),
        (json!({ "aud": [] }), "unknown"),
        (json!({ "aud": null }), "unknown"),
        (json!({ "iss": ["https://login"] }), "7 of acme for 60 s"),
        (json!({ "iss": "https://other" }), "unknown"),
        (json!({ "iss": null }), "unknown"),
    ] {
        assert_eq!(said(&jwt, &by_secret(&changes)), expected, "{changes}");
    }
}

#[test]
fn other_claims_that_are_scalars_are_attributes() {
    let token = by_secret(&json!({ "level": 3, "groups": ["a"], "iat": NOW, "jti": "x", "nbf": NOW }));
    let Some(Answer::Known(identity)) = with_secret().at_once(&SecretString::from(token), now()) else { panic!() };
    for (name, value) in [
        ("role", event::Value::Text("manager")),
        ("level", event::Value::Int(3)),
        ("iss", event::Value::Text("https://login")),
        ("aud", event::Value::Text("app")),
    ] {
        assert_eq!(identity.attributes.get(name), value, "{name}");
    }
    for name in ["sub", "realm", "groups", "exp", "nbf", "iat", "jti"] {
        assert_eq!(identity.attributes.get(name), event::Value::Absent, "{name}");
    }
}

#[test]
fn what_is_no_token_of_ours_means_nothing_here() {
    let jwt = with_secret();
    // `{"alg":"none"}`, and an algorithm that nobody knows.
    let (none, unknown) = ("eyJhbGciOiJub25lIn0", "eyJhbGciOiJYWDI1NiJ9");
    let good = by_secret(&json!({}));
    let [_, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for token in [
        String::new(),
        "demo-ann".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        "a.b.c.d.e".to_owned(),
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{unknown}.{payload}.{signature}"),
        format!("{good}.x"),
    ] {
        assert_eq!(said(&jwt, &token), "unknown", "{token}");
    }
    let changed = good.replace(payload, by_secret(&json!({ "sub": 8 })).split('.').nth(1).unwrap());
    for token in [changed, format!("{good}x"), good.replace(signature, ""), good.replace(signature, "AAAA")] {
        assert_eq!(said(&jwt, &token), "its signature is not good", "{token}");
    }
    let other = EncodingKey::from_secret(b"another secret of thirty-two bytes");
    assert_eq!(said(&jwt, &signed(Algorithm::HS256, &other, &json!({}))), "its signature is not good");
    // What is not signed by the issuer is not even said to have expired.
    assert_eq!(said(&jwt, &signed(Algorithm::HS256, &other, &json!({ "exp": 1 }))), "its signature is not good");
}

#[test]
fn an_extension_that_must_be_understood_and_is_not_denies() {
    let header = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::HS256) };
    let token = encode(&header, &claims(&json!({})), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert!(said(&with_secret(), &token).contains("extension"));
}

/// A pair of keys: what the issuer signs with, and what it gives away.
fn pair(kind: JwtKeyKind) -> (EncodingKey, String) {
    let pair = KeyPair::generate_for(match kind {
        JwtKeyKind::Rsa => &PKCS_RSA_SHA256,
        JwtKeyKind::P256 => &PKCS_ECDSA_P256_SHA256,
        JwtKeyKind::P384 => &PKCS_ECDSA_P384_SHA384,
        JwtKeyKind::Ed25519 => &PKCS_ED25519,
    });
    let pair = pair.unwrap();
    let pem = pair.serialize_pem();
    let key = match kind {
        JwtKeyKind::Rsa => EncodingKey::from_rsa_pem(pem.as_bytes()),
        JwtKeyKind::P256 | JwtKeyKind::P384 => EncodingKey::from_ec_pem(pem.as_bytes()),
        JwtKeyKind::Ed25519 => EncodingKey::from_ed_pem(pem.as_bytes()),
    };
    (key.unwrap(), pair.public_key_pem())
}

#[test]
fn a_key_is_good_for_its_own_algorithms_alone() {
    for kind in [JwtKeyKind::Rsa, JwtKeyKind::P256, JwtKeyKind::P384, JwtKeyKind::Ed25519] {
        let (key, public) = pair(kind);
        let jwt = jwt(JwtKeys::PublicKey(kind, public.clone()));
        for algorithm in kind.algorithms() {
            let token = signed(algorithm_of(*algorithm), &key, &json!({}));
            assert_eq!(said(&jwt, &token), "7 of acme for 60 s", "{algorithm:?}");
        }
        // The public key taken for a secret: everybody has it.
        for secret in [public.as_bytes(), public.trim().as_bytes()] {
            let token = signed(Algorithm::HS256, &EncodingKey::from_secret(secret), &json!({}));
            assert_eq!(said(&jwt, &token), "unknown", "{kind:?}");
            assert_eq!(said(&with_secret(), &token), "its signature is not good");
        }
        let (other, _) = pair(kind);
        let token = signed(algorithm_of(kind.algorithms()[0]), &other, &json!({}));
        assert_eq!(said(&jwt, &token), "its signature is not good", "{kind:?}");
        assert_eq!(said(&with_secret(), &token), "unknown", "{kind:?}");
    }
}
