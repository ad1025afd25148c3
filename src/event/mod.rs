//! The vocabulary of the first path: ids, values, field paths, topics, the event, the audience.
//!
//! Invariant: no I/O, no clock, no async, and nothing imported from the rest of the crate. Whoever reads these files
//! knows every noun that the other folders use.

mod audience;
mod decode;
mod id;
mod matcher;
mod path;
mod payload;
mod template;
mod topic;
mod value;

pub use audience::{AttributeMatch, Audience, Clause, EveryTenant, Payload, Scope};
pub use decode::{DecodeError, Decoder, Envelope, Event, Part, Shape, Slot};
pub use id::{EventId, TenantId, UserId};
pub use matcher::{Comparison, Glob, Matcher};
pub use path::{Path, PathError, Root};
pub use payload::{FieldFault, Keep, PayloadFilter};
pub use template::{Template, TemplateError};
pub use topic::{Topic, TopicError, TopicPattern};
pub use value::{Scalar, Value};
