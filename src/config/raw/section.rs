//! The `section!` and `choice!` macros, and the reader behind them.

use std::borrow::Cow;

use serde_json::{Map as JsonMap, Value};

use super::read::{Field, FromNode, duplicates, map_of};
use super::secrets::{Values, hide};
use crate::config::diagnostics::{Diagnostics, did_you_mean, similar};
use crate::config::node::{Kind, Map, Node};
use crate::config::place::Place;

/// What a key of a section needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It must be given.
    Required,
    /// It may be left out.
    Optional,
}

/// A map whose keys are known.
pub(super) struct Section<'n> {
    map: Cow<'n, Map>,
    place: Place,
    /// Known keys that unknown ones were probably meant to be: they are not also reported as missing.
    meant: Vec<String>,
}

impl<'n> Section<'n> {
    /// Opens it: reports duplicate, unknown and not yet supported keys.
    pub(super) fn open(
        node: &'n Node,
        known: &[&str],
        later: &[&str],
        values: Values,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let expected = format!("a map of {}", listed(known));
        if !matches!(node.kind, Kind::Map(_)) {
            values.conceal(node, diagnostics);
        }
        let map = map_of(node, &expected, diagnostics)?;
        duplicates(&map, values, diagnostics);
        let mut meant = Vec::new();
        for (key, value) in &map.entries {
            let name = key.text.as_str();
            if known.contains(&name) {
                continue;
            }
            if later.contains(&name) {
                values.conceal(value, diagnostics);
                diagnostics.error(&key.place, format!("`{name}` is not yet supported"));
                continue;
            }
            // A misspelt or misplaced key may be a secret's.
            hide(value, diagnostics);
            let all = || known.iter().chain(later).copied();
            let similar = similar(name, all());
            if similar.is_none() && (values == Values::SecretKeys || !looks_like_a_key(name)) {
                diagnostics.secret(&key.place);
                diagnostics.error(&key.place, format!("this key is none of {}", listed(known)));
                continue;
            }
            let message = format!("unknown key `{name}`{}", did_you_mean(name, all()));
            let diagnostic = diagnostics.error(&key.place, message);
            match similar {
                Some(known) => meant.push(known.to_owned()),
                None => diagnostic.help(format!("known here: {}", listed(known))),
            }
        }
        Some(Self { map, place: node.place.clone(), meant })
    }

    /// The value of a key. Nothing (`key:`) is as good as no key where it may be left out.
    pub(super) fn field<T: FromNode>(&self, key: &str, need: Need, diagnostics: &mut Diagnostics) -> Field<T> {
        match self.map.get(key) {
            Some((_, node)) if need != Need::Required && node.is_null() => Field::Missing,
            Some((key, node)) if node.is_null() => {
                diagnostics.error(&key.place, format!("`{}` needs a value", key.text));
                Field::Faulty
            }
            Some((_, node)) => Field::read(node, diagnostics),
            None if self.meant.iter().any(|meant| meant == key) => Field::Faulty,
            None if need == Need::Required => {
                diagnostics.error(&self.place, format!("`{key}` is missing"));
                Field::Missing
            }
            None => Field::Missing,
        }
    }
}

/// Whether an unknown key is a word that somebody meant as one, and not something else that a slip made a key.
fn looks_like_a_key(name: &str) -> bool {
    name.len() <= 40 && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// The schema of a section.
pub(super) fn schema(doc: &[&str], fields: Vec<(&str, &[&str], Need, Value)>) -> Value {
    let mut properties = JsonMap::new();
    let mut required = Vec::new();
    for (key, doc, need, mut schema) in fields {
        schema["description"] = description(doc).into();
        if need == Need::Required {
            required.push(key);
        }
        properties.insert(key.to_owned(), schema);
    }
    let mut schema = serde_json::json!({
        "type": "object",
        "description": description(doc),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// `` `a`, `b` and `c` ``
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

fn description(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// Declares a section: a struct with a [`Field`] a key, its reader and its schema. `later` names the keys that are
/// known and refused as not yet supported.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        $name:ident ($values:ident) {
            $($(#[doc = $field_doc:literal])* $key:literal $field:ident: $kind:ty = $need:ident,)*
        }
        later [$($later:literal),*]
    ) => {
        $(#[doc = $doc])*
        #[allow(dead_code, reason = "what an earlier stage has used stands here for its form and its schema")]
        pub(in crate::config) struct $name {
            $($(#[doc = $field_doc])* pub(in crate::config) $field: $crate::config::raw::Field<$kind>,)*
        }

        impl $crate::config::raw::FromNode for $name {
            fn read(
                node: &$crate::config::node::Node,
                diagnostics: &mut $crate::config::diagnostics::Diagnostics,
            ) -> Option<Self> {
                use $crate::config::raw::secrets::Values;
                use $crate::config::raw::section::{Need, Section};
                let section = Section::open(node, &[$($key),*], &[$($later),*], Values::$values, diagnostics)?;
                Some(Self { $($field: section.field($key, Need::$need, diagnostics),)* })
            }

            fn schema() -> serde_json::Value {
                use $crate::config::raw::section::{Need, schema};
                schema(
                    &[$($doc),*],
                    vec![$(($key, &[$($field_doc),*], Need::$need, <$kind as $crate::config::raw::FromNode>::schema())),*],
                )
            }
        }
    };
}

/// Declares a choice between words: an enum, its reader and its schema.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        $name:ident { $($(#[doc = $word_doc:literal])* $word:literal $variant:ident,)* }
        later [$($later:literal),*]
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(in crate::config) enum $name {
            $($(#[doc = $word_doc])* $variant,)*
        }

        impl $crate::config::raw::FromNode for $name {
            fn read(
                node: &$crate::config::node::Node,
                diagnostics: &mut $crate::config::diagnostics::Diagnostics,
            ) -> Option<Self> {
                match $crate::config::raw::section::word(node, &[$($word),*], &[$($later),*], diagnostics)? {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }

            fn schema() -> serde_json::Value {
                $crate::config::raw::read::or_variable(serde_json::json!({ "enum": [$($word),*] }))
            }
        }
    };
}

pub(super) use {choice, section};

/// The word of `known` that a node is.
pub(super) fn word<'k>(
    node: &Node,
    known: &[&'k str],
    later: &[&str],
    diagnostics: &mut Diagnostics,
) -> Option<&'k str> {
    let crate::config::node::Kind::Scalar(text) = &node.kind else {
        return super::read::wrong(node, &listed(known).replace(" and ", " or "), diagnostics);
    };
    let found = known.iter().find(|word| **word == text.text);
    if found.is_none() {
        let shown = node.shown();
        if later.contains(&text.text.as_str()) {
            diagnostics.error(&node.place, format!("`{shown}` is not yet supported"));
        } else {
            let message =
                format!("`{shown}` is none of {}{}", listed(known), did_you_mean(shown, known.iter().copied()));
            diagnostics.error(&node.place, message);
        }
    }
    found.copied()
}
