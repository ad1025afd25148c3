//! What of the running program a change reaches.
//!
//! Invariant: the store of the rulebook is one, and nothing after it can fail: what might is done before.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{Live, Ready};
use crate::auth;
use crate::config::{Amqp, Config};
use crate::heartbeat;
use crate::lane::Lanes;
use crate::listen::Door;
use crate::observe::Metrics;
use crate::shard::{Admission, Interest, ShardSettings, Shards};
use crate::source::Intake;
use crate::source::amqp::{self, Broker};
use crate::tls::CertificateFiles;

/// How long a change waits for the broker.
const BROKER: Duration = Duration::from_secs(10);

/// What runs, as far as a change reaches it.
#[derive(Debug)]
pub struct Machinery {
    /// The rulebook in force.
    pub live: Live,
    /// Told of a rulebook before it comes into force, and when it has.
    pub lanes: Lanes,
    /// What shards go by.
    pub shards: watch::Sender<Arc<ShardSettings>>,
    /// Who is asked for tokens.
    pub auth: auth::InForce,
    /// How many connections there may be.
    pub admission: Arc<Admission>,
    /// The events ping.
    pub heart: Heart,
    /// The broker, where there is one.
    pub broker: BrokerSlot,
    /// What the admin listener asks for.
    pub key: watch::Sender<Option<Arc<SecretString>>>,
    /// What cannot change.
    pub fixed: Fixed,
    /// Told what is in force.
    pub metrics: Arc<Metrics>,
    /// What the configuration is called.
    pub name: String,
}

/// What was made at the start and stays, whatever the files say later.
#[derive(Clone, Debug)]
pub struct Fixed {
    listen: SocketAddr,
    tls: Option<CertificateFiles>,
    shards: NonZeroUsize,
    admin_listen: SocketAddr,
}

/// The events ping, as a task that is begun anew when it is to be another one.
#[derive(Debug)]
pub struct Heart {
    interest: Arc<Interest>,
    shards: Shards,
    control: Handle,
    task: AbortHandle,
}

/// The place of the broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BrokerSlot {
    instance: Arc<str>,
    intake: Intake,
    metrics: Arc<Metrics>,
    broker: Arc<watch::Sender<Option<Arc<Broker>>>>,
}

impl Machinery {
    /// Puts this into force, in the place of `before`: all that is left to do, and cannot fail.
    pub(super) fn swap(&mut self, ready: &Ready, before: &Ready) {
        let config = &ready.config;
        self.live.store(Arc::clone(&ready.rulebook));
        self.auth.replace(Arc::clone(&ready.authenticator));
        let local = self.shards.borrow().door.local;
        self.shards.send_replace(Arc::new(settings(ready, local)));
        limit_clients(&self.admission, config);
        let same_queries = Arc::ptr_eq(&before.rulebook.queries, &ready.rulebook.queries);
        if !same_queries || !before.config.ping.is_same(&config.ping) {
            self.heart.begin_anew(ready);
        }
        if self.fixed.takes_key(config) {
            self.key.send_replace(config.admin.key.clone().map(Arc::new));
        }
        self.note(ready);
    }

    /// Has the broker be as this says, where that is not as `before`. Answers what of it could not be applied.
    pub(super) async fn change_broker(&self, ready: &Ready, before: &Ready) -> Vec<String> {
        if ready.sections.same(&before.sections, "amqp") {
            return Vec::new();
        }
        let (broker, amqp) = (self.broker.clone(), ready.config.amqp.clone());
        // A broker that does not answer is waited for elsewhere. A later change comes after this one all the same.
        let mut changing = tokio::spawn(async move {
            let refused = broker.change(amqp).await;
            for what in &refused {
                tracing::warn!("not applied to the broker: {what}");
            }
            refused
        });
        let late = || vec![format!("the broker has not answered in {BROKER:?}: it goes on being tried")];
        timeout(BROKER, &mut changing).await.map_or_else(|_| late(), Result::unwrap_or_default)
    }

    /// Says what is in force.
    pub(super) fn note(&self, ready: &Ready) {
        let generation = ready.rulebook.generation.0;
        self.metrics.generation().set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.metrics.set_config(&self.name, &ready.hash);
    }

    /// What of a configuration takes a restart to be so.
    pub(super) fn needs_restart(&self, config: &Config) -> Vec<&'static str> {
        self.fixed.differs(config, self.key.borrow().as_deref())
    }
}

/// Admits as many clients as this allows.
pub fn limit_clients(admission: &Admission, config: &Config) {
    let pool = config.database.as_ref().map_or(0, |database| database.pool.max as usize);
    admission.set_limits(config.limits.connections, pool);
}

/// What shards go by, by this.
pub fn settings(ready: &Ready, local: bool) -> ShardSettings {
    let config = &ready.config;
    ShardSettings {
        limits: config.limits,
        door: Door { accept: config.auth.accept, demo: config.demo, local },
        deadline: config.auth.deadline,
        ping_every: config.ping.every,
        comeback: ready.authenticator.comeback(),
    }
}

impl Fixed {
    /// What the configuration at the start says.
    pub fn of(config: &Config) -> Self {
        let Config { listen, tls, shards, admin, .. } = config;
        Self { listen: *listen, tls: tls.clone(), shards: *shards, admin_listen: admin.listen }
    }

    /// Whether the admin listener can do with the key of this configuration, or with none.
    fn takes_key(&self, config: &Config) -> bool {
        // One that others can reach does not become open to them because a later configuration means to have another.
        config.admin.key.is_some() || self.admin_listen.ip().is_loopback()
    }

    fn differs(&self, config: &Config, key: Option<&SecretString>) -> Vec<&'static str> {
        let secret = |key: Option<&SecretString>| key.map(|key| key.expose_secret().to_owned());
        let all = [
            ("listen", self.listen != config.listen),
            ("tls", self.tls != config.tls),
            ("shards", self.shards != config.shards),
            ("admin.listen", self.admin_listen != config.admin.listen),
            ("admin.key", !self.takes_key(config) && secret(key) != secret(config.admin.key.as_ref())),
        ];
        all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

impl Heart {
    /// Pings as this says.
    pub fn beat(ready: &Ready, interest: Arc<Interest>, shards: Shards, control: Handle) -> Self {
        let task = spawn_heart(ready, &interest, &shards, &control);
        Self { interest, shards, control, task }
    }

    fn begin_anew(&mut self, ready: &Ready) {
        self.task.abort();
        self.task = spawn_heart(ready, &self.interest, &self.shards, &self.control);
    }
}

fn spawn_heart(ready: &Ready, interest: &Arc<Interest>, shards: &Shards, control: &Handle) -> AbortHandle {
    let config = &ready.config;
    let lookups = ready.rulebook.queries.lookups.clone();
    let beats =
        heartbeat::run(config.ping.clone(), config.pings_by_tenant(), lookups, Arc::clone(interest), shards.clone());
    control.spawn(beats).abort_handle()
}

impl BrokerSlot {
    /// The place of a broker whose events go there, in which there is none.
    pub fn new(instance: &str, intake: Intake, metrics: Arc<Metrics>) -> Self {
        let broker = Arc::new(watch::Sender::new(None));
        Self { instance: instance.into(), intake, metrics, broker }
    }

    /// The broker that is there, if there is one.
    pub fn get(&self) -> Option<Arc<Broker>> {
        self.broker.borrow().clone()
    }

    /// Starts to consume.
    pub fn start(&self, amqp: Amqp) -> std::io::Result<()> {
        let broker = amqp::start(amqp, &self.instance, self.intake.clone(), Arc::clone(&self.metrics))?;
        self.broker.send_replace(Some(Arc::new(broker)));
        Ok(())
    }

    /// Waits until the broker is given up, where the configuration asks for that, and says why.
    pub async fn given_up(&self) -> String {
        let mut slot = self.broker.subscribe();
        loop {
            let broker = slot.borrow_and_update().clone();
            let given_up = async {
                match &broker {
                    Some(broker) => broker.given_up().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                reason = given_up => return reason,
                changed = slot.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                }
            }
        }
    }

    /// From now on there is this one, or none. Answers what could not be applied.
    async fn change(&self, amqp: Option<Amqp>) -> Vec<String> {
        match (self.get(), amqp) {
            (None, None) => Vec::new(),
            (Some(broker), Some(amqp)) => broker.change(amqp).await.err().unwrap_or_default(),
            (None, Some(amqp)) => {
                let started = self.start(amqp);
                started
                    .err()
                    .map(|error| format!("the system has no room for a connection: {error}"))
                    .into_iter()
                    .collect()
            }
            (Some(broker), None) => {
                self.broker.send_replace(None);
                broker.stop().await;
                Vec::new()
            }
        }
    }
}
