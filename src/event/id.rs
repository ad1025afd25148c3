//! Ids: of a tenant, of a user, of an event.

use std::fmt;

use compact_str::CompactString;

use super::{Scalar, Value};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(CompactString);

        impl $name {
            /// The id that this text names. `None` for the empty text, which names nobody.
            pub fn new(text: impl Into<CompactString>) -> Option<Self> {
                let text = text.into();
                (!text.is_empty()).then_some(Self(text))
            }

            /// The id that this value names: a string or an integer, so that `7` and `"7"` are the same id.
            pub fn from_scalar(value: &Scalar) -> Option<Self> {
                Self::from_value(value.as_value())
            }

            /// As [`from_scalar`](Self::from_scalar).
            pub fn from_value(value: Value<'_>) -> Option<Self> {
                match value {
                    Value::Int(number) => Some(Self(itoa::Buffer::new().format(number).into())),
                    Value::Text(text) => Self::new(text),
                    _ => None,
                }
            }

            /// Whether somebody can sign in by it: it holds no control characters, which databases refuse (PostgreSQL
            /// has no NUL in a text) and logs cannot show as they are.
            pub fn is_plain(&self) -> bool {
                !self.0.contains(char::is_control)
            }

            /// The id as text: what logs, messages and queries see.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

text_id! {
    /// One customer of the application: the isolation boundary, and a part of every index.
    TenantId
}
text_id! {
    /// A person of a tenant. Means nothing without the tenant.
    UserId
}

/// What the application calls an event, kept as the JSON literal that stood in its body (`1234` or `"a-1"`),
/// because that is what clients get back.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventId(CompactString);

impl EventId {
    /// The id that this value names: a string or an integer. `None` for anything else.
    pub fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Int(number) => Some(Self(itoa::Buffer::new().format(number).into())),
            Value::Text(text) if !text.is_empty() => serde_json::to_string(text).ok().map(|json| Self(json.into())),
            _ => None,
        }
    }

    /// The JSON literal.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_text_are_one_id() {
        let number = UserId::from_scalar(&Scalar::Int(7)).unwrap();
        let text = UserId::from_scalar(&Scalar::Text("7".into())).unwrap();
        assert_eq!(number, text);
    }

    #[test]
    fn what_names_nobody_is_no_id() {
        for value in [Scalar::Null, Scalar::Bool(true), Scalar::Float(7.5), Scalar::Text("".into())] {
            assert_eq!(TenantId::from_scalar(&value), None, "{value:?}");
        }
    }
}
