//! Values that are never shown.

use secrecy::SecretString;
use serde_json::{Value, json};

use super::read::FromNode;
use super::scalars::scalar;
use crate::config::diagnostics::Diagnostics;
use crate::config::node::Node;
use crate::event::Scalar;

/// A text that is never shown, neither it nor the line's part where it stands.
#[derive(Clone)]
pub(in crate::config) struct Secret(pub(in crate::config) SecretString);

/// A URL, of which `user:password` is never shown.
#[derive(Clone)]
pub(in crate::config) struct SecretUrl(pub(in crate::config) SecretString);

impl FromNode for Secret {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        // First: whatever is wrong with it, it is not shown.
        diagnostics.secret(&node.place);
        let text = scalar(node, "text", diagnostics)?;
        Some(Self(SecretString::from(text.text.as_str())))
    }

    fn schema() -> Value {
        json!({ "type": "string" })
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
