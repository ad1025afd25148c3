//! The trie of declared paths, and the reader that descends by it.

use std::ops::Range;

use compact_str::CompactString;
use serde::de::{Error as _, IgnoredAny};
use smallvec::SmallVec;

use super::scan::{Fault, Plain, Scan, head};
use super::{DecodeError, Part, Path, Scalar, Slot, Value};

/// A field's value as an event keeps it: text without escapes is a range of the body and costs no allocation.
#[derive(Clone, Debug)]
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
    fn of(plain: Plain, body: &str) -> Self {
        match plain {
            Plain::Null => Self::Absent,
            Plain::Bool(value) => Self::Bool(value),
            Plain::Int(value) => Self::Int(value),
            Plain::Float(value) => Self::Float(value),
            Plain::Text(range) => match (u32::try_from(range.start), u32::try_from(range.end)) {
                (Ok(start), Ok(end)) => Self::Text(start..end),
                _ => Self::Owned(body[range].into()),
            },
            Plain::Unescaped(text) => Self::Owned(text.into()),
        }
    }

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
    children: Vec<(Box<str>, Node)>,
    /// By child, of its key.
    heads: Vec<u64>,
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
            let index = node.children.iter().position(|(known, _)| **known == **key).unwrap_or_else(|| {
                node.heads.push(head(key.as_bytes()));
                node.children.push((key.as_str().into(), Node::default()));
                node.children.len() - 1
            });
            &mut node.children[index].1
        })
    }

    /// Reads `body`.
    pub(super) fn read(&self, body: &str, slots: usize, parts: usize) -> Result<Found, DecodeError> {
        let found = Found {
            fields: std::iter::repeat_with(|| Field::Absent).take(slots).collect(),
            parts: vec![0..0; parts],
            payload: None,
        };
        let mut reader = Reader { scan: Scan::new(body), found };
        match reader.body(&self.root) {
            Ok(()) => Ok(reader.found),
            Err(Refusal::NotAnObject) => Err(DecodeError::NotAnObject),
            Err(Refusal::Duplicate(key)) => Err(DecodeError::DuplicateKey((*key).into())),
            Err(Refusal::Fault(fault)) => Err(DecodeError::NotJson(explained(body, fault, reader.scan.at()))),
        }
    }
}

/// Why a body is not read.
enum Refusal {
    Fault(Fault),
    NotAnObject,
    Duplicate(Box<str>),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What is wrong with a body that was not read, and where.
#[cold]
fn explained(body: &str, fault: Fault, at: usize) -> serde_json::Error {
    let (before, rest) = body.split_at(at);
    let what = match (serde_json::from_str::<IgnoredAny>(body), fault) {
        (Err(error), _) => return error,
        (Ok(_), Fault::Literal) if rest.starts_with('"') => "lone surrogate in a string",
        (Ok(_), Fault::Literal) => "number out of range",
        (Ok(_), Fault::Syntax) => "unexpected text",
    };
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
    serde_json::Error::custom(format!("{what} at line {line} column {column}"))
}

/// Reads a body, and takes down what is found in it.
struct Reader<'t> {
    scan: Scan<'t>,
    found: Found,
}

impl Reader<'_> {
    fn body(&mut self, root: &Node) -> Result<(), Refusal> {
        let is_object = self.scan.peek() == b'{';
        self.value(root)?;
        self.scan.end()?;
        if is_object { Ok(()) } else { Err(Refusal::NotAnObject) }
    }

    fn value(&mut self, node: &Node) -> Result<(), Refusal> {
        let first = self.scan.peek();
        let start = self.scan.at();
        match first {
            b'{' => {
                self.keep(node, Field::Object);
                self.object(node)?;
            }
            b'[' => self.array(node)?,
            _ if node.slot.is_some() => {
                let plain = self.scan.plain()?;
                self.keep(node, Field::of(plain, self.scan.text()));
            }
            _ => self.scan.pass()?,
        }
        let range = start..self.scan.at();
        if let Some(part) = node.part {
            self.found.parts[usize::from(part.0)] = range.clone();
        }
        if node.payload {
            self.found.payload = Some(range);
        }
        Ok(())
    }

    fn keep(&mut self, node: &Node, field: Field) {
        if let Some(slot) = node.slot {
            self.found.fields[usize::from(slot.0)] = field;
        }
    }

    fn object(&mut self, Node { children, heads, .. }: &Node) -> Result<(), Refusal> {
        if children.is_empty() {
            return Ok(self.scan.pass()?);
        }
        self.scan.passes(b'{');
        let mut goes_on = !self.scan.passes(b'}');
        let mut seen = SmallVec::<[bool; 32]>::from_elem(false, children.len());
        while goes_on {
            let child = |head, key: &str| {
                heads.iter().zip(children).position(|(known, (name, _))| *known == head && **name == *key)
            };
            match self.scan.key(child)? {
                Some(index) if seen[index] => return Err(Refusal::Duplicate(children[index].0.clone())),
                Some(index) => {
                    seen[index] = true;
                    self.value(&children[index].1)?;
                }
                None => self.scan.pass()?,
            }
            goes_on = self.scan.goes_on(b'}')?;
        }
        Ok(())
    }

    /// An array that is a list to those who read it, or of which single elements are declared, `items.0.id`, or both.
    fn array(&mut self, node: &Node) -> Result<(), Refusal> {
        if node.slot.is_some() {
            let start = self.scan.clone();
            let items = list(&mut self.scan)?;
            self.keep(node, Field::List(items));
            if node.children.is_empty() {
                return Ok(());
            }
            self.scan = start;
        }
        if node.children.is_empty() {
            return Ok(self.scan.pass()?);
        }
        self.scan.passes(b'[');
        let mut goes_on = !self.scan.passes(b']');
        let mut digits = itoa::Buffer::new();
        for index in 0_usize.. {
            if !goes_on {
                break;
            }
            let name = digits.format(index);
            match node.children.iter().find(|(key, _)| **key == *name) {
                Some((_, element)) => self.value(element)?,
                None => self.scan.pass()?,
            }
            goes_on = self.scan.goes_on(b']')?;
        }
        Ok(())
    }
}

/// Takes an array; parts that are no scalars are `null`.
fn list(scan: &mut Scan<'_>) -> Result<Box<[Scalar]>, Fault> {
    let mut items = Vec::new();
    scan.passes(b'[');
    let mut goes_on = !scan.passes(b']');
    while goes_on {
        items.push(match scan.peek() {
            b'{' | b'[' => scan.pass().map(|()| Scalar::Null)?,
            _ => match scan.plain()? {
                Plain::Null => Scalar::Null,
                Plain::Bool(value) => Scalar::Bool(value),
                Plain::Int(value) => Scalar::Int(value),
                Plain::Float(value) => Scalar::Float(value),
                Plain::Text(range) => Scalar::Text(scan.text()[range].into()),
                Plain::Unescaped(text) => Scalar::Text(text.into()),
            },
        });
        goes_on = scan.goes_on(b']')?;
    }
    Ok(items.into())
}
