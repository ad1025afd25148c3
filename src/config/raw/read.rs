//! What readers share: how a value is taken from a node, and the forms that hold other values.

use serde_json::{Value, json};

use super::scalars::Literal;
use super::scalars::Text;
use super::secrets::Values;
use crate::config::diagnostics::Diagnostics;
use crate::config::node::{Duplicate, Key, Kind, Map, Node};
use crate::config::place::Place;
use crate::runtime::let_pass;

/// A value of the configuration: read from a node, described by a schema.
pub(in crate::config) trait FromNode: Sized {
    /// Reads it. What is wrong is reported, and then there may be no value.
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self>;

    /// What an editor may know of it: JSON Schema, draft 2020-12.
    fn schema() -> Value;
}

/// A value, and where it stands.
#[derive(Clone)]
pub(in crate::config) struct At<T> {
    pub(in crate::config) value: T,
    pub(in crate::config) place: Place,
}

/// The value of a key.
#[derive(Clone)]
pub(in crate::config) enum Field<T> {
    /// The file does not say.
    Missing,
    /// It says something that is no such value, which has been reported.
    Faulty,
    /// It says this.
    Given(At<T>),
}

/// One value, or a list of them.
pub(in crate::config) struct OneOrMany<T>(pub(in crate::config) Vec<At<T>>);

/// A map from names that the user chooses.
pub(in crate::config) struct Entries<T>(pub(in crate::config) Vec<(At<String>, Field<T>)>);

/// A map from names that the user chooses to values without parts.
pub(in crate::config) type Scalars = Entries<Literal>;

impl<T> Field<T> {
    /// What the file says, where that is a value.
    pub(in crate::config) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Missing | Self::Faulty => None,
        }
    }

    pub(in crate::config) fn value(&self) -> Option<&T> {
        self.given().map(|at| &at.value)
    }

    /// It may be said elsewhere, where nobody could read it.
    pub(super) fn expect(&mut self) {
        if self.is_missing() {
            *self = Self::Faulty;
        }
    }

    pub(in crate::config) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl<T: FromNode> Field<T> {
    pub(in crate::config) fn read(node: &Node, diagnostics: &mut Diagnostics) -> Self {
        At::read(node, diagnostics).map_or(Self::Faulty, Self::Given)
    }
}

impl<T: FromNode> FromNode for At<T> {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        if matches!(node.kind, Kind::Faulty) {
            return None;
        }
        T::read(node, diagnostics).map(|value| Self { value, place: node.place.clone() })
    }

    fn schema() -> Value {
        T::schema()
    }
}

impl<T: FromNode> FromNode for Vec<At<T>> {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Kind::List(nodes) = &node.kind else {
            return wrong(node, "a list", diagnostics);
        };
        let items: Self = nodes
            .iter()
            .filter_map(|node| {
                let_pass();
                At::read(node, diagnostics)
            })
            .collect();
        // A list of which nothing could be read is not an empty one.
        (nodes.is_empty() || !items.is_empty()).then_some(items)
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }
}

impl<T: FromNode> FromNode for OneOrMany<T> {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::List(_) => Vec::read(node, diagnostics).map(Self),
            _ => At::read(node, diagnostics).map(|one| Self(vec![one])),
        }
    }

    fn schema() -> Value {
        any_of([T::schema(), Vec::<At<T>>::schema()])
    }
}

impl<T: FromNode> FromNode for Entries<T> {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let map = map_of(node, "a map", diagnostics)?;
        duplicates(&map, Values::PlainScalars, diagnostics);
        let read = |(key, value): &(Key, Node)| {
            let key = At { value: key.text.clone(), place: key.place.clone() };
            (key, Field::read(value, diagnostics))
        };
        Some(Self(map.entries.iter().map(read).collect()))
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

/// The map that a node is. Nothing (`admin:`) is an empty one.
pub(super) fn map_of<'n>(
    node: &'n Node,
    expected: &str,
    diagnostics: &mut Diagnostics,
) -> Option<std::borrow::Cow<'n, Map>> {
    match &node.kind {
        Kind::Map(map) => Some(std::borrow::Cow::Borrowed(map)),
        _ if node.is_null() => Some(std::borrow::Cow::Owned(Map { entries: Vec::new(), duplicates: Vec::new() })),
        _ => wrong(node, expected, diagnostics),
    }
}

/// Reports the keys that are given again.
pub(super) fn duplicates(map: &Map, values: Values, diagnostics: &mut Diagnostics) {
    for Duplicate { key, value, first } in &map.duplicates {
        values.conceal(value, diagnostics);
        let help = format!("first given at {first}");
        diagnostics.error(&key.place, format!("`{}` is given twice", key.text)).help(help);
    }
}

/// Reports that a node is something else than expected. What has parts may hold a secret, and is not shown.
pub(super) fn wrong<T>(node: &Node, expected: &str, diagnostics: &mut Diagnostics) -> Option<T> {
    let is_template = matches!(&node.kind, Kind::Map(map) if map.is_unquoted_template());
    if !is_template {
        Values::PlainScalars.conceal(node, diagnostics);
    }
    let diagnostic = diagnostics.error(&node.place, format!("expected {expected}, found {}", node.what()));
    if is_template {
        diagnostic.help("text that starts with `{` needs quotes");
    }
    None
}

/// A schema that one of these must accept.
pub(super) fn any_of(schemas: impl IntoIterator<Item = Value>) -> Value {
    json!({ "anyOf": schemas.into_iter().collect::<Vec<_>>() })
}

/// A schema of something that is not text, or of a text with a variable that holds it.
pub(super) fn or_variable(schema: Value) -> Value {
    any_of([schema, json!({ "type": "string", "pattern": "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}" })])
}

impl At<Text> {
    /// The text for messages, as written: a variable's name instead of its value.
    pub(in crate::config) fn shown(&self) -> &str {
        self.place.shown()
    }
}
