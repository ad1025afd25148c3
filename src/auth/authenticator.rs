//! All providers, in order: the first that knows the token decides.
//!
//! Invariant: a token is neither logged nor shown. What logs say of it is a fingerprint that means something within
//! this run alone.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::provider::Provider;
use super::{Comeback, Identity, Refusal, Void};
use crate::config;
use crate::observe::{Metrics, Throttle};
use crate::reload::Queries;
use crate::route::script::Plugin;

/// Bytes of a token at most. Nobody issues longer ones.
const MAX_TOKEN: usize = 8 * 1024;
/// How often it is logged what is worth a line each time, and may happen at any rate.
const LOG_PERIOD: Duration = Duration::from_secs(10);
/// How many denials are logged in that time.
const DENIALS: u64 = 10;
/// What metrics and logs call the provider where none has decided.
const NONE: &str = "none";

/// Finds out whose token it is.
pub struct Authenticator {
    providers: Vec<Arc<Provider>>,
    made_of: Foundation,
    deadline: Duration,
    comeback: Comeback,
    metrics: Arc<Metrics>,
    denials: Throttle,
    outages: Throttle,
    fingerprints: RandomState,
}

/// What providers are made of.
#[derive(Clone, Debug)]
pub struct Foundation {
    /// Which there are.
    pub auth: config::Auth,
    /// The queries that they ask by number.
    pub queries: Arc<Queries>,
    /// The plugins that they call by number, as files and compiled.
    pub files: config::Plugins,
    /// Them, compiled.
    pub plugins: Arc<[Arc<Plugin>]>,
}

/// Why the providers of the configuration cannot be asked, whatever the token.
#[derive(Debug, thiserror::Error)]
#[error("the provider of identities at position {position} of `auth.providers` cannot be asked: {said}")]
pub struct ProviderError {
    /// Its position in the configuration, from 1.
    position: usize,
    said: String,
}

/// What one provider says of a token.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// It is this person's.
    Known(Identity),
    /// It was somebody's, or claims to be, and is not good, for this reason.
    Denied(&'static str),
    /// It means nothing here.
    Unknown,
    /// There is no saying now, for this reason.
    Unavailable(Arc<str>),
}

/// How far the providers have been asked of a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// The next one.
    next: usize,
    /// The first one that could not be asked.
    unavailable: Option<&'static str>,
}

/// What comes of asking without waiting.
#[derive(Debug)]
pub(super) enum Step {
    /// It is decided, counted and logged.
    Decided(Result<Identity, Refusal>),
    /// A provider must be asked that takes time.
    Ask(Round),
}

/// A decision, and who made it.
struct Decision {
    by: &'static str,
    outcome: Result<Identity, Refusal>,
    /// Why it is denied.
    reason: &'static str,
}

impl Authenticator {
    /// The providers of the configuration, in its order. Must be called within the runtime that shall do the asking. Only
    /// what no retry mends is an error.
    ///
    /// A provider that was the same `before` goes on, with all that it knows; where all are, so does the authenticator.
    pub fn new(
        made_of: Foundation,
        before: Option<&Arc<Self>>,
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<Self>, ProviderError> {
        let mut providers = Vec::with_capacity(made_of.auth.providers.len());
        let mut former: Vec<(usize, Arc<Provider>)> =
            before.map_or_else(Vec::new, |before| before.providers.iter().cloned().enumerate().collect());
        for (index, wanted) in made_of.auth.providers.iter().enumerate() {
            let is_same = |(at, _): &(usize, Arc<Provider>)| {
                before.is_some_and(|before| made_of.is_same(wanted, &before.made_of, *at))
            };
            let provider = if let Some(at) = former.iter().position(is_same) {
                former.remove(at).1
            } else {
                let made = Provider::new(wanted, &made_of, metrics);
                Arc::new(made.map_err(|said| ProviderError { position: index + 1, said })?)
            };
            providers.push(provider);
        }
        if let Some(before) = before
            && before.deadline == made_of.auth.deadline
            && before.providers.len() == providers.len()
            && before.providers.iter().zip(&providers).all(|(one, two)| Arc::ptr_eq(one, two))
        {
            return Ok(Arc::clone(before));
        }
        Ok(Arc::new(Self {
            comeback: Comeback::new(providers.len(), metrics.auth_waiting()),
            deadline: made_of.auth.deadline,
            providers,
            made_of,
            metrics: Arc::clone(metrics),
            denials: Throttle::of(DENIALS, LOG_PERIOD),
            outages: Throttle::new(LOG_PERIOD),
            fingerprints: RandomState::new(),
        }))
    }

    /// When clients shall come back that cannot be told whose token they have.
    pub fn comeback(&self) -> Comeback {
        self.comeback.clone()
    }

    /// Whose token it is. Takes no longer than the configuration's deadline for becoming a session.
    ///
    /// A provider that cannot be asked does not decide: a later one may know the token. Where none does, the answer
    /// is that it is unavailable, not that it is denied.
    pub async fn authenticate(&self, token: &SecretString, remote: IpAddr) -> Result<Identity, Refusal> {
        match self.authenticate_at_once(token, remote) {
            Step::Decided(outcome) => outcome,
            Step::Ask(round) => self.authenticate_from(round, token, remote).await,
        }
    }

    /// As far as it goes without waiting.
    pub(super) fn authenticate_at_once(&self, token: &SecretString, remote: IpAddr) -> Step {
        if !(1..=MAX_TOKEN).contains(&token.expose_secret().len()) {
            let reason = "it can be no token";
            return Step::Decided(self.note(token, remote, Decision { reason, ..Decision::none() }));
        }
        let mut round = Round { next: 0, unavailable: None };
        let now = wall_clock();
        while let Some(provider) = self.providers.get(round.next) {
            let Some(answer) = provider.at_once(token, remote, now) else { return Step::Ask(round) };
            if let Some(decision) = self.hear(&mut round, answer, false) {
                return Step::Decided(self.note(token, remote, decision));
            }
        }
        Step::Decided(self.note(token, remote, round.end()))
    }

    /// The rest of the way.
    pub(super) async fn authenticate_from(
        &self,
        mut round: Round,
        token: &SecretString,
        remote: IpAddr,
    ) -> Result<Identity, Refusal> {
        let decided = timeout(self.deadline, self.ask_all(&mut round, token, remote)).await;
        self.note(token, remote, decided.unwrap_or_else(|_| self.broken_off(round)))
    }

    /// There is no room to wait for the rest of the way.
    pub(super) fn turn_away(&self, round: Round, token: &SecretString, remote: IpAddr) -> Result<Identity, Refusal> {
        self.note(token, remote, self.broken_off(round))
    }

    /// Forgets whom tokens stand for, where that is void: who comes with one from now on is asked for anew.
    pub fn forget(&self, void: &Void) {
        for provider in &self.providers {
            provider.forget(void);
        }
    }

    async fn ask_all(&self, round: &mut Round, token: &SecretString, remote: IpAddr) -> Decision {
        let first = round.next;
        while let Some(provider) = self.providers.get(round.next) {
            // The one that the round begins with has nothing to say at once.
            let at_once = if round.next == first { None } else { provider.at_once(token, remote, wall_clock()) };
            let (answer, was_asked) = match at_once {
                Some(answer) => (answer, false),
                None => (provider.ask(token, remote, wall_clock()).await, true),
            };
            if let Some(decision) = self.hear(round, answer, was_asked) {
                return decision;
            }
        }
        round.end()
    }

    /// The next provider has not answered.
    fn broken_off(&self, round: Round) -> Decision {
        let next = self.providers.get(round.next).map(|provider| provider.name());
        Decision { by: round.unavailable.or(next).unwrap_or(NONE), ..Decision::unavailable() }
    }

    /// What the round's next provider has said, and whether that decides.
    fn hear(&self, round: &mut Round, answer: Answer, was_asked: bool) -> Option<Decision> {
        let (index, provider) = (round.next, &self.providers[round.next]);
        round.next += 1;
        if let Answer::Unavailable(reason) = answer {
            self.comeback.failed(index);
            provider.complain(&reason);
            round.unavailable.get_or_insert(provider.name());
            return None;
        }
        if provider.is_there(was_asked)
            && let Some(out) = self.comeback.answered(index)
        {
            provider.welcome(out);
        }
        let by = provider.name();
        match answer {
            Answer::Known(identity) => Some(Decision { by, outcome: Ok(identity), reason: "" }),
            Answer::Denied(reason) => Some(Decision { by, outcome: Err(Refusal::Denied), reason }),
            Answer::Unknown | Answer::Unavailable(_) => None,
        }
    }

    /// Counts and logs a decision.
    fn note(&self, token: &SecretString, remote: IpAddr, decision: Decision) -> Result<Identity, Refusal> {
        let Decision { by, outcome, reason } = decision;
        let counted = match &outcome {
            Ok(_) => "accepted",
            Err(Refusal::Denied) => {
                if let Some(held_back) = self.denials.admit() {
                    // A part of a hash with a key of this run: it tells attempts apart, and nothing else.
                    let token = self.fingerprints.hash_one(token.expose_secret()) >> 32;
                    let token = format_args!("{token:08x}");
                    tracing::info!(%remote, %token, provider = by, reason, held_back, "access denied");
                }
                "denied"
            }
            Err(Refusal::Unavailable) => {
                if let Some(held_back) = self.outages.admit() {
                    tracing::warn!(%remote, provider = by, held_back, "authentication unavailable");
                }
                "unavailable"
            }
        };
        self.metrics.authentications(by, counted).inc();
        outcome
    }
}

impl Foundation {
    /// Whether this provider and one of another foundation ask the same of the same.
    fn is_same(&self, wanted: &config::Provider, other: &Self, at: usize) -> bool {
        let Some(known) = other.auth.providers.get(at) else { return false };
        if self.auth.deadline != other.auth.deadline || !wanted.is_same(known) {
            return false;
        }
        let same_queries = Arc::ptr_eq(&self.queries, &other.queries);
        match wanted {
            config::Provider::Tokens(_) | config::Provider::Http(_) | config::Provider::Jwt(_) => true,
            config::Provider::Sql(_) => same_queries,
            config::Provider::Script(script) => same_queries && self.files.is_same(&other.files, script.call),
        }
    }
}

impl Round {
    /// All have been asked, and none has decided.
    fn end(self) -> Decision {
        match self.unavailable {
            Some(by) => Decision { by, ..Decision::unavailable() },
            None => Decision::none(),
        }
    }
}

impl Decision {
    /// Nobody knows it.
    fn none() -> Self {
        Self { by: NONE, outcome: Err(Refusal::Denied), reason: "nobody knows it" }
    }

    fn unavailable() -> Self {
        Self { by: NONE, outcome: Err(Refusal::Unavailable), reason: "" }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: what has expired is decided against this")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("providers", &self.providers.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
