//! The keys that an issuer publishes: fetched at the start, and again every few minutes or when a token names a key that is
//! not among them.
//!
//! Invariant: keys that were good stay, whatever a later fetch comes to, until another one brings keys.
//! Invariant: tokens, however many and whatever they say, lead to one fetch in 30 seconds at most.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::authenticator::Answer;
use super::jwt::Key;
use super::web;

/// How soon after one fetch a token may lead to the next, or sooner, where keys are fetched more often anyway. A fetch that
/// failed is tried again by then at the latest.
const NO_SOONER: Duration = Duration::from_secs(30);
/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a set at most.
const MAX_SET: usize = 256 * 1024;
/// Keys of a set at most.
const MAX_KEYS: usize = 100;
/// Base64 digits of the modulus of an RSA key of 2048 bits: shorter ones are not safe.
const SHORTEST_MODULUS: usize = 342;

/// A set of keys that is kept up to date.
pub(super) struct KeySet {
    state: watch::Receiver<State>,
    wanted: Arc<Notify>,
    no_sooner: Duration,
    task: JoinHandle<()>,
}

/// What there is to hold a token against.
pub(super) enum Keys {
    /// These.
    There(Arc<[Key]>),
    /// The first fetch is under way.
    Awaited,
    /// There have never been any, for this reason.
    Unavailable(Arc<str>),
}

#[derive(Clone, Default)]
struct State {
    keys: Option<Arc<[Key]>>,
    /// What the last fetch failed of, where it did.
    failed: Option<Arc<str>>,
    /// When the last fetch ended.
    fetched: Option<Instant>,
    fetches: u64,
}

impl KeySet {
    /// Begins to fetch, and goes on to do so this often. An error says why no request could be made.
    pub(super) fn fetched_from(url: &SecretString, refresh: Duration) -> Result<Self, String> {
        let url = Url::parse(url.expose_secret()).map_err(|error| error.to_string())?;
        let client = web::client(TIMEOUT, 1, &[])?;
        let (sender, state) = watch::channel(State::default());
        let wanted = Arc::new(Notify::new());
        let task = tokio::spawn(keep(client, url, refresh, sender, Arc::clone(&wanted)));
        Ok(Self { state, wanted, no_sooner: NO_SOONER.min(refresh), task })
    }

    /// The keys of now.
    pub(super) fn at_once(&self) -> Keys {
        let state = self.state.borrow();
        match (&state.keys, &state.failed) {
            (Some(keys), _) => Keys::There(Arc::clone(keys)),
            (None, Some(said)) => Keys::Unavailable(Arc::clone(said)),
            (None, None) => Keys::Awaited,
        }
    }

    /// Whether the last fetch brought keys.
    pub(super) fn is_well(&self) -> bool {
        let state = self.state.borrow();
        state.fetched.is_some() && state.failed.is_none()
    }

    /// What is said of a token whose key is not in the set. `None` where a newer set may have it.
    pub(super) fn without_such_a_key(&self) -> Option<Answer> {
        let state = self.state.borrow();
        match &state.failed {
            // The key may be one that could not be fetched.
            Some(said) => Some(Answer::Unavailable(Arc::clone(said))),
            None => self.is_fresh(&state).then_some(Answer::Unknown),
        }
    }

    /// Waits for a newer set: the first one, or one that may be fetched now.
    pub(super) async fn newer(&self) {
        let mut state = self.state.clone();
        let seen = {
            let state = state.borrow();
            if self.is_fresh(&state) {
                return;
            }
            state.fetches
        };
        self.wanted.notify_one();
        // It ends by itself, in the time that a fetch may take; an error means that the program ends.
        state.wait_for(|state| state.fetches > seen).await.ok();
    }

    fn is_fresh(&self, state: &State) -> bool {
        state.fetched.is_some_and(|fetched| fetched.elapsed() < self.no_sooner)
    }
}

impl Drop for KeySet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.state.borrow().keys.as_ref().map_or(0, |keys| keys.len()))
    }
}

/// Fetches for as long as anybody asks for the keys.
async fn keep(client: Client, url: Url, refresh: Duration, state: watch::Sender<State>, wanted: Arc<Notify>) {
    let no_sooner = NO_SOONER.min(refresh);
    let mut failures = 0;
    loop {
        let fetched = timeout(TIMEOUT, fetch(&client, &url)).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer in {TIMEOUT:?}")));
        match &fetched {
            Ok(keys) => {
                let before = state.borrow().keys.as_ref().map(ids);
                if failures > 0 || before.as_ref() != Some(&ids(keys)) {
                    tracing::info!(keys = ?ids(keys), "the keys of the issuer of tokens are there");
                }
                failures = 0;
            }
            Err(said) => {
                failures += 1;
                tracing::warn!(reason = said, failures, "the keys of the issuer of tokens cannot be fetched");
            }
        }
        state.send_modify(|state| {
            state.fetches += 1;
            state.fetched = Some(Instant::now());
            match fetched {
                Ok(keys) => (state.keys, state.failed) = (Some(keys), None),
                Err(said) => state.failed = Some(format!("the issuer's keys: {said}").into()),
            }
        });
        let pause = if failures == 0 { refresh } else { no_sooner.min(Duration::from_secs(1 << failures.min(5))) };
        let asked_for = async {
            sleep(no_sooner).await;
            wanted.notified().await;
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = asked_for => {}
        }
    }
}

async fn fetch(client: &Client, url: &Url) -> Result<Arc<[Key]>, String> {
    let request = client.get(url.clone()).header(ACCEPT, "application/json");
    let response = request.send().await.map_err(web::plainly)?;
    if response.status() != StatusCode::OK {
        return Err(format!("it answered {}", response.status()));
    }
    read(&web::body(response, MAX_SET).await?)
}

/// The keys of a set that signatures can be held against. Others are passed over: a set may hold keys for other uses.
fn read(body: &[u8]) -> Result<Arc<[Key]>, String> {
    let set: Value = serde_json::from_slice(body).map_err(|error| format!("its answer is no JSON: {error}"))?;
    let all = set.get("keys").and_then(Value::as_array).ok_or("its answer has no `keys`")?;
    let keys: Arc<[Key]> = all.iter().take(MAX_KEYS).filter_map(key).collect();
    if keys.is_empty() {
        return Err("it holds no key that signatures can be held against".to_owned());
    }
    Ok(keys)
}

fn key(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let common = &jwk.common;
    let for_signatures = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    if !for_signatures {
        return None;
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if rsa.n.len() >= SHORTEST_MODULUS => AlgorithmFamily::Rsa.algorithms().to_vec(),
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
        // A secret that is published is none.
        _ => return None,
    };
    if let Some(own) = common.key_algorithm {
        let own = Algorithm::try_from(own).ok()?;
        algorithms.retain(|algorithm| *algorithm == own);
    }
    (!algorithms.is_empty()).then_some(())?;
    Some(Key { id: common.key_id.clone(), decoding: DecodingKey::from_jwk(&jwk).ok()?, algorithms })
}

fn ids(keys: &Arc<[Key]>) -> Vec<String> {
    keys.iter().map(|key| key.id.clone().unwrap_or_else(|| "-".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids_of(set: &str) -> Result<Vec<String>, String> {
        read(set.as_bytes()).map(|keys| ids(&keys))
    }

    #[test]
    fn keys_for_signatures_are_taken_and_others_passed_over() {
        let n = "n".repeat(341) + "w";
        let set = format!(
            r#"{{ "keys": [
                {{ "kty": "RSA", "kid": "rsa", "n": "{n}", "e": "AQAB" }},
                {{ "kty": "RSA", "kid": "for encryption", "use": "enc", "n": "{n}", "e": "AQAB" }},
                {{ "kty": "RSA", "kid": "oaep", "alg": "RSA-OAEP", "n": "{n}", "e": "AQAB" }},
                {{ "kty": "RSA", "kid": "short", "n": "nnnn", "e": "AQAB" }},
                {{ "kty": "RSA", "kid": "of another kind", "alg": "ES256", "n": "{n}", "e": "AQAB" }},
                {{ "kty": "oct", "kid": "published secret", "k": "c2VjcmV0" }},
                {{ "kty": "EC", "kid": "p521", "crv": "P-521", "x": "AA", "y": "AA" }},
                {{ "kty": "what", "kid": "ever" }},
                7,
                {{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }},
                {{ "kty": "EC", "kid": "p256", "crv": "P-256", "key_ops": ["verify"], "x": "AA", "y": "AA" }}
            ] }}"#
        );
        assert_eq!(ids_of(&set), Ok(["rsa", "-", "p256"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn what_is_no_set_is_a_fault() {
        for (body, said) in [
            ("<html>s3cret", "no JSON"),
            ("[]", "no `keys`"),
            (r#"{"keys":7}"#, "no `keys`"),
            (r#"{"keys":[]}"#, "no key that signatures"),
            (r#"{"keys":[{"kty":"oct","k":"s3cret"}]}"#, "no key that signatures"),
        ] {
            let error = ids_of(body).unwrap_err();
            assert!(error.contains(said) && !error.contains("s3cret"), "{body}: {error}");
        }
    }
}
