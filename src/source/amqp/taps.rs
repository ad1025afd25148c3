//! What is known of each queue over all its connections and consumers.

use std::collections::HashMap;
use std::sync::Arc;

use super::handed::Handed;
use crate::config::Queue;
use crate::observe::{Metrics, QueueMeter};

/// A queue to consume, and what goes with that.
#[derive(Clone, Debug)]
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
    handed: HashMap<String, (u16, Handed)>,
}

impl Taps {
    pub(super) fn new(metrics: Arc<Metrics>, instance: &str) -> Self {
        Self { metrics, instance: instance.to_owned(), handed: HashMap::new() }
    }

    /// The tap of a queue, as it is configured now.
    pub(super) fn of(&mut self, queue: &Queue) -> Tap {
        let meter = match self.instance.as_str() {
            "" => self.metrics.queue(&queue.name),
            instance => self.metrics.queue(&queue.name.replace(instance, "{instance}")),
        };
        let handed = (!queue.exclusive && !queue.no_ack).then(|| self.handed(queue));
        Tap { queue: queue.clone(), handed, meter }
    }

    /// Forgets all queues but these.
    pub(super) fn keep(&mut self, queues: &[Queue]) {
        self.handed.retain(|name, _| queues.iter().any(|queue| queue.name == *name));
    }

    fn handed(&mut self, queue: &Queue) -> Handed {
        let new = || (queue.prefetch, Handed::new(queue.prefetch));
        let (prefetch, handed) = self.handed.entry(queue.name.clone()).or_insert_with(new);
        if *prefetch != queue.prefetch {
            (*prefetch, *handed) = (queue.prefetch, handed.also_for(queue.prefetch));
        }
        handed.clone()
    }
}
