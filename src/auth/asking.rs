//! Providers that take time to ask: what they answered is kept, equal questions are asked once, and only a few at a time.
//!
//! Invariant: an answer that was under way when it was to be forgotten is not kept, nor given to who asks later.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use hashbrown::HashMap;
use prometheus_client::metrics::counter::Counter;
use secrecy::SecretString;
use tokio::time::{Instant, timeout};

use super::authenticator::Answer;
use super::cache::{Identities, Keep, TokenHasher, TokenKey};
use super::gate::Gate;
use super::http::Http;
use super::queue::QueueBounds;
use super::script::Script;
use super::sql::Sql;
use crate::event::{Scalar, TenantId, UserId};
use crate::observe::{LatencyHistogram, Metrics};

/// Tokens that may wait before one provider.
const WAITING: usize = 16_384;
/// How often a question is asked anew whose answer was to be forgotten while it was under way.
const ASKED_ANEW: u32 = 2;

/// A provider that takes time to ask.
pub(super) struct Asking(Arc<Inner>);

/// Who is asked.
#[derive(Debug)]
pub(super) enum Source {
    Sql(Sql),
    Http(Http),
    Script(Script),
}

struct Inner {
    source: Source,
    gate: Gate,
    /// How long a token waits for a place. There must be time left then for the answer: where more come than a provider can
    /// take, it would else be asked only for those whose time is up before it has answered.
    patience: Duration,
    hasher: TokenHasher,
    /// Whether what counts for a token counts from the same address alone.
    by_address: bool,
    known: Mutex<Known>,
    latency: LatencyHistogram,
    hits: Counter,
    misses: Counter,
}

/// What has been answered, and what is being asked.
struct Known {
    identities: Option<Identities>,
    flights: HashMap<TokenKey, Flight>,
    last_flight: u64,
    /// How often something was to be forgotten.
    forgets: u64,
}

/// A question under way. It goes on as long as somebody waits for it.
struct Flight {
    number: u64,
    answer: WeakShared<BoxFuture<'static, Answer>>,
}

impl Source {
    /// What metrics and logs call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sql(_) => "sql",
            Self::Http(_) => "http",
            Self::Script(_) => "script",
        }
    }
}

impl Asking {
    /// A provider of which `concurrent` questions are asked at once, others waiting for so long, and whose answers are kept
    /// where `keep` says so.
    pub(super) fn new(
        source: Source,
        concurrent: usize,
        patience: Duration,
        keep: Option<Keep>,
        metrics: &Metrics,
    ) -> Self {
        let name = source.name();
        let bounds = QueueBounds { places: concurrent.max(1), waiting: WAITING };
        Self(Arc::new(Inner {
            gate: Gate::new(bounds, metrics.auth_in_flight(), metrics.auth_waiting()),
            patience,
            hasher: TokenHasher::new(),
            // Who is told the address may decide by it. Who has the answers kept says that it does not.
            by_address: matches!(source, Source::Http(_) | Source::Script(_)) && keep.is_none(),
            known: Mutex::new(Known {
                identities: keep.map(Identities::new),
                flights: HashMap::new(),
                last_flight: 0,
                forgets: 0,
            }),
            latency: metrics.auth_latency(name),
            hits: metrics.auth_cache(name, "hit"),
            misses: metrics.auth_cache(name, "miss"),
            source,
        }))
    }

    /// Who is asked.
    pub(super) fn source(&self) -> &Source {
        &self.0.source
    }

    /// What is known of a token without asking.
    pub(super) fn at_once(&self, token: &SecretString, remote: IpAddr, now: SystemTime) -> Option<Answer> {
        let key = self.0.key(token, remote);
        let answer = self.0.lock().identities.as_mut()?.get(key, Instant::now().into_std(), now);
        if answer.is_some() {
            self.0.hits.inc()
        } else {
            self.0.misses.inc()
        };
        answer
    }

    /// Asks, or waits for who asks the same.
    pub(super) async fn ask(&self, token: &SecretString, remote: IpAddr, now: SystemTime) -> Answer {
        let key = self.0.key(token, remote);
        let flight = {
            let mut known = self.0.lock();
            // It may have been answered since it was not known at once.
            let at = Instant::now().into_std();
            if let Some(answer) = known.identities.as_mut().and_then(|known| known.get(key, at, now)) {
                return answer;
            }
            known.flight(key).unwrap_or_else(|| known.depart(key, &self.0, token, remote))
        };
        flight.await
    }

    /// Forgets what is known of the token that a database may take for this value, or of all: whoever asks from now on gets
    /// a new answer.
    pub(super) fn forget(&self, token: Option<&Scalar>) {
        let mut known = self.0.lock();
        known.forgets += 1;
        if let Some(token) = token {
            let value = self.0.hasher.loose(token);
            known.flights.retain(|key, _| !key.may_be(value));
            if let Some(identities) = &mut known.identities {
                identities.forget(value);
            }
        } else {
            known.flights.clear();
            if let Some(identities) = &mut known.identities {
                identities.forget_all();
            }
        }
    }

    /// Forgets what is known of these users. Whose token is being asked for cannot be known: it is asked anew.
    pub(super) fn forget_users(&self, tenant: &TenantId, users: &[UserId]) {
        let mut known = self.0.lock();
        known.forgets += 1;
        known.flights.clear();
        if let Some(identities) = &mut known.identities {
            identities.forget_users(tenant, users);
        }
    }
}

impl Inner {
    fn key(&self, token: &SecretString, remote: IpAddr) -> TokenKey {
        self.hasher.key(token, self.by_address.then_some(remote))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole of a flight: waits for a place, asks, keeps the answer.
    async fn fly(self: Arc<Self>, key: TokenKey, number: u64, token: SecretString, remote: IpAddr) -> Answer {
        let _landing = Landing { inner: &self, key, number };
        let Ok(Some(_place)) = timeout(self.patience, self.gate.enter(remote)).await else {
            return Answer::Unavailable("too many tokens wait to be asked for".into());
        };
        let mut asked = 0;
        loop {
            let forgets = self.lock().forgets;
            let started = Instant::now();
            let answer = self.source.ask(&token, remote, wall_clock()).await;
            self.latency.observe(started.elapsed(), 1);
            let mut known = self.lock();
            // A flight that the table does not have any more was to be forgotten.
            if known.flights.get(&key).is_some_and(|flight| flight.number == number) {
                let (at, now) = (Instant::now().into_std(), wall_clock());
                if let Some(identities) = &mut known.identities {
                    identities.put(key, &answer, at, now);
                }
                return answer;
            }
            if known.forgets == forgets || asked == ASKED_ANEW {
                return answer;
            }
            asked += 1;
        }
    }
}

impl Known {
    /// The question under way for this token.
    fn flight(&self, key: TokenKey) -> Option<Shared<BoxFuture<'static, Answer>>> {
        self.flights.get(&key)?.answer.upgrade()
    }

    /// Begins to ask.
    fn depart(
        &mut self,
        key: TokenKey,
        inner: &Arc<Inner>,
        token: &SecretString,
        remote: IpAddr,
    ) -> Shared<BoxFuture<'static, Answer>> {
        self.last_flight += 1;
        let number = self.last_flight;
        let flight = Arc::clone(inner).fly(key, number, token.clone(), remote).boxed().shared();
        if let Some(answer) = flight.downgrade() {
            self.flights.insert(key, Flight { number, answer });
        }
        flight
    }
}

/// Takes a flight out of the table at its end: when it is answered, or when nobody waits for it any more.
struct Landing<'a> {
    inner: &'a Inner,
    key: TokenKey,
    number: u64,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut known = self.inner.lock();
        if known.flights.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            known.flights.remove(&self.key);
        }
    }
}

impl Source {
    async fn ask(&self, token: &SecretString, remote: IpAddr, now: SystemTime) -> Answer {
        match self {
            Self::Sql(sql) => sql.ask(token, now).await,
            Self::Http(http) => http.ask(token, remote, now).await,
            Self::Script(script) => script.ask(token, remote, now).await,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: what has expired is decided against this")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asking").field(&self.0.source).field(&self.0.gate).finish()
    }
}

#[cfg(test)]
mod tests;
