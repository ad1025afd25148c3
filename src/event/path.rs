//! Field paths: `data.deal_id`, `amqp.routing_key`, `amqp.headers.NAME`, and `.` for the whole body.

use std::fmt;

use compact_str::CompactString;
use smallvec::SmallVec;

/// Where a field stands: in the published body, or in what the broker says of it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    root: Root,
    segments: SmallVec<[CompactString; 3]>,
}

/// What a path starts from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Root {
    /// The published JSON object.
    Body,
    /// The AMQP routing key (`amqp.routing_key`).
    RoutingKey,
    /// An AMQP header (`amqp.headers.NAME`).
    Header(CompactString),
}

/// Why a text is no field path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Two dots in a row, or a dot at an end.
    #[error("a field path has no empty parts: `{0}`")]
    EmptyPart(String),
    /// `amqp.` and then something that AMQP does not have.
    #[error("`{0}` is neither `amqp.routing_key` nor `amqp.headers.NAME`")]
    UnknownAmqp(String),
}

impl Path {
    /// Parses a path. `.` is the whole body; parts are separated by dots; a part of digits also indexes an array.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text == "." {
            return Ok(Self { root: Root::Body, segments: SmallVec::new() });
        }
        let segments: SmallVec<[CompactString; 3]> = text.split('.').map(CompactString::from).collect();
        if segments.iter().any(CompactString::is_empty) {
            return Err(PathError::EmptyPart(text.to_owned()));
        }
        if segments[0] != "amqp" {
            return Ok(Self { root: Root::Body, segments });
        }
        let root = match &segments[1..] {
            [key] if key == "routing_key" => Root::RoutingKey,
            // A header's own name may hold dots.
            [headers, name @ ..] if headers == "headers" && !name.is_empty() => Root::Header(name.join(".").into()),
            _ => return Err(PathError::UnknownAmqp(text.to_owned())),
        };
        Ok(Self { root, segments: SmallVec::new() })
    }

    /// What the path starts from.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The keys to descend by, from the body's object. Empty for the whole body, and for AMQP's fields.
    pub fn segments(&self) -> &[CompactString] {
        &self.segments
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::RoutingKey => f.write_str("amqp.routing_key"),
            Root::Header(name) => write!(f, "amqp.headers.{name}"),
            Root::Body if self.segments.is_empty() => f.write_str("."),
            Root::Body => f.write_str(&self.segments.join(".")),
        }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_and_print_alike() {
        for text in [".", "data", "data.deal_id", "items.0.id", "amqp.routing_key", "amqp.headers.x.y"] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_path_says_why() {
        for text in ["", "a..b", ".a", "a."] {
            assert_eq!(Path::parse(text), Err(PathError::EmptyPart(text.to_owned())));
        }
        for text in ["amqp", "amqp.headers", "amqp.exchange", "amqp.routing_key.x"] {
            assert_eq!(Path::parse(text), Err(PathError::UnknownAmqp(text.to_owned())));
        }
    }
}
