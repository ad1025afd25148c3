//! From a broker's delivery to the door that all sources share.

use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;

use super::topology;
use crate::event::{Envelope, Scalar};
use crate::lane::{Delivery, Receipt};
use crate::observe::{DropCause, Metrics};
use crate::source::Intake;

/// What the consumers of all queues need. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) intake: Intake,
    pub(super) stop: Stop,
    pub(super) shed: Counter,
    pub(super) repeated: Counter,
}

/// The word that it is time to stop: for all, or for one connection.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    all: watch::Receiver<bool>,
    own: Option<watch::Receiver<bool>>,
}

impl Stop {
    /// Says it when the channel does, or when that is gone.
    pub(super) fn new(all: watch::Receiver<bool>) -> Self {
        Self { all, own: None }
    }

    /// Waits for it.
    pub(super) async fn requested(&mut self) {
        let all = self.all.wait_for(|stop| *stop);
        match &mut self.own {
            None => drop(all.await),
            Some(own) => tokio::select! {
                _ = all => {}
                _ = own.wait_for(|stop| *stop) => {}
            },
        }
    }
}

impl Feed {
    /// Until `stop` says that it is time.
    pub(super) fn new(intake: Intake, metrics: &Arc<Metrics>, stop: Stop) -> Self {
        let (shed, repeated) = (metrics.drops(DropCause::shed), metrics.drops(DropCause::repeated));
        Self { intake, stop, shed, repeated }
    }

    /// The same for one connection, which may be told to stop by itself.
    pub(super) fn until(&self, own: watch::Receiver<bool>) -> Self {
        let stop = Stop { all: self.stop.all.clone(), own: Some(own) };
        Self { stop, ..self.clone() }
    }

    /// The event of a delivery. `None` for a bad one, which is counted, logged, and settled already.
    pub(super) fn decode(&self, delivery: lapin::message::Delivery, receipt: Receipt) -> Option<Delivery> {
        let lapin::message::Delivery { data, routing_key, properties, .. } = delivery;
        let headers = properties.headers().as_ref();
        let header =
            |name: &str| headers.and_then(|headers| headers.inner().get(name)).map_or(Scalar::Null, topology::header);
        let all = || {
            let headers = headers.iter().flat_map(|headers| headers.inner().iter());
            headers.map(|(name, value)| (name.as_str().into(), topology::header(value))).collect()
        };
        let envelope = Envelope { routing_key: Some(routing_key.as_str()), header: &header, headers: &all };
        self.intake.decode(Bytes::from(data), envelope, receipt).ok()
    }
}
