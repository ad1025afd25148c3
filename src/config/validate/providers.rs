//! Providers of identities that have settings of their own: an HTTP endpoint, JSON Web Tokens.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::public_key;
use super::web_url::web_url;
use crate::config::diagnostics::Diagnostics;
use crate::config::files::Files;
use crate::config::model::{HttpProvider, JwtAlgorithm, JwtKeyKind, JwtKeys, JwtProvider};
use crate::config::place::Place;
use crate::config::raw::{At, Field, OneOrMany, RawAlgorithm, RawHeaders, RawHttpProvider, RawJwtProvider, Text};

const TIMEOUT: Duration = Duration::from_secs(2);
const CONCURRENT: usize = 64;
const REFRESH: Duration = Duration::from_mins(10);
const LEEWAY: Duration = Duration::from_secs(5);
/// Bytes of a secret below which it can be guessed by who has one token: those of the shortest hash.
const SHORT_SECRET: usize = 32;

/// Headers that each request has of its own.
const OWN_HEADERS: [&str; 6] =
    ["content-length", "content-type", "transfer-encoding", "connection", "expect", "upgrade"];

pub(super) fn http(raw: &At<RawHttpProvider>, diagnostics: &mut Diagnostics) -> Option<HttpProvider> {
    let RawHttpProvider { url, timeout, connect_timeout, cache, concurrent, headers } = &raw.value;
    let example = "https://app.example.com/ws-auth";
    let risk = "each token travels unencrypted over this URL";
    let url = url.given().and_then(|url| web_url(url, example, risk, diagnostics));
    let headers = match headers {
        Field::Missing => Some(Vec::new()),
        Field::Faulty => None,
        Field::Given(headers) => self::headers(&headers.value, diagnostics),
    };
    let total = timeout.value().map_or(TIMEOUT, |span| span.0);
    let connect = connect_timeout.value().map_or(total, |span| span.0);
    if let Some(given) = connect_timeout.given().filter(|_| connect > total) {
        let help = "connecting is a part of what `timeout` bounds";
        diagnostics.warning(&given.place, "connecting may take longer than the whole request").help(help);
    }
    Some(HttpProvider {
        url: url?,
        timeout: total,
        connect_timeout: connect.min(total),
        cache: cache.value().map(|span| span.0).filter(|ttl| !ttl.is_zero()),
        concurrent: concurrent.value().map_or(CONCURRENT, |number| usize::try_from(number.0).unwrap_or(CONCURRENT)),
        headers: headers?,
    })
}

fn headers(raw: &RawHeaders, diagnostics: &mut Diagnostics) -> Option<Vec<(String, SecretString)>> {
    let mut whole = true;
    let mut headers = Vec::new();
    for (name, value) in &raw.0 {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.value.is_empty() || !name.value.chars().all(is_name) {
            diagnostics.error(&name.place, "this is no name of a header").help("write X-Api-Key: ${API_KEY}");
            whole = false;
        } else if OWN_HEADERS.iter().any(|own| name.value.eq_ignore_ascii_case(own)) {
            diagnostics.error(&name.place, format!("`{}` is set by each request itself", name.value));
            whole = false;
        }
        let Some(given) = value.given() else {
            whole = false;
            continue;
        };
        let is_value = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        if !given.value.0.expose_secret().bytes().all(is_value) {
            diagnostics.error(&given.place, "a header's value is one line without control characters");
            whole = false;
        }
        headers.push((name.value.clone(), given.value.0.clone()));
    }
    whole.then_some(headers)
}

pub(super) fn jwt(raw: &At<RawJwtProvider>, files: &mut Files, diagnostics: &mut Diagnostics) -> Option<JwtProvider> {
    let fields = &raw.value;
    let keys = keys(raw, files, diagnostics);
    let user = claim(&fields.user, Some("sub"), diagnostics);
    let tenant = claim(&fields.tenant, None, diagnostics);
    let issuers = texts(&fields.issuer, diagnostics);
    let audiences = texts(&fields.audience, diagnostics);
    if let Some(jwks) = fields.jwks.given().filter(|_| fields.audience.is_missing()) {
        let message = "without `audience`, tokens that this issuer made for other applications are accepted too";
        diagnostics.warning(&jwks.place, message).help("name the `aud` claim of this application's tokens");
    }
    let algorithms = keys.as_ref().and_then(|keys| algorithms(&fields.algorithms, keys, diagnostics));
    Some(JwtProvider {
        keys: keys?,
        user: user?,
        tenant: tenant?,
        issuers: issuers?,
        audiences: audiences?,
        algorithms: algorithms?,
        leeway: fields.leeway.value().map_or(LEEWAY, |span| span.0),
    })
}

fn keys(raw: &At<RawJwtProvider>, files: &mut Files, diagnostics: &mut Diagnostics) -> Option<JwtKeys> {
    let RawJwtProvider { jwks, secret, public_key, .. } = &raw.value;
    let kinds = "`jwks`, `secret` and `public_key`";
    if jwks.is_missing() && secret.is_missing() && public_key.is_missing() {
        let message = "this `jwt` has no key: without one any token would do";
        diagnostics.error(&raw.place, message).help(format!("give one of {kinds}"));
        return None;
    }
    if let Some(refresh) = raw.value.refresh.given().filter(|_| jwks.is_missing()) {
        diagnostics.error(&refresh.place, "`refresh` is for the keys of `jwks`").help("leave it out");
    }
    let places = [place(jwks), place(secret), place(public_key)];
    if let Some(second) = places.into_iter().flatten().nth(1) {
        let help = "make it two items of the list, each with its key";
        diagnostics.error(second, format!("a `jwt` has one of {kinds}")).help(help);
        return None;
    }
    if let Some(url) = jwks.given() {
        let example = "https://login.example.com/.well-known/jwks.json";
        let risk = "the keys travel unencrypted over this URL: who can change them can be anyone";
        let refresh = raw.value.refresh.value().map_or(REFRESH, |span| span.0);
        return web_url(url, example, risk, diagnostics).map(|url| JwtKeys::Jwks { url, refresh });
    }
    if let Some(secret) = secret.given() {
        let length = secret.value.0.expose_secret().len();
        if length == 0 {
            diagnostics.error(&secret.place, "the secret is empty: anyone could sign");
            return None;
        }
        if length < SHORT_SECRET {
            let message = format!("the secret has {length} bytes: who has one token can search for it");
            diagnostics.warning(&secret.place, message).help("use 32 random bytes or more: openssl rand -hex 32");
        }
        return Some(JwtKeys::Secret(secret.value.0.clone()));
    }
    let (kind, pem) = public_key.given().and_then(|key| public(key, files, diagnostics))?;
    Some(JwtKeys::PublicKey(kind, pem))
}

/// A public key that stands here, or in a file.
fn public(key: &At<Text>, files: &mut Files, diagnostics: &mut Diagnostics) -> Option<(JwtKeyKind, String)> {
    let pem = if key.value.text.contains("-----BEGIN") {
        if key.value.text.contains("PRIVATE") {
            diagnostics.secret(&key.place);
        }
        key.value.text.clone()
    } else {
        files.read_beside(key, diagnostics)?.text().to_owned()
    };
    match public_key::kind(&pem) {
        Ok(kind) => Some((kind, pem)),
        Err(fault) => {
            diagnostics.error(&key.place, fault.message).help(fault.help);
            None
        }
    }
}

fn claim(raw: &Field<Text>, default: Option<&str>, diagnostics: &mut Diagnostics) -> Option<String> {
    match raw {
        Field::Missing => default.map(str::to_owned),
        Field::Faulty => None,
        Field::Given(name) if name.value.text.is_empty() => {
            diagnostics
                .error(&name.place, "a claim has a name")
                .help("write sub, or realm.tenant for one within another");
            None
        }
        Field::Given(name) => Some(name.value.text.clone()),
    }
}

fn texts(raw: &Field<OneOrMany<Text>>, diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
    match raw {
        Field::Missing => Some(Vec::new()),
        Field::Faulty => None,
        Field::Given(all) => {
            if all.value.0.is_empty() {
                diagnostics.error(&all.place, "an empty list accepts nobody").help("leave it out to accept anyone");
            }
            Some(all.value.0.iter().map(|text| text.value.text.clone()).collect())
        }
    }
}

fn algorithms(
    raw: &Field<Vec<At<RawAlgorithm>>>,
    keys: &JwtKeys,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<JwtAlgorithm>> {
    let fit = match keys {
        JwtKeys::Jwks { .. } => JwtAlgorithm::PUBLIC,
        JwtKeys::Secret(_) => JwtAlgorithm::SECRET,
        JwtKeys::PublicKey(kind, _) => kind.algorithms(),
    };
    let raw = match raw {
        Field::Missing => return Some(fit.to_vec()),
        Field::Faulty => return None,
        Field::Given(raw) => raw,
    };
    if raw.value.is_empty() {
        diagnostics.error(&raw.place, "an empty list accepts no token").help("leave it out to accept all that fit");
        return None;
    }
    let mut accepted = Vec::new();
    for at in &raw.value {
        let algorithm = model(at.value);
        if fit.contains(&algorithm) {
            accepted.push(algorithm);
        } else {
            let names: Vec<&str> = fit.iter().map(|algorithm| algorithm.name()).collect();
            let message = format!("{} is not for this kind of key", algorithm.name());
            diagnostics.error(&at.place, message).help(format!("it is good for {}", names.join(", ")));
        }
    }
    (accepted.len() == raw.value.len()).then_some(accepted)
}

fn model(raw: RawAlgorithm) -> JwtAlgorithm {
    match raw {
        RawAlgorithm::Hs256 => JwtAlgorithm::Hs256,
        RawAlgorithm::Hs384 => JwtAlgorithm::Hs384,
        RawAlgorithm::Hs512 => JwtAlgorithm::Hs512,
        RawAlgorithm::Rs256 => JwtAlgorithm::Rs256,
        RawAlgorithm::Rs384 => JwtAlgorithm::Rs384,
        RawAlgorithm::Rs512 => JwtAlgorithm::Rs512,
        RawAlgorithm::Ps256 => JwtAlgorithm::Ps256,
        RawAlgorithm::Ps384 => JwtAlgorithm::Ps384,
        RawAlgorithm::Ps512 => JwtAlgorithm::Ps512,
        RawAlgorithm::Es256 => JwtAlgorithm::Es256,
        RawAlgorithm::Es384 => JwtAlgorithm::Es384,
        RawAlgorithm::EdDsa => JwtAlgorithm::EdDsa,
    }
}

fn place<T>(field: &Field<T>) -> Option<&Place> {
    field.given().map(|at| &at.place)
}
