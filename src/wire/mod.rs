//! What goes over the wire: frames, encoded once and shared by all who get them.

mod frame;

pub use frame::{event_frame, text_frame};
