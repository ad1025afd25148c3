//! Values that are never shown.

use secrecy::SecretString;
use serde_json::{Value, json};

use super::read::{At, FromNode};
use super::scalars::{Text, scalar};
use crate::config::diagnostics::{Diagnostic, Diagnostics};
use crate::config::node::{Kind, Node};
use crate::event::Scalar;

/// A text that is never shown, neither it nor the line's part where it stands.
#[derive(Clone)]
pub(in crate::config) struct Secret(pub(in crate::config) SecretString);

/// The name of a file that holds a secret. Where it does not look like one, it may be the secret, and is not shown.
#[derive(Clone)]
pub(in crate::config) struct FileName {
    pub(in crate::config) text: String,
    /// Some of it came from the environment, and is not to be shown.
    pub(in crate::config) expanded: bool,
    /// It looks like the name of a file.
    pub(in crate::config) is_name: bool,
}

/// A URL, of which `user:password` is never shown.
#[derive(Clone)]
pub(in crate::config) struct SecretUrl(pub(in crate::config) SecretString);

/// Whether what a section holds may be shown, where it is not what was expected: a misspelt key may be a secret's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Values {
    /// It may.
    Plain,
    /// Plain values may; what has parts may hold a secret.
    PlainScalars,
    /// It may not.
    Secret,
    /// Nor may unknown keys: they may be tokens at a wrong place.
    SecretKeys,
}

/// Nothing of this is to be shown, neither keys nor values.
pub(in crate::config) fn hide(node: &Node, diagnostics: &mut Diagnostics) {
    match &node.kind {
        Kind::Scalar(_) | Kind::Faulty => diagnostics.secret(&node.place),
        Kind::List(items) => items.iter().for_each(|item| hide(item, diagnostics)),
        Kind::Map(map) => {
            let duplicates = map.duplicates.iter().map(|duplicate| (&duplicate.key, &duplicate.value));
            for (key, value) in map.entries.iter().map(|(key, value)| (key, value)).chain(duplicates) {
                diagnostics.secret(&key.place);
                hide(value, diagnostics);
            }
        }
    }
}

impl Values {
    /// Hides a value that is not what was expected, where it may be a secret.
    pub(super) fn conceal(self, node: &Node, diagnostics: &mut Diagnostics) {
        let scalar = matches!(node.kind, Kind::Scalar(_) | Kind::Faulty);
        if matches!(self, Self::Secret | Self::SecretKeys) || (self == Self::PlainScalars && !scalar) {
            hide(node, diagnostics);
        }
    }
}

impl FromNode for Secret {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        // First: whatever is wrong with it, it is not shown.
        hide(node, diagnostics);
        let text = scalar(node, "text", diagnostics)?;
        Some(Self(SecretString::from(text.text.as_str())))
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl FromNode for FileName {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let is_name = |text: &str| text.contains(['.', '/']) && !text.contains(['\n', '\r']) && text.len() < 256;
        let Some(Text { text, expanded }) = Text::read(node, diagnostics) else {
            hide(node, diagnostics);
            return None;
        };
        let is_name = is_name(&text);
        if !is_name {
            hide(node, diagnostics);
        }
        Some(Self { text, expanded, is_name })
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl At<SecretUrl> {
    /// Reports what is wrong with the URL. One without an `@` may have lost it, and is not shown at all.
    pub(in crate::config) fn fault<'d>(&self, message: &str, diagnostics: &'d mut Diagnostics) -> &'d mut Diagnostic {
        if !self.place.text().contains('@') && !self.place.text().contains("${") {
            diagnostics.secret(&self.place);
        }
        diagnostics.error(&self.place, message)
    }
}

impl FromNode for SecretUrl {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let written = node.place.text();
        if let Some(at) = written.rfind('@') {
            let scheme = written.find("//").map_or(0, |slashes| slashes + 2).min(at);
            diagnostics.secret(&node.place.part(scheme..at));
        }
        let text = scalar(node, "a URL", diagnostics)?;
        if matches!(text.value(), Scalar::Text(_)) {
            return Some(Self(SecretString::from(text.text.as_str())));
        }
        diagnostics.error(&node.place, format!("expected a URL, found {}", node.what()));
        None
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}
