//! Answers of providers that are worth keeping for a while.
//!
//! Invariant: a token is kept neither here nor in a key: a key is its hash, with keys of this run alone.
//! Invariant: what is kept of a person ends with that person's own end.
//! Invariant: that a provider could not be asked is never kept.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::Identity;
use super::authenticator::Answer;
use crate::cache::{Bounds, Cache};
use crate::event::{Scalar, TenantId, UserId, Value};
use crate::lookup::loose;

/// How long a denial is kept at most: long enough that a flood of one bad token costs little, and short enough that a client
/// whose token is a moment younger than itself gets in by one of its attempts.
const DENIAL: Duration = Duration::from_secs(1);

/// A token's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    /// 128 bits that nobody can foresee: two tokens do not share them.
    exact: (u64, u64),
    /// The hash of what the token is to a database that compares loosely. What is to be forgotten is found by it.
    loose: u64,
}

/// The hash of a value that a database may take for a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct LooseKey(u64);

/// Makes keys of tokens.
#[derive(Debug)]
pub(super) struct TokenHasher([RandomState; 3]);

/// What a cache of identities may hold, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) ttl: Duration,
    pub(super) bounds: Bounds,
}

/// Answers by token.
#[derive(Debug)]
pub(super) struct Identities {
    ttl: Duration,
    /// By loose hash, each with the token that it is of. Owners are tenants, and one more (`None`) for what is nobody's.
    cache: Cache<u64, Option<TenantId>, (TokenKey, Answer)>,
}

impl TokenHasher {
    pub(super) fn new() -> Self {
        Self([RandomState::new(), RandomState::new(), RandomState::new()])
    }

    /// The key of a token, or of a token that comes from this address.
    pub(super) fn key(&self, token: &SecretString, remote: Option<IpAddr>) -> TokenKey {
        let (text, [first, second, third]) = (token.expose_secret(), &self.0);
        let of = (text, remote);
        TokenKey {
            exact: (first.hash_one(of), second.hash_one(of)),
            loose: third.hash_one(loose(&Scalar::Text(text.into()))),
        }
    }

    /// What a value is found by that a database would compare with tokens.
    pub(super) fn loose(&self, value: &Scalar) -> LooseKey {
        LooseKey(self.0[2].hash_one(loose(value)))
    }
}

impl TokenKey {
    /// Whether a database that compares loosely may take it for this value.
    pub(super) fn may_be(self, value: LooseKey) -> bool {
        self.loose == value.0
    }
}

impl Identities {
    pub(super) fn new(keep: Keep) -> Self {
        Self { ttl: keep.ttl, cache: Cache::new(keep.bounds) }
    }

    /// What was answered, where it still counts.
    pub(super) fn get(&mut self, key: TokenKey, at: Instant, now: SystemTime) -> Option<Answer> {
        let (of, answer) = self.cache.get(&key.loose, at)?;
        if *of != key {
            return None;
        }
        let answer = answer.clone();
        // The world's clock may have been set.
        match answer {
            Answer::Known(Identity { expires_at: Some(end), .. }) if end <= now => None,
            answer => Some(answer),
        }
    }

    /// Keeps an answer. `at` and `now` are the same moment, on the clock that goes on and on the world's.
    pub(super) fn put(&mut self, key: TokenKey, answer: &Answer, at: Instant, now: SystemTime) {
        let (owner, ttl, weight) = match answer {
            Answer::Known(identity) => {
                let left = identity.expires_at.map(|end| end.duration_since(now).unwrap_or_default());
                (Some(identity.tenant.clone()), self.ttl.min(left.unwrap_or(Duration::MAX)), weight(identity))
            }
            Answer::Denied(_) | Answer::Unknown => (None, self.ttl.min(DENIAL), 0),
            Answer::Unavailable(_) => return,
        };
        self.cache.insert(key.loose, owner, (key, answer.clone()), weight, at + ttl, at);
    }

    /// Lets go of what is known of the token that a database may take for this value.
    pub(super) fn forget(&mut self, value: LooseKey) {
        self.cache.remove(&value.0);
    }

    /// Lets go of what is known of these users.
    pub(super) fn forget_users(&mut self, tenant: &TenantId, users: &[UserId]) {
        let is_theirs = |answer: &Answer| matches!(answer, Answer::Known(identity) if users.contains(&identity.user));
        self.cache.remove_if(&Some(tenant.clone()), |_, (_, answer)| is_theirs(answer));
    }

    pub(super) fn forget_all(&mut self) {
        self.cache.clear();
    }
}

/// What an identity holds, in bytes, about.
fn weight(identity: &Identity) -> usize {
    let text = |value: &Scalar| match value.as_value() {
        Value::Text(text) => text.len(),
        _ => 0,
    };
    let attributes = identity.attributes.0.iter();
    let attributes: usize = attributes.map(|(name, value)| size_of::<Scalar>() * 2 + name.len() + text(value)).sum();
    identity.user.as_str().len() + identity.tenant.as_str().len() + attributes + 64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::Attributes;
    use crate::event::UserId;

    fn keep(entries: usize) -> Identities {
        Identities::new(Keep { ttl: Duration::from_secs(30), bounds: Bounds { entries, bytes: 1 << 20 } })
    }

    fn key(number: u64) -> TokenKey {
        TokenKey { exact: (number, 0), loose: number }
    }

    fn known(tenant: &str, expires_at: Option<SystemTime>) -> Answer {
        let attributes = Arc::new(Attributes::default());
        Answer::Known(Identity {
            user: UserId::new("7").unwrap(),
            tenant: TenantId::new(tenant).unwrap(),
            attributes,
            expires_at,
        })
    }

    #[expect(clippy::disallowed_methods, reason = "some moment to count from")]
    fn start() -> (Instant, SystemTime) {
        (Instant::now(), SystemTime::now())
    }

    /// For how many seconds an answer is kept that is put at `start`.
    #[track_caller]
    fn check(answer: &Answer, seconds: u64) {
        let (at, now) = start();
        let (mut identities, key) = (keep(10), key(1));
        identities.put(key, answer, at, now);
        let mut kept = |millis: u64| {
            let later = Duration::from_millis(millis);
            identities.get(key, at + later, now + later).is_some()
        };
        assert!(seconds == 0 || kept(seconds * 1_000 - 1), "{answer:?} for {seconds} s");
        assert!(!kept(seconds * 1_000), "{answer:?} no longer than {seconds} s");
    }

    #[test]
    fn answers_are_kept_as_long_as_they_may_be() {
        let (_, now) = start();
        check(&known("acme", None), 30);
        check(&known("acme", Some(now + Duration::from_hours(1))), 30);
        check(&Answer::Denied("it has expired"), 1);
        check(&Answer::Unknown, 1);
        check(&Answer::Unavailable("down".into()), 0);
    }

    #[test]
    fn nobody_is_known_beyond_the_own_end() {
        let (at, now) = start();
        let (mut identities, key, second) = (keep(10), key(1), Duration::from_secs(1));
        identities.put(key, &known("acme", Some(now + 3 * second)), at, now);
        assert!(identities.get(key, at + 2 * second, now + 2 * second).is_some());
        assert!(identities.get(key, at + 3 * second, now + 3 * second).is_none());
        // Nor where the world's clock was put forward.
        identities.put(key, &known("acme", Some(now + 3 * second)), at, now);
        assert!(identities.get(key, at + second, now + 9 * second).is_none());
    }

    #[test]
    fn a_flood_of_bad_tokens_or_of_one_tenant_pushes_out_no_other_tenant() {
        let (at, now) = start();
        let mut identities = keep(10);
        for number in 0..3 {
            identities.put(key(number), &known("small", None), at, now);
        }
        for number in 10..1_000 {
            identities.put(key(number), &Answer::Unknown, at, now);
            identities.put(key(number + 1_000), &known("big", None), at, now);
        }
        assert!((0..3).all(|number| identities.get(key(number), at, now).is_some()));
        assert_eq!(identities.cache.len(), 10);
    }

    #[test]
    fn a_key_tells_tokens_and_where_asked_for_addresses_apart() {
        let hasher = TokenHasher::new();
        let key = |token: &str, remote: Option<u8>| {
            hasher.key(&SecretString::from(token), remote.map(|last| IpAddr::from([10, 0, 0, last])))
        };
        assert_eq!(key("a", None), key("a", None));
        assert_ne!(key("a", None), key("b", None));
        assert_ne!(key("a", Some(1)), key("a", Some(2)));
        assert_ne!(TokenHasher::new().key(&SecretString::from("a"), None), key("a", None));
        // One is not given what is the other's, but both are forgotten together.
        let (lower, upper) = (key("abc", None), key(" ABC", None));
        let value = hasher.loose(&Scalar::Text("Abc".into()));
        assert!(lower != upper && lower.may_be(value) && upper.may_be(value) && !key("abd", None).may_be(value));
        assert!(key("7", None).may_be(hasher.loose(&Scalar::Int(7))));
        let ((at, now), mut identities) = (start(), keep(10));
        identities.put(lower, &known("acme", None), at, now);
        assert!(identities.get(upper, at, now).is_none() && identities.get(lower, at, now).is_some());
        identities.forget(value);
        assert!(identities.get(lower, at, now).is_none());
    }
}
