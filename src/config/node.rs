//! A YAML file as a tree that knows where everything stands.
//!
//! Invariant: plain scalars are read as YAML 1.2's core schema says, so `yes` and `on` are text.

use crate::event::Scalar;

use super::place::Place;

/// A value, and where it stands. An alias's value stands where it was written, at its anchor.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone)]
pub(super) enum Kind {
    Scalar(Written),
    List(Vec<Node>),
    Map(Map),
    /// Known to be wrong, and reported: whoever asks for it goes without.
    Faulty,
}

/// A value without parts, as text.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) text: String,
    /// Written without quotes, so that it may be more than text.
    pub(super) plain: bool,
    /// Some of it came from the environment, and is not to be shown.
    pub(super) expanded: bool,
}

/// A map, in the order of the file.
#[derive(Clone)]
pub(super) struct Map {
    pub(super) entries: Vec<(Key, Node)>,
    /// Keys given again. Who reads the map reports them: a key may be a secret.
    pub(super) duplicates: Vec<Duplicate>,
}

/// A key that is given again, and what it is given.
#[derive(Clone)]
pub(super) struct Duplicate {
    pub(super) key: Key,
    pub(super) value: Node,
    /// Where it is given first.
    pub(super) first: Place,
}

/// A key of a map.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Place,
}

impl Node {
    /// Whether there is nothing: `key:`, `key: null`, or a variable that is empty.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text) if text.value() == Scalar::Null)
    }

    /// What it is, for messages: "a list".
    pub(super) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Faulty => "something faulty",
            Kind::Scalar(text) => match text.value() {
                Scalar::Null => "nothing",
                Scalar::Bool(_) => "a boolean",
                Scalar::Int(_) | Scalar::Float(_) => "a number",
                Scalar::Text(_) => "text",
            },
        }
    }

    /// The scalar for messages, as written: a variable's name instead of its value, and one line of several.
    pub(super) fn shown(&self) -> &str {
        self.place.shown()
    }
}

impl Map {
    pub(super) fn get(&self, key: &str) -> Option<&(Key, Node)> {
        self.entries.iter().find(|(known, _)| known.text == key)
    }

    /// Whether this is `{data.id}` without quotes, which YAML takes for a map with one key and no value.
    pub(super) fn is_unquoted_template(&self) -> bool {
        matches!(self.entries.as_slice(), [(_, value)] if value.is_null())
    }
}

impl Written {
    /// The value that the text is, by the core schema.
    pub(super) fn value(&self) -> Scalar {
        let text = self.text.as_str();
        if !self.plain {
            return Scalar::Text(text.into());
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
            "true" | "True" | "TRUE" => Scalar::Bool(true),
            "false" | "False" | "FALSE" => Scalar::Bool(false),
            _ => number(text).unwrap_or_else(|| Scalar::Text(text.into())),
        }
    }
}

/// The number that a plain scalar is. An integer beyond 64 bits is none: it stays the text of its digits.
fn number(text: &str) -> Option<Scalar> {
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok().map(Scalar::Int);
    if let Some(digits) = text.strip_prefix("0x").filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())) {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(Scalar::Int);
    }
    let looks_like_one = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().any(|b| b.is_ascii_digit())
        && unsigned.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let float = text.parse::<f64>().ok().filter(|float| looks_like_one && float.is_finite());
    float.map(Scalar::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let text = |text: &str| Scalar::Text(text.into());
        for (written, expected) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("null", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("FALSE", Scalar::Bool(false)),
            ("yes", text("yes")),
            ("on", text("on")),
            ("7", Scalar::Int(7)),
            ("-7", Scalar::Int(-7)),
            ("0x1F", Scalar::Int(31)),
            ("0o17", Scalar::Int(15)),
            ("1.5", Scalar::Float(1.5)),
            ("1e3", Scalar::Float(1000.0)),
            (".5", Scalar::Float(0.5)),
            (".", text(".")),
            (".inf", text(".inf")),
            ("1_000", text("1_000")),
            ("1.2.3", text("1.2.3")),
            ("10s", text("10s")),
            ("e3", text("e3")),
            ("99999999999999999999", text("99999999999999999999")),
        ] {
            let plain = Written { text: written.to_owned(), plain: true, expanded: false };
            assert_eq!(plain.value(), expected, "{written}");
            let quoted = Written { text: written.to_owned(), plain: false, expanded: false };
            assert_eq!(quoted.value(), text(written), "{written}");
        }
    }
}
