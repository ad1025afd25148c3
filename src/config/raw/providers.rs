//! Providers of identities that have settings of their own: an HTTP endpoint, JSON Web Tokens.

use serde_json::{Value, json};

use super::read::{At, Field, FromNode, OneOrMany, map_of};
use super::scalars::{Number, Text};
use super::secrets::{Secret, SecretUrl, Values, hide};
use super::section::{choice, section};
use super::units::Span;
use crate::config::diagnostics::Diagnostics;
use crate::config::node::{Kind, Node};

section! {
    /// An HTTP endpoint of the application, which gets the token and answers whose it is.
    RawHttpProvider (Secret) {
        /// Where it is: `https://`, or `http://` within a private network.
        "url" url: SecretUrl = Required,
        /// How long it may take to answer, connecting included. Default: 2s.
        "timeout" timeout: Span<1> = Optional,
        /// How long connecting to it may take. Default: as long as the whole.
        "connect_timeout" connect_timeout: Span<1> = Optional,
        /// How long its answer counts for a token. Default: 0s: it is asked each time.
        "cache" cache: Span<0> = Optional,
        /// Requests at once at most; more wait, in turn by client address. Default: 64.
        "concurrent" concurrent: Number<1, 10_000> = Optional,
        /// Headers of each request: an API key, for instance. Their values are never shown.
        "headers" headers: RawHeaders = Optional,
    }
    later []
}

section! {
    /// JSON Web Tokens: what they say counts, where their signature is good.
    RawJwtProvider (Secret) {
        /// Where the issuer publishes its keys. One of `jwks`, `secret` and `public_key` is needed.
        "jwks" jwks: SecretUrl = Optional,
        /// How often keys are fetched from there. Default: 10m.
        "refresh" refresh: Span<1000> = Optional,
        /// The secret that the issuer signs with, for HS256, HS384 and HS512.
        "secret" secret: Secret = Optional,
        /// The issuer's public key: PEM, or a file that holds it, relative to the file that says so.
        "public_key" public_key: Text = Optional,
        /// The claim that names the user; `a.b` is `b` within `a`. Default: `sub`.
        "user" user: Text = Optional,
        /// The claim that names the tenant.
        "tenant" tenant: Text = Required,
        /// Who must have issued the token. Default: whoever has the key.
        "issuer" issuer: OneOrMany<Text> = Optional,
        /// For whom the token must be: one of these. Default: anyone.
        "audience" audience: OneOrMany<Text> = Optional,
        /// The algorithms that are accepted. Default: all that fit the key.
        "algorithms" algorithms: Vec<At<RawAlgorithm>> = Optional,
        /// How far the issuer's clock and this one's may be apart. Default: 5s.
        "leeway" leeway: Span<0> = Optional,
    }
    later []
}

choice! {
    /// How a token is signed.
    RawAlgorithm {
        /// HMAC with SHA-256.
        "HS256" Hs256,
        /// HMAC with SHA-384.
        "HS384" Hs384,
        /// HMAC with SHA-512.
        "HS512" Hs512,
        /// RSA (PKCS#1) with SHA-256.
        "RS256" Rs256,
        /// RSA (PKCS#1) with SHA-384.
        "RS384" Rs384,
        /// RSA (PKCS#1) with SHA-512.
        "RS512" Rs512,
        /// RSA (PSS) with SHA-256.
        "PS256" Ps256,
        /// RSA (PSS) with SHA-384.
        "PS384" Ps384,
        /// RSA (PSS) with SHA-512.
        "PS512" Ps512,
        /// ECDSA on P-256.
        "ES256" Es256,
        /// ECDSA on P-384.
        "ES384" Es384,
        /// Ed25519.
        "EdDSA" EdDsa,
    }
    later []
}

/// Headers of a request, by name.
pub(in crate::config) struct RawHeaders(pub(in crate::config) Vec<(At<String>, Field<Secret>)>);

impl FromNode for RawHeaders {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        if !matches!(node.kind, Kind::Map(_)) {
            hide(node, diagnostics);
        }
        let map = map_of(node, "a map from headers to their values", diagnostics)?;
        super::read::duplicates(&map, Values::Secret, diagnostics);
        let each = map.entries.iter().map(|(key, value)| {
            (At { value: key.text.clone(), place: key.place.clone() }, Field::read(value, diagnostics))
        });
        Some(Self(each.collect()))
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": Secret::schema() })
    }
}
