//! What is known of each queue over all its connections and consumers.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;
use tokio::sync::oneshot;

use super::handed::{Handed, Legacy};
use crate::config::Queue;
use crate::observe::{Metrics, QueueMeter};

/// A queue to consume, and what goes with that.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) queue: Queue,
    /// None where a queue goes with its connection, or owes nothing: nothing of it comes again.
    pub(super) handed: Option<Handed>,
    pub(super) meter: QueueMeter,
}

/// By the queues' names.
#[derive(Debug)]
pub(super) struct Taps {
    metrics: Arc<Metrics>,
    /// The part of queues' names that is another one at each start: metrics call it `{instance}`.
    instance: String,
    /// Of each queue that may give out a delivery again, what its last consumer leaves.
    legacies: HashMap<String, oneshot::Receiver<Legacy>>,
    /// The same for all consumers of a queue, so that they recognise each other's deliveries.
    hasher: DefaultHashBuilder,
}

impl Taps {
    pub(super) fn new(metrics: Arc<Metrics>, instance: &str) -> Self {
        let (legacies, hasher) = (HashMap::new(), DefaultHashBuilder::default());
        Self { metrics, instance: instance.to_owned(), legacies, hasher }
    }

    /// The tap of a queue, as it is configured now.
    pub(super) fn of(&mut self, queue: &Queue) -> Tap {
        let name = queue.stem.as_ref().unwrap_or(&queue.name);
        let meter = match self.instance.as_str() {
            "" => self.metrics.queue(name),
            instance => self.metrics.queue(&name.replace(instance, "{instance}")),
        };
        let handed = (!queue.exclusive && !queue.no_ack).then(|| self.handed(&queue.name));
        Tap { queue: queue.clone(), handed, meter }
    }

    /// Forgets all queues but these.
    pub(super) fn keep(&mut self, queues: &[Queue]) {
        self.legacies.retain(|name, _| queues.iter().any(|queue| queue.name == *name));
    }

    fn handed(&mut self, queue: &str) -> Handed {
        let (handed, legacy) = Handed::after(self.legacies.remove(queue), self.hasher.clone());
        self.legacies.insert(queue.to_owned(), legacy);
        handed
    }
}
