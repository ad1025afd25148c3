//! Values without parts: text, truth values, numbers, addresses, and whatever a scalar is.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::read::{FromNode, or_variable, wrong};
use crate::config::diagnostics::Diagnostics;
use crate::config::node::{Kind, Node, Written};
use crate::event::Scalar;

/// Text.
#[derive(Clone)]
pub(in crate::config) struct Text {
    pub(in crate::config) text: String,
    /// Some of it came from the environment, and is not to be shown.
    pub(in crate::config) expanded: bool,
}

/// Whatever the scalar is.
#[derive(Clone)]
pub(in crate::config) struct Literal {
    pub(in crate::config) value: Scalar,
    pub(in crate::config) expanded: bool,
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy)]
pub(in crate::config) struct Number<const MIN: u64, const MAX: u64>(pub(in crate::config) u64);

/// An address to listen on.
#[derive(Clone, Copy)]
pub(in crate::config) struct Address(pub(in crate::config) SocketAddr);

impl FromNode for Text {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = scalar(node, "text", diagnostics)?;
        match text.value() {
            Scalar::Text(_) => {}
            // What a variable holds cannot be quoted by who sets it.
            Scalar::Int(_) | Scalar::Float(_) | Scalar::Bool(_) if text.expanded => {}
            _ => {
                let message = format!("expected text, found {}", node.what());
                diagnostics.error(&node.place, message).help(format!("write \"{}\" if text is meant", node.shown()));
                return None;
            }
        }
        Some(Self { text: text.text.clone(), expanded: text.expanded })
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl FromNode for Literal {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = scalar(node, "text, a number or a boolean", diagnostics)?;
        Some(Self { value: text.value(), expanded: text.expanded })
    }

    fn schema() -> Value {
        json!({ "type": ["string", "number", "boolean", "null"] })
    }
}

impl FromNode for bool {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = scalar(node, "true or false", diagnostics)?;
        if let Scalar::Bool(value) = text.value() {
            return Some(value);
        }
        let meant = match text.text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "true" => Some("true"),
            "no" | "off" | "n" | "false" => Some("false"),
            _ => None,
        };
        let message = format!("`{}` is not a boolean: expected true or false", node.shown());
        let diagnostic = diagnostics.error(&node.place, message);
        if let Some(meant) = meant.filter(|_| !text.expanded) {
            diagnostic.help(if text.plain {
                format!("write {meant}")
            } else {
                format!("write {meant} without quotes")
            });
        }
        None
    }

    fn schema() -> Value {
        or_variable(json!({ "type": "boolean" }))
    }
}

impl<const MIN: u64, const MAX: u64> FromNode for Number<MIN, MAX> {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = scalar(node, "a whole number", diagnostics)?;
        let Scalar::Int(number) = text.value() else {
            diagnostics.error(&node.place, format!("`{}` is not a whole number", node.shown()));
            return None;
        };
        let number = u64::try_from(number).ok();
        let number = number.filter(|number| (MIN..=MAX).contains(number));
        if number.is_none() {
            diagnostics.error(&node.place, format!("`{}` is not from {MIN} to {MAX}", node.shown()));
        }
        number.map(Self)
    }

    fn schema() -> Value {
        or_variable(json!({ "type": "integer", "minimum": MIN, "maximum": MAX }))
    }
}

impl FromNode for Address {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = scalar(node, "an address such as 127.0.0.1:8080", diagnostics)?;
        let address = text.text.parse().ok().map(Self);
        if address.is_none() {
            let shown = node.shown();
            let message = format!("`{shown}` is not an address with a port");
            diagnostics.error(&node.place, message).help(address_help(if text.expanded { "" } else { shown }));
        }
        address
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

fn address_help(written: &str) -> String {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    match written.rsplit_once(':') {
        None if is_port(written) => format!("write 0.0.0.0:{written} for all interfaces, or 127.0.0.1:{written}"),
        None if written.parse::<std::net::IpAddr>().is_ok() => format!("add a port: {}:8080", bracketed(written)),
        Some(("" | "*", port)) if is_port(port) => {
            format!("write 0.0.0.0:{port} for all interfaces, or 127.0.0.1:{port}")
        }
        Some(("localhost", port)) if is_port(port) => format!("write 127.0.0.1:{port}, or [::1]:{port}"),
        _ => "write an IP address and a port: 0.0.0.0:8080, 127.0.0.1:8080 or [::1]:8080".to_owned(),
    }
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// The scalar that a node is.
pub(super) fn scalar<'n>(node: &'n Node, expected: &str, diagnostics: &mut Diagnostics) -> Option<&'n Written> {
    match &node.kind {
        Kind::Scalar(text) => Some(text),
        _ => wrong(node, expected, diagnostics),
    }
}
