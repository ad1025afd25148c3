mod keys;
mod scanning;

use super::*;

#[expect(clippy::disallowed_methods, reason = "no time passes in these tests")]
fn now() -> Instant {
    Instant::now()
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn shape(payload: &str) -> Shape {
    Shape { payload: path(payload), tenant: Some(path("data.tenant_id")), id: Some(path("data.id")), kind: None }
}

fn decode(decoder: &Decoder, body: &str) -> Result<Event, DecodeError> {
    decoder.decode(Bytes::copy_from_slice(body.as_bytes()), Envelope::NONE, now())
}

#[test]
fn fields_are_read_and_the_payload_is_left_as_it_is() {
    let mut decoder = Decoder::new(shape("data"));
    let slots: Vec<Slot> = [
        "data.title",
        "data.escaped",
        "data.big",
        "data.price",
        "data.open",
        "data.nothing",
        "data.missing",
        "data.tags",
        "data.owner.id",
        "data.owner",
        "data.list.1.id",
        "amqp.routing_key",
    ]
    .iter()
    .map(|text| decoder.slot(&path(text)))
    .collect();
    let payload = r#"{ "tenant_id" : "acme", "id": 42, "title":"A deal", "escaped":"a\"\u00fc", "big": 18446744073709551615,
        "price": 1.50, "open":true,"nothing":null, "tags":["x",7,null,{"a":1}], "owner":{"id":8}, "list":[1,{"id":"b"}]}"#;
    let event = decode(&decoder, &format!("{{\"v\":[1,{{}}], \"data\": {payload} ,\"z\":0}}")).unwrap();
    assert_eq!(event.payload(), payload.as_bytes());
    assert_eq!(event.tenant().map(TenantId::as_str), Some("acme"));
    assert_eq!(event.id().map(EventId::as_json), Some("42"));
    let tags = [Scalar::Text("x".into()), Scalar::Int(7), Scalar::Null, Scalar::Null];
    let expected = [
        Value::Text("A deal"),
        Value::Text("a\"ü"),
        Value::Text("18446744073709551615"),
        Value::Float(1.5),
        Value::Bool(true),
        Value::Absent,
        Value::Absent,
        Value::List(&tags),
        Value::Int(8),
        Value::Object,
        Value::Text("b"),
        Value::Absent,
    ];
    for (slot, expected) in slots.into_iter().zip(expected) {
        assert_eq!(event.field(slot), expected, "{}", decoder.path(slot));
    }
}

#[test]
fn a_dot_is_the_whole_body() {
    let decoder = Decoder::new(shape("."));
    let event = decode(&decoder, " {\"data\":{\"tenant_id\":7}}\n").unwrap();
    assert_eq!(event.payload(), b"{\"data\":{\"tenant_id\":7}}");
    assert_eq!(event.tenant().map(TenantId::as_str), Some("7"));
}

#[test]
fn the_brokers_fields_are_fields() {
    let mut decoder = Decoder::new(shape("."));
    let (key, header) = (decoder.slot(&path("amqp.routing_key")), decoder.slot(&path("amqp.headers.x.source")));
    let headers = |name: &str| if name == "x.source" { Scalar::Int(3) } else { Scalar::Null };
    let all = || Box::from([("x.source".into(), Scalar::Int(3))]);
    let envelope = Envelope { routing_key: Some("deal.moved"), header: &headers, headers: &all };
    let event = decoder.decode(Bytes::from_static(b"{}"), envelope, now()).unwrap();
    assert_eq!(event.field(key), Value::Text("deal.moved"));
    assert_eq!(event.field(header), Value::Int(3));
    assert_eq!(event.headers(), [], "nobody has asked for all of them");
    decoder.keep_headers();
    let event = decoder.decode(Bytes::from_static(b"{}"), envelope, now()).unwrap();
    assert_eq!(event.headers(), [("x.source".into(), Scalar::Int(3))]);
}

#[test]
fn parts_are_what_stands_there() {
    let body = r#" {"data":{"tenant_id":"a","id":1, "list":[ 1,{"x":null} ],"text":"a\"b"},"amqp":{"x":1} } "#;
    for payload in ["data", "."] {
        let mut decoder = Decoder::new(shape(payload));
        let slot = decoder.slot(&path("data.list"));
        for (text, expected) in [
            ("data.list", Some(r#"[ 1,{"x":null} ]"#)),
            ("data.list.1.x", Some("null")),
            ("data.text", Some(r#""a\"b""#)),
            ("data.id", Some("1")),
            ("data.none", None),
            ("data", Some(r#"{"tenant_id":"a","id":1, "list":[ 1,{"x":null} ],"text":"a\"b"}"#)),
            (".", Some(body.trim())),
        ] {
            let part = decoder.part(&path(text));
            let event = decode(&decoder, body).unwrap();
            assert_eq!(event.part(part), expected, "{text}");
            assert_eq!(event.body(), body);
            let list = [Scalar::Int(1), Scalar::Null];
            assert_eq!(event.field(slot), Value::List(&list), "a part takes nothing away from a slot");
        }
    }
}

#[test]
fn a_text_is_read_whatever_its_length() {
    let mut decoder = Decoder::new(shape("."));
    let slot = decoder.slot(&path("text"));
    for length in 0..70 {
        for text in ["ü".repeat(length), "x".repeat(length)] {
            let event = decode(&decoder, &format!("{{\"text\":\"{text}\"}}")).unwrap();
            assert_eq!(event.field(slot), Value::Text(&text));
        }
    }
}

#[test]
fn a_key_stands_once_however_many_are_read() {
    let mut decoder = Decoder::new(shape("."));
    let keys: Vec<String> = (0..200).map(|number| format!("key-{number}")).collect();
    let slots: Vec<Slot> = keys.iter().map(|key| decoder.slot(&path(key))).collect();
    let members: Vec<String> = keys.iter().zip(0..).map(|(key, value)| format!("\"{key}\":{value}")).collect();
    let members = members.join(",");
    let event = decode(&decoder, &format!("{{{members}}}")).unwrap();
    for (slot, value) in slots.into_iter().zip(0..) {
        assert_eq!(event.field(slot), Value::Int(value));
    }
    for key in keys {
        let error = decode(&decoder, &format!("{{{members},\"{key}\":1}}")).unwrap_err();
        assert!(matches!(&error, DecodeError::DuplicateKey(twice) if *twice == key), "{error}");
    }
}

#[test]
fn bad_bodies_say_what_is_wrong() {
    let decoder = Decoder::new(shape("data"));
    for (body, said) in [
        ("", "not valid JSON: EOF"),
        ("{", "not valid JSON"),
        ("{\"data\":{}} x", "trailing characters"),
        ("[{\"data\":{}}]", "not an object"),
        ("7", "not an object"),
        ("{\"other\":1}", "there is no `data`"),
        ("{\"data\":{\"tenant_id\":1.5}}", "neither a string nor an integer"),
        ("{\"data\":{\"tenant_id\":\"\"}}", "neither a string nor an integer"),
        ("{\"data\":{\"tenant_id\":[1]}}", "neither a string nor an integer"),
        ("{\"data\":{\"tenant_id\":1,\"tenant_id\":2}}", "`tenant_id` stands twice"),
        ("{\"data\":{\"tenant_id\":1},\"data\":{}}", "`data` stands twice"),
    ] {
        let error = decode(&decoder, body).unwrap_err();
        assert!(error.to_string().contains(said), "{body}: {error}");
    }
    let bytes = Bytes::from_static(b"{\"data\":\"\xff\"}");
    let error = decoder.decode(bytes, Envelope::NONE, now()).unwrap_err();
    assert_eq!(error.to_string(), "the body is not UTF-8 (byte 9)");
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let mut decoder = Decoder::new(shape("data"));
    assert_eq!(decoder.largest(), usize::MAX);
    let body = r#"{"data":{}}"#;
    decoder.limit(body.len());
    assert!(decode(&decoder, body).is_ok());
    // It is not JSON either.
    let error = decode(&decoder, &"x".repeat(body.len() + 1)).unwrap_err();
    assert_eq!(
        (error.cause(), error.to_string().as_str()),
        ("too_large", "the event has 12 bytes, and `limits.event` allows 11")
    );
}

#[test]
fn any_number_of_fields_and_parts_has_places() {
    let mut decoder = Decoder::new(shape("data"));
    let paths: Vec<Path> = (0..70_000).map(|n| path(&format!("a{}.b{}", n / 200, n % 200))).collect();
    let slots: Vec<Slot> = paths.iter().map(|path| decoder.slot(path)).collect();
    let parts: Vec<Part> = paths.iter().map(|path| decoder.part(path)).collect();
    let event = decode(&decoder, r#"{"data":{},"a0":{"b0":"first"},"a349":{"b199":"last"}}"#).unwrap();
    assert_eq!([slots[0], slots[69_999]].map(|slot| event.field(slot)), [Value::Text("first"), Value::Text("last")]);
    assert_eq!([parts[0], parts[69_999]].map(|part| event.part(part)), [Some("\"first\""), Some("\"last\"")]);
    assert_eq!((decoder.slot(&paths[69_999]), decoder.part(&paths[69_999])), (slots[69_999], parts[69_999]));
}
