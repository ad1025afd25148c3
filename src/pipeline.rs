//! The first path on one screen: what is made of a configuration, in the order in which an event meets it.
//!
//! source (AMQP, HTTP) → decoded by the rulebook → lane of its tenant → routed → shards that have sessions of that
//! tenant → outboxes → sockets. Each arrow is a bounded queue, and a full one makes the part before it wait.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::admin::{self, AdminParts, Readiness};
use crate::auth;
use crate::lane::{LaneParts, Lanes};
use crate::listen;
use crate::observe::{Metrics, SourceKind};
use crate::reload::{self, BrokerSlot, Fixed, Heart, Live, Machinery, Origin, Ready, Reloader};
use crate::runtime::{Threads, descriptor_limit};
use crate::shard::{Admission, Interest, PublishRequest, ShardHandle, ShardId, ShardParts, ShardSeat, Shards, ToShard};
use crate::source::amqp::BrokerState;
use crate::source::{Intake, publish};
use crate::tls::{self, Acceptor, Certificate, CertificateError};

/// Events that may wait for a lane. A full lane makes its sources wait.
const EVENTS: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Publishes from the demo page that may wait.
const PUBLISHES: usize = 256;
/// Words to the authenticator that may wait. It takes each at once; full, they make lanes wait.
const FORGETS: usize = 1024;

/// Everything that runs.
#[derive(Debug)]
pub struct Pipeline {
    /// Where clients connect.
    pub clients: SocketAddr,
    /// Whether they speak TLS there.
    pub is_secure: bool,
    /// Where operators do.
    pub admin: SocketAddr,
    /// Takes up changes.
    pub reloader: Reloader,
    readiness: Readiness,
    broker: BrokerSlot,
    http: Intake,
    shards: Shards,
    shard_threads: Threads,
}

/// Why the program cannot start. The environment is at fault.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} (`{key}`): {source}")]
    Bind {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate cannot be used any more: it could when the configuration was read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS cannot be spoken at all.
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A thread or a poll could not be made.
    #[error("the system has no room for what is to run: {0}")]
    System(#[from] io::Error),
}

impl Pipeline {
    /// Starts everything that the first change came to, which took so long; `control` runs what is not on an event's way.
    pub fn start(
        origin: Origin,
        ready: Ready,
        took: Duration,
        metrics: Arc<Metrics>,
        control: &Handle,
    ) -> Result<Self, StartError> {
        let config = Arc::clone(&ready.config);
        let bind = |key, address| move |source| StartError::Bind { key, address, source };
        let listeners = listen::bind(config.listen, config.shards.get()).map_err(bind("listen", config.listen))?;
        let clients = listeners[0].local_addr()?;
        let admin_listeners = listen::bind(config.admin.listen, 1);
        let admin_listener = admin_listeners.map_err(bind("admin.listen", config.admin.listen))?.swap_remove(0);
        let admin = admin_listener.local_addr()?;

        let tls = match config.tls.clone() {
            Some(files) => {
                let certificate = Certificate::read(&files)?;
                let acceptor = Acceptor::new(&certificate)?;
                control.spawn(tls::renew(files, certificate, acceptor.clone(), Arc::clone(&metrics)));
                Some(acceptor)
            }
            None => None,
        };
        let live = Live::new(Arc::clone(&ready.rulebook));
        let authenticator = auth::InForce::new(Arc::clone(&ready.authenticator));

        // Lanes must know where to send before shards can know whom to ask: so the shards' seats come first.
        let seats = ShardId::first(config.shards.get()).map(ShardSeat::new);
        let seats = seats.collect::<io::Result<Vec<_>>>()?;
        let shards = Shards::new(seats.iter().map(ShardSeat::handle).collect());
        let interest = Arc::new(Interest::default());
        let (forget, forgets) = mpsc::channel(FORGETS);
        control.spawn(auth::forget(authenticator.clone(), forgets));
        let lane_parts = LaneParts {
            live: live.clone(),
            shards: shards.clone(),
            interest: Arc::clone(&interest),
            forget: Some(forget),
            control: control.clone(),
            metrics: Arc::clone(&metrics),
            events: EVENTS,
            requests: NonZeroUsize::new(config.limits.connections).unwrap_or(NonZeroUsize::MIN),
        };
        // Lanes go on until the process ends: when the shards have left there is nobody for whom to wait for them.
        let (lanes, _) = Lanes::start(config.shards, &lane_parts)?;
        metrics.read_lane_inboxes(lanes.inboxes());
        metrics.read_shard_inboxes(shards.inboxes());

        // An open connection has one request under way at most. Should those of connections that have gone fill it too,
        // or later settings allow for more of them, clients are told to try again.
        let (ask, asked) = mpsc::channel(config.limits.connections);
        control.spawn(auth::serve(authenticator.clone(), asked, shards.clone()));
        let (publish, published) = mpsc::channel(PUBLISHES);
        let http = Intake::new(live.clone(), lanes.clone(), Arc::clone(&metrics), SourceKind::http);
        control.spawn(answer_publishes(http.clone(), published, shards.clone()));

        let admission = Arc::new(Admission::new(descriptor_limit(), config.shards.get()));
        reload::limit_clients(&admission, &config);
        let is_secure = tls.is_some();
        let settings = watch::Sender::new(Arc::new(reload::settings(&ready, clients.ip().is_loopback())));
        let mut threads = Vec::new();
        for (seat, listener) in seats.into_iter().zip(listeners) {
            let parts = ShardParts {
                settings: settings.subscribe(),
                lanes: lanes.clone(),
                auth: ask.clone(),
                publish: publish.clone(),
                interest: Arc::clone(&interest),
                tls: tls.clone(),
                admission: Arc::clone(&admission),
                metrics: Arc::clone(&metrics),
            };
            threads.push(seat.start(listener, parts)?);
        }

        let amqp = Intake::new(live.clone(), lanes.clone(), Arc::clone(&metrics), SourceKind::amqp);
        let broker = BrokerSlot::new(&origin.instance, amqp, Arc::clone(&metrics));
        if let Some(amqp) = config.amqp.clone() {
            broker.start(amqp)?;
        }
        let key = watch::Sender::new(config.admin.key.clone().map(Arc::new));
        let asked_key = key.subscribe();
        let machinery = Machinery {
            live,
            lanes,
            shards: settings,
            auth: authenticator,
            admission,
            heart: Heart::beat(&ready, interest, shards.clone(), control.clone()),
            broker: broker.clone(),
            key,
            fixed: Fixed::of(&config),
            metrics: Arc::clone(&metrics),
            name: origin.file.to_string(),
        };
        let reloader = Reloader::start(origin, machinery, ready, took);
        let readiness = Readiness::new(vec![broker_fact(broker.clone())]);
        let parts = AdminParts {
            metrics,
            readiness: readiness.clone(),
            intake: http.clone(),
            reloader: reloader.clone(),
            key: asked_key,
        };
        admin::start(admin_listener, parts)?;
        tracing::info!(listener = "clients", address = %clients, tls = is_secure, shards = config.shards, "listening");
        tracing::info!(listener = "admin", address = %admin, "listening");
        let shard_threads = Threads::new(threads);
        Ok(Self { clients, is_secure, admin, reloader, readiness, broker, http, shards, shard_threads })
    }

    /// Waits until the broker is given up, where the configuration asks for that, and says why.
    pub async fn given_up(&self) -> String {
        self.broker.given_up().await
    }

    /// Leaves: no longer ready, no new connections; clients are told when to come back, spread over `drain`, and get
    /// what waits for them, while events go on to those that are still here. Then the source stops.
    pub async fn leave(self) {
        self.readiness.drain();
        let drain = self.reloader.in_force().ready.config.drain;
        for shard in self.shards.iter() {
            shard.send(ToShard::Drain(drain)).await;
        }
        for thread in self.shard_threads.ended().await {
            tracing::error!(thread, "died of a panic");
        }
        // Until here, events went to those who were still here. Now they would go nowhere.
        self.http.close();
        if let Some(broker) = self.broker.get() {
            broker.stop().await;
        }
    }
}

/// What `/readyz` says of the broker.
fn broker_fact(slot: BrokerSlot) -> admin::Fact {
    Box::new(move || match &*slot.get()?.state().borrow() {
        // One that blocks is still connected. That is no reason to turn clients away, here and at every other process.
        BrokerState::Consuming | BrokerState::Blocked { .. } => None,
        BrokerState::Connecting => Some("broker: connecting".to_owned()),
        BrokerState::Lost { reason, .. } | BrokerState::GaveUp { reason } => Some(format!("broker: {reason}")),
        BrokerState::Stopped => Some("broker: stopped".to_owned()),
    })
}

/// Publishes what comes from the demo page, one after the other, and tells the shard what came of it.
async fn answer_publishes(intake: Intake, mut requests: mpsc::Receiver<PublishRequest>, shards: Shards) {
    while let Some(PublishRequest { shard, connection, body }) = requests.recv().await {
        let (status, body) = publish::answer(&intake, body).await;
        let shard: &ShardHandle = shards.get(shard);
        shard.send(ToShard::Published(connection, status.as_u16(), body)).await;
    }
}
