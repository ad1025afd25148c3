//! A part of a payload, by the names of its fields: what some of those who get an event get of it.
//!
//! One pass over the payload's bytes. What is kept is copied as it is written; nothing is made into a tree and written
//! again.
//!
//! Invariant: what cannot be told apart is left out, so that a field that somebody shall not see is never let through.

use compact_str::CompactString;

/// Objects and arrays, one in the other, that a path is followed into. What is further down is left out.
const LEVELS: u8 = 128;

/// Which fields of a payload are kept. Equal ones keep the same, in whatever order their fields were named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFilter {
    keep: Keep,
    root: Node,
}

/// What becomes of the fields that a filter names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// They are kept, and nothing else is. What is no object and no array has no fields and is left out; a whole
    /// payload of that kind becomes `{}`.
    Only,
    /// They are left out, and all else is kept.
    Without,
}

/// Why a text cannot be a further field of a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldFault {
    /// Two dots in a row, a dot at an end, or nothing.
    #[error("`{0}` is no path within the payload: it has an empty part")]
    EmptyPart(CompactString),
    /// A template or a wildcard.
    #[error("`{0}` is no path within the payload: names are taken as they stand, with neither braces nor `*`")]
    NotPlain(CompactString),
    /// It is named already.
    #[error("`{0}` is named twice")]
    Twice(CompactString),
    /// One is a part of the other.
    #[error("`{part}` is a part of `{whole}`, which is named too")]
    Within {
        /// The longer path.
        part: CompactString,
        /// The shorter one.
        whole: CompactString,
    },
}

/// Where paths have come to. Without children it is the end of one, but for the root of a filter that names nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// By name, in order.
    children: Vec<(CompactString, Node)>,
}

impl PayloadFilter {
    /// A filter that names no field yet.
    pub fn new(keep: Keep) -> Self {
        Self { keep, root: Node::default() }
    }

    /// Names a further field, by its path within the payload: `title`, `actor.name`. A path applies to each element of
    /// an array that it passes: `items.price`.
    pub fn name(&mut self, path: &str) -> Result<(), FieldFault> {
        if path.split('.').any(str::is_empty) {
            return Err(FieldFault::EmptyPart(path.into()));
        }
        if path.contains(['{', '}', '*']) {
            return Err(FieldFault::NotPlain(path.into()));
        }
        let (mut node, mut passed, mut is_new) = (&mut self.root, 0, false);
        for part in path.split('.') {
            if passed > 0 && node.children.is_empty() && !is_new {
                return Err(FieldFault::Within { part: path.into(), whole: path[..passed - 1].into() });
            }
            passed += part.len() + 1;
            let at = match node.find(part) {
                Ok(at) => at,
                Err(at) => {
                    node.children.insert(at, (part.into(), Node::default()));
                    is_new = true;
                    at
                }
            };
            node = &mut node.children[at].1;
        }
        match node.children.first() {
            _ if is_new => Ok(()),
            None => Err(FieldFault::Twice(path.into())),
            Some((name, _)) => Err(FieldFault::Within { part: format!("{path}.{name}").into(), whole: path.into() }),
        }
    }

    /// What becomes of the fields that it names.
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// The fields that it names, by their paths, in order.
    pub fn fields(&self) -> Vec<String> {
        fn walk(node: &Node, path: &str, found: &mut Vec<String>) {
            for (name, child) in &node.children {
                let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                if child.children.is_empty() {
                    found.push(path);
                } else {
                    walk(child, &path, found);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.root, "", &mut found);
        found
    }

    /// What is kept of `payload`, which is one JSON value, as an event's is. Members keep their order and their bytes;
    /// white space between them goes.
    pub fn apply(&self, payload: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(payload.len());
        let mut scan = Scan { rest: payload };
        if !self.value(&self.root, &mut scan, LEVELS, &mut kept) {
            kept.extend_from_slice(b"{}");
        }
        kept
    }

    /// Copies what is kept of the next value, of which `node` names fields. `false` where that is not even its
    /// outermost form.
    fn value(&self, node: &Node, scan: &mut Scan<'_>, levels: u8, kept: &mut Vec<u8>) -> bool {
        match (scan.peek(), self.keep) {
            (Some(b'{'), _) if levels > 0 => self.object(node, scan, levels - 1, kept),
            (Some(b'['), _) if levels > 0 => self.array(node, scan, levels - 1, kept),
            (Some(b'{' | b'['), _) | (_, Keep::Only) => {
                scan.value();
                return false;
            }
            (_, Keep::Without) => kept.extend_from_slice(scan.value()),
        }
        true
    }

    fn object(&self, node: &Node, scan: &mut Scan<'_>, levels: u8, kept: &mut Vec<u8>) {
        scan.take();
        kept.push(b'{');
        let mut separator: &[u8] = b"";
        while let Some(key) = scan.key() {
            let before = kept.len();
            kept.extend_from_slice(separator);
            kept.extend_from_slice(key);
            kept.push(b':');
            let is_kept = match (node.child(key), self.keep) {
                (Some(named), _) if !named.children.is_empty() => self.value(named, scan, levels, kept),
                (Some(_), Keep::Only) | (None, Keep::Without) => {
                    kept.extend_from_slice(scan.value());
                    true
                }
                (Some(_), Keep::Without) | (None, Keep::Only) => {
                    scan.value();
                    false
                }
            };
            if is_kept {
                separator = b",";
            } else {
                kept.truncate(before);
            }
        }
        kept.push(b'}');
    }

    fn array(&self, node: &Node, scan: &mut Scan<'_>, levels: u8, kept: &mut Vec<u8>) {
        scan.take();
        kept.push(b'[');
        let mut separator: &[u8] = b"";
        while scan.has_element() {
            let before = kept.len();
            kept.extend_from_slice(separator);
            if self.value(node, scan, levels, kept) {
                separator = b",";
            } else {
                kept.truncate(before);
            }
        }
        kept.push(b']');
    }
}

impl Node {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.children.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }

    /// The child that this key names, which is written as in JSON, with its quotes.
    fn child(&self, key: &[u8]) -> Option<&Self> {
        let at = if key.contains(&b'\\') {
            // A name that is written with escapes is the same name.
            self.find(&serde_json::from_slice::<String>(key).ok()?)
        } else {
            self.find(std::str::from_utf8(key.get(1..key.len() - 1)?).ok()?)
        };
        at.ok().map(|at| &self.children[at].1)
    }
}

/// Walks over a JSON value that is known to be valid. On anything else it ends somewhere.
struct Scan<'j> {
    rest: &'j [u8],
}

impl<'j> Scan<'j> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    /// Takes the byte that was peeked.
    fn take(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// The next key of the object that it is in, with its quotes, and steps to its value. `None` behind its end.
    fn key(&mut self) -> Option<&'j [u8]> {
        while self.peek() == Some(b',') {
            self.take();
        }
        if self.peek() != Some(b'"') {
            self.take();
            return None;
        }
        let key = self.value();
        self.peek();
        self.take();
        Some(key)
    }

    /// Steps to the next element of the array that it is in. `false` behind its end.
    fn has_element(&mut self) -> bool {
        while self.peek() == Some(b',') {
            self.take();
        }
        let ends = matches!(self.peek(), Some(b']') | None);
        if ends {
            self.take();
        }
        !ends
    }

    /// Takes the next value whole. At least one byte, where there is one.
    fn value(&mut self) -> &'j [u8] {
        let length = match self.peek() {
            Some(b'"') => string(self.rest),
            Some(b'{' | b'[') => nested(self.rest),
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':') || byte.is_ascii_whitespace();
                self.rest.iter().skip(1).position(is_end).map_or(self.rest.len(), |at| at + 1)
            }
        };
        let (value, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        self.rest = rest;
        value
    }
}

/// The length of the string that these bytes begin with.
fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// The length of the object or array that these bytes begin with.
fn nested(bytes: &[u8]) -> usize {
    let (mut at, mut open) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += string(&bytes[at..]);
                continue;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if open == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests;
