//! Any tree of YAML, as JSON.

use serde_json::Value;

use super::read::{FromNode, duplicates};
use super::secrets::Values;
use crate::config::diagnostics::Diagnostics;
use crate::config::node::{Kind, Node};
use crate::event::Scalar;

/// Bytes of such a tree at most, as JSON.
pub(super) const MOST: usize = 64 << 10;

/// Any tree.
pub(in crate::config) struct Tree(pub(in crate::config) Value);

impl FromNode for Tree {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        json(node, Values::PlainScalars, diagnostics).map(Self)
    }

    fn schema() -> Value {
        serde_json::json!({})
    }
}

/// The JSON that a tree is. `None` where a part of it is faulty. An integer beyond 64 bits is the text of its digits.
pub(super) fn json(node: &Node, values: Values, diagnostics: &mut Diagnostics) -> Option<Value> {
    match &node.kind {
        Kind::Faulty => None,
        Kind::Scalar(written) => Some(match written.value() {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => value.into(),
            Scalar::Int(value) => value.into(),
            Scalar::Float(value) => value.into(),
            Scalar::Text(text) => text.as_str().into(),
        }),
        Kind::List(items) => {
            let all: Vec<_> = items.iter().map(|item| json(item, values, diagnostics)).collect();
            all.into_iter().collect::<Option<_>>().map(Value::Array)
        }
        Kind::Map(map) => {
            duplicates(map, values, diagnostics);
            if map.is_unquoted_template() {
                let help = "text that starts with `{` needs quotes";
                diagnostics.warning(&node.place, "a map with one key and no value").help(help);
            }
            let each = |(key, value): &(_, Node)| Some((key_text(key), json(value, values, diagnostics)?));
            let all: Vec<_> = map.entries.iter().map(each).collect();
            all.into_iter().collect::<Option<_>>().map(Value::Object)
        }
    }
}

fn key_text(key: &crate::config::node::Key) -> String {
    key.text.clone()
}
