//! Values as rules see them: borrowed from an event, or owned by a session, a query's row, a configuration.

use std::borrow::Cow;
use std::fmt;

use compact_str::CompactString;

/// One owned value without parts: an attribute of a session, a query's bind or column.
///
/// An integer outside of 64 bits is kept as the text of its digits, so that no id loses a digit.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// JSON `null`, SQL `NULL`.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(CompactString),
}

/// One value, borrowed: what a matcher looks at and a template renders.
///
/// A JSON `null` reads as [`Value::Absent`]: rules do not tell the two apart, and neither can a script.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Not there, or `null`.
    Absent,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// An array; parts that are no scalars read as [`Scalar::Null`].
    List(&'a [Scalar]),
    /// An object: it exists, and that is all rules can say of it.
    Object,
}

impl Scalar {
    /// The value, borrowed.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Absent,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(text) => Value::Text(text),
        }
    }

    /// The scalar that a JSON value is, or `None` for an array or object.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        Some(match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(value), ..) => Self::Int(value),
                (None, Some(value), _) => Self::Text(compact_str::format_compact!("{value}")),
                (None, None, value) => Self::Float(value?),
            },
            serde_json::Value::String(text) => Self::Text(text.as_str().into()),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
        })
    }
}

impl Value<'_> {
    /// Whether there is a value. A `null` is none.
    pub fn exists(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// The value as a template renders it: text as it is, numbers in their shortest form.
    /// `None` for what has no text: nothing, an array, an object.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Int(value) => Some(Cow::Owned(itoa::Buffer::new().format(*value).to_owned())),
            Self::Float(value) => Some(Cow::Owned(value.to_string())),
            Self::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Self::Absent | Self::List(_) | Self::Object => None,
        }
    }

    /// Appends the value to a text, as a template renders it. `None` for what has no text.
    pub fn append_to(&self, text: &mut CompactString) -> Option<()> {
        match self {
            Self::Text(value) => text.push_str(value),
            Self::Int(value) => text.push_str(itoa::Buffer::new().format(*value)),
            other => text.push_str(&other.text()?),
        }
        Some(())
    }

    /// An owned copy. Arrays and objects, which are no scalars, become `Null`.
    pub fn to_scalar(&self) -> Scalar {
        match self {
            Self::Bool(value) => Scalar::Bool(*value),
            Self::Int(value) => Scalar::Int(*value),
            Self::Float(value) => Scalar::Float(*value),
            Self::Text(text) => Scalar::Text((*text).into()),
            Self::Absent | Self::List(_) | Self::Object => Scalar::Null,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_value().text() {
            Some(text) => f.write_str(&text),
            None => f.write_str("null"),
        }
    }
}
