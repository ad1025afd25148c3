//! What sources hand to lanes: an event, and its fate at the source.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::event::Event;
use crate::reload::Rulebook;

/// One event on its way to a lane, with the rulebook that decides it and its fate at the broker.
#[derive(Debug)]
#[must_use = "an event that is not sent on is lost"]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// The one generation that decoded it and will route it.
    pub rulebook: Arc<Rulebook>,
    /// Settled when it is dropped: once the event has been handed to the shards, or there is nobody to hand it to.
    pub receipt: Receipt,
}

/// A promise to tell the source that an event is done with. Told by being dropped.
#[derive(Debug, Default)]
pub struct Receipt(Option<(u64, mpsc::Sender<u64>)>);

impl Receipt {
    /// A receipt for the delivery of this tag. `settled` must have room for as many tags as can be out.
    pub fn new(tag: u64, settled: mpsc::Sender<u64>) -> Self {
        Self(Some((tag, settled)))
    }

    /// For a source that does not care.
    pub const fn none() -> Self {
        Self(None)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some((tag, settled)) = self.0.take() {
            // There is room for all that can be out; a closed channel means that the connection is gone, and with it
            // what it waited for.
            settled.try_send(tag).ok();
        }
    }
}
