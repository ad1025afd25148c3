//! Conditions: what `when` and `where` hold a value against.

use serde_json::{Value, json};

use super::read::{At, Entries, Field, FromNode, any_of, duplicates, wrong};
use super::scalars::{Literal, Text, scalar};
use super::secrets::Values;
use super::section::listed;
use crate::config::diagnostics::{Diagnostics, did_you_mean};
use crate::config::node::{Kind, Node};
use crate::event::{Comparison, Scalar};

/// Conditions by what they are about; all must hold.
pub(in crate::config) type RawConditions = Entries<RawCondition>;

/// One condition on one value.
pub(in crate::config) enum RawCondition {
    /// A value, a template or a glob.
    Value(At<Literal>),
    /// A list: at least one holds.
    Any(Vec<At<RawCondition>>),
    /// A map: all of its keys hold.
    All(Vec<At<RawCondition>>),
    /// `exists`
    Exists(bool),
    /// `not`
    Not(Box<RawCondition>),
    /// `prefix`
    Prefix(Text),
    /// `gt`, `gte`, `lt`, `lte`
    Compare(Comparison, f64),
}

const KEYS: [&str; 7] = ["exists", "not", "prefix", "gt", "gte", "lt", "lte"];

impl FromNode for RawCondition {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::Scalar(_) => At::read(node, diagnostics).map(Self::Value),
            Kind::List(_) => Vec::read(node, diagnostics).map(Self::Any),
            Kind::Map(map) if map.entries.is_empty() => {
                diagnostics.error(&node.place, "an empty condition").help(format!("known here: {}", listed(&KEYS)));
                None
            }
            Kind::Map(map) => {
                duplicates(map, Values::Plain, diagnostics);
                let mut all = Vec::new();
                for (key, value) in &map.entries {
                    if matches!(value.kind, Kind::Faulty) {
                        continue;
                    }
                    let condition = match key.text.as_str() {
                        "exists" => bool::read(value, diagnostics).map(Self::Exists),
                        "not" => Self::read(value, diagnostics).map(|inner| Self::Not(Box::new(inner))),
                        "prefix" => Text::read(value, diagnostics).map(Self::Prefix),
                        "gt" => compare(Comparison::Greater, value, diagnostics),
                        "gte" => compare(Comparison::GreaterOrEqual, value, diagnostics),
                        "lt" => compare(Comparison::Less, value, diagnostics),
                        "lte" => compare(Comparison::LessOrEqual, value, diagnostics),
                        other => {
                            let message = format!("unknown condition `{other}`{}", did_you_mean(other, KEYS));
                            diagnostics.error(&key.place, message).help(format!("known here: {}", listed(&KEYS)));
                            None
                        }
                    };
                    all.extend(condition.map(|value| At { value, place: key.place.clone() }));
                }
                (!all.is_empty()).then_some(Self::All(all))
            }
            Kind::Faulty => None,
        }
    }

    fn schema() -> Value {
        json!({ "$ref": "#/$defs/condition" })
    }
}

/// The schema that [`RawCondition`] refers to.
pub(super) fn definition() -> Value {
    let condition = RawCondition::schema();
    any_of([
        Literal::schema(),
        json!({ "type": "array", "items": condition }),
        json!({
            "type": "object",
            "minProperties": 1,
            "additionalProperties": false,
            "properties": {
                "exists": <bool as FromNode>::schema(),
                "not": condition,
                "prefix": Text::schema(),
                "gt": { "type": "number" },
                "gte": { "type": "number" },
                "lt": { "type": "number" },
                "lte": { "type": "number" },
            },
        }),
    ])
}

fn compare(comparison: Comparison, node: &Node, diagnostics: &mut Diagnostics) -> Option<RawCondition> {
    let text = scalar(node, "a number", diagnostics)?;
    #[expect(clippy::cast_precision_loss, reason = "bounds are compared as floating point numbers")]
    let bound = match text.value() {
        Scalar::Int(number) => number as f64,
        Scalar::Float(number) => number,
        _ => return wrong(node, "a number", diagnostics),
    };
    Some(RawCondition::Compare(comparison, bound))
}

/// Whether nothing is asked for.
pub(in crate::config) fn is_empty(conditions: &Field<RawConditions>) -> bool {
    match conditions {
        Field::Missing => true,
        Field::Faulty => false,
        Field::Given(conditions) => conditions.value.0.is_empty(),
    }
}
