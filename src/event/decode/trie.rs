//! The trie of declared paths, and the reader that descends by it.

use std::ops::Range;

use compact_str::CompactString;
use serde::de::{Error as _, IgnoredAny};
use smallvec::SmallVec;

use super::scan::{Fault, Plain, Scan, Scanned, head};
use super::{DecodeError, Part, Path, Scalar, Slot, Value};

/// A field's value as an event keeps it. No text costs an allocation but a long one with escapes: short ones are held in
/// place, known to be UTF-8, and the others are ranges of the body.
#[derive(Clone, Debug)]
pub(super) enum Field {
    Absent,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(CompactString),
    Range(Range<u32>),
    List(Box<[Scalar]>),
    Object,
}

/// Bytes of a text that needs no allocation.
const SHORT: usize = size_of::<CompactString>();

impl Field {
    fn of(plain: Plain, body: &str) -> Self {
        match plain {
            Plain::Null => Self::Absent,
            Plain::Bool(value) => Self::Bool(value),
            Plain::Int(value) => Self::Int(value),
            Plain::Float(value) => Self::Float(value),
            Plain::Text(range) => match (u32::try_from(range.start), u32::try_from(range.end)) {
                (Ok(start), Ok(end)) if range.len() > SHORT => Self::Range(start..end),
                _ => Self::Text(body[range].into()),
            },
            Plain::Unescaped(text) => Self::Text(text.into()),
        }
    }

    pub(super) fn from_scalar(value: Scalar) -> Self {
        match value {
            Scalar::Null => Self::Absent,
            Scalar::Bool(value) => Self::Bool(value),
            Scalar::Int(value) => Self::Int(value),
            Scalar::Float(value) => Self::Float(value),
            Scalar::Text(text) => Self::Text(text),
        }
    }

    pub(super) fn value<'a>(&'a self, body: &'a [u8]) -> Value<'a> {
        match self {
            Self::Absent => Value::Absent,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(text) => Value::Text(text),
            // The range was a whole string of a body known to be UTF-8.
            Self::Range(range) => {
                let bytes = &body[range.start as usize..range.end as usize];
                std::str::from_utf8(bytes).map_or(Value::Absent, Value::Text)
            }
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

/// What one pass over a body found. An empty range is nothing, as no value is empty.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// By slot.
    pub(super) fields: Box<[Field]>,
    /// By part.
    pub(super) parts: Box<[Range<usize>]>,
    pub(super) payload: Range<usize>,
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
            parts: vec![0..0; parts].into(),
            payload: 0..0,
        };
        let mut reader = Reader { scan: Scan::new(body), found };
        match reader.body(&self.root) {
            Ok(()) => Ok(reader.found),
            Err(Refusal::NotAnObject) => Err(DecodeError::NotAnObject),
            Err(Refusal::Duplicate(key)) => Err(DecodeError::DuplicateKey((*key).into())),
            Err(Refusal::Fault(fault)) => Err(DecodeError::NotJson(explained(body, fault))),
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
fn explained(body: &str, fault: Fault) -> serde_json::Error {
    let at = match (serde_json::from_str::<IgnoredAny>(body), fault) {
        (Err(error), _) => return error,
        (Ok(_), Fault::Syntax) => return serde_json::Error::custom("unexpected text"),
        (Ok(_), Fault::Literal(at)) => at,
    };
    let (before, rest) = body.split_at(at);
    let what = if rest.starts_with('"') { "lone surrogate in a string" } else { "number out of range" };
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
        let (_, first) = self.scan.next(0);
        let end = self.value(root, 0)?;
        self.scan.ends(end)?;
        if first == b'{' { Ok(()) } else { Err(Refusal::NotAnObject) }
    }

    /// Reads the value that comes next at `at`. As each of these, it answers where that ends.
    fn value(&mut self, node: &Node, at: usize) -> Result<usize, Refusal> {
        let (start, first) = self.scan.next(at);
        let end = match first {
            b'{' => {
                self.keep(node, Field::Object);
                self.object(node, start)?
            }
            b'[' => self.array(node, start)?,
            _ if node.slot.is_some() => {
                let (end, plain) = self.scan.plain(start)?;
                self.keep(node, Field::of(plain, self.scan.text()));
                end
            }
            _ => self.scan.pass(start)?,
        };
        if let Some(part) = node.part {
            self.found.parts[part.0 as usize] = start..end;
        }
        if node.payload {
            self.found.payload = start..end;
        }
        Ok(end)
    }

    fn keep(&mut self, node: &Node, field: Field) {
        if let Some(slot) = node.slot {
            self.found.fields[slot.0 as usize] = field;
        }
    }

    fn object(&mut self, Node { children, heads, .. }: &Node, start: usize) -> Result<usize, Refusal> {
        let scan = self.scan;
        if children.is_empty() {
            return Ok(scan.pass(start)?);
        }
        let child = |head, key: &[u8]| {
            // A key of fewer than eight bytes is all in its head, but for the NULs at its end.
            let is_same = |name: &str| name.len() == key.len() && (key.len() < 8 || name.as_bytes() == key);
            heads.iter().zip(children).position(|(known, (name, _))| *known == head && is_same(name))
        };
        // A bit for each child.
        let mut seen = SmallVec::<[u64; 1]>::from_elem(0, children.len().div_ceil(64));
        let (mut at, mut goes_on) = scan.enters(start, b'}');
        while goes_on {
            let (value, known) = scan.key(at, child)?;
            at = match known {
                None => scan.pass(value)?,
                Some(index) => {
                    let (key, node) = &children[index];
                    let (bits, bit) = (&mut seen[index / 64], 1 << (index % 64));
                    if *bits & bit != 0 {
                        return Err(Refusal::Duplicate(key.clone()));
                    }
                    *bits |= bit;
                    self.value(node, value)?
                }
            };
            (at, goes_on) = scan.goes_on(at, b'}')?;
        }
        Ok(at)
    }

    /// An array that is a list to those who read it, or of which single elements are declared, `items.0.id`, or both.
    fn array(&mut self, node: &Node, start: usize) -> Result<usize, Refusal> {
        let scan = self.scan;
        if node.slot.is_some() {
            let (end, items) = list(scan, start)?;
            self.keep(node, Field::List(items));
            if node.children.is_empty() {
                return Ok(end);
            }
        }
        if node.children.is_empty() {
            return Ok(scan.pass(start)?);
        }
        let (mut at, mut goes_on) = scan.enters(start, b']');
        let mut digits = itoa::Buffer::new();
        for index in 0_usize.. {
            if !goes_on {
                break;
            }
            let name = digits.format(index);
            at = match node.children.iter().find(|(key, _)| **key == *name) {
                Some((_, element)) => self.value(element, at)?,
                None => scan.pass(at)?,
            };
            (at, goes_on) = scan.goes_on(at, b']')?;
        }
        Ok(at)
    }
}

/// Takes the array at `start`; parts that are no scalars are `null`.
fn list(scan: Scan<'_>, start: usize) -> Scanned<(usize, Box<[Scalar]>)> {
    let mut items = Vec::new();
    let (mut at, mut goes_on) = scan.enters(start, b']');
    while goes_on {
        let (begin, first) = scan.next(at);
        let (end, item) = match first {
            b'{' | b'[' => (scan.pass(begin)?, Scalar::Null),
            _ => {
                let (end, plain) = scan.plain(begin)?;
                let item = match plain {
                    Plain::Null => Scalar::Null,
                    Plain::Bool(value) => Scalar::Bool(value),
                    Plain::Int(value) => Scalar::Int(value),
                    Plain::Float(value) => Scalar::Float(value),
                    Plain::Text(range) => Scalar::Text(scan.text()[range].into()),
                    Plain::Unescaped(text) => Scalar::Text(text.into()),
                };
                (end, item)
            }
        };
        items.push(item);
        (at, goes_on) = scan.goes_on(end, b']')?;
    }
    Ok((at, items.into()))
}
