//! The schema and the reader say the same.

use serde_json::{Value, json};

use super::*;
use crate::config::node::{Kind, Node};

/// What is wrong with `value`, by the part of JSON Schema that ours uses. Texts' patterns are left to the reader.
fn violations(value: &Value, schema: &Value, root: &Value, path: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        return violations(value, target, root, path);
    }
    let mut found = Vec::new();
    if let Some(any) = schema["anyOf"].as_array()
        && !any.iter().any(|schema| violations(value, schema, root, path).is_empty())
    {
        found.push(format!("{path}: none of {any:?} accepts {value}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().map(|one| one.as_str().unwrap()).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &str| match kind {
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    if !types.is_empty() && !types.iter().any(|kind| is(kind)) {
        found.push(format!("{path}: {value} is none of {types:?}"));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && pattern.starts_with("\\$\\{")
        && !text.contains("${")
    {
        found.push(format!("{path}: {text} holds no variable"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{path}: {value} is none of {words:?}"));
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        found.push(format!("{path}: {value} is not {}", schema["const"]));
    }
    for key in schema["required"].as_array().into_iter().flatten().filter(|_| value.is_object()) {
        if value.get(key.as_str().unwrap()).is_none() {
            found.push(format!("{path}: {key} is missing"));
        }
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match (schema["properties"].get(key), &schema["additionalProperties"]) {
            (None, Value::Bool(false)) => found.push(format!("{path}: unknown")),
            (None, Value::Null) => {}
            (Some(schema), _) | (None, schema) => found.extend(violations(value, schema, root, &path)),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        found.extend(violations(item, &schema["items"], root, &format!("{path}[]")));
    }
    found
}

fn to_json(node: &Node) -> Value {
    use crate::event::Scalar;
    match &node.kind {
        Kind::Map(map) => map.entries.iter().map(|(key, value)| (key.text.clone(), to_json(value))).collect(),
        Kind::List(items) => items.iter().map(to_json).collect(),
        Kind::Faulty => Value::Null,
        Kind::Scalar(written) => match written.value() {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => value.into(),
            Scalar::Int(value) => value.into(),
            Scalar::Float(value) => value.into(),
            Scalar::Text(text) => text.as_str().into(),
        },
    }
}

fn parsed(text: &str) -> Value {
    let file = place::SourceFile::new("x.yaml".into(), "x.yaml".to_owned(), text.to_owned());
    to_json(&yaml::parse(&file, &mut Diagnostics::default()).unwrap())
}

#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let schema = schema();
    for text in [embedded("pointsman.yaml").unwrap(), BASE, whole_language::SUPPORTED] {
        assert_eq!(violations(&parsed(text), &schema, &schema, ""), [] as [String; 0]);
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = schema();
    for text in [
        "lisen: x",
        "demo: yes",
        "tls: { cert: x }",
        "event: { payload: data }",
        "routes: [{ to: everyone }]",
        "routes: [{ name: a, to: everybody }]",
        "routes: [{ name: a, when: { x: { prefx: a } }, to: everyone }]",
        "limits: { connections: many }",
        "amqp: { url: x, queues: [], when_lost: explode }",
        "plugins: { budgt: 10ms }",
        "routes: [{ name: a, script: a.lua, on_error: explode }]",
        "routes: [{ name: a, script: a.lua, with: [1] }]",
        "auth: { providers: [{ script: { plugin: a.lua, ttl: 30s } }] }",
    ] {
        assert_ne!(violations(&parsed(text), &schema, &schema, ""), [] as [String; 0], "{text}");
    }
}

#[test]
fn the_schema_does_not_change_by_accident() {
    let mut keys = Vec::new();
    collect(&schema(), "", &mut keys);
    insta::assert_snapshot!(keys.join("\n"));
    keys.clear();
    collect(&tests_schema(), "", &mut keys);
    insta::assert_snapshot!(keys.join("\n"));
}

#[test]
fn the_schema_of_rule_tests_accepts_what_their_reader_accepts() {
    let schema = tests_schema();
    assert_eq!(violations(&parsed(rule_tests::ALL), &schema, &schema, ""), [] as [String; 0]);
    for text in [
        "name: a",
        "- { name: a, event: {} }",
        "- { name: a, evnt: {}, expect: {} }",
        "- { name: a, event: {}, expect: { reach: [x] } }",
        "- { name: a, event: {}, sessions: { x: { user: 1 } }, expect: {} }",
        "- { name: a, event: {}, queries: { q: down }, expect: {} }",
    ] {
        assert_ne!(violations(&parsed(text), &schema, &schema, ""), [] as [String; 0], "{text}");
    }
}

/// The files in `config/` are what the program prints: `pointsman schema > config/pointsman.schema.json`.
#[test]
fn the_shipped_schemas_are_those_of_this_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for (name, schema) in [("pointsman.schema.json", schema()), ("pointsman-tests.schema.json", tests_schema())] {
        let path = folder.join(name);
        let text = format!("{schema:#}\n");
        if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
            fs::write(&path, &text).unwrap();
        }
        let shipped = fs::read_to_string(&path).unwrap_or_default();
        assert!(shipped == text, "config/{name} is old: write what `pointsman schema` prints into it");
    }
}

/// Whoever opens a shipped file in an editor has it completed and checked.
#[test]
fn shipped_files_name_their_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for (folder, schema) in [
        ("config", "pointsman.schema.json"),
        ("config/routes", "../pointsman.schema.json"),
        ("config/tests", "../pointsman-tests.schema.json"),
        ("plugins/tests", "../../config/pointsman-tests.schema.json"),
    ] {
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "yaml") {
                let text = fs::read_to_string(&path).unwrap();
                let first = text.lines().next().unwrap_or_default();
                assert_eq!(first, format!("# yaml-language-server: $schema={schema}"), "{}", path.display());
                assert!(path.parent().unwrap().join(schema).exists(), "{}", path.display());
                found += 1;
            }
        }
    }
    assert!(found >= 6, "{found}");
}

/// Every key that the schema knows, with its description.
fn collect(schema: &Value, path: &str, keys: &mut Vec<String>) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{key}");
        keys.push(format!("{path}: {}", schema["description"].as_str().unwrap_or_default()));
        collect(schema, &format!("{path}."), keys);
    }
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        if inner.is_object() {
            collect(inner, path, keys);
        }
    }
    for inner in schema["anyOf"].as_array().into_iter().flatten() {
        collect(inner, path, keys);
    }
}

#[test]
fn variables_are_allowed_where_something_else_than_text_is_asked() {
    let schema = schema();
    let value = json!({ "demo": "${DEMO:-false}", "shards": "${SHARDS}" });
    assert_eq!(violations(&value, &schema, &schema, ""), [] as [String; 0]);
}
