//! One provider of the configuration, whatever its kind.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;

use super::Void;
use super::asking::{Asking, Source};
use super::authenticator::{Answer, Foundation};
use super::http::Http;
use super::jwt::Jwt;
use super::script::Script;
use super::sql::Sql;
use super::tokens::Tokens;
use crate::cache::Bounds;
use crate::config;
use crate::lookup::Forgotten;
use crate::observe::{Metrics, Throttle};

use super::cache::Keep;

/// How many tokens a database is asked for at once.
const QUERIES: usize = 64;
/// How often it is logged that a provider cannot be asked, and that it answers again: some do both many times a second.
const LOG_PERIOD: Duration = Duration::from_secs(10);
/// What is kept of answers at most, where the configuration does not say.
const KEPT: Bounds = Bounds { entries: 100_000, bytes: 64 << 20 };

/// A provider.
#[derive(Debug)]
pub(super) struct Provider {
    kind: Kind,
    faults: Throttle,
    ends_of_faults: Throttle,
}

#[derive(Debug)]
enum Kind {
    Tokens(Tokens),
    Jwt(Box<Jwt>),
    Asking(Asking),
}

impl Provider {
    /// One of the providers of this foundation. An error says why it can never be asked.
    pub(super) fn new(config: &config::Provider, made_of: &Foundation, metrics: &Metrics) -> Result<Self, String> {
        let deadline = made_of.auth.deadline;
        let kind = match config {
            config::Provider::Tokens(list) => Kind::Tokens(Tokens::new(list)),
            config::Provider::Jwt(jwt) => Kind::Jwt(Box::new(Jwt::new(jwt)?)),
            config::Provider::Script(script) => {
                let plugin = made_of.plugins.get(usize::from(script.call.plugin.0)).ok_or("there is no such plugin")?;
                let source = Script::new(plugin, script.call.site, &made_of.queries, made_of.files.breaker, metrics)?;
                let keep = script.cache.map(|ttl| Keep { ttl, bounds: KEPT });
                Kind::Asking(Asking::new(Source::Script(source), QUERIES, deadline / 2, keep, metrics))
            }
            config::Provider::Sql(query) => {
                let queries = &made_of.queries;
                let source = Source::Sql(Sql::new(*query, queries.lookups.clone()));
                let cache = queries.queries.get(usize::from(query.0)).and_then(|query| query.cache);
                let keep = cache.map(|cache| Keep { ttl: cache.ttl, bounds: Bounds { entries: cache.max, ..KEPT } });
                Kind::Asking(Asking::new(source, QUERIES, deadline / 2, keep, metrics))
            }
            config::Provider::Http(http) => {
                let keep = http.cache.map(|ttl| Keep { ttl, bounds: KEPT });
                let patience = deadline.saturating_sub(http.timeout).max(deadline / 2);
                Kind::Asking(Asking::new(Source::Http(Http::new(http)?), http.concurrent, patience, keep, metrics))
            }
        };
        Ok(Self { kind, faults: Throttle::new(LOG_PERIOD), ends_of_faults: Throttle::new(LOG_PERIOD) })
    }

    /// What metrics and logs call it.
    pub(super) fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Tokens(_) => "tokens",
            Kind::Jwt(_) => "jwt",
            Kind::Asking(asking) => asking.source().name(),
        }
    }

    /// Whose token it is, where that takes no waiting.
    pub(super) fn at_once(&self, token: &SecretString, remote: IpAddr, now: SystemTime) -> Option<Answer> {
        match &self.kind {
            Kind::Tokens(tokens) => Some(tokens.get(token).map_or(Answer::Unknown, Answer::Known)),
            Kind::Jwt(jwt) => jwt.at_once(token, now),
            Kind::Asking(asking) => asking.at_once(token, remote, now),
        }
    }

    /// Whose token it is.
    pub(super) async fn ask(&self, token: &SecretString, remote: IpAddr, now: SystemTime) -> Answer {
        match &self.kind {
            Kind::Tokens(tokens) => tokens.get(token).map_or(Answer::Unknown, Answer::Known),
            Kind::Jwt(jwt) => match jwt.at_once(token, now) {
                Some(answer) => answer,
                None => jwt.ask(token, now).await,
            },
            Kind::Asking(asking) => asking.ask(token, remote, now).await,
        }
    }

    /// Whether an answer shows that it can be asked, as it `was_asked` or was not. What is kept of former answers does not, nor
    /// do keys of former times.
    pub(super) fn is_there(&self, was_asked: bool) -> bool {
        match &self.kind {
            Kind::Tokens(_) => true,
            Kind::Jwt(jwt) => jwt.has_keys_of_now(),
            Kind::Asking(_) => was_asked,
        }
    }

    /// Logs that it could not be asked, now and then.
    pub(super) fn complain(&self, reason: &str) {
        if let Some(held_back) = self.faults.admit() {
            let provider = self.name();
            tracing::warn!(provider, reason, held_back, "a provider of identities cannot be asked");
        }
    }

    /// Logs that it answers after so long, now and then.
    pub(super) fn welcome(&self, out: Duration) {
        if let Some(held_back) = self.ends_of_faults.admit() {
            tracing::info!(provider = self.name(), ?out, held_back, "a provider of identities answers again");
        }
    }

    /// Forgets what it has answered, where that is what is no longer good.
    pub(super) fn forget(&self, void: &Void) {
        let Kind::Asking(asking) = &self.kind else { return };
        match (void, asking.source()) {
            // A query for tokens binds nothing else.
            (Void::Answers(Forgotten { query, binds }), Source::Sql(sql)) if sql.asks(query) => {
                asking.forget(binds.first().map(|(_, token)| token));
            }
            // What it asked for a token is not known: any answer of that query may have been among it.
            (Void::Answers(Forgotten { query, .. }), Source::Script(script)) if script.asks(query) => {
                asking.forget(None);
            }
            (Void::Answers(_), _) => {}
            (Void::Users { tenant, users }, _) => asking.forget_users(tenant, users),
        }
    }
}
