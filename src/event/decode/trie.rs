//! The trie of declared paths, and the parser that descends by it.

use std::fmt;
use std::ops::Range;

use compact_str::CompactString;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{DecodeError, Part, Path, Scalar, Slot, Value};

/// A field's value as an event keeps it: text without escapes is a range of the body and costs no allocation.
#[derive(Debug)]
pub(super) enum Field {
    Absent,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Range<u32>),
    Owned(Box<str>),
    List(Box<[Scalar]>),
    Object,
}

impl Field {
    pub(super) fn from_scalar(value: Scalar) -> Self {
        match value {
            Scalar::Null => Self::Absent,
            Scalar::Bool(value) => Self::Bool(value),
            Scalar::Int(value) => Self::Int(value),
            Scalar::Float(value) => Self::Float(value),
            Scalar::Text(text) => Self::Owned(text.as_str().into()),
        }
    }

    pub(super) fn value<'a>(&'a self, body: &'a [u8]) -> Value<'a> {
        match self {
            Self::Absent => Value::Absent,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            // The range was a whole string of a body known to be UTF-8.
            Self::Text(range) => {
                let bytes = &body[range.start as usize..range.end as usize];
                std::str::from_utf8(bytes).map_or(Value::Absent, Value::Text)
            }
            Self::Owned(text) => Value::Text(text),
            Self::List(items) => Value::List(items),
            Self::Object => Value::Object,
        }
    }
}

/// Which keys to descend into, what to keep on the way, and where the payload is.
#[derive(Debug, Default)]
pub(super) struct Trie {
    root: Node,
}

/// What one pass over a body found.
pub(super) struct Found {
    /// By slot.
    pub(super) fields: Vec<Field>,
    /// By part; empty ranges where there is nothing.
    pub(super) parts: Vec<Range<usize>>,
    /// The payload, where there is one.
    pub(super) payload: Option<Range<usize>>,
}

#[derive(Debug, Default)]
struct Node {
    slot: Option<Slot>,
    part: Option<Part>,
    payload: bool,
    children: Vec<(CompactString, Node)>,
}

impl Trie {
    pub(super) fn new(payload: &Path) -> Self {
        let mut trie = Self::default();
        trie.node(payload.segments()).payload = true;
        trie
    }

    pub(super) fn insert(&mut self, segments: &[CompactString], slot: Slot) {
        self.node(segments).slot = Some(slot);
    }

    pub(super) fn insert_part(&mut self, segments: &[CompactString], part: Part) {
        self.node(segments).part = Some(part);
    }

    fn node(&mut self, segments: &[CompactString]) -> &mut Node {
        segments.iter().fold(&mut self.root, |node, key| {
            let index = node.children.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
                node.children.push((key.clone(), Node::default()));
                node.children.len() - 1
            });
            &mut node.children[index].1
        })
    }

    /// Reads `body`.
    pub(super) fn read(&self, body: &str, slots: usize, parts: usize) -> Result<Found, DecodeError> {
        let mut sink = Sink {
            base: body.as_ptr() as usize,
            found: Found {
                fields: std::iter::repeat_with(|| Field::Absent).take(slots).collect(),
                parts: vec![0..0; parts],
                payload: None,
            },
            duplicate: None,
        };
        // `.` is the body without the white space around it: no need to scan it twice.
        sink.note(&self.root, body.trim_ascii());
        let mut parser = serde_json::Deserializer::from_str(body);
        let result = Reader { node: &self.root, sink: &mut sink }.read(&mut parser).and_then(|()| parser.end());
        match result {
            Ok(()) if body.trim_ascii_start().starts_with('{') => Ok(sink.found),
            Ok(()) => Err(DecodeError::NotAnObject),
            Err(error) => Err(sink.duplicate.map_or(DecodeError::NotJson(error), DecodeError::DuplicateKey)),
        }
    }
}

/// Where the parser puts what it finds.
struct Sink {
    base: usize,
    found: Found,
    duplicate: Option<CompactString>,
}

impl Sink {
    fn range(&self, part: &str) -> Range<usize> {
        let start = part.as_ptr() as usize - self.base;
        start..start + part.len()
    }

    /// Takes down where `node`'s value stands, as far as that is asked for.
    fn note(&mut self, node: &Node, raw: &str) {
        let range = self.range(raw);
        if let Some(part) = node.part {
            self.found.parts[usize::from(part.0)] = range.clone();
        }
        if node.payload {
            self.found.payload = Some(range);
        }
    }
}

/// Reads one value at one node of the trie.
struct Reader<'t, 's> {
    node: &'t Node,
    sink: &'s mut Sink,
}

impl Reader<'_, '_> {
    fn read<'de, D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_any(self)
    }

    fn keep(&mut self, field: Field) {
        if let Some(slot) = self.node.slot {
            self.sink.found.fields[usize::from(slot.0)] = field;
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, parser: D) -> Result<(), D::Error> {
        let Node { slot, part, payload, children } = self.node;
        let is_read_twice = slot.is_some() && !children.is_empty();
        if !payload && part.is_none() && !is_read_twice {
            return self.read(parser);
        }
        let raw = <&RawValue as serde::Deserialize>::deserialize(parser)?.get();
        self.sink.note(self.node, raw);
        if slot.is_none() && children.is_empty() {
            return Ok(());
        }
        let mut inner = serde_json::Deserializer::from_str(raw);
        Reader { node: self.node, sink: &mut *self.sink }.read(&mut inner).map_err(D::Error::custom)?;
        // An array of which elements are declared, and which is read as a whole too.
        if is_read_twice && raw.starts_with('[') {
            let items = serde_json::Deserializer::from_str(raw).deserialize_seq(Items).map_err(D::Error::custom)?;
            self.keep(Field::List(items));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Reader<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.keep(Field::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.keep(Field::Int(value));
        Ok(())
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.keep(match i64::try_from(value) {
            Ok(value) => Field::Int(value),
            Err(_) => Field::Owned(value.to_string().into()),
        });
        Ok(())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        self.keep(Field::Float(value));
        Ok(())
    }

    fn visit_borrowed_str<E>(mut self, text: &'de str) -> Result<(), E> {
        let range = self.sink.range(text);
        self.keep(match (u32::try_from(range.start), u32::try_from(range.end)) {
            (Ok(start), Ok(end)) => Field::Text(start..end),
            _ => Field::Owned(text.into()),
        });
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        self.keep(Field::Owned(text.into()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.keep(Field::Object);
        if self.node.children.is_empty() {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let mut seen = smallvec::SmallVec::<[bool; 32]>::from_elem(false, self.node.children.len());
        while let Some(found) = map.next_key_seed(Key { node: self.node })? {
            let Some(index) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let (key, node) = &self.node.children[index];
            if std::mem::replace(&mut seen[index], true) {
                self.sink.duplicate = Some(key.clone());
                return Err(A::Error::custom("duplicate key"));
            }
            map.next_value_seed(Reader { node, sink: &mut *self.sink })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        if !self.node.children.is_empty() {
            return self.visit_indexed(seq);
        }
        if self.node.slot.is_none() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let items = Items.visit_seq(seq)?;
        self.keep(Field::List(items));
        Ok(())
    }
}

impl Reader<'_, '_> {
    /// An array of which single elements are declared: `items.0.id`.
    fn visit_indexed<'de, A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let name = itoa::Buffer::new().format(index).to_owned();
            let more = match self.node.children.iter().find(|(key, _)| *key == name) {
                Some((_, node)) => seq.next_element_seed(Reader { node, sink: &mut *self.sink })?.is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

/// A key of an object: which child of the node it names, if any.
struct Key<'t> {
    node: &'t Node,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.node.children.iter().position(|(known, _)| known == key))
    }
}

/// An array that is read as a list.
struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Box<[Scalar]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Item)? {
            items.push(item);
        }
        Ok(items.into())
    }
}

/// An element of an array that is read as a list.
struct Item;

impl<'de> DeserializeSeed<'de> for Item {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Scalar, D::Error> {
        let raw = <&RawValue as serde::Deserialize>::deserialize(parser)?.get();
        match raw.as_bytes()[0] {
            b'[' | b'{' => Ok(Scalar::Null),
            _ => {
                let value: serde_json::Value = serde_json::from_str(raw).map_err(D::Error::custom)?;
                Ok(Scalar::from_json(&value).unwrap_or(Scalar::Null))
            }
        }
    }
}
