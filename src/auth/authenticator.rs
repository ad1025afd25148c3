//! All providers, in order: the first that knows the token decides.
//!
//! Invariant: a token is neither logged nor shown. What logs say of it is a fingerprint that means something within
//! this run alone.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::sql::Sql;
use super::tokens::Tokens;
use super::{Identity, Refusal};
use crate::config;
use crate::lookup::Lookups;
use crate::observe::{Metrics, Throttle};

/// Bytes of a token at most. Nobody issues longer ones.
const MAX_TOKEN: usize = 8 * 1024;
/// How many tokens are asked for at once. More wait, as long as a connection may wait to become a session.
const ASKED_AT_ONCE: usize = 64;
/// How often an outage is logged.
const OUTAGE_LOG: Duration = Duration::from_secs(10);

/// Finds out whose token it is.
pub struct Authenticator {
    providers: Vec<Provider>,
    deadline: Duration,
    asking: Semaphore,
    accepted: Counter,
    denied: Counter,
    unavailable: Counter,
    outages: Throttle,
    faults: Throttle,
    fingerprints: RandomState,
}

enum Provider {
    Tokens(Tokens),
    Sql(Sql),
}

/// What one provider says of a token.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is this person's.
    Known(Identity),
    /// It was somebody's, and is not good any more.
    Denied,
    /// It means nothing here.
    Unknown,
    /// There is no saying now, for this reason.
    Unavailable(String),
}

impl Authenticator {
    /// The providers of the configuration, in its order. `lookups` is the database of its queries.
    pub fn new(auth: &config::Auth, lookups: Option<&Lookups>, metrics: &Metrics) -> Self {
        let provider = |provider: &config::Provider| match provider {
            config::Provider::Tokens(list) => Provider::Tokens(Tokens::new(list)),
            config::Provider::Sql(query) => Provider::Sql(Sql::new(*query, lookups.cloned())),
        };
        Self {
            providers: auth.providers.iter().map(provider).collect(),
            deadline: auth.deadline,
            asking: Semaphore::new(ASKED_AT_ONCE),
            accepted: metrics.authentications("accepted"),
            denied: metrics.authentications("denied"),
            unavailable: metrics.authentications("unavailable"),
            outages: Throttle::new(OUTAGE_LOG),
            faults: Throttle::new(OUTAGE_LOG),
            fingerprints: RandomState::new(),
        }
    }

    /// Whose token it is. Takes no longer than the configuration's deadline for becoming a session.
    ///
    /// A provider that cannot be asked does not decide: a later one may know the token. Where none does, the answer
    /// is that it is unavailable, not that it is denied.
    pub async fn authenticate(&self, token: &SecretString, remote: IpAddr) -> Result<Identity, Refusal> {
        if let Some(decision) = self.authenticate_at_once(token, remote) {
            return decision;
        }
        let decision = timeout(self.deadline, self.ask_all(token)).await.unwrap_or(Err(Refusal::Unavailable));
        self.note(token, remote, decision)
    }

    /// The same where it takes no waiting: no provider that must be asked comes before the one that decides.
    pub(super) fn authenticate_at_once(
        &self,
        token: &SecretString,
        remote: IpAddr,
    ) -> Option<Result<Identity, Refusal>> {
        let decision = if (1..=MAX_TOKEN).contains(&token.expose_secret().len()) {
            self.decide_at_once(token)?
        } else {
            Err(Refusal::Denied)
        };
        Some(self.note(token, remote, decision))
    }

    /// Counts and logs a decision.
    pub(super) fn note(
        &self,
        token: &SecretString,
        remote: IpAddr,
        decision: Result<Identity, Refusal>,
    ) -> Result<Identity, Refusal> {
        match &decision {
            Ok(_) => self.accepted.inc(),
            Err(Refusal::Denied) => {
                // A part of a hash with a key of this run: it tells attempts apart, and nothing else.
                let token = self.fingerprints.hash_one(token.expose_secret()) >> 32;
                tracing::info!(%remote, token = %format_args!("{token:08x}"), "access denied");
                self.denied.inc()
            }
            Err(Refusal::Unavailable) => {
                if let Some(held_back) = self.outages.admit() {
                    tracing::warn!(%remote, held_back, "authentication unavailable");
                }
                self.unavailable.inc()
            }
        };
        decision
    }

    /// `None` where a provider must be asked before it is decided.
    fn decide_at_once(&self, token: &SecretString) -> Option<Result<Identity, Refusal>> {
        for provider in &self.providers {
            match provider {
                Provider::Sql(_) => return None,
                Provider::Tokens(tokens) => {
                    if let Some(identity) = tokens.get(token) {
                        return Some(Ok(identity));
                    }
                }
            }
        }
        Some(Err(Refusal::Denied))
    }

    async fn ask_all(&self, token: &SecretString) -> Result<Identity, Refusal> {
        // It is never closed.
        let _permit = self.asking.acquire().await.map_err(|_| Refusal::Unavailable)?;
        #[expect(clippy::disallowed_methods, reason = "the edge: what has expired is decided against this")]
        let now = SystemTime::now();
        let mut refusal = Refusal::Denied;
        for provider in &self.providers {
            match provider.ask(token, now).await {
                Answer::Known(identity) => return Ok(identity),
                Answer::Denied => return Err(Refusal::Denied),
                Answer::Unknown => {}
                Answer::Unavailable(reason) => {
                    if let Some(held_back) = self.faults.admit() {
                        tracing::warn!(reason, held_back, "a provider of identities cannot be asked");
                    }
                    refusal = Refusal::Unavailable;
                }
            }
        }
        Err(refusal)
    }
}

impl Provider {
    async fn ask(&self, token: &SecretString, now: SystemTime) -> Answer {
        match self {
            Self::Tokens(tokens) => tokens.get(token).map_or(Answer::Unknown, Answer::Known),
            Self::Sql(sql) => sql.ask(token, now).await,
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("providers", &self.providers.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
