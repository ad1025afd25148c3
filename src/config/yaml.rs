//! YAML to a tree of [`Node`]s: the only home of the YAML parser.
//!
//! Invariant: what comes out is bounded, whatever goes in: depth, and nodes with all aliases followed.

use std::borrow::Cow;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span, StrInput, Tag};
use hashbrown::HashMap;

use super::diagnostics::Diagnostics;
use super::node::{Duplicate, Key, Kind, Map, Node, Written};
use super::place::{Place, SourceFile};
use crate::runtime::let_pass;

/// How deep lists and maps may stand in each other.
const MAX_DEPTH: usize = 64;
/// How many values a file may hold, those of aliases counted each time. As many more may be copied for anchors.
const MAX_NODES: usize = 200_000;

/// For whoever writes text with brackets inside of brackets.
const FLOW_HELP: &str = "inside of brackets, text with brackets needs quotes: \"${NAME}\", \"{field}\"";

/// Reads the one document of a file. An empty one is a value that is nothing.
pub(super) fn parse(file: &Arc<SourceFile>, diagnostics: &mut Diagnostics) -> Option<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        strict_indentation: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let parser = Parser::new_from_str_with_options(file.text(), options);
    let mut builder = Builder { parser, file, anchors: HashMap::new(), nodes: 0, copied: 0 };
    match builder.document() {
        Ok(node) => Some(node),
        Err(fault) => {
            diagnostics.guess_secrets(&fault.place);
            let diagnostic = diagnostics.error(&fault.place, fault.message);
            diagnostic.help = fault.help.map(str::to_owned);
            None
        }
    }
}

struct Builder<'f> {
    parser: Parser<'f, StrInput<'f>>,
    file: &'f Arc<SourceFile>,
    /// The finished values of anchors. One that is still being read is not there.
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    /// Values that anchors hold copies of.
    copied: usize,
}

struct Anchored {
    node: Node,
    /// How many values it holds, itself counted.
    nodes: usize,
    /// How deep it is: 1 for a scalar.
    depth: usize,
}

/// Why a file is no YAML that can be used. Nothing after it is looked at.
struct Fault {
    place: Place,
    message: String,
    help: Option<&'static str>,
}

impl<'f> Builder<'f> {
    fn document(&mut self) -> Result<Node, Fault> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    let help = Some("put it into a file of its own and name that under `include`");
                    return Err(self.fault(&span, "a second document starts here", help));
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, &span, 1)?.0);
                }
                Event::StreamEnd => break,
                _ => return Err(self.fault(&span, "this belongs to no document", None)),
            }
        }
        Ok(root.unwrap_or_else(|| Node {
            place: Place::start_of(self.file),
            kind: Kind::Scalar(Written { text: String::new(), plain: true, expanded: false }),
        }))
    }

    /// The value that starts with this event, and how deep it is.
    fn node(&mut self, event: Event<'f>, span: &Span, depth: usize) -> Result<(Node, usize), Fault> {
        let_pass();
        let before = self.nodes;
        self.count(1, span)?;
        if depth > MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        let (anchor, kind, inner) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.no_tag(tag.as_ref(), span)?;
                let plain = style == ScalarStyle::Plain;
                (anchor, Kind::Scalar(Written { text: text.into_owned(), plain, expanded: false }), 0)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.no_tag(tag.as_ref(), span)?;
                let (items, inner) = self.items(depth)?;
                (anchor, Kind::List(items), inner)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.no_tag(tag.as_ref(), span)?;
                let (map, inner) = self.entries(depth)?;
                (anchor, Kind::Map(map), inner)
            }
            _ => return Err(self.fault(span, "a value was expected here", None)),
        };
        let place = match &kind {
            // A block map has no sign of its own: it starts with its first key.
            Kind::Map(map) if span.is_empty() => {
                map.entries.first().map_or_else(|| self.place(span), |(key, _)| key.place.clone())
            }
            _ => self.place(span),
        };
        let node = Node { place, kind };
        if anchor != 0 {
            let nodes = self.nodes - before;
            self.copied += nodes;
            self.count(0, span)?;
            let anchored = Anchored { node: node.clone(), nodes, depth: inner + 1 };
            self.anchors.insert(anchor, anchored);
        }
        Ok((node, inner + 1))
    }

    fn items(&mut self, depth: usize) -> Result<(Vec<Node>, usize), Fault> {
        let (mut items, mut deepest) = (Vec::new(), 0);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((items, deepest));
            }
            let (item, inner) = self.node(event, &span, depth + 1)?;
            deepest = deepest.max(inner);
            items.push(item);
        }
    }

    fn entries(&mut self, depth: usize) -> Result<(Map, usize), Fault> {
        let mut map = Map { entries: Vec::new(), duplicates: Vec::new() };
        let mut known: HashMap<String, Place> = HashMap::new();
        let mut deepest = 0;
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok((map, deepest));
            }
            let key = self.key(event, &span)?;
            let (event, span) = self.next()?;
            let (mut value, inner) = self.node(event, &span, depth + 1)?;
            deepest = deepest.max(inner);
            if matches!(&value.kind, Kind::Scalar(text) if text.plain && text.text.is_empty()) {
                value.place = key.place.clone();
            }
            if let Some(first) = known.get(&key.text) {
                map.duplicates.push(Duplicate { key, value, first: first.clone() });
            } else {
                known.insert(key.text.clone(), key.place.clone());
                map.entries.push((key, value));
            }
        }
    }

    fn key(&mut self, event: Event<'f>, span: &Span) -> Result<Key, Fault> {
        self.count(1, span)?;
        let text = match event {
            Event::Scalar(text, ..) if text == "<<" => {
                let help = Some(
                    "merge keys (`<<`) are no part of YAML 1.2; repeat what is needed, or use an alias for a whole value",
                );
                return Err(self.fault(span, "merge keys are not supported", help));
            }
            Event::Scalar(text, _, _, tag) => {
                self.no_tag(tag.as_ref(), span)?;
                text.into_owned()
            }
            _ => return Err(self.fault(span, "a key must be text", Some("a value that starts with `{` needs quotes"))),
        };
        Ok(Key { text, place: self.place(span) })
    }

    fn alias(&mut self, anchor: usize, span: &Span, depth: usize) -> Result<(Node, usize), Fault> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(self.fault(span, "the alias stands inside of its own anchor", None));
        };
        let (nodes, inner) = (anchored.nodes, anchored.depth);
        // Counted before it is copied.
        self.count(nodes, span)?;
        if depth + inner > MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        Ok((self.anchors[&anchor].node.clone(), inner))
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes.max(self.copied) > MAX_NODES {
            let message = format!("the file holds more than {MAX_NODES} values, those of aliases counted each time");
            return Err(self.fault(span, message, Some("write out what the aliases stand for, or split the file")));
        }
        Ok(())
    }

    fn no_tag(&self, tag: Option<&Cow<'f, Tag>>, span: &Span) -> Result<(), Fault> {
        if tag.is_none() {
            return Ok(());
        }
        let place = span.tag_span().map_or_else(|| self.place(span), |tag| self.place(&tag));
        Err(Fault {
            place,
            message: "tags have no meaning here".to_owned(),
            help: Some("put text into quotes instead"),
        })
    }

    fn next(&mut self) -> Result<(Event<'f>, Span), Fault> {
        match self.parser.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let mark = *error.marker();
                let (message, help) = explain(error.kind());
                Err(self.fault(&Span::empty(mark), message, help))
            }
            None => {
                let end = self.file.text().len();
                let place = Place::new(self.file, end..end);
                Err(Fault { place, message: "the file ends too early".to_owned(), help: None })
            }
        }
    }

    fn too_deep(&self, span: &Span) -> Fault {
        self.fault(span, format!("lists and maps stand in each other more than {MAX_DEPTH} deep"), None)
    }

    fn fault(&self, span: &Span, message: impl Into<String>, help: Option<&'static str>) -> Fault {
        Fault { place: self.place(span), message: message.into(), help }
    }

    fn place(&self, span: &Span) -> Place {
        let start = span.start.byte_offset().unwrap_or(0);
        Place::new(self.file, start..span.end.byte_offset().unwrap_or(start))
    }
}

/// The parser's findings in words for people who write configuration.
fn explain(kind: &ErrorKind) -> (String, Option<&'static str>) {
    let (message, help) = match kind {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation => {
            ("a tab where only spaces may stand", "indent with spaces")
        }
        ErrorKind::InvalidIndentation | ErrorKind::ExpectedBlockMappingKey | ErrorKind::ExpectedBlockSequenceEntry => (
            "this does not belong here: its indentation fits nothing above, or a bracket above is not closed",
            "entries of one map or list start in one column",
        ),
        ErrorKind::MappingValueNotAllowed => (
            "a `:` where no key can stand",
            "text that holds `: ` or ends with `:` needs quotes; or the line is indented too far",
        ),
        ErrorKind::UnknownAnchor => ("the alias has no anchor", "text that starts with `*` needs quotes"),
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::UnexpectedEofFlowMapping => {
            ("a `{` is not closed: `,` or `}` was expected", FLOW_HELP)
        }
        ErrorKind::ExpectedFlowSequenceSeparator | ErrorKind::UnexpectedEofFlowSequence => {
            ("a `[` is not closed: `,` or `]` was expected", FLOW_HELP)
        }
        other => return (format!("this is no valid YAML: {other}"), None),
    };
    (message.to_owned(), Some(help))
}

#[cfg(test)]
mod tests;
