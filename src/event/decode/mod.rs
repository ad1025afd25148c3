//! Bytes to [`Event`]: one pass over the published JSON that keeps what rules read and leaves the rest as it is.
//!
//! The rulebook's field paths are compiled into a trie. The reader descends only where the trie does, and checks the
//! rest without making anything of it. The payload is never parsed into a tree or written again: clients get its very bytes. Of
//! what plugins read, the pass notes where it stands ([`Part`]).
//!
//! Invariant: the only door to an [`Event`]. Whoever holds one knows that its body is one valid JSON object.

mod scan;
mod trie;

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use compact_str::CompactString;
use hashbrown::HashMap;

use self::trie::{Field, Found, Trie};
use super::{EventId, Path, Root, Scalar, TenantId, Value};

/// Where things stand in the published body: the `event` section of the configuration.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What clients get.
    pub payload: Path,
    /// Whose event it is.
    pub tenant: Option<Path>,
    /// What the application calls it.
    pub id: Option<Path>,
    /// What kind of event it is: for logs and metrics, and for rules by its path.
    pub kind: Option<Path>,
}

/// The place of a field in a decoded event. Means nothing to an event of another decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

/// The place of a piece of the body, as it is written, in a decoded event. Means nothing to an event of another decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part(u32);

/// What the broker says of an event beside its body.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    /// The routing key it was published with.
    pub routing_key: Option<&'a str>,
    /// Its headers, by name.
    pub header: &'a dyn Fn(&str) -> Scalar,
    /// All of them.
    pub headers: &'a dyn Fn() -> Box<[(CompactString, Scalar)]>,
}

/// Compiled field paths. Made by the rulebook; every event of a generation goes through its decoder.
#[derive(Debug)]
pub struct Decoder {
    trie: Trie,
    paths: Vec<Path>,
    parts: Vec<Path>,
    slot_of: HashMap<Path, Slot>,
    part_of: HashMap<Path, Part>,
    keeps_headers: bool,
    largest: usize,
    shape: Shape,
    tenant: Option<Slot>,
    id: Option<Slot>,
    kind: Option<Slot>,
}

/// What a back end published: decoded, valid, immutable.
#[derive(Clone, Debug)]
pub struct Event(Box<Decoded>);

/// What an event consists of: in one place, as events go through many hands.
#[derive(Clone, Debug)]
struct Decoded {
    tenant: Option<TenantId>,
    id: Option<EventId>,
    kind: Option<Slot>,
    body: Bytes,
    found: Found,
    headers: Box<[(CompactString, Scalar)]>,
    received: Instant,
}

/// Why a body is no event. The text names what is wrong and where, and never the body itself.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Larger than an event may be.
    #[error("the event has {bytes} bytes, and `limits.event` allows {largest}")]
    TooLarge {
        /// Bytes of the body.
        bytes: usize,
        /// Bytes that it may have.
        largest: usize,
    },
    /// Not UTF-8.
    #[error("the body is not UTF-8 (byte {0})")]
    NotUtf8(usize),
    /// Not JSON, or more than one value.
    #[error("the body is not valid JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// JSON, but no object.
    #[error("the body is JSON but not an object")]
    NotAnObject,
    /// A key that rules read stands twice in its object, so that readers would disagree on its value.
    #[error("the key `{0}` stands twice in its object")]
    DuplicateKey(CompactString),
    /// There is nothing where the configuration says that the payload stands.
    #[error("there is no `{0}`, where `event.payload` says that the payload is")]
    NoPayload(Box<Path>),
    /// What stands in the tenant's place is no id.
    #[error("`{0}`, where `event.tenant` says that the tenant is, holds neither a string nor an integer")]
    BadTenant(Box<Path>),
}

impl DecodeError {
    /// A short name for metrics, from a closed set.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::NotUtf8(_) => "not_utf8",
            Self::NotJson(_) => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateKey(_) => "duplicate_key",
            Self::NoPayload(_) => "no_payload",
            Self::BadTenant(_) => "bad_tenant",
        }
    }
}

impl Envelope<'_> {
    /// For events that came without a broker.
    pub const NONE: Self = Envelope { routing_key: None, header: &|_| Scalar::Null, headers: &Box::default };
}

impl std::fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope").field("routing_key", &self.routing_key).finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder of events of this shape. Rules then ask for the [`slot`](Self::slot)s of the fields they read.
    pub fn new(shape: Shape) -> Self {
        let mut decoder = Self {
            trie: Trie::new(&shape.payload),
            paths: Vec::new(),
            parts: Vec::new(),
            slot_of: HashMap::new(),
            part_of: HashMap::new(),
            keeps_headers: false,
            largest: usize::MAX,
            tenant: None,
            id: None,
            kind: None,
            shape,
        };
        decoder.tenant = decoder.shape.tenant.clone().map(|path| decoder.slot(&path));
        decoder.id = decoder.shape.id.clone().map(|path| decoder.slot(&path));
        decoder.kind = decoder.shape.kind.clone().map(|path| decoder.slot(&path));
        decoder
    }

    /// The slot of this field, which every event decoded from now on fills.
    ///
    /// # Panics
    /// Beyond 2^32 different fields, which fit into no memory. A valid configuration names far fewer.
    pub fn slot(&mut self, path: &Path) -> Slot {
        if let Some(slot) = self.slot_of.get(path) {
            return *slot;
        }
        let slot = Slot(u32::try_from(self.paths.len()).expect("fewer than 2^32 fields"));
        self.slot_of.insert(path.clone(), slot);
        self.paths.push(path.clone());
        if *path.root() == Root::Body {
            self.trie.insert(path.segments(), slot);
        }
        slot
    }

    /// The part at this path of the body, which every event decoded from now on notes.
    ///
    /// # Panics
    /// Beyond 2^32 different parts, which fit into no memory.
    pub fn part(&mut self, path: &Path) -> Part {
        if let Some(part) = self.part_of.get(path) {
            return *part;
        }
        let part = Part(u32::try_from(self.parts.len()).expect("fewer than 2^32 parts"));
        self.part_of.insert(path.clone(), part);
        self.parts.push(path.clone());
        self.trie.insert_part(path.segments(), part);
        part
    }

    /// Refuses bodies of more than this many bytes from now on.
    pub fn limit(&mut self, largest: usize) {
        self.largest = largest;
    }

    /// Bytes that a body may have.
    pub fn largest(&self) -> usize {
        self.largest
    }

    /// Every event decoded from now on keeps all headers that the broker has for it.
    pub fn keep_headers(&mut self) {
        self.keeps_headers = true;
    }

    /// The field that a slot stands for.
    pub fn path(&self, slot: Slot) -> &Path {
        &self.paths[slot.0 as usize]
    }

    /// Decodes one published body, received at `received`.
    pub fn decode(&self, body: Bytes, envelope: Envelope<'_>, received: Instant) -> Result<Event, DecodeError> {
        if body.len() > self.largest {
            return Err(DecodeError::TooLarge { bytes: body.len(), largest: self.largest });
        }
        let text = std::str::from_utf8(&body).map_err(|error| DecodeError::NotUtf8(error.valid_up_to()))?;
        let mut found = self.trie.read(text, self.paths.len(), self.parts.len())?;
        for (path, field) in self.paths.iter().zip(&mut found.fields) {
            match path.root() {
                Root::Body => {}
                Root::RoutingKey => *field = envelope.routing_key.map_or(Field::Absent, |key| Field::Text(key.into())),
                Root::Header(name) => *field = Field::from_scalar((envelope.header)(name)),
            }
        }
        if found.payload.is_empty() {
            return Err(DecodeError::NoPayload(Box::new(self.shape.payload.clone())));
        }
        let mut event = Event(Box::new(Decoded {
            tenant: None,
            id: None,
            kind: self.kind,
            body,
            found,
            headers: if self.keeps_headers { (envelope.headers)() } else { Box::default() },
            received,
        }));
        event.0.id = self.id.and_then(|slot| EventId::from_value(event.field(slot)));
        if let Some(slot) = self.tenant {
            let value = event.field(slot);
            if value.exists() {
                let tenant = TenantId::from_value(value);
                event.0.tenant = Some(tenant.ok_or_else(|| DecodeError::BadTenant(Box::new(self.path(slot).clone())))?);
            }
        }
        Ok(event)
    }
}

impl Event {
    /// Whose event it is. `None` for an event of no tenant.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.0.tenant.as_ref()
    }

    /// What the application calls it.
    pub fn id(&self) -> Option<&EventId> {
        self.0.id.as_ref()
    }

    /// What kind of event it is, where the configuration names a field for that.
    pub fn kind(&self) -> Option<&str> {
        match self.field(self.0.kind?) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What clients get: the bytes that stood in the body.
    pub fn payload(&self) -> &[u8] {
        &self.0.body[self.0.found.payload.clone()]
    }

    /// The whole body: one valid JSON object.
    pub fn body(&self) -> &str {
        self.text(0..self.0.body.len())
    }

    /// What stands at this part of the decoder that made the event, as it is written there: one valid JSON value.
    pub fn part(&self, part: Part) -> Option<&str> {
        // No value is empty, so an empty range is none.
        let range = self.0.found.parts[part.0 as usize].clone();
        (!range.is_empty()).then(|| self.text(range))
    }

    /// What the broker had of headers, where the decoder [keeps](Decoder::keep_headers) them.
    pub fn headers(&self) -> &[(CompactString, Scalar)] {
        &self.0.headers
    }

    fn text(&self, range: Range<usize>) -> &str {
        // The body was UTF-8 when it was decoded, and ranges are those of whole values.
        std::str::from_utf8(&self.0.body[range]).unwrap_or_default()
    }

    /// Bytes of the published body.
    pub fn size(&self) -> usize {
        self.0.body.len()
    }

    /// When the process received it.
    pub fn received(&self) -> Instant {
        self.0.received
    }

    /// The field in this slot of the decoder that made the event.
    pub fn field(&self, slot: Slot) -> Value<'_> {
        self.0.found.fields[slot.0 as usize].value(&self.0.body)
    }
}

#[cfg(test)]
mod tests;
