//! JSON Web Tokens: what they say counts, where their signature is good.
//!
//! Invariant: a signature is only ever held against a key by an algorithm that this kind of key is for. What a token says of
//! its algorithm chooses among those, and nothing else; `none` is no algorithm.
//! Invariant: nothing that a token says counts before its signature is checked, but what it is not for us for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use compact_str::CompactString;
use jsonwebtoken::crypto::verify;
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::authenticator::Answer;
use super::jwks::{KeySet, Keys};
use super::named::CONTROL_CHARACTERS;
use super::{Attributes, Identity};
use crate::config::{JwtAlgorithm, JwtKeyKind, JwtKeys, JwtProvider};
use crate::event::{Scalar, TenantId, UserId};

/// Keys that a token which names none is held against at most.
const TRIED: usize = 8;
/// Claims that are about the token, and not about the person.
const OF_THE_TOKEN: [&str; 4] = ["exp", "nbf", "iat", "jti"];

/// Tokens of one issuer.
#[derive(Debug)]
pub(super) struct Jwt {
    rules: Rules,
    keys: Source,
}

/// What is asked of a token.
#[derive(Debug)]
pub(super) struct Rules {
    user: String,
    tenant: String,
    issuers: Vec<String>,
    audiences: Vec<String>,
    algorithms: Vec<Algorithm>,
    leeway: Duration,
}

#[derive(Debug)]
enum Source {
    Fixed([Key; 1]),
    Set(KeySet),
}

/// A key, and what it is good for.
#[derive(Debug)]
pub(super) struct Key {
    /// What tokens call it. `None`: whatever they call theirs.
    pub(super) id: Option<String>,
    pub(super) decoding: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
}

/// What the keys that are there make of a token.
#[derive(Debug)]
enum Finding {
    Said(Answer),
    /// It names a key that is not among them.
    NoSuchKey,
}

impl Jwt {
    /// An error says why no key can be had. Where keys are published, it begins to fetch them.
    pub(super) fn new(config: &JwtProvider) -> Result<Self, String> {
        let algorithms: Vec<Algorithm> = config.algorithms.iter().map(|algorithm| algorithm_of(*algorithm)).collect();
        let fixed = |decoding| Source::Fixed([Key { id: None, decoding, algorithms: algorithms.clone() }]);
        let keys = match &config.keys {
            JwtKeys::Secret(secret) => fixed(DecodingKey::from_secret(secret.expose_secret().as_bytes())),
            JwtKeys::PublicKey(kind, pem) => fixed(public_key(*kind, pem)?),
            JwtKeys::Jwks { url, refresh } => Source::Set(KeySet::fetched_from(url, *refresh)?),
        };
        let rules = Rules {
            user: config.user.clone(),
            tenant: config.tenant.clone(),
            issuers: config.issuers.clone(),
            audiences: config.audiences.clone(),
            algorithms,
            leeway: config.leeway,
        };
        Ok(Self { rules, keys })
    }

    /// Whose token it is. `None` where keys must be waited for.
    pub(super) fn at_once(&self, token: &SecretString, now: SystemTime) -> Option<Answer> {
        let Some(token) = Token::read(token, &self.rules) else {
            return Some(Answer::Unknown);
        };
        match &self.keys {
            Source::Fixed(keys) => Some(self.rules.judge(&token, keys, now).said()),
            Source::Set(set) => match set.at_once() {
                Keys::There(keys) => match self.rules.judge(&token, &keys, now) {
                    Finding::Said(answer) => Some(answer),
                    Finding::NoSuchKey => set.without_such_a_key(),
                },
                Keys::Unavailable(said) => Some(Answer::Unavailable(said)),
                Keys::Awaited => None,
            },
        }
    }

    /// Whether its keys are those that the issuer has now, as far as is known.
    pub(super) fn has_keys_of_now(&self) -> bool {
        match &self.keys {
            Source::Fixed(_) => true,
            Source::Set(set) => set.is_well(),
        }
    }

    /// Whose token it is, after having waited for newer keys.
    pub(super) async fn ask(&self, token: &SecretString, now: SystemTime) -> Answer {
        let Source::Set(set) = &self.keys else {
            return self.at_once(token, now).unwrap_or(Answer::Unknown);
        };
        set.newer().await;
        let Some(token) = Token::read(token, &self.rules) else {
            return Answer::Unknown;
        };
        match set.at_once() {
            Keys::There(keys) => match self.rules.judge(&token, &keys, now) {
                Finding::Said(answer) => answer,
                Finding::NoSuchKey => set.without_such_a_key().unwrap_or(Answer::Unknown),
            },
            Keys::Unavailable(said) => Answer::Unavailable(said),
            Keys::Awaited => Answer::Unavailable("the keys have not been fetched yet".into()),
        }
    }
}

/// A token that may be for us, of which nothing has been proved.
struct Token<'a> {
    /// What is signed: header and claims, as they are written.
    message: &'a str,
    signature: &'a str,
    header: Header,
    claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// `None` where it is not for us: no JSON Web Token, of another issuer, or signed in a way that is not ours.
    fn read(token: &'a SecretString, rules: &Rules) -> Option<Self> {
        let text = token.expose_secret();
        let header = jsonwebtoken::decode_header(text).ok()?;
        if !rules.algorithms.contains(&header.alg) {
            return None;
        }
        let claims: Map<String, Value> = insecure_decode_claims(text).ok()?;
        let (message, signature) = text.rsplit_once('.')?;
        let is_ours = rules.issuers.is_empty() || names_one_of(claims.get("iss"), &rules.issuers);
        is_ours.then_some(Self { message, signature, header, claims })
    }

    fn is_signed_by(&self, key: &Key) -> bool {
        // An error means that the signature has not even the form of one.
        verify(self.signature, self.message.as_bytes(), &key.decoding, self.header.alg).unwrap_or(false)
    }
}

impl Rules {
    fn judge(&self, token: &Token<'_>, keys: &[Key], now: SystemTime) -> Finding {
        // What it says must be understood to be taken for good, is not.
        if token.header.crit.as_ref().is_some_and(|names| !names.is_empty()) {
            return Finding::Said(Answer::Denied("its header asks for an extension that is not supported"));
        }
        let id = token.header.kid.as_deref();
        let fits = |key: &&Key| match (&key.id, id) {
            (Some(own), Some(id)) => own == id,
            (None, _) | (_, None) => true,
        };
        let mut named = keys.iter().filter(fits).peekable();
        if named.peek().is_none() {
            return Finding::NoSuchKey;
        }
        let mut good = named.filter(|key| key.algorithms.contains(&token.header.alg)).take(TRIED);
        let is_signed = good.any(|key| token.is_signed_by(key));
        Finding::Said(if is_signed {
            self.identity(&token.claims, now)
        } else {
            Answer::Denied("its signature is not good")
        })
    }

    /// Whose a token is that its issuer has signed.
    fn identity(&self, claims: &Map<String, Value>, now: SystemTime) -> Answer {
        if !self.audiences.is_empty() && !names_one_of(claims.get("aud"), &self.audiences) {
            return Answer::Unknown;
        }
        let Some(end) = claims.get("exp").and_then(moment) else {
            return Answer::Denied("it has no `exp` that is a time");
        };
        // One that is late but within the leeway has that for its end: else it would end at once.
        let end = if end > now { Some(end) } else { end.checked_add(self.leeway).filter(|end| *end > now) };
        let Some(end) = end else {
            return Answer::Denied("it has expired");
        };
        match claims.get("nbf").map(moment) {
            Some(None) => return Answer::Denied("its `nbf` is no time"),
            Some(Some(begin)) if now.checked_add(self.leeway).is_some_and(|now| begin > now) => {
                return Answer::Denied("it is not good yet");
            }
            Some(Some(_)) | None => {}
        }
        let scalar = |path: &str| claim(claims, path).and_then(Scalar::from_json);
        let Some(user) = scalar(&self.user).as_ref().and_then(UserId::from_scalar) else {
            return Answer::Denied("the claim for the user is no id");
        };
        let Some(tenant) = scalar(&self.tenant).as_ref().and_then(TenantId::from_scalar) else {
            return Answer::Denied("the claim for the tenant is no id");
        };
        if !(user.is_plain() && tenant.is_plain()) {
            return Answer::Denied(CONTROL_CHARACTERS);
        }
        let is_attribute = |name: &str| !OF_THE_TOKEN.contains(&name) && name != self.user && name != self.tenant;
        let attributes: Attributes = claims
            .iter()
            .filter(|(name, _)| is_attribute(name))
            .filter_map(|(name, value)| Some((CompactString::from(name), Scalar::from_json(value)?)))
            .filter(|(_, value)| *value != Scalar::Null)
            .collect();
        Answer::Known(Identity { user, tenant, attributes: Arc::new(attributes), expires_at: Some(end) })
    }
}

impl Finding {
    /// Where there are no other keys to come.
    fn said(self) -> Answer {
        match self {
            Self::Said(answer) => answer,
            Self::NoSuchKey => Answer::Unknown,
        }
    }
}

/// The claim of this name or, where there is none, the one that the path with dots leads to.
fn claim<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// Whether a claim is one of these texts, or a list that has one of them.
fn names_one_of(claim: Option<&Value>, texts: &[String]) -> bool {
    let is_one = |value: &Value| value.as_str().is_some_and(|text| texts.iter().any(|one| one == text));
    match claim {
        Some(Value::Array(values)) => values.iter().any(is_one),
        Some(value) => is_one(value),
        None => false,
    }
}

/// Seconds of Unix, with or without a fraction.
fn moment(value: &Value) -> Option<SystemTime> {
    let since = match value.as_u64() {
        Some(seconds) => Duration::from_secs(seconds),
        // What is before 1970 is as long ago as what is then.
        None => Duration::try_from_secs_f64(value.as_f64()?.max(0.0)).ok()?,
    };
    SystemTime::UNIX_EPOCH.checked_add(since)
}

fn public_key(kind: JwtKeyKind, pem: &str) -> Result<DecodingKey, String> {
    let pem = pem.trim().as_bytes();
    let key = match kind {
        JwtKeyKind::Rsa => DecodingKey::from_rsa_pem(pem),
        JwtKeyKind::P256 | JwtKeyKind::P384 => DecodingKey::from_ec_pem(pem),
        JwtKeyKind::Ed25519 => DecodingKey::from_ed_pem(pem),
    };
    key.map_err(|error| format!("the public key cannot be read: {error}"))
}

fn algorithm_of(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Hs384 => Algorithm::HS384,
        JwtAlgorithm::Hs512 => Algorithm::HS512,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Ps256 => Algorithm::PS256,
        JwtAlgorithm::Ps384 => Algorithm::PS384,
        JwtAlgorithm::Ps512 => Algorithm::PS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests;
