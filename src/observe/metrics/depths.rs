//! How much waits and is held, by lane and by shard.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, signed};

#[derive(Debug)]
pub(super) struct DepthMetrics {
    lane_inboxes: Depths,
    lane_waiting: Family<ByLane, Gauge>,
    lane_waiting_bytes: Family<ByLane, Gauge>,
    shard_inboxes: Depths,
    shard_sessions: Family<ByShard, Gauge>,
    subscriptions: Family<ByShard, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLane {
    lane: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByShard {
    shard: usize,
}

/// What one lane sets after each of its steps.
#[derive(Clone, Debug)]
pub struct LaneGauges {
    waiting: Gauge,
    waiting_bytes: Gauge,
}

/// What one shard sets after each of its turns.
#[derive(Clone, Debug)]
pub struct ShardGauges {
    sessions: Gauge,
    subscriptions: Gauge,
}

/// A gauge for each of several inboxes, read at each scrape. None while nobody has said how to read them.
#[derive(Clone)]
struct Depths {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: Arc<OnceLock<Read>>,
}

type Read = Box<dyn Fn() -> Vec<usize> + Send + Sync>;

impl DepthMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let depths = |name, help, label| Depths { name, help, label, read: Arc::default() };
        let own = Self {
            lane_inboxes: depths(
                "lane_inbox",
                "Events that wait to be taken by a lane. A full one makes its sources wait.",
                "lane",
            ),
            lane_waiting: Family::default(),
            lane_waiting_bytes: Family::default(),
            shard_inboxes: depths(
                "shard_inbox",
                "Words that wait to be taken by a shard. A full one makes lanes wait.",
                "shard",
            ),
            shard_sessions: Family::default(),
            subscriptions: Family::default(),
        };
        r.register_collector(Box::new(own.lane_inboxes.clone()));
        r.register(
            "lane_waiting",
            "Events that wait in a lane, for queries or behind others of their tenant",
            own.lane_waiting.clone(),
        );
        r.register_with_unit(
            "lane_waiting",
            "Bodies of the events that wait in a lane",
            Unit::Bytes,
            own.lane_waiting_bytes.clone(),
        );
        r.register_collector(Box::new(own.shard_inboxes.clone()));
        r.register("shard_sessions", "Authenticated connections of a shard", own.shard_sessions.clone());
        r.register("subscriptions", "Subscriptions of a shard's sessions", own.subscriptions.clone());
        own
    }
}

impl Metrics {
    /// What a lane says of itself.
    pub fn lane(&self, lane: usize) -> LaneGauges {
        let by = ByLane { lane };
        LaneGauges {
            waiting: self.depths.lane_waiting.get_or_create_owned(&by),
            waiting_bytes: self.depths.lane_waiting_bytes.get_or_create_owned(&by),
        }
    }

    /// What a shard says of itself.
    pub fn shard(&self, shard: usize) -> ShardGauges {
        let by = ByShard { shard };
        ShardGauges {
            sessions: self.depths.shard_sessions.get_or_create_owned(&by),
            subscriptions: self.depths.subscriptions.get_or_create_owned(&by),
        }
    }

    /// How to read how much waits in the inbox of each lane. The first word on it holds.
    pub fn read_lane_inboxes(&self, read: impl Fn() -> Vec<usize> + Send + Sync + 'static) {
        self.depths.lane_inboxes.read.set(Box::new(read)).ok();
    }

    /// How to read how much waits in the inbox of each shard. The first word on it holds.
    pub fn read_shard_inboxes(&self, read: impl Fn() -> Vec<usize> + Send + Sync + 'static) {
        self.depths.shard_inboxes.read.set(Box::new(read)).ok();
    }
}

impl LaneGauges {
    /// So many events wait, of so many bytes.
    pub fn set(&self, waiting: usize, bytes: usize) {
        self.waiting.set(signed(waiting));
        self.waiting_bytes.set(signed(bytes));
    }
}

impl ShardGauges {
    /// There are so many sessions, with so many subscriptions together.
    pub fn set(&self, sessions: usize, subscriptions: usize) {
        self.sessions.set(signed(sessions));
        self.subscriptions.set(signed(subscriptions));
    }
}

impl Collector for Depths {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        let depths = self.read.get().map(|read| read()).unwrap_or_default();
        for (index, depth) in depths.into_iter().enumerate() {
            ConstGauge::new(depth).encode(metric.encode_family(&[(self.label, index)])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Depths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Depths").field("name", &self.name).finish_non_exhaustive()
    }
}
