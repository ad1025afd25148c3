//! Providers of identities that have settings of their own.

use std::time::Duration;

use secrecy::SecretString;

/// An HTTP endpoint that gets a token and answers whose it is.
#[derive(Clone, Debug)]
pub struct HttpProvider {
    /// `http://` or `https://`, checked. It may hold credentials.
    pub url: SecretString,
    /// How long a request may take, connecting included.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer counts for a token. `None`: it is asked each time.
    pub cache: Option<Duration>,
    /// Requests at once at most: at least 1.
    pub concurrent: usize,
    /// Headers of each request, by valid names, with values that a header can have.
    pub headers: Vec<(String, SecretString)>,
}

/// JSON Web Tokens of one issuer.
#[derive(Clone, Debug)]
pub struct JwtProvider {
    /// What signatures are held against.
    pub keys: JwtKeys,
    /// The claim that names the user: a name, or a path with dots.
    pub user: String,
    /// The claim that names the tenant.
    pub tenant: String,
    /// Who may have issued the token. Empty: whoever has the key.
    pub issuers: Vec<String>,
    /// For whom the token may be. Empty: anyone.
    pub audiences: Vec<String>,
    /// What is accepted: all of it fits the key. At least one.
    pub algorithms: Vec<JwtAlgorithm>,
    /// How far the issuer's clock and this one's may be apart.
    pub leeway: Duration,
}

/// What signatures are held against.
#[derive(Clone, Debug)]
pub enum JwtKeys {
    /// A set of public keys.
    Jwks {
        /// Where it is, checked. It may hold credentials.
        url: SecretString,
        /// How often it is fetched.
        refresh: Duration,
    },
    /// A shared secret, not empty.
    Secret(SecretString),
    /// A public key: its kind, and its PEM, which is of that kind.
    PublicKey(JwtKeyKind, String),
}

/// What a public key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtKeyKind {
    /// RSA of at least 2048 bits.
    Rsa,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of RFC 7518 say it all")]
pub enum JwtAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl JwtAlgorithm {
    /// Those with a shared secret.
    pub const SECRET: &[Self] = &[Self::Hs256, Self::Hs384, Self::Hs512];
    /// Those with a public key.
    pub const PUBLIC: &[Self] = &[
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// Its name in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl JwtKeyKind {
    /// The algorithms that such a key is good for.
    pub fn algorithms(self) -> &'static [JwtAlgorithm] {
        match self {
            Self::Rsa => &JwtAlgorithm::PUBLIC[..6],
            Self::P256 => &[JwtAlgorithm::Es256],
            Self::P384 => &[JwtAlgorithm::Es384],
            Self::Ed25519 => &[JwtAlgorithm::EdDsa],
        }
    }
}
