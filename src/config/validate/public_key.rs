//! Public keys in PEM: what they are good for, or why they are not.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};

use crate::config::model::JwtKeyKind;

/// Base64 digits of an RSA modulus of 2048 bits, the least that signatures are checked with.
const SHORTEST_MODULUS: usize = 342;

/// Why this is no key that signatures can be held against, and what would be right.
pub(super) struct Fault {
    pub(super) message: &'static str,
    pub(super) help: &'static str,
}

/// What a public key is good for.
pub(super) fn kind(pem: &str) -> Result<JwtKeyKind, Fault> {
    let bytes = pem.trim().as_bytes();
    if pem.contains("PRIVATE KEY") {
        return Err(Fault {
            message: "this is a private key, which only the issuer may have",
            help: "give the public one: openssl pkey -in private.pem -pubout",
        });
    }
    if pem.contains("BEGIN CERTIFICATE") {
        return Err(Fault {
            message: "this is a certificate, and not a public key",
            help: "take the key out of it: openssl x509 -in certificate.pem -noout -pubkey",
        });
    }
    if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
        // A point in its uncompressed form: a byte, and two coordinates.
        return match key.try_get_as_bytes().map(<[u8]>::len) {
            Ok(65) => Ok(JwtKeyKind::P256),
            Ok(97) => Ok(JwtKeyKind::P384),
            _ => Err(Fault { message: "this key's curve is not supported", help: "P-256, P-384 and Ed25519 are" }),
        };
    }
    if DecodingKey::from_ed_pem(bytes).is_ok() {
        return Ok(JwtKeyKind::Ed25519);
    }
    let no_key = Fault { message: "this is no public key in PEM", help: "it starts with -----BEGIN PUBLIC KEY-----" };
    let Ok(key) = DecodingKey::from_rsa_pem(bytes) else { return Err(no_key) };
    match Jwk::from_decoding_key(&key, None).map(|key| key.algorithm) {
        Ok(AlgorithmParameters::RSA(rsa)) if rsa.n.len() >= SHORTEST_MODULUS => Ok(JwtKeyKind::Rsa),
        Ok(AlgorithmParameters::RSA(_)) => Err(Fault {
            message: "this RSA key is too short to be safe",
            help: "signatures are checked with 2048 bits or more",
        }),
        _ => Err(no_key),
    }
}
